/* A survey: what the structs of some arenas hold, found out before a collection by Python, and shown to it by their
   wrappers during it. Comes after wrapper_types.c, which has the types, in the same translation unit.

   The dict `objects` of a space has one reference to each object that guests hold. In a collection the wrappers show
   them instead, each what the handles in its struct name: the dict is taken out of the collector's sight, its
   reference to an object is *lent* to the wrapper with the first copy of the handle, and further copies get
   references of their own, until the end of the survey. What is in the dict and was not lent is shown by the survey
   itself, in place of the dict. Where that would be nearly all, the dict stays in sight and each copy gets a reference
   of its own: what the wrappers show is *hidden* in the dict, where the dict `gone` stands for it meanwhile.

   The keys of what dies with its wrappers go from `objects` into `gone`, and stay there until the guest releases the
   handle. While a survey lends, `objects` must not change. So whoever comes into a guest ends it first. */

/* _build_types.py puts the constants of handles.py and objects/layout.py before all this, with HW_ before their names. */

/* A word of a struct, and the object if it is a handle all of whose counts were found. */
typedef struct {
    PyObject *object;
    int64_t key;
    uint32_t word;
    uint32_t kind;
} hw_copy;

enum { HW_LENT_COPY, HW_OWN_COPY, HW_NO_HANDLE }; /* of copies: whether the reference is lent by the dict, or its own */

/* A pointer that was found more than once. */
typedef struct {
    size_t memory;
    uint32_t pointer;
    hw_shape *shape;
} hw_again;

typedef struct {
    const uint32_t *words;
    uint64_t count;
    uint8_t *read, *structs, *kept; /* bit sets, by word */
} hw_memory;

/* An array that grows. */
typedef struct {
    void *items;
    size_t count, room;
} hw_array;

struct hw_survey {
    PyObject_HEAD
    PyObject *arenas;   /* a list */
    PyObject *mistaken; /* a set of layouts */
    hw_array memories;  /* hw_memory */
    hw_array copies;    /* hw_copy */
    hw_array again;     /* hw_again */
    hw_array keep;      /* uint32_t: words that must not be taken for handles that can be lent */
    hw_array rest;      /* PyObject *: what is in the dict and not lent */
    PyObject *objects, *gone;
    int lends, dropped, hides, over;
    uint32_t none; /* stands in a field that holds no handle */
};

