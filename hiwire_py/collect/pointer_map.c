/* The type PointerMap: where a struct has its handles and its owning pointers, as layouts.py says. */

static PyObject *hw_map_new(PyTypeObject *type, PyObject *args, PyObject *named)
{
    PyObject *layout, *handles, *owned;
    unsigned long long size;
    (void)named;
    if (!PyArg_ParseTuple(args, "OKO!O!", &layout, &size, &PyTuple_Type, &handles, &PyTuple_Type, &owned))
        return NULL;
    hw_map *map = (hw_map *)type->tp_alloc(type, 0);
    if (map == NULL)
        return NULL;
    map->handles = PyTuple_GET_SIZE(handles);
    map->owned = PyTuple_GET_SIZE(owned);
    map->size = size;
    map->layout = layout;
    Py_INCREF(layout);
    map->offsets = calloc(map->handles + map->owned + 1, sizeof *map->offsets);
    map->targets = calloc(map->owned + 1, sizeof *map->targets);
    if (map->offsets == NULL || map->targets == NULL) {
        Py_DECREF(map);
        return PyErr_NoMemory();
    }
    for (Py_ssize_t i = 0; i < map->handles + map->owned; i++) {
        PyObject *offset =
            i < map->handles ? PyTuple_GET_ITEM(handles, i) : PyTuple_GET_ITEM(owned, i - map->handles);
        unsigned long word = PyLong_AsUnsignedLong(offset);
        if (PyErr_Occurred() || (uint64_t)word >= size / 4) {
            if (!PyErr_Occurred())
                PyErr_SetString(PyExc_ValueError, "a field is not within the struct");
            Py_DECREF(map);
            return NULL;
        }
        map->offsets[i] = (uint32_t)word;
    }
    return (PyObject *)map;
}

/* own(i, map): what the struct's i-th owning pointer points to; without it the pointer is not followed. */
static PyObject *hw_map_own(PyObject *self, PyObject *args)
{
    hw_map *map = (hw_map *)self;
    PyObject *target;
    Py_ssize_t i;
    if (!PyArg_ParseTuple(args, "nO!", &i, hw_map_type, &target))
        return NULL;
    if (i < 0 || i >= map->owned) {
        PyErr_SetString(PyExc_IndexError, "the struct has no such owning pointer");
        return NULL;
    }
    hw_map *old = map->targets[i];
    Py_INCREF(target);
    map->targets[i] = (hw_map *)target;
    Py_XDECREF(old);
    Py_RETURN_NONE;
}

static int hw_map_traverse(PyObject *self, visitproc visit, void *arg)
{
    hw_map *map = (hw_map *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(map->layout);
    for (Py_ssize_t i = 0; map->targets != NULL && i < map->owned; i++)
        Py_VISIT(map->targets[i]);
    return 0;
}

static int hw_map_clear(PyObject *self)
{
    hw_map *map = (hw_map *)self;
    for (Py_ssize_t i = 0; map->targets != NULL && i < map->owned; i++)
        Py_CLEAR(map->targets[i]);
    return 0; /* a mere layout makes no cycle, and errors name it */
}

static void hw_map_dealloc(PyObject *self)
{
    hw_map *map = (hw_map *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    hw_map_clear(self);
    Py_XDECREF(map->layout);
    free(map->offsets);
    free(map->targets);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef hw_map_methods[] = {{"own", hw_map_own, METH_VARARGS, NULL}, {NULL}};

static PyType_Slot hw_map_slots[] = {{Py_tp_new, hw_map_new},
                                       {Py_tp_traverse, hw_map_traverse},
                                       {Py_tp_clear, hw_map_clear},
                                       {Py_tp_dealloc, hw_map_dealloc},
                                       {Py_tp_methods, hw_map_methods},
                                       {0, NULL}};
