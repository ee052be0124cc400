/* What Python asks about the stack of the running thread, see stack.py. Comes after stack_end.h in the same translation
   unit. */

#include <Python.h>
#include <unistd.h>

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

/* Call the function `self` if there is stack left for a host function, and raise RuntimeError if not. */
static PyObject *hw_guard_call(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    char here;
    if ((uintptr_t)&here < hw_stack_host_end(hw_own_stack())) {
        PyErr_SetString(PyExc_RuntimeError, "call stack exhausted"); /* as the engine wasmer says it */
        return NULL;
    }
    PyObject *result;
    pthread_cleanup_push(hw_stop_thread, NULL);
    result = PyObject_Vectorcall(self, args, (size_t)count, NULL);
    pthread_cleanup_pop(0);
    return result;
}

static PyMethodDef hw_guard_method = {"guard", (PyCFunction)(void (*)(void))hw_guard_call, METH_FASTCALL, NULL};

static PyObject *hw_guarded(PyObject *module, PyObject *function)
{
    (void)module;
    return PyCFunction_New(&hw_guard_method, function);
}

/* What is left, how much may be used, and what the system would give. */
static PyObject *hw_look(PyObject *module, PyObject *unused)
{
    char here;
    hw_stack stack = hw_own_stack();
    (void)module, (void)unused;
    return Py_BuildValue("nnn", (Py_ssize_t)((uintptr_t)&here - stack.low), (Py_ssize_t)stack.size,
                         (Py_ssize_t)stack.whole);
}

static PyMethodDef hw_methods[] = {{"look", hw_look, METH_NOARGS, NULL}, {"guarded", hw_guarded, METH_O, NULL}};

/* Put the functions into a dict, by the dict's address. 0: there is no memory. */
static int hw_guard_into(intptr_t address)
{
    PyGILState_STATE state = PyGILState_Ensure(); /* cffi has let go of the lock */
    int good = 1;
    for (size_t i = 0; good && i < sizeof hw_methods / sizeof *hw_methods; i++) {
        PyObject *function = PyCFunction_New(&hw_methods[i], NULL);
        good = function != NULL && PyDict_SetItemString((PyObject *)address, hw_methods[i].ml_name, function) == 0;
        Py_XDECREF(function);
    }
    if (!good)
        PyErr_Clear();
    PyGILState_Release(state);
    return good;
}
