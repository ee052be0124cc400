/* The bookkeeping of ids as a type of Python: see ids.py for what an id is, and python_ids.py for the same in Python,
   which says what each method means.

   Each method is one call from Python, into which neither a signal handler nor Python's collector comes. Foreign code
   runs in three places only, and what it may do is seen to there: where the runtime is asked for more records, where
   the space does what is pending, and where dead objects are dropped. Those have been collected in an array before, and
   all else is in order by then.

   _build_ids.py puts the constants of layout.py before this, with HW_ before their names. */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if PY_VERSION_HEX < 0x030c0000
#include <structmember.h>
#define Py_T_BOOL T_BOOL
#define Py_T_PYSSIZET T_PYSSIZET
#define Py_T_OBJECT_EX T_OBJECT_EX
#define Py_READONLY READONLY
#endif
#ifdef Py_GIL_DISABLED
#error "the lists here are guarded by the interpreter lock; without one, Python does the bookkeeping"
#endif

#define HW_OPAQUE (-1) /* passes/externref/frames.py: a function whose externrefs are not followed */

typedef struct {
    int32_t *items;
    Py_ssize_t count, room;
} hw_id_list;

typedef struct {
    PyObject_HEAD
    PyObject *objects, *tombstones; /* dicts, which the collector of cycles reads and changes too */
    PyObject *reserve, *settle, *null;
    char *base;       /* of the runtime's memory */
    size_t state_at;  /* where in it the state is */
    uint32_t *state;  /* the same as an address */
    uint64_t random;
    uint32_t made;    /* indexes that have been given an id; 0 stands for null */
    hw_id_list free;  /* ids to give out; there is room for all that were made */
    hw_id_list flight;
    hw_id_list waiting; /* zombies that frames hold */
    Py_ssize_t floor;   /* entries of `flight` that are arguments of the calls on the way, or older */
    Py_ssize_t limit, patience;
    char pending, unsettled;
} hw_ids;

/* Objects that nothing holds any more, to be dropped when all is in order. */
typedef struct {
    PyObject **items;
    size_t count, room;
    PyObject *few[16];
} hw_dead;

/* ---- lists, and what is kept for each id */

/* Have room for `count` ids. */
static int hw_make_room(hw_id_list *list, Py_ssize_t count)
{
    if (count <= list->room)
        return 1;
    Py_ssize_t room = list->room > 0 ? list->room : 32;
    while (room < count)
        room *= 2;
    int32_t *items = realloc(list->items, (size_t)room * sizeof *items);
    if (items == NULL) {
        PyErr_NoMemory();
        return 0;
    }
    list->items = items;
    list->room = room;
    return 1;
}

static uint32_t *hw_record_at(const hw_ids *ids, uint32_t index)
{
    return (uint32_t *)(ids->base + ids->state[HW_STATE_RECORDS]) + (size_t)index * HW_RECORD_WORDS;
}

static uint32_t *hw_record(const hw_ids *ids, int32_t id)
{
    return hw_record_at(ids, (uint32_t)id & HW_ID_INDEX);
}

/* Generations start anywhere, so that a guest cannot guess the ids of objects it was not given. */
static uint32_t hw_random(hw_ids *ids)
{
    uint64_t mixed = ids->random += 0x9e3779b97f4a7c15u;
    mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebu;
    return (uint32_t)(mixed >> 32);
}

/* Make another id, or have the runtime make room for it: there may be one in `free` afterwards. */
static int hw_make_id(hw_ids *ids)
{
    if (ids->made > HW_ID_INDEX) {
        PyErr_Format(PyExc_MemoryError, "a guest holds %d objects, and there are no more ids", HW_ID_INDEX);
        return 0;
    }
    if (ids->made >= ids->state[HW_STATE_RECORD_COUNT]) {
        PyObject *done = PyObject_CallFunction(ids->reserve, "k", 2ul * ids->made);
        Py_XDECREF(done);
        return done != NULL;
    }
    if (!hw_make_room(&ids->free, (Py_ssize_t)ids->made + 1))
        return 0;
    ids->free.items[ids->free.count++] = (int32_t)(hw_random(ids) << HW_ID_INDEX_BITS | ids->made);
    ids->made++;
    return 1;
}

