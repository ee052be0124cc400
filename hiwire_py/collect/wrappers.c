/* The types WrapperBase and RegistryBase. A registry has the wrappers of one guest in a list, and the structs of those
   that are dead until Python has them freed. */

/* ---- registries */

static PyObject *hw_registry_new(PyTypeObject *type, PyObject *args, PyObject *named)
{
    hw_registry *registry = (hw_registry *)type->tp_alloc(type, 0);
    (void)args, (void)named; /* those of a subclass's __init__ */
    if (registry != NULL) {
        registry->last_dead = &registry->dead;
        registry->live = PySet_New(NULL);
        if (registry->live == NULL)
            Py_CLEAR(registry);
    }
    return (PyObject *)registry;
}

/* enter(wrapper, pointer, map, free): the wrapper owns the struct from now on. */
static PyObject *hw_registry_enter(PyObject *self, PyObject *args)
{
    hw_registry *registry = (hw_registry *)self;
    PyObject *object, *map, *free_;
    unsigned int pointer;
    if (!PyArg_ParseTuple(args, "O!IO!O", hw_wrapper_type, &object, &pointer, hw_map_type, &map, &free_))
        return NULL;
    hw_wrapper *wrapper = (hw_wrapper *)object;
    if (wrapper->registry != NULL) {
        PyErr_SetString(PyExc_TypeError, "the wrapper has a struct already");
        return NULL;
    }
    hw_struct *owned = malloc(sizeof *owned);
    if (owned == NULL)
        return PyErr_NoMemory();
    PyObject *number = PyLong_FromUnsignedLong(pointer);
    if (number == NULL || PySet_Add(registry->live, number) < 0) {
        Py_XDECREF(number);
        free(owned);
        return NULL;
    }
    Py_DECREF(number);
    Py_INCREF(self), Py_INCREF(map), Py_INCREF(free_);
    owned->free = free_;
    owned->pointer = pointer;
    owned->next = NULL;
    wrapper->owned = owned;
    wrapper->pointer = pointer;
    wrapper->map = (hw_map *)map;
    wrapper->count = 0;
    wrapper->next = registry->wrappers;
    wrapper->before = &registry->wrappers;
    if (wrapper->next != NULL)
        wrapper->next->before = &wrapper->next;
    registry->wrappers = wrapper;
    wrapper->registry = registry;
    Py_RETURN_NONE;
}

static hw_struct *hw_registry_take_dead(hw_registry *registry)
{
    hw_struct *owned = registry->dead;
    if (owned != NULL) {
        registry->dead = owned->next;
        if (registry->dead == NULL)
            registry->last_dead = &registry->dead;
        registry->waiting--;
    }
    return owned;
}

/* next_free() -> what frees the struct whose wrapper is dead for the longest time, or None. */
static PyObject *hw_registry_next_free(PyObject *self, PyObject *unused)
{
    hw_struct *owned = ((hw_registry *)self)->dead;
    (void)unused;
    return Py_NewRef(owned == NULL ? Py_None : owned->free);
}

/* next_dead(free) -> that struct's pointer as a signed integer, or None if something else frees it. It is the caller's
   now, and not in `live` any more. */
static PyObject *hw_registry_next_dead(PyObject *self, PyObject *free_)
{
    hw_registry *registry = (hw_registry *)self;
    if (registry->dead == NULL || registry->dead->free != free_)
        Py_RETURN_NONE;
    PyObject *taken = PyLong_FromLong((int32_t)registry->dead->pointer);
    PyObject *pointer = PyLong_FromUnsignedLong(registry->dead->pointer);
    if (taken == NULL || pointer == NULL || PySet_Discard(registry->live, pointer) < 0) {
        Py_XDECREF(taken), Py_XDECREF(pointer);
        return NULL;
    }
    Py_DECREF(pointer);
    free(hw_registry_take_dead(registry));
    Py_DECREF(free_); /* not the last one: the caller has another */
    return taken;
}

