/* The state of `Ids`, and how an id is made and given to an object. _build_ids.py puts the constants of
   layout.py before this, with HW_ before their names, and the other files after it. */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if PY_VERSION_HEX < 0x030c0000
#include <structmember.h>
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
    PyObject_HEAD PyObject *objects,
        *tombstones; /* dicts, which the collector of cycles reads and changes too */
    PyObject *reserve, *settle, *null;
    char *base;      /* of the runtime's memory */
    size_t state_at; /* where in it the state is */
    uint32_t *state; /* the same as an address */
    uint64_t random;
    uint32_t made;   /* indexes that have been given an id; 0 stands for null */
    hw_id_list free; /* ids to give out; there is room for all that were made */
    hw_id_list flight;
    hw_id_list waiting; /* zombies that are to be looked at, or that frames hold */
    Py_ssize_t floor;   /* entries of `flight` that are arguments of the calls on the way, or older */
    Py_ssize_t limit, patience;
    char pending, unsettled;
} hw_ids;

/* Have room for `count` ids. */
static int hw_make_room(hw_id_list *list, Py_ssize_t count)
{
    if (count <= list->room) {
        return 1;
    }
    Py_ssize_t room = list->room > 0 ? list->room : 32;
    while (room < count) {
        room *= 2;
    }
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
    if (!hw_make_room(&ids->free, (Py_ssize_t)ids->made + 1)) {
        return 0;
    }
    ids->free.items[ids->free.count++] = (int32_t)(hw_random(ids) << HW_ID_INDEX_BITS | ids->made);
    ids->made++;
    return 1;
}

static PyObject *hw_ids_give(PyObject *self, PyObject *value)
{
    hw_ids *ids = (hw_ids *)self;
    if (value == ids->null) {
        return PyLong_FromLong(0);
    }
    while (ids->free.count == 0) {
        if (!hw_make_id(ids)) {
            return NULL;
        }
    }
    if (!hw_make_room(&ids->flight, ids->flight.count + 1)) {
        return NULL;
    }
    int32_t id = ids->free.items[ids->free.count - 1];
    PyObject *number = PyLong_FromLong(id);
    if (number == NULL) {
        return NULL;
    }
    if (PyDict_SetItem(ids->objects, number, value) < 0) {
        Py_DECREF(number);
        return NULL;
    }
    ids->free.count--;
    ids->flight.items[ids->flight.count++] = id;
    hw_record(ids, id)[HW_RECORD_ID] = (uint32_t)id;
    return number;
}