static PyObject *hw_add(hw_ids *ids, PyObject *value)
{
    if (value == ids->null)
        return PyLong_FromLong(0);
    while (ids->free.count == 0)
        if (!hw_make_id(ids))
            return NULL;
    if (!hw_make_room(&ids->flight, ids->flight.count + 1))
        return NULL;
    int32_t id = ids->free.items[ids->free.count - 1];
    PyObject *number = PyLong_FromLong(id);
    if (number == NULL)
        return NULL;
    if (PyDict_SetItem(ids->objects, number, value) < 0) {
        Py_DECREF(number);
        return NULL;
    }
    ids->free.count--;
    ids->flight.items[ids->flight.count++] = id;
    hw_record(ids, id)[HW_RECORD_ID] = (uint32_t)id;
    return number;
}

/* ---- releasing */

static void hw_begin_dead(hw_dead *dead)
{
    dead->items = dead->few;
    dead->count = 0;
    dead->room = sizeof dead->few / sizeof *dead->few;
}

static int hw_room_for_dead(hw_dead *dead)
{
    if (dead->count < dead->room)
        return 1;
    size_t bytes = dead->count * sizeof *dead->items;
    PyObject **items = dead->items == dead->few ? malloc(2 * bytes) : realloc(dead->items, 2 * bytes);
    if (items == NULL) {
        PyErr_NoMemory();
        return 0;
    }
    if (dead->items == dead->few)
        memcpy(items, dead->few, bytes);
    dead->items = items;
    dead->room *= 2;
    return 1;
}

/* Drop the objects: from here on finalizers may call the guest, and come here again. */
static void hw_drop_dead(hw_dead *dead)
{
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    while (dead->count > 0)
        Py_DECREF(dead->items[--dead->count]);
    if (dead->items != dead->few)
        free(dead->items);
    PyErr_Restore(type, value, trace);
}

/* Take an id out of service if nothing holds it, and its object into `dead`. 0: there is no memory, and nothing has
   changed. */
static int hw_release_one(hw_ids *ids, int32_t id, hw_dead *dead)
{
    uint32_t *record = hw_record(ids, id);
    /* It can be in several lists: then its record is empty now, or another id's. A zombie's is 0 then. */
    if (id == 0 || record[HW_RECORD_ID] != (uint32_t)id || record[HW_RECORD_HOLDERS] != 0)
        return 1;
    if (!hw_room_for_dead(dead))
        return 0;
    PyObject *number = PyLong_FromLong(id);
    if (number == NULL)
        return 0;
    PyObject *object = PyDict_GetItemWithError(ids->objects, number);
    if (object != NULL) {
        Py_INCREF(object);
        dead->items[dead->count++] = object;
        PyDict_DelItem(ids->objects, number);
    } else if (PyDict_Size(ids->tombstones) > 0) {
        PyDict_DelItem(ids->tombstones, number);
    }
    PyErr_Clear(); /* it is in neither dict: Python's collector has cleared them */
    Py_DECREF(number);
    record[HW_RECORD_ID] = 0;
    ids->free.items[ids->free.count++] = (int32_t)((uint32_t)id + (UINT32_C(1) << HW_ID_INDEX_BITS));
    return 1;
}

/* Empty a list from `first` on, and release those that nothing holds. */
static int hw_release_list(hw_ids *ids, hw_id_list *list, Py_ssize_t first, hw_dead *dead)
{
    for (; list->count > first; list->count--)
        if (!hw_release_one(ids, list->items[list->count - 1], dead))
            return 0;
    return 1;
}