static void *hw_grow(hw_array *array, size_t size)
{
    if (array->count == array->room) {
        size_t room = array->room == 0 ? 64 : 2 * array->room;
        void *items = realloc(array->items, room * size);
        if (items == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
        array->items = items;
        array->room = room;
    }
    return (char *)array->items + size * array->count++;
}

static void hw_empty(hw_array *array)
{
    free(array->items);
    array->items = NULL;
    array->count = array->room = 0;
}

static int hw_test_and_set(uint8_t *bits, uint64_t at)
{
    int was = bits[at >> 3] >> (at & 7) & 1;
    bits[at >> 3] |= (uint8_t)(1u << (at & 7));
    return was;
}

/* ---- finding copies */

static int hw_keep(hw_survey *survey, uint32_t word)
{
    uint32_t *kept = hw_grow(&survey->keep, sizeof *kept);
    if (kept == NULL)
        return 0;
    *kept = word;
    return 1;
}

/* Add the words in a struct's fields for handles. A word of memory counts once, however many layouts lie over it. */
static int hw_read_handles(hw_survey *survey, hw_memory *memory, uint32_t pointer, const hw_shape *shape)
{
    for (Py_ssize_t i = 0; i < shape->handles; i++) {
        uint64_t at = (uint64_t)(pointer >> 2) + shape->offsets[i];
        uint32_t word = memory->words[at];
        if (word == survey->none)
            continue;
        hw_copy *copy = hw_grow(&survey->copies, sizeof *copy);
        if (copy == NULL)
            return 0;
        *copy = (hw_copy){.word = word};
        if (hw_test_and_set(memory->read, at) && !hw_keep(survey, word))
            return 0;
    }
    return 1;
}

static int hw_push(hw_array *waiting, size_t memory, uint32_t pointer, hw_shape *shape)
{
    hw_again *entry = hw_grow(waiting, sizeof *entry);
    if (entry == NULL)
        return 0;
    *entry = (hw_again){memory, pointer, shape};
    return 1;
}

static int hw_fits(const hw_memory *memory, uint32_t pointer, const hw_shape *shape)
{
    return pointer != 0 && pointer % 4 == 0 && pointer + shape->size <= memory->count * 4;
}

static int hw_push_owned(hw_array *waiting, hw_memory *memory, size_t number, uint32_t pointer, const hw_shape *shape)
{
    for (Py_ssize_t i = 0; i < shape->owned; i++) {
        uint32_t target = memory->words[(uint64_t)(pointer >> 2) + shape->offsets[shape->handles + i]];
        if (shape->targets[i] != NULL && hw_fits(memory, target, shape->targets[i]) &&
            !hw_push(waiting, number, target, shape->targets[i]))
            return 0;
    }
    return 1;
}

/* Read a wrapper's struct and those that it owns. Their pointers may be anything. */
static int hw_trace(hw_survey *survey, size_t number, hw_wrapper *wrapper, hw_array *waiting)
{
    hw_memory *memory = (hw_memory *)survey->memories.items + number;
    uint32_t pointer = wrapper->owned->pointer;
    size_t start = survey->copies.count;
    if (!hw_read_handles(survey, memory, pointer, wrapper->shape))
        return 0;
    if (wrapper->shape->owned > 0 && !hw_push_owned(waiting, memory, number, pointer, wrapper->shape))
        return 0;
    while (waiting->count > 0) {
        hw_again next = ((hw_again *)waiting->items)[--waiting->count];
        if (hw_test_and_set(memory->structs, next.pointer >> 2)) {
            if (!hw_push(&survey->again, number, next.pointer, next.shape))
                return 0;
        } else if (!hw_read_handles(survey, memory, next.pointer, next.shape) ||
                   !hw_push_owned(waiting, memory, number, next.pointer, next.shape)) {
            return 0;
        }
    }
    if (survey->copies.count > UINT32_MAX) {
        PyErr_NoMemory();
        return 0;
    }
    wrapper->start = (uint32_t)start;
    wrapper->count = (uint32_t)(survey->copies.count - start);
    return 1;
}

/* The memory's number. Two guests may share one. */
static Py_ssize_t hw_memory_number(hw_survey *survey, const uint32_t *words, uint64_t count)
{
    hw_memory *memories = survey->memories.items;
    for (size_t i = 0; i < survey->memories.count; i++)
        if (memories[i].words == words)
            return (Py_ssize_t)i;
    hw_memory *memory = hw_grow(&survey->memories, sizeof *memory);
    if (memory == NULL)
        return -1;
    size_t bytes = (size_t)(count / 8 + 1);
    *memory = (hw_memory){words, count, calloc(bytes, 1), calloc(bytes, 1), NULL};
    if (memory->read == NULL || memory->structs == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    return (Py_ssize_t)survey->memories.count - 1;
}

/* add(arena, address, bytes): read all structs of a guest that have wrappers, in its memory. */
static PyObject *hw_survey_add(PyObject *self, PyObject *args)
{
    hw_survey *survey = (hw_survey *)self;
    PyObject *object;
    unsigned long long address, bytes;
    if (!PyArg_ParseTuple(args, "O!KK", hw_arena_type, &object, &address, &bytes))
        return NULL;
    hw_arena *arena = (hw_arena *)object;
    if (survey->over) /* someone came into a guest meanwhile */
        Py_RETURN_NONE;
    if (survey->lends || arena->survey != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the arena is in a survey already");
        return NULL;
    }
    Py_ssize_t number = hw_memory_number(survey, (const uint32_t *)(uintptr_t)address, bytes / 4);
    if (number < 0 || PyList_Append(survey->arenas, object) < 0)
        return NULL;
    hw_memory *memory = (hw_memory *)survey->memories.items + number;
    /* First all that have a wrapper: whoever points to one of them is a second owner. */
    for (hw_struct *dead = arena->dead; dead != NULL; dead = dead->next)
        if ((dead->pointer >> 2) < memory->count)
            hw_test_and_set(memory->structs, dead->pointer >> 2);
    for (hw_link *link = arena->wrappers.next; link != &arena->wrappers; link = link->next) {
        hw_wrapper *wrapper = hw_wrapper_of(link);
        wrapper->count = 0;
        if (hw_fits(memory, wrapper->owned->pointer, wrapper->shape) &&
            hw_test_and_set(memory->structs, wrapper->owned->pointer >> 2) &&
            !hw_push(&survey->again, number, wrapper->owned->pointer, wrapper->shape))
            return NULL;
    }
    hw_array waiting = {NULL, 0, 0};
    int good = 1;
    for (hw_link *link = arena->wrappers.next; good && link != &arena->wrappers; link = link->next) {
        hw_wrapper *wrapper = hw_wrapper_of(link);
        if (hw_fits(memory, wrapper->owned->pointer, wrapper->shape))
            good = hw_trace(survey, number, wrapper, &waiting);
    }
    hw_empty(&waiting);
    if (!good)
        return NULL;
    Py_RETURN_NONE;
}

/* Keep what is in structs that were found more than once, and in those they own. */
static int hw_keep_again(hw_survey *survey)
{
    while (survey->again.count > 0) {
        hw_again next = ((hw_again *)survey->again.items)[--survey->again.count];
        hw_memory *memory = (hw_memory *)survey->memories.items + next.memory;
        if (memory->kept == NULL && (memory->kept = calloc((size_t)(memory->count / 8 + 1), 1)) == NULL) {
            PyErr_NoMemory();
            return 0;
        }
        if (hw_test_and_set(memory->kept, next.pointer >> 2))
            continue;
        if (PySet_Add(survey->mistaken, next.shape->layout) < 0)
            return 0;
        for (Py_ssize_t i = 0; i < next.shape->handles; i++)
            if (!hw_keep(survey, memory->words[(uint64_t)(next.pointer >> 2) + next.shape->offsets[i]]))
                return 0;
        if (!hw_push_owned(&survey->again, memory, next.memory, next.pointer, next.shape))
            return 0;
    }
    return 1;
}
