/* The bookkeeping of ids as a type of Python: see ids.py for what an id is, and python_ids.py for the same in
   Python, which says what each method means. ids_lists.c, ids_release.c and ids_sweep.c come before this
   file, in its unit.

   Each method is one call from Python, into which neither a signal handler nor Python's collector comes.
   Foreign code runs in three places only, and what it may do is seen to there: where the runtime is asked for
   more records, where the space does what is pending, and where dead objects are dropped. Those have been
   collected in an array before, and all else is in order by then. */

static PyObject *hw_ids_hold(PyObject *self, PyObject *value)
{
    hw_ids *ids = (hw_ids *)self;
    PyObject *number = hw_ids_give(self, value);
    ids->floor = ids->flight.count;
    return number;
}

static PyObject *hw_done(hw_dead *dead, int good)
{
    hw_drop_dead(dead);
    if (!good) {
        return NULL;
    }
    Py_RETURN_NONE;
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
            ids->flight.count = ids->waiting.count = 0;
            PyDict_Clear(ids->objects);
            PyDict_Clear(ids->tombstones);
            Py_RETURN_NONE;
        }
    }
    hw_begin_dead(&dead);
    int good = hw_take_zombies(ids) && hw_release_list(ids, &ids->flight, 0, &dead) &&
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

static PyObject *hw_ids_enter(PyObject *self, PyObject *interrupting)
{
    hw_ids *ids = (hw_ids *)self;
    int interrupts = PyObject_IsTrue(interrupting);
    if (interrupts < 0) {
        return NULL;
    }
    /* Python's collector may run as the tuple is made: that leaves these numbers as they are. */
    PyObject *mark = Py_BuildValue("nInni", ids->flight.count, (unsigned)ids->state[HW_STATE_FRAMES_END],
                                   ids->floor, ids->limit, (int)ids->unsettled);
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
    if (count > 0 && !hw_read_mark(args[0], &level)) {
        return NULL;
    }
    state[HW_STATE_FRAMES_END] = level.frames_end;
    Py_RETURN_NONE;
}

static PyObject *hw_ids_exit(PyObject *self, PyObject *mark)
{
    hw_ids *ids = (hw_ids *)self;
    hw_level level;
    hw_dead dead;
    if (!hw_read_mark(mark, &level)) {
        return NULL;
    }
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
    if ((Py_ssize_t)ids->state[HW_STATE_ZOMBIE_COUNT] > ids->patience || ids->flight.count > ids->limit) {
        return hw_ids_sweep(self, unused);
    }
    Py_RETURN_NONE;
}

static PyObject *hw_ids_moved(PyObject *self, PyObject *base)
{
    hw_ids *ids = (hw_ids *)self;
    unsigned long long address = PyLong_AsUnsignedLongLong(base);
    if (PyErr_Occurred()) {
        return NULL;
    }
    ids->base = (char *)(uintptr_t)address;
    ids->state = (uint32_t *)(ids->base + ids->state_at);
    Py_RETURN_NONE;
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
    if (!PyArg_ParseTuple(args, "KKOOnOK", &base, &state, &reserve, &settle, &patience, &null, &seed)) {
        return NULL;
    }
    hw_ids *ids = (hw_ids *)type->tp_alloc(type, 0);
    if (ids == NULL) {
        return NULL;
    }
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
    {"enter", hw_ids_enter, METH_O, NULL},
    {"unwind", (PyCFunction)(void (*)(void))hw_ids_unwind, METH_FASTCALL, NULL},
    {"exit", hw_ids_exit, METH_O, NULL},
    {"tidy", hw_ids_tidy, METH_NOARGS, NULL},
    {"sweep", hw_ids_sweep, METH_NOARGS, NULL},
    {"moved", hw_ids_moved, METH_O, NULL},
    {NULL}};

static PyMemberDef hw_ids_members[] = {
    {"objects", Py_T_OBJECT_EX, offsetof(hw_ids, objects), Py_READONLY, NULL},
    {"tombstones", Py_T_OBJECT_EX, offsetof(hw_ids, tombstones), Py_READONLY, NULL},
    {NULL}};

static PyType_Slot hw_ids_slots[] = {{Py_tp_new, hw_ids_new},         {Py_tp_traverse, hw_ids_traverse},
                                     {Py_tp_dealloc, hw_ids_dealloc}, {Py_tp_methods, hw_ids_methods},
                                     {Py_tp_members, hw_ids_members}, {Py_nb_bool, hw_ids_bool},
                                     {0, NULL}};

static PyType_Spec hw_ids_spec = {"hiwire_py.objects.Ids", sizeof(hw_ids), 0,
                                  Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, hw_ids_slots};

/* Put the type into a dict, whose address is given. 0: there is no memory for it. */
static int hw_ids_into(intptr_t address)
{
    PyGILState_STATE state = PyGILState_Ensure();
    PyObject *type = PyType_FromSpec(&hw_ids_spec);
    int good = type != NULL && PyDict_SetItemString((PyObject *)address, "Ids", type) == 0;
    Py_XDECREF(type);
    if (!good) {
        PyErr_Clear();
    }
    PyGILState_Release(state);
    return good;
}