/* Release the zombies; or with no `dead`, move them to `waiting`. */
static int hw_take_zombies(hw_ids *ids, hw_dead *dead)
{
    uint32_t *state = ids->state;
    while (state[HW_STATE_ZOMBIES] != HW_LINK_END) {
        uint32_t *record = hw_record_at(ids, state[HW_STATE_ZOMBIES] >> 1);
        int32_t id = (int32_t)record[HW_RECORD_ID];
        if (dead != NULL) {
            if (!hw_release_one(ids, id, dead))
                return 0;
        } else {
            if (!hw_make_room(&ids->waiting, ids->waiting.count + 1))
                return 0;
            ids->waiting.items[ids->waiting.count++] = id;
        }
        state[HW_STATE_ZOMBIES] = record[HW_RECORD_LINK];
        record[HW_RECORD_LINK] = 0;
    }
    state[HW_STATE_ZOMBIE_COUNT] = 0;
    return 1;
}

/* ---- sweeping */

enum { HW_EARLIER = 1, HW_IN_FRAME = 2, HW_SEEN = 4 };

/* What is known of some ids, by open addressing; 0 is no id of interest. */
typedef struct {
    int32_t *ids;
    uint8_t *marks;
    size_t mask;
} hw_marks;

static uint8_t *hw_mark(hw_marks *marks, int32_t id)
{
    size_t at = ((uint32_t)id * UINT32_C(0x9e3779b9)) >> 4;
    while (marks->ids[at & marks->mask] != id && marks->ids[at & marks->mask] != 0)
        at++;
    marks->ids[at & marks->mask] = id;
    return &marks->marks[at & marks->mask];
}

/* Keep those in a list from `first` on that frames hold, each once, and release the rest unless they are older. */
static int hw_sweep_list(hw_ids *ids, hw_id_list *list, Py_ssize_t first, hw_marks *marks, uint8_t seen, hw_dead *dead)
{
    Py_ssize_t kept = first;
    int good = 1;
    for (Py_ssize_t i = first; i < list->count; i++) {
        int32_t id = list->items[i];
        uint8_t *mark = id != 0 ? hw_mark(marks, id) : NULL;
        if (mark == NULL || *mark & seen)
            continue;
        *mark |= seen;
        if (*mark & HW_EARLIER)
            continue;
        if (good && !(*mark & HW_IN_FRAME))
            good = hw_release_one(ids, id, dead);
        if (!good || *mark & HW_IN_FRAME)
            list->items[kept++] = id;
    }
    list->count = kept;
    return good;
}

static int hw_sweep(hw_ids *ids, hw_dead *dead)
{
    const int32_t *frame = (int32_t *)(ids->base + ids->state[HW_STATE_FRAMES]);
    const int32_t *end = (int32_t *)(ids->base + ids->state[HW_STATE_FRAMES_END]);
    int opaque = ids->unsettled;
    for (const int32_t *word = frame; word < end && !opaque; word++)
        opaque = *word == HW_OPAQUE;
    if (opaque) {
        ids->limit = ids->flight.count + ids->patience;
        return 1;
    }
    if (!hw_take_zombies(ids, NULL))
        return 0;
    size_t most = (size_t)(end - frame) + (size_t)ids->flight.count + (size_t)ids->waiting.count, size = 16;
    while (size < 2 * most)
        size *= 2;
    hw_marks marks = {calloc(size, sizeof *marks.ids), calloc(size, 1), size - 1};
    int good = marks.ids != NULL && marks.marks != NULL;
    if (good) {
        for (const int32_t *word = frame; word < end; word++)
            if (*word != 0)
                *hw_mark(&marks, *word) |= HW_IN_FRAME;
        for (Py_ssize_t i = 0; i < ids->floor; i++)
            *hw_mark(&marks, ids->flight.items[i]) |= HW_EARLIER;
        good = hw_sweep_list(ids, &ids->flight, ids->floor, &marks, HW_SEEN, dead) &&
               /* Cleared from slots by any call, so they may be in the frames of calls further out than this one. */
               hw_sweep_list(ids, &ids->waiting, 0, &marks, HW_SEEN << 1, dead);
        /* So that sweeps of deep stacks cost no more than the calls. */
        ids->limit = 2 * ids->flight.count + ids->patience;
    } else {
        PyErr_NoMemory();
    }
    free(marks.ids), free(marks.marks);
    return good;
}

