/* The edges that are all that hold their object are shown to Python's collector, for the time of its work.

   The dict `objects` of a space has one reference to each object that guests hold. Meanwhile wrappers show them
   instead, each what its struct refers to: the dict is taken out of the collector's sight, its reference to an object
   is *lent* to the wrapper with the first edge, and further edges get references of their own. What is in the dict and
   was not lent is shown by the edges as a whole, in place of the dict.

   The keys of what dies with its wrappers go from `objects` into `tombstones`, until the guest releases the handle.
   While edges are shown, `objects` must not change. So whoever comes into a guest ends that first. */

/* The object is not in the table any more, though a handle names it. */
static void hw_bury(hw_edges *edges, PyObject *key)
{
    Py_INCREF(key); /* what dies may end the edges */
    /* No memory: the table holds the object until the struct is freed. */
    if (PyDict_SetItem(edges->tombstones, key, Py_None) == 0)
        PyDict_DelItem(edges->objects, key);
    PyErr_Clear();
    Py_DECREF(key);
}

/* ---- showing */

static int hw_lend(hw_edges *edges, hw_counts *counts)
{
    hw_edge *all = edges->all.items;
    for (size_t i = 0; i < edges->all.count; i++) {
        hw_edge *edge = &all[i];
        if (edge->kind == HW_NO_HANDLE || !hw_shows(counts, edge->word))
            continue;
        PyObject *key = PyLong_FromLong(counts->slots.keys[edge->word]);
        PyObject *object = key != NULL ? PyDict_GetItemWithError(edges->objects, key) : NULL;
        if (object == NULL) {
            Py_XDECREF(key);
            if (PyErr_Occurred())
                return 0;
            continue;
        }
        uint32_t *parts = &counts->parts[hw_key_index(&counts->slots, edge->word)];
        if (*parts == HW_SHOWN) {
            edge->kind = HW_OWN;
            Py_INCREF(object);
        }
        *parts = HW_SHOWN;
        edge->object = object;
        edge->key = key;
        edges->shown = 1;
    }
    return 1;
}

/* What is in the dict and not lent, to be shown in its place. */
static int hw_find_rest(hw_edges *edges, const hw_counts *counts)
{
    Py_ssize_t at = 0;
    PyObject *number, *object;
    while (PyDict_Next(edges->objects, &at, &number, &object)) {
        if (!PyObject_IS_GC(object))
            continue;
        long key = PyLong_AsLong(number);
        uint64_t index = (uint32_t)key & HW_ID_INDEX;
        if (key == -1 && PyErr_Occurred())
            return 0;
        if ((index >= counts->slots.record_count || counts->parts[index] != HW_SHOWN) &&
            !hw_append(&edges->rest, &object, sizeof object))
            return 0;
    }
    return 1;
}

static void hw_end(hw_edges *edges);

/* show(objects, tombstones, slots): have the wrappers show what their structs hold. `slots` is a tuple as refcounts.Slots
   is one. Returns the layouts that the memory did not agree with. */
static PyObject *hw_edges_show(PyObject *self, PyObject *args)
{
    hw_edges *edges = (hw_edges *)self;
    PyObject *objects, *tombstones;
    unsigned long long words, keys, records, slot_count, record_count;
    if (!PyArg_ParseTuple(args, "O!O!(KKKKK)", &PyDict_Type, &objects, &PyDict_Type, &tombstones, &words, &keys,
                          &records, &slot_count, &record_count))
        return NULL;
    if (edges->objects != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "edges are shown once");
        return NULL;
    }
    if (edges->over || (edges->all.count == 0 && edges->again.count == 0))
        return PySet_New(NULL);
    hw_counts counts = {.slots = {(const uint32_t *)(uintptr_t)words, (const int32_t *)(uintptr_t)keys,
                                  (const uint32_t *)(uintptr_t)records, slot_count, record_count}};
    edges->objects = Py_NewRef(objects);
    edges->tombstones = Py_NewRef(tombstones);
    int good = hw_count(edges, &counts) && hw_lend(edges, &counts) &&
               (!edges->shown || hw_find_rest(edges, &counts));
    free(counts.found), free(counts.verdicts), free(counts.parts);
    if (!good) {
        PyObject *type, *value, *trace;
        PyErr_Fetch(&type, &value, &trace);
        edges->shown = 1;
        hw_end(edges);
        PyErr_Restore(type, value, trace);
        return NULL;
    }
    if (edges->shown) {
        for (Py_ssize_t i = 0; i < PyList_GET_SIZE(edges->registries); i++)
            ((hw_registry *)PyList_GET_ITEM(edges->registries, i))->edges = edges;
        if (PyObject_GC_IsTracked(objects))
            PyObject_GC_UnTrack(objects);
    }
    return Py_NewRef(edges->mistaken);
}

static int hw_edges_visit(hw_edges *edges, hw_wrapper *wrapper, visitproc visit, void *arg)
{
    hw_edge *all = edges->all.items;
    for (uint32_t i = wrapper->start; i < wrapper->start + wrapper->count; i++)
        Py_VISIT(all[i].object);
    return 0;
}

/* ---- hiding again */

/* The wrapper is dead or will be: the table lets go of what only its struct held. */
static void hw_edges_drop(hw_edges *edges, hw_wrapper *wrapper)
{
    PyObject *type, *value, *trace;
    hw_registry *registry = wrapper->registry;
    uint32_t next = wrapper->start, end = next + wrapper->count;
    if (next == end)
        return;
    PyErr_Fetch(&type, &value, &trace);
    Py_INCREF(edges);
    wrapper->count = 0;
    /* What dies here may run anything, the end of the edges included. */
    for (; next < end && registry->edges == edges; next++) {
        hw_edge *edge = (hw_edge *)edges->all.items + next;
        PyObject *object = edge->object;
        edge->object = NULL;
        if (object == NULL)
            continue;
        edges->dropped = 1;
        if (edge->kind == HW_OWN)
            Py_DECREF(object);
        else
            hw_bury(edges, edge->key);
    }
    Py_DECREF(edges);
    PyErr_Restore(type, value, trace);
}

/* A living wrapper shows the object by a reference of its own. If another one, to which the dict's reference was lent,
   is dead, the object goes back into the dict. */
static void hw_put_back(hw_edges *edges, const hw_edge *edge)
{
    if (PyDict_Contains(edges->tombstones, edge->key) > 0 &&
        PyDict_SetItem(edges->objects, edge->key, edge->object) == 0)
        PyDict_DelItem(edges->tombstones, edge->key);
    PyErr_Clear();
}

/* Nothing is shown any more: the dict has everything that living wrappers showed. */
static void hw_end(hw_edges *edges)
{
    if (!edges->shown)
        return;
    edges->shown = 0;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(edges->registries); i++)
        ((hw_registry *)PyList_GET_ITEM(edges->registries, i))->edges = NULL;
    hw_array taken = edges->all;
    hw_edge *all = taken.items;
    edges->all = (hw_array){NULL, 0, 0};
    hw_empty(&edges->rest);
    for (size_t i = 0; edges->dropped && i < taken.count; i++)
        if (all[i].object != NULL && all[i].kind == HW_OWN)
            hw_put_back(edges, &all[i]);
    if (!PyObject_GC_IsTracked(edges->objects))
        PyObject_GC_Track(edges->objects);
    for (size_t i = 0; i < taken.count; i++) {
        if (all[i].object != NULL && all[i].kind == HW_OWN)
            Py_DECREF(all[i].object);
        Py_XDECREF(all[i].key);
    }
    free(all);
}
