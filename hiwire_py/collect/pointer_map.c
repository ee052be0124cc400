/* The type PointerMap: where a struct has its handles and its owning pointers, as layouts.py says. */

/* PointerMap(layout, size, offsets, handles, targets): `offsets` are bytes, 32 bits for each field, of which the first
   `handles` are handles. `targets` is a list that takes the maps of what the owning pointers point to, in their order;
   pointers without one are not followed. */
static PyObject *hw_map_new(PyTypeObject *type, PyObject *args, PyObject *named)
{
    PyObject *layout, *bytes, *targets;
    unsigned long long size;
    Py_ssize_t handles;
    (void)named;
    if (!PyArg_ParseTuple(args, "OKSnO!", &layout, &size, &bytes, &handles, &PyList_Type, &targets))
        return NULL;
    const uint32_t *offsets = (const uint32_t *)(const void *)PyBytes_AS_STRING(bytes);
    Py_ssize_t fields = PyBytes_GET_SIZE(bytes) / (Py_ssize_t)sizeof *offsets;
    int within = size <= (uint64_t)1 << 32 && handles >= 0 && handles <= fields;
    for (Py_ssize_t i = 0; within && i < fields; i++)
        within = offsets[i] < size / 4;
    if (!within) {
        PyErr_SetString(PyExc_ValueError, "a field is not within the struct");
        return NULL;
    }
    hw_map *map = (hw_map *)type->tp_alloc(type, 0);
    if (map == NULL)
        return NULL;
    map->layout = Py_NewRef(layout);
    map->bytes = Py_NewRef(bytes);
    map->targets = Py_NewRef(targets);
    map->size = size;
    map->handles = handles;
    map->owned = fields - handles;
    map->offsets = offsets;
    return (PyObject *)map;
}

/* What the struct's i-th owning pointer points to; NULL: it is not followed. */
static hw_map *hw_map_target(const hw_map *map, Py_ssize_t i)
{
    PyObject *target = i < PyList_GET_SIZE(map->targets) ? PyList_GET_ITEM(map->targets, i) : NULL;
    return target != NULL && Py_TYPE(target) == hw_map_type ? (hw_map *)target : NULL;
}

/* There is no tp_clear: cycles of maps go through lists and layouts, which have one. */
static int hw_map_traverse(PyObject *self, visitproc visit, void *arg)
{
    hw_map *map = (hw_map *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(map->layout);
    Py_VISIT(map->targets);
    return 0;
}

static void hw_map_dealloc(PyObject *self)
{
    hw_map *map = (hw_map *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_DECREF(map->layout);
    Py_DECREF(map->bytes);
    Py_DECREF(map->targets);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot hw_map_slots[] = {{Py_tp_new, hw_map_new},
                                     {Py_tp_traverse, hw_map_traverse},
                                     {Py_tp_dealloc, hw_map_dealloc},
                                     {0, NULL}};
