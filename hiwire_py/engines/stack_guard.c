/* Guard(function): calls the function if its thread has stack left for it, and raises RuntimeError if not.
   For the engine wasmer, see wasmer.py. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <structmember.h>

/* What Python may need for a host function: a thousand calls in each other of a kilobyte each. */
#define HW_NEEDED ((size_t)1 << 20)

typedef struct {
    PyObject_HEAD
    PyObject *function;
    vectorcallfunc vectorcall;
} hw_guard;

/* Below this address of its stack a thread begins no host function; 0: not looked up yet. */
static __thread uintptr_t end;

static uintptr_t hw_find_end(void)
{
    pthread_attr_t attributes;
    void *base = NULL;
    size_t size = 0;
    if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
        pthread_attr_getstack(&attributes, &base, &size);
        pthread_attr_destroy(&attributes);
    }
    return (uintptr_t)base + (size / 4 < HW_NEEDED ? size / 4 : HW_NEEDED) + 1;
}

static PyObject *hw_guard_call(PyObject *self, PyObject *const *args, size_t count, PyObject *names)
{
    char here;
    if (end == 0)
        end = hw_find_end();
    if ((uintptr_t)&here < end) {
        PyErr_SetString(PyExc_RuntimeError, "call stack exhausted"); /* as the engine says it */
        return NULL;
    }
    return PyObject_Vectorcall(((hw_guard *)self)->function, args, count, names);
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

/* Put the type into a dict, by the dict's address. 0: there is no memory. */
static int hw_guard_into(intptr_t address)
{
    PyGILState_STATE state = PyGILState_Ensure(); /* cffi has let go of the lock */
    PyObject *type = PyType_FromSpec(&hw_guard_spec);
    int good = type != NULL && PyDict_SetItemString((PyObject *)address, "Guard", type) == 0;
    Py_XDECREF(type);
    if (!good)
        PyErr_Clear();
    PyGILState_Release(state);
    return good;
}
