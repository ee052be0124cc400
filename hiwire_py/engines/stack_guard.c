/* What Python asks about the stack of the running thread, see stack.py, and Guard(function), which calls the function
   if there is stack left for a host function, and raises RuntimeError if not. Comes after stack_end.h in the same
   translation unit. */

#include <structmember.h>
#include <unistd.h>

typedef struct {
    PyObject_HEAD
    PyObject *function;
    vectorcallfunc vectorcall;
} hw_guard;

/* What this thread may use; `size` is 0 until it has been looked up. */
static __thread hw_stack own;

static hw_stack hw_own_stack(void)
{
    if (own.size == 0)
        own = hw_find_stack();
    return own;
}

/* When the interpreter exits, it ends daemon threads with pthread_exit as soon as they want to go on, which unwinds their
   stacks; but the engine's frames may not be unwound: the process would be aborted. So the thread stops here, for the
   moment that the process still has. (Pythons from 3.14 on stop all of them in this way.) */
static void hw_stop_thread(void *unused)
{
    (void)unused;
    for (;;)
        pause();
}

static PyObject *hw_guard_call(PyObject *self, PyObject *const *args, size_t count, PyObject *names)
{
    char here;
    if ((uintptr_t)&here < hw_stack_host_end(hw_own_stack())) {
        PyErr_SetString(PyExc_RuntimeError, "call stack exhausted"); /* as the engine wasmer says it */
        return NULL;
    }
    PyObject *result;
    pthread_cleanup_push(hw_stop_thread, NULL);
    result = PyObject_Vectorcall(((hw_guard *)self)->function, args, count, names);
    pthread_cleanup_pop(0);
    return result;
}

static PyObject *hw_guard_new(PyTypeObject *type, PyObject *args, PyObject *named)
{
    PyObject *function;
    if (!PyArg_ParseTuple(args, "O", &function))
        return NULL;
    (void)named;
    hw_guard *guard = (hw_guard *)type->tp_alloc(type, 0);
    if (guard != NULL) {
        Py_INCREF(function);
        guard->function = function;
        guard->vectorcall = hw_guard_call;
    }
    return (PyObject *)guard;
}

static void hw_guard_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    Py_CLEAR(((hw_guard *)self)->function);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMemberDef hw_guard_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(hw_guard, vectorcall), READONLY, NULL}, {NULL}};

static PyType_Slot hw_guard_slots[] = {{Py_tp_new, hw_guard_new},
                                       {Py_tp_dealloc, hw_guard_dealloc},
                                       {Py_tp_call, PyVectorcall_Call},
                                       {Py_tp_members, hw_guard_members},
                                       {0, NULL}};

static PyType_Spec hw_guard_spec = {"hiwire_py.engines.Guard", sizeof(hw_guard), 0,
                                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL, hw_guard_slots};

/* What is left, how much may be used, and what the system would give. */
static PyObject *hw_look(PyObject *module, PyObject *unused)
{
    char here;
    hw_stack stack = hw_own_stack();
    (void)module, (void)unused;
    return Py_BuildValue("nnn", (Py_ssize_t)((uintptr_t)&here - stack.low), (Py_ssize_t)stack.size,
                         (Py_ssize_t)stack.whole);
}

static PyMethodDef hw_look_method = {"look", hw_look, METH_NOARGS, NULL};

/* Put the type and the function into a dict, by the dict's address. 0: there is no memory. */
static int hw_guard_into(intptr_t address)
{
    PyGILState_STATE state = PyGILState_Ensure(); /* cffi has let go of the lock */
    PyObject *into = (PyObject *)address, *type = PyType_FromSpec(&hw_guard_spec);
    PyObject *look = PyCFunction_New(&hw_look_method, NULL);
    int good = type != NULL && look != NULL && PyDict_SetItemString(into, "Guard", type) == 0 &&
               PyDict_SetItemString(into, "look", look) == 0;
    Py_XDECREF(type);
    Py_XDECREF(look);
    if (!good)
        PyErr_Clear();
    PyGILState_Release(state);
    return good;
}
