/* Taking ids out of service that nothing holds: from a list of them, or those whose last slot was cleared.
   Dead objects are collected, and dropped last of all. */

/* Objects that nothing holds any more, to be dropped when all is in order. */
typedef struct {
    PyObject **items;
    size_t count, room;
    PyObject *few[16];
} hw_dead;

static void hw_begin_dead(hw_dead *dead)
{
    dead->items = dead->few;
    dead->count = 0;
    dead->room = sizeof dead->few / sizeof *dead->few;
}

static int hw_room_for_dead(hw_dead *dead)
{
    if (dead->count < dead->room) {
        return 1;
    }
    size_t bytes = dead->count * sizeof *dead->items;
    PyObject **items = dead->items == dead->few ? malloc(2 * bytes) : realloc(dead->items, 2 * bytes);
    if (items == NULL) {
        PyErr_NoMemory();
        return 0;
    }
    if (dead->items == dead->few) {
        memcpy(items, dead->few, bytes);
    }
    dead->items = items;
    dead->room *= 2;
    return 1;
}

/* Drop the objects: from here on finalizers may call the guest, and come here again. */
static void hw_drop_dead(hw_dead *dead)
{
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    while (dead->count > 0) {
        Py_DECREF(dead->items[--dead->count]);
    }
    if (dead->items != dead->few) {
        free(dead->items);
    }
    PyErr_Restore(type, value, trace);
}

/* Take an id out of service if nothing holds it, and its object into `dead`. 0: there is no memory, and
   nothing has changed. */
static int hw_release_one(hw_ids *ids, int32_t id, hw_dead *dead)
{
    uint32_t *record = hw_record(ids, id);
    /* It can be in several lists: then its record is empty now, or another id's. A zombie's is 0 then. */
    if (id == 0 || record[HW_RECORD_ID] != (uint32_t)id || record[HW_RECORD_HOLDERS] != 0) {
        return 1;
    }
    if (!hw_room_for_dead(dead)) {
        return 0;
    }
    PyObject *number = PyLong_FromLong(id);
    if (number == NULL) {
        return 0;
    }
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
    for (; list->count > first; list->count--) {
        if (!hw_release_one(ids, list->items[list->count - 1], dead)) {
            return 0;
        }
    }
    return 1;
}

/* Move the zombies to `waiting`. 0: there is no memory, and some have stayed. */
static int hw_take_zombies(hw_ids *ids)
{
    uint32_t *state = ids->state;
    while (state[HW_STATE_ZOMBIES] != HW_LINK_END) {
        uint32_t *record = hw_record_at(ids, state[HW_STATE_ZOMBIES] >> 1);
        if (!hw_make_room(&ids->waiting, ids->waiting.count + 1)) {
            return 0;
        }
        ids->waiting.items[ids->waiting.count++] = (int32_t)record[HW_RECORD_ID];
        state[HW_STATE_ZOMBIES] = record[HW_RECORD_LINK];
        record[HW_RECORD_LINK] = 0;
    }
    state[HW_STATE_ZOMBIE_COUNT] = 0;
    return 1;
}