/* ---- methods; python_ids.py describes them */

static PyObject *hw_ids_hold(PyObject *self, PyObject *value)
{
    hw_ids *ids = (hw_ids *)self;
    PyObject *number = hw_add(ids, value);
    ids->floor = ids->flight.count;
    return number;
}

static PyObject *hw_ids_give(PyObject *self, PyObject *value)
{
    return hw_add((hw_ids *)self, value);
}

static PyObject *hw_done(hw_dead *dead, int good)
{
    hw_drop_dead(dead);
    if (!good)
        return NULL;
    Py_RETURN_NONE;
}

static void hw_forget_all(hw_ids *ids)
{
    ids->flight.count = ids->waiting.count = 0;
    PyDict_Clear(ids->objects);
    PyDict_Clear(ids->tombstones);
}

static PyObject *hw_ids_release(PyObject *self, PyObject *unused)
{
    hw_ids *ids = (hw_ids *)self;
    hw_dead dead;
    (void)unused;
    if (ids->pending) {
        ids->pending = 0;
        PyObject *over = PyObject_CallFunction(ids->settle, NULL);
        int closed = over != NULL ? PyObject_IsTrue(over) : -1;
        Py_XDECREF(over);
        if (closed < 0) {
            ids->pending = 1; /* the next one goes on with it */
            return NULL;
        }
        if (closed) {
            hw_forget_all(ids);
            Py_RETURN_NONE;
        }
    }
    hw_begin_dead(&dead);
    int good = hw_release_list(ids, &ids->flight, 0, &dead) && hw_take_zombies(ids, &dead) &&
               hw_release_list(ids, &ids->waiting, 0, &dead);
    ids->floor = 0;
    ids->limit = ids->patience;
    ids->unsettled = 0;
    ids->pending |= !good;
    return hw_done(&dead, good);
}

static PyObject *hw_ids_request(PyObject *self, PyObject *unused)
{
    (void)unused;
    ((hw_ids *)self)->pending = 1;
    Py_RETURN_NONE;
}

static PyObject *hw_ids_clear(PyObject *self, PyObject *unused)
{
    (void)unused;
    hw_forget_all((hw_ids *)self);
    Py_RETURN_NONE;
}

static PyObject *hw_ids_enter(PyObject *self, PyObject *interrupting)
{
    hw_ids *ids = (hw_ids *)self;
    int interrupts = PyObject_IsTrue(interrupting);
    if (interrupts < 0)
        return NULL;
    /* Python's collector may run as the tuple is made: that leaves these numbers as they are. */
    PyObject *mark = Py_BuildValue("nInni", ids->flight.count, (unsigned)ids->state[HW_STATE_FRAMES_END], ids->floor,
                                   ids->limit, (int)ids->unsettled);
    if (mark != NULL) {
        ids->floor = ids->flight.count;
        ids->unsettled |= (char)interrupts;
    }
    return mark;
}

typedef struct {
    Py_ssize_t count, floor, limit;
    unsigned frames_end;
    int unsettled;
} hw_level;

static int hw_read_mark(PyObject *mark, hw_level *level)
{
    return PyArg_ParseTuple(mark, "nInni", &level->count, &level->frames_end, &level->floor, &level->limit,
                            &level->unsettled);
}

static PyObject *hw_ids_unwind(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    uint32_t *state = ((hw_ids *)self)->state;
    hw_level level = {.frames_end = state[HW_STATE_FRAMES]};
    if (count > 0 && !hw_read_mark(args[0], &level))
        return NULL;
    state[HW_STATE_FRAMES_END] = level.frames_end;
    Py_RETURN_NONE;
}