static int hw_registry_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    for (hw_struct *owned = ((hw_registry *)self)->dead; owned != NULL; owned = owned->next)
        Py_VISIT(owned->free);
    Py_VISIT(((hw_registry *)self)->live);
    return 0;
}

static int hw_registry_clear(PyObject *self)
{
    hw_registry *registry = (hw_registry *)self;
    for (hw_struct *owned; (owned = hw_registry_take_dead(registry)) != NULL;) {
        Py_DECREF(owned->free);
        free(owned);
    }
    return 0;
}

static void hw_registry_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_CLEAR(((hw_registry *)self)->live);
    hw_registry_clear(self); /* no wrapper is left: each holds its registry; as do edges that are shown */
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef hw_registry_methods[] = {{"enter", hw_registry_enter, METH_VARARGS, NULL},
                                         {"next_free", hw_registry_next_free, METH_NOARGS, NULL},
                                         {"next_dead", hw_registry_next_dead, METH_O, NULL},
                                         {NULL}};

static PyMemberDef hw_registry_members[] = {
    {"waiting", Py_T_PYSSIZET, offsetof(hw_registry, waiting), Py_READONLY, NULL},
    {"live", Py_T_OBJECT_EX, offsetof(hw_registry, live), Py_READONLY, NULL},
    {NULL}};

static PyType_Slot hw_registry_slots[] = {{Py_tp_new, hw_registry_new},
                                       {Py_tp_traverse, hw_registry_traverse},
                                       {Py_tp_clear, hw_registry_clear},
                                       {Py_tp_dealloc, hw_registry_dealloc},
                                       {Py_tp_methods, hw_registry_methods},
                                       {Py_tp_members, hw_registry_members},
                                       {0, NULL}};

/* ---- wrappers */

static int hw_wrapper_traverse(PyObject *self, visitproc visit, void *arg)
{
    hw_wrapper *wrapper = (hw_wrapper *)self;
    Py_VISIT(Py_TYPE(self));
    if (wrapper->registry == NULL)
        return 0;
    Py_VISIT(wrapper->registry);
    Py_VISIT(wrapper->map);
    Py_VISIT(wrapper->owned->free);
    if (wrapper->registry->edges != NULL)
        return hw_edges_visit(wrapper->registry->edges, wrapper, visit, arg);
    return 0;
}

/* Python takes a cycle apart. What the struct holds goes; what the struct itself needs to be freed does not. */
static int hw_wrapper_clear(PyObject *self)
{
    hw_wrapper *wrapper = (hw_wrapper *)self;
    if (wrapper->registry != NULL && wrapper->registry->edges != NULL)
        hw_edges_drop(wrapper->registry->edges, wrapper);
    return 0;
}

static void hw_wrapper_dealloc(PyObject *self)
{
    hw_wrapper *wrapper = (hw_wrapper *)self;
    PyTypeObject *type = Py_TYPE(self);
    hw_registry *registry = wrapper->registry;
    PyObject_GC_UnTrack(self);
    if (registry != NULL) {
        hw_wrapper_clear(self);
        *wrapper->before = wrapper->next;
        if (wrapper->next != NULL)
            wrapper->next->before = wrapper->before;
        *registry->last_dead = wrapper->owned;
        registry->last_dead = &wrapper->owned->next;
        registry->waiting++;
        wrapper->registry = NULL;
        Py_DECREF(wrapper->map);
        Py_DECREF(registry);
    }
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMemberDef hw_wrapper_members[] = {
    {"_guest_registry", Py_T_OBJECT_EX, offsetof(hw_wrapper, registry), Py_READONLY, NULL},
    {"_guest_pointer", Py_T_UINT, offsetof(hw_wrapper, pointer), Py_READONLY, NULL},
    {NULL}};

static PyType_Slot hw_wrapper_slots[] = {{Py_tp_traverse, hw_wrapper_traverse},
                                         {Py_tp_clear, hw_wrapper_clear},
                                         {Py_tp_dealloc, hw_wrapper_dealloc},
                                         {Py_tp_members, hw_wrapper_members},
                                         {0, NULL}};
