/* What wrappers refer to, found in the memory of guests: each reference in a wrapper's struct, or in one that it owns,
   is an edge from the wrapper. Nothing in that memory is believed.

   A word of memory counts once, however many pointer maps lie over it. What it stands for is to be kept, as is what
   structs with several owners hold. */

/* A guest's memory. */
typedef struct {
    const uint32_t *words;
    uint64_t count;
    uint8_t *read, *structs, *kept; /* bit sets, by word; one piece of memory, which begins with `read` */
} hw_memory;

/* The place of a struct. */
typedef struct {
    size_t memory; /* its number */
    uint32_t pointer;
    hw_map *map;
} hw_place;

static hw_memory *hw_memory_of(const hw_edges *edges, size_t number)
{
    return (hw_memory *)edges->memories.items + number;
}

/* Append an item. 0, and an exception: there is no memory. */
static int hw_append(hw_array *array, const void *item, size_t size)
{
    if (array->count == array->room) {
        size_t room = array->room == 0 ? 64 : 2 * array->room;
        void *items = realloc(array->items, room * size);
        if (items == NULL) {
            PyErr_NoMemory();
            return 0;
        }
        array->items = items;
        array->room = room;
    }
    memcpy((char *)array->items + size * array->count++, item, size);
    return 1;
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

static int hw_fits(const hw_edges *edges, const hw_place *place)
{
    uint64_t bytes = hw_memory_of(edges, place->memory)->count * 4;
    return place->pointer != 0 && place->pointer % 4 == 0 && place->pointer + place->map->size <= bytes;
}

/* Add an edge for each reference in a struct. */
static int hw_read_handles(hw_edges *edges, const hw_place *place)
{
    hw_memory *memory = hw_memory_of(edges, place->memory);
    for (Py_ssize_t i = 0; i < place->map->handles; i++) {
        uint64_t at = (uint64_t)(place->pointer >> 2) + place->map->offsets[i];
        uint32_t word = memory->words[at];
        if (word == edges->none)
            continue;
        hw_edge edge = {.word = word};
        if (!hw_append(&edges->all, &edge, sizeof edge) ||
            (hw_test_and_set(memory->read, at) && !hw_append(&edges->keep, &word, sizeof word)))
            return 0;
    }
    return 1;
}

/* Append the places of the structs that a struct owns. Its pointers may be anything. */
static int hw_append_owned(const hw_edges *edges, const hw_place *place, hw_array *places)
{
    const uint32_t *words = hw_memory_of(edges, place->memory)->words + (place->pointer >> 2);
    const hw_map *map = place->map;
    for (Py_ssize_t i = 0; i < map->owned; i++) {
        hw_place owned = {place->memory, words[map->offsets[map->handles + i]], hw_map_target(map, i)};
        if (owned.map != NULL && hw_fits(edges, &owned) && !hw_append(places, &owned, sizeof owned))
            return 0;
    }
    return 1;
}

/* Read a wrapper's struct and those that it owns. */
static int hw_trace(hw_edges *edges, hw_wrapper *wrapper, hw_place place, hw_array *waiting)
{
    size_t start = edges->all.count;
    int good = hw_read_handles(edges, &place) && hw_append_owned(edges, &place, waiting);
    while (good && waiting->count > 0) {
        place = ((hw_place *)waiting->items)[--waiting->count];
        if (hw_test_and_set(hw_memory_of(edges, place.memory)->structs, place.pointer >> 2))
            good = hw_append(&edges->again, &place, sizeof place);
        else
            good = hw_read_handles(edges, &place) && hw_append_owned(edges, &place, waiting);
    }
    if (good && edges->all.count > UINT32_MAX) {
        PyErr_NoMemory();
        good = 0;
    }
    if (good) {
        wrapper->start = (uint32_t)start;
        wrapper->count = (uint32_t)(edges->all.count - start);
    }
    return good;
}

/* The memory's number, or -1 and an exception. Two guests may share one. */
static Py_ssize_t hw_memory_number(hw_edges *edges, const uint32_t *words, uint64_t count)
{
    for (size_t i = 0; i < edges->memories.count; i++)
        if (hw_memory_of(edges, i)->words == words)
            return (Py_ssize_t)i;
    size_t bytes = (size_t)(count / 8 + 1);
    uint8_t *bits = calloc(bytes, 3);
    if (bits == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    hw_memory memory = {words, count, bits, bits + bytes, bits + 2 * bytes};
    if (hw_append(&edges->memories, &memory, sizeof memory))
        return (Py_ssize_t)edges->memories.count - 1;
    free(bits);
    return -1;
}

static void hw_forget_memories(hw_edges *edges)
{
    for (size_t i = 0; i < edges->memories.count; i++)
        free(hw_memory_of(edges, i)->read);
    hw_empty(&edges->memories);
}

/* Mark all structs that have wrappers: whoever points to one of them is a second owner. */
static int hw_mark_structs(hw_edges *edges, size_t number, hw_registry *registry)
{
    hw_memory *memory = hw_memory_of(edges, number);
    for (hw_struct *dead = registry->dead; dead != NULL; dead = dead->next)
        if ((dead->pointer >> 2) < memory->count)
            hw_test_and_set(memory->structs, dead->pointer >> 2);
    for (hw_wrapper *wrapper = registry->wrappers; wrapper != NULL; wrapper = wrapper->next) {
        hw_place place = {number, wrapper->pointer, wrapper->map};
        wrapper->count = 0;
        if (hw_fits(edges, &place) && hw_test_and_set(memory->structs, place.pointer >> 2) &&
            !hw_append(&edges->again, &place, sizeof place))
            return 0;
    }
    return 1;
}

/* add(registry, address, bytes): find the edges of a guest's wrappers, in its memory. */
static PyObject *hw_edges_add(PyObject *self, PyObject *args)
{
    hw_edges *edges = (hw_edges *)self;
    PyObject *object;
    unsigned long long address, bytes;
    if (!PyArg_ParseTuple(args, "O!KK", hw_registry_type, &object, &address, &bytes))
        return NULL;
    hw_registry *registry = (hw_registry *)object;
    if (edges->over) /* someone came into a guest meanwhile */
        Py_RETURN_NONE;
    if (edges->shown || registry->edges != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the registry's edges are shown already");
        return NULL;
    }
    Py_ssize_t number = hw_memory_number(edges, (const uint32_t *)(uintptr_t)address, bytes / 4);
    if (number < 0 || PyList_Append(edges->registries, object) < 0)
        return NULL;
    hw_array waiting = {NULL, 0, 0};
    int good = hw_mark_structs(edges, (size_t)number, registry);
    for (hw_wrapper *wrapper = registry->wrappers; good && wrapper != NULL; wrapper = wrapper->next) {
        hw_place place = {(size_t)number, wrapper->pointer, wrapper->map};
        if (hw_fits(edges, &place))
            good = hw_trace(edges, wrapper, place, &waiting);
    }
    hw_empty(&waiting);
    if (!good)
        return NULL;
    Py_RETURN_NONE;
}

/* Keep what is in structs that were found more than once, and in those they own. */
static int hw_keep_again(hw_edges *edges)
{
    while (edges->again.count > 0) {
        hw_place next = ((hw_place *)edges->again.items)[--edges->again.count];
        hw_memory *memory = hw_memory_of(edges, next.memory);
        if (hw_test_and_set(memory->kept, next.pointer >> 2))
            continue;
        if (PySet_Add(edges->mistaken, next.map->layout) < 0)
            return 0;
        for (Py_ssize_t i = 0; i < next.map->handles; i++)
            if (!hw_append(&edges->keep, memory->words + (next.pointer >> 2) + next.map->offsets[i], 4))
                return 0;
        if (!hw_append_owned(edges, &next, &edges->again))
            return 0;
    }
    return 1;
}
