/* Numbers on their way between Python and a guest, and calls of the Python functions behind a guest's imports: for
 * what is compiled into extension modules of Python. Types are letters: i, j, f, d for i32, i64, f32 and f64.
 */
#ifndef HW_PYTHON_CALLS_H
#define HW_PYTHON_CALLS_H

#include <Python.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

typedef union {
    int32_t i;
    int64_t j;
    float f;
    double d;
} hw_value;

/* What Python gave, if it is a number that fits; an i32 may be of either sign. */
static int hw_from_python(PyObject *given, char type, hw_value *value)
{
    int good;
    if (type == 'i' || type == 'j') {
        int64_t number = PyLong_AsLongLong(given);
        good = number != -1 || !PyErr_Occurred();
        if (type == 'j') {
            value->j = number;
        } else {
            value->i = (int32_t)(uint32_t)number;
            good = good && number >= INT32_MIN && number <= UINT32_MAX;
        }
    } else {
        double number = PyFloat_AsDouble(given);
        good = number != -1.0 || !PyErr_Occurred();
        if (type == 'f') {
            value->f = (float)number;
        } else {
            value->d = number;
        }
    }
    if (!good) {
        PyErr_Clear();
    }
    return good;
}

static PyObject *hw_to_python(char type, const hw_value *value)
{
    switch (type) {
    case 'i':
        return PyLong_FromLong(value->i);
    case 'j':
        return PyLong_FromLongLong(value->j);
    case 'f':
        return PyFloat_FromDouble(value->f);
    default:
        return PyFloat_FromDouble(value->d);
    }
}

/* A call from Python begins: write its depth into the list that is given, unless that is None. Its caller could
 * not do so after the thread was checked without a moment in between, at which a signal handler may call. */
static void hw_mark(PyObject *nesting)
{
    PyObject *one = nesting != Py_None ? PyLong_FromLong(1) : NULL;
    if (one != NULL) {
        PyList_SetItem(nesting, 0, one);
    }
}

static hw_value *hw_at(void *values, size_t stride, size_t index)
{
    return (hw_value *)(void *)((char *)values + index * stride);
}

/* As many numbers as there are types. 0: one does not fit. */
static int hw_all_from_python(PyObject *const *given, const char *types, void *values, size_t stride)
{
    for (size_t i = 0; types[i] != 0; i++) {
        if (!hw_from_python(given[i], types[i], hw_at(values, stride, i))) {
            return 0;
        }
    }
    return 1;
}

/* What a call gives: True for no results, the one, or a tuple of several. */
static PyObject *hw_results(const char *types, void *values, size_t stride)
{
    size_t count = strlen(types);
    PyObject *tuple;
    if (count == 0) {
        Py_RETURN_TRUE;
    }
    if (count == 1) {
        return hw_to_python(types[0], values);
    }
    tuple = PyTuple_New((Py_ssize_t)count);
    for (size_t i = 0; tuple != NULL && i < count; i++) {
        PyObject *one = hw_to_python(types[i], hw_at(values, stride, i));
        if (one == NULL) {
            Py_CLEAR(tuple);
        } else {
            PyTuple_SET_ITEM(tuple, (Py_ssize_t)i, one);
        }
    }
    return tuple;
}

/* Put a function of Python's own kind, which is given the address `self`, into the dict `into` under its name. 0: there
   is no memory for it. */
static int hw_put_function(PyMethodDef *method, void *self, intptr_t into)
{
    PyGILState_STATE state = PyGILState_Ensure(); /* cffi has let go of the lock */
    PyObject *address = PyLong_FromVoidPtr(self);
    PyObject *function = address != NULL ? PyCFunction_New(method, address) : NULL;
    int good = function != NULL && PyDict_SetItemString((PyObject *)into, method->ml_name, function) == 0;
    PyErr_Clear();
    Py_XDECREF(address);
    Py_XDECREF(function);
    PyGILState_Release(state);
    return good;
}

/* Call a function of a module of this package, with the arguments that `format` says, as of Py_BuildValue. */
static PyObject *hw_call_module(const char *module, const char *function, const char *format, ...)
{
    PyObject *imported = PyImport_ImportModule(module), *callable = NULL, *arguments = NULL, *result = NULL;
    va_list given;
    va_start(given, format);
    if (imported != NULL && (callable = PyObject_GetAttrString(imported, function)) != NULL &&
        (arguments = Py_VaBuildValue(format, given)) != NULL) {
        result = PyObject_CallObject(callable, arguments);
    }
    va_end(given);
    Py_XDECREF(imported), Py_XDECREF(callable), Py_XDECREF(arguments);
    return result;
}

/* Have hosts.py put the exception aside that was raised. What a signal handler raises meanwhile takes its place. */
static void hw_put_aside(void)
{
    for (int tries = 0; tries < 3; tries++) {
        PyObject *type, *error, *traceback, *done;
        PyErr_Fetch(&type, &error, &traceback);
        PyErr_NormalizeException(&type, &error, &traceback);
        if (traceback != NULL) {
            PyException_SetTraceback(error, traceback);
        }
        done = hw_call_module("hiwire_py.engines.hosts", "put_aside", "(O)", error);
        Py_XDECREF(type), Py_XDECREF(error), Py_XDECREF(traceback);
        if (done != NULL) {
            Py_DECREF(done);
            return;
        }
    }
    PyErr_Clear();
}

/* Call a host function, from a thread that does not have Python's lock.
 *
 * params, results: the types.
 * given, got: the parameters, and where the results go: one every `stride` bytes. They may be the same place.
 * Returns 0 if it raised: the exception has been put aside. */
static int hw_call_python(PyObject *function, const char *params, const char *results, void *given, void *got,
                          size_t stride)
{
    enum { FEW = 8 };
    PyGILState_STATE state = PyGILState_Ensure();
    size_t count = strlen(params), wanted = strlen(results), made = 0;
    PyObject *few[FEW + 1], **arguments = count <= FEW ? few : PyMem_Malloc((count + 1) * sizeof *few), *result = NULL;
    int good = 0;
    if (arguments == NULL) {
        PyErr_NoMemory();
    }
    while (arguments != NULL && made < count &&
           (arguments[made + 1] = hw_to_python(params[made], hw_at(given, stride, made))) != NULL) {
        made++;
    }
    if (arguments != NULL && made == count) {
        result = PyObject_Vectorcall(function, arguments + 1, count | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    }
    if (result != NULL && wanted > 1) {
        good = PyTuple_Check(result) && (size_t)PyTuple_Size(result) == wanted &&
               hw_all_from_python(PySequence_Fast_ITEMS(result), results, got, stride);
    } else if (result != NULL) {
        good = hw_all_from_python(&result, results, got, stride);
    }
    if (result != NULL && !good) {
        PyErr_SetString(PyExc_SystemError, "the code around a host function returned what does not fit its type");
    }
    Py_XDECREF(result);
    for (size_t i = 0; i < made; i++) {
        Py_DECREF(arguments[i + 1]);
    }
    if (arguments != few) {
        PyMem_Free(arguments);
    }
    if (!good) {
        hw_put_aside();
    }
    PyGILState_Release(state);
    return good;
}

#endif