static PyObject *hw_ids_exit(PyObject *self, PyObject *mark)
{
    hw_ids *ids = (hw_ids *)self;
    hw_level level;
    hw_dead dead;
    if (!hw_read_mark(mark, &level))
        return NULL;
    ids->floor = level.floor;
    ids->limit = level.limit;
    ids->unsettled = (char)level.unsettled;
    hw_begin_dead(&dead);
    /* All calls further out stood still meanwhile, so what was made since cannot be in their locals. */
    int good = hw_release_list(ids, &ids->flight, level.count, &dead);
    return hw_done(&dead, good);
}

static PyObject *hw_ids_sweep(PyObject *self, PyObject *unused)
{
    hw_dead dead;
    (void)unused;
    hw_begin_dead(&dead);
    int good = hw_sweep((hw_ids *)self, &dead);
    return hw_done(&dead, good);
}

static PyObject *hw_ids_tidy(PyObject *self, PyObject *unused)
{
    hw_ids *ids = (hw_ids *)self;
    if ((Py_ssize_t)ids->state[HW_STATE_ZOMBIE_COUNT] > ids->patience || ids->flight.count > ids->limit)
        return hw_ids_sweep(self, unused);
    Py_RETURN_NONE;
}

static PyObject *hw_ids_fault(PyObject *self, PyObject *unused)
{
    uint32_t *state = ((hw_ids *)self)->state, why = state[HW_STATE_FAULT];
    (void)unused;
    state[HW_STATE_FAULT] = 0;
    return PyLong_FromUnsignedLong(why);
}

static PyObject *hw_ids_moved(PyObject *self, PyObject *base)
{
    hw_ids *ids = (hw_ids *)self;
    unsigned long long address = PyLong_AsUnsignedLongLong(base);
    if (PyErr_Occurred())
        return NULL;
    ids->base = (char *)(uintptr_t)address;
    ids->state = (uint32_t *)(ids->base + ids->state_at);
    Py_RETURN_NONE;
}

static PyObject *hw_get_records(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromVoidPtr(hw_record_at((hw_ids *)self, 0));
}

static PyObject *hw_get_record_count(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLong(((hw_ids *)self)->state[HW_STATE_RECORD_COUNT]);
}

static PyObject *hw_get_frame_words(PyObject *self, void *unused)
{
    const uint32_t *state = ((hw_ids *)self)->state;
    (void)unused;
    return PyLong_FromUnsignedLong((state[HW_STATE_FRAMES_END] - state[HW_STATE_FRAMES]) / 4);
}

static int hw_ids_bool(PyObject *self)
{
    const hw_ids *ids = (hw_ids *)self;
    return ids->flight.count > 0 || ids->state[HW_STATE_ZOMBIES] != HW_LINK_END || ids->waiting.count > 0 ||
           ids->pending;
}

/* ---- the type */

static PyObject *hw_ids_new(PyTypeObject *type, PyObject *args, PyObject *named)
{
    unsigned long long base, state, seed;
    PyObject *reserve, *settle, *null;
    Py_ssize_t patience;
    (void)named;
    if (!PyArg_ParseTuple(args, "KKOOnOK", &base, &state, &reserve, &settle, &patience, &null, &seed))
        return NULL;
    hw_ids *ids = (hw_ids *)type->tp_alloc(type, 0);
    if (ids == NULL)
        return NULL;
    ids->objects = PyDict_New();
    ids->tombstones = PyDict_New();
    if (ids->objects == NULL || ids->tombstones == NULL) {
        Py_DECREF(ids);
        return NULL;
    }
    Py_INCREF(reserve), Py_INCREF(settle), Py_INCREF(null);
    ids->reserve = reserve;
    ids->settle = settle;
    ids->null = null;
    ids->base = (char *)(uintptr_t)base;
    ids->state_at = (size_t)state;
    ids->state = (uint32_t *)(ids->base + state);
    ids->random = seed;
    ids->made = 1;
    ids->limit = ids->patience = patience;
    return (PyObject *)ids;
}

