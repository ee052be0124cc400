/* The type Edges: what the wrappers of some guests refer to, for one collection; and the module. */

/* end(): see hw_end. Afterwards these edges take and show no more. */
static PyObject *hw_edges_end(PyObject *self, PyObject *unused)
{
    (void)unused;
    ((hw_edges *)self)->over = 1;
    hw_end((hw_edges *)self);
    Py_RETURN_NONE;
}

/* Edges(none): none is what stands in memory where there is no reference. */
static PyObject *hw_edges_new(PyTypeObject *type, PyObject *args, PyObject *named)
{
    unsigned int none;
    (void)named;
    if (!PyArg_ParseTuple(args, "I", &none))
        return NULL;
    hw_edges *edges = (hw_edges *)type->tp_alloc(type, 0);
    if (edges == NULL)
        return NULL;
    edges->none = none;
    edges->registries = PyList_New(0);
    edges->mistaken = PySet_New(NULL);
    if (edges->registries == NULL || edges->mistaken == NULL)
        Py_CLEAR(edges);
    return (PyObject *)edges;
}

static int hw_edges_traverse(PyObject *self, visitproc visit, void *arg)
{
    hw_edges *edges = (hw_edges *)self;
    PyObject **rest = edges->rest.items;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(edges->registries);
    Py_VISIT(edges->mistaken);
    Py_VISIT(edges->objects);
    Py_VISIT(edges->tombstones);
    for (size_t i = 0; edges->shown && i < edges->rest.count; i++)
        Py_VISIT(rest[i]);
    return 0;
}

static int hw_edges_clear(PyObject *self)
{
    hw_end((hw_edges *)self);
    return 0;
}

static void hw_edges_dealloc(PyObject *self)
{
    hw_edges *edges = (hw_edges *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    hw_end(edges);
    hw_forget_memories(edges);
    hw_empty(&edges->all), hw_empty(&edges->again), hw_empty(&edges->keep), hw_empty(&edges->rest);
    Py_XDECREF(edges->registries);
    Py_XDECREF(edges->mistaken);
    Py_XDECREF(edges->objects);
    Py_XDECREF(edges->tombstones);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef hw_edges_methods[] = {{"add", hw_edges_add, METH_VARARGS, NULL},
                                         {"show", hw_edges_show, METH_VARARGS, NULL},
                                         {"end", hw_edges_end, METH_NOARGS, NULL},
                                         {NULL}};

static PyType_Slot hw_edges_slots[] = {{Py_tp_new, hw_edges_new},
                                       {Py_tp_traverse, hw_edges_traverse},
                                       {Py_tp_clear, hw_edges_clear},
                                       {Py_tp_dealloc, hw_edges_dealloc},
                                       {Py_tp_methods, hw_edges_methods},
                                       {0, NULL}};

/* ---- the module */

#define HW_FLAGS (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC)
#define HW_NAME "hiwire_py.collect."

static struct {
    PyType_Spec spec;
    PyTypeObject **type;
} hw_all_types[] = {
    {{HW_NAME "PointerMap", sizeof(hw_map), 0, HW_FLAGS, hw_map_slots}, &hw_map_type},
    {{HW_NAME "RegistryBase", sizeof(hw_registry), 0, HW_FLAGS | Py_TPFLAGS_BASETYPE, hw_registry_slots},
     &hw_registry_type},
    {{HW_NAME "WrapperBase", sizeof(hw_wrapper), 0, HW_FLAGS | Py_TPFLAGS_BASETYPE, hw_wrapper_slots},
     &hw_wrapper_type},
    {{HW_NAME "Edges", sizeof(hw_edges), 0, HW_FLAGS, hw_edges_slots}, &hw_edges_type},
};

/* Put the types into a dict, whose address is given. 0: there is no memory for them. */
static int hw_types_into(intptr_t address)
{
    PyGILState_STATE state = PyGILState_Ensure();
    PyObject *into = (PyObject *)address;
    int good = 1;
    for (size_t i = 0; good && i < sizeof hw_all_types / sizeof *hw_all_types; i++) {
        PyType_Spec *spec = &hw_all_types[i].spec;
        PyTypeObject **type = hw_all_types[i].type;
        if (*type == NULL)
            *type = (PyTypeObject *)PyType_FromSpec(spec);
        good = *type != NULL &&
               PyDict_SetItemString(into, spec->name + strlen(HW_NAME), (PyObject *)*type) == 0;
    }
    if (!good)
        PyErr_Clear();
    PyGILState_Release(state);
    return good;
}