/* There is nothing to clear: a cycle through this goes through one of the dicts too, and is broken there. */
static int hw_ids_traverse(PyObject *self, visitproc visit, void *arg)
{
    hw_ids *ids = (hw_ids *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(ids->objects);
    Py_VISIT(ids->tombstones);
    Py_VISIT(ids->reserve);
    Py_VISIT(ids->settle);
    return 0;
}

static void hw_ids_dealloc(PyObject *self)
{
    hw_ids *ids = (hw_ids *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    free(ids->free.items), free(ids->flight.items), free(ids->waiting.items);
    Py_XDECREF(ids->objects);
    Py_XDECREF(ids->tombstones);
    Py_XDECREF(ids->reserve);
    Py_XDECREF(ids->settle);
    Py_XDECREF(ids->null);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef hw_ids_methods[] = {
    {"hold", hw_ids_hold, METH_O, NULL},
    {"give", hw_ids_give, METH_O, NULL},
    {"release", hw_ids_release, METH_NOARGS, NULL},
    {"request", hw_ids_request, METH_NOARGS, NULL},
    {"clear", hw_ids_clear, METH_NOARGS, NULL},
    {"enter", hw_ids_enter, METH_O, NULL},
    {"unwind", (PyCFunction)(void (*)(void))hw_ids_unwind, METH_FASTCALL, NULL},
    {"exit", hw_ids_exit, METH_O, NULL},
    {"tidy", hw_ids_tidy, METH_NOARGS, NULL},
    {"sweep", hw_ids_sweep, METH_NOARGS, NULL},
    {"fault", hw_ids_fault, METH_NOARGS, NULL},
    {"moved", hw_ids_moved, METH_O, NULL},
    {NULL}};

static PyMemberDef hw_ids_members[] = {
    {"objects", Py_T_OBJECT_EX, offsetof(hw_ids, objects), Py_READONLY, NULL},
    {"tombstones", Py_T_OBJECT_EX, offsetof(hw_ids, tombstones), Py_READONLY, NULL},
    {"patience", Py_T_PYSSIZET, offsetof(hw_ids, patience), 0, NULL},
    {"limit", Py_T_PYSSIZET, offsetof(hw_ids, limit), 0, NULL},
    {"pending", Py_T_BOOL, offsetof(hw_ids, pending), Py_READONLY, NULL},
    {NULL}};

static PyGetSetDef hw_ids_getset[] = {{"records", hw_get_records, NULL, NULL, NULL},
                                      {"record_count", hw_get_record_count, NULL, NULL, NULL},
                                      {"frame_words", hw_get_frame_words, NULL, NULL, NULL},
                                      {NULL}};

static PyType_Slot hw_ids_slots[] = {{Py_tp_new, hw_ids_new},         {Py_tp_traverse, hw_ids_traverse},
                                     {Py_tp_dealloc, hw_ids_dealloc}, {Py_tp_methods, hw_ids_methods},
                                     {Py_tp_members, hw_ids_members}, {Py_tp_getset, hw_ids_getset},
                                     {Py_nb_bool, hw_ids_bool},       {0, NULL}};

static PyType_Spec hw_ids_spec = {"hiwire_py.objects.Ids", sizeof(hw_ids), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
                                  hw_ids_slots};

/* Put the type into a dict, whose address is given. 0: there is no memory for it. */
static int hw_ids_into(intptr_t address)
{
    PyGILState_STATE state = PyGILState_Ensure();
    PyObject *type = PyType_FromSpec(&hw_ids_spec);
    int good = type != NULL && PyDict_SetItemString((PyObject *)address, "Ids", type) == 0;
    Py_XDECREF(type);
    if (!good)
        PyErr_Clear();
    PyGILState_Release(state);
    return good;
}
