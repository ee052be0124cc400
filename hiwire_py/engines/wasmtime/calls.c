/* Calls between Python and wasmtime: see compiled.py for the Python side. An externref is an i32 here, as everywhere in a
   lowered module. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(_MSC_VER)
#define HW_THREAD __declspec(thread)
#else
#define HW_THREAD __thread
#endif

typedef struct hw_failure {
    struct hw_failure *next;
    wasm_trap_t *trap;
    wasmtime_error_t *error;
    int kind; /* one of the following */
} hw_failure;

/* What failed: wasmtime, as trap or error say; the call has not begun, since the thread's stack is too short for it; a
   host function raised, and the trap or error says nothing more. compiled.py knows these numbers. */
enum { HW_WASMTIME = 1, HW_STACK = 2, HW_RAISED = 3 };

struct hw_space {
    wasmtime_context_t *context;
    const void *thread; /* whose it is: the address of a variable that each thread has */
    hw_failure *failures; /* a stack: a finalizer may call, and fail, before a failure before it is looked at */
};

hw_api hw_wasmtime;

static HW_THREAD int hw_unwinding; /* a host function has raised, and the guest unwinds on account of that */

/* Below this address of its stack a thread begins no call; 0: not looked up yet. wasmtime counts what a guest uses from
   where the outermost call of its store begins, and does not know how much there is. */
static HW_THREAD uintptr_t hw_end;

enum { HW_FEW = 8 }; /* parameters or results for which no memory is asked for */

struct hw_func {
    hw_space *space;
    wasmtime_func_t func;
    size_t size; /* how many parameters or results, whichever are more */
    const char *params, *results; /* types: letters of python_calls.h */
    char types[1];
};

typedef struct {
    PyObject *function; /* hosts.py keeps it */
    const char *params, *results;
    char types[1];
} hw_host;

/* ---- spaces */

static hw_space *hw_space_new(intptr_t context)
{
    hw_space *space = calloc(1, sizeof *space);
    if (space != NULL) {
        space->context = (wasmtime_context_t *)context;
        space->thread = &hw_end;
    }
    return space;
}

/* The store becomes another one. */
static void hw_space_move(hw_space *space, intptr_t context) { space->context = (wasmtime_context_t *)context; }

/* What the last call that failed left, for the caller to delete; and its kind, or 0: there is none. */
static int hw_failure_take(hw_space *space, intptr_t *trap, intptr_t *error)
{
    hw_failure *failure = space->failures;
    int found;
    if (failure == NULL)
        return 0;
    found = failure->kind;
    space->failures = failure->next;
    *trap = (intptr_t)failure->trap;
    *error = (intptr_t)failure->error;
    free(failure);
    return found;
}

static void hw_delete(wasm_trap_t *trap, wasmtime_error_t *error)
{
    if (trap != NULL)
        hw_wasmtime.wasm_trap_delete(trap);
    if (error != NULL)
        hw_wasmtime.wasmtime_error_delete(error);
}

/* The store is gone, and so are its functions; this may come on any thread. */
static void hw_space_drop(hw_space *space)
{
    intptr_t trap, error;
    while (hw_failure_take(space, &trap, &error))
        hw_delete((wasm_trap_t *)trap, (wasmtime_error_t *)error);
    free(space);
}

/* ---- calls of exports */

static PyObject *hw_call(PyObject *self, PyObject *const *arguments, Py_ssize_t count);
static PyMethodDef hw_call_method = {"call", (PyCFunction)(void (*)(void))hw_call, METH_FASTCALL, NULL};

/* A function of an export, whose `call` is put into the dict `into`. It may be called until hw_func_drop. */
static hw_func *hw_func_new(hw_space *space, intptr_t func, const char *params, const char *results, intptr_t into)
{
    size_t given = strlen(params), gives = strlen(results);
    hw_func *f = calloc(1, sizeof *f + given + gives + 2);
    if (f == NULL)
        return NULL;
    if (!hw_put_function(&hw_call_method, f, into)) {
        free(f);
        return NULL;
    }
    f->space = space;
    f->func = *(wasmtime_func_t *)func;
    f->size = given > gives ? given : gives;
    f->params = strcpy(f->types, params);
    f->results = strcpy(f->types + given + 1, results);
    return f;
}

/* The same function in the store that the space has been moved to. */
static void hw_func_move(hw_func *f, intptr_t func) { f->func = *(wasmtime_func_t *)func; }

static void hw_func_drop(hw_func *f) { free(f); }

static int hw_fail(hw_space *space, int kind, wasm_trap_t *trap, wasmtime_error_t *error)
{
    hw_failure *failure = malloc(sizeof *failure);
    if (failure == NULL)
        abort(); /* not even 32 bytes: there is no way to say what went wrong */
    failure->kind = kind;
    failure->trap = trap;
    failure->error = error;
    failure->next = space->failures;
    space->failures = failure;
    return 1;
}

static int hw_stack_is_short(void)
{
    char here;
    if (hw_end == 0)
        hw_end = hw_stack_guest_end(hw_find_stack());
    return (uintptr_t)&here < hw_end;
}

/* Whether the guest that has just failed did so because a host function raised. It is told once. */
static int hw_unwound(void)
{
    int was = hw_unwinding;
    hw_unwinding = 0;
    return was;
}

/* Call with parameters and results in `values`. 1: it failed, and hw_failure_take says how. */
static int hw_enter(hw_func *f, wasmtime_val_raw_t *values)
{
    hw_space *space = f->space;
    wasm_trap_t *trap = NULL;
    wasmtime_error_t *error;
    if (hw_stack_is_short())
        return hw_fail(space, HW_STACK, NULL, NULL);
    error = hw_wasmtime.wasmtime_func_call_unchecked(space->context, &f->func, values, f->size, &trap);
    if (error == NULL && trap == NULL)
        return 0;
    if (!hw_unwound())
        return hw_fail(space, HW_WASMTIME, trap, error);
    hw_delete(trap, error);
    return hw_fail(space, HW_RAISED, NULL, NULL);
}

static PyObject *hw_results(const char *types, wasmtime_val_raw_t *values)
{
    if (types[0] == 0)
        Py_RETURN_TRUE;
    if (types[1] == 0)
        return hw_to_python(types[0], (hw_value *)values);
    return hw_tuple(types, values, sizeof *values);
}

/* The first argument is for hw_mark. Give the result, or a tuple of several, or True for none; False if the call
   failed; None if it has not begun: the thread is another one, or an argument does not fit. */
static PyObject *hw_call(PyObject *self, PyObject *const *arguments, Py_ssize_t count)
{
    hw_func *f = PyLong_AsVoidPtr(self);
    wasmtime_val_raw_t few[HW_FEW], *values = few;
    PyObject *result = NULL;
    int failed;
    (void)count;
    if (f->space->thread != &hw_end)
        Py_RETURN_NONE;
    if (f->size > HW_FEW && (values = PyMem_Malloc(f->size * sizeof *values)) == NULL)
        return PyErr_NoMemory();
    if (!hw_all_from_python(arguments + 1, f->params, values, sizeof *values)) {
        result = Py_None;
        Py_INCREF(result);
        goto done;
    }
    hw_mark(arguments[0]);
    Py_BEGIN_ALLOW_THREADS
    failed = hw_enter(f, values);
    Py_END_ALLOW_THREADS
    result = failed ? PyBool_FromLong(0) : hw_results(f->results, values);
done:
    if (values != few)
        PyMem_Free(values);
    return result;
}

/* ---- host functions */

static wasm_trap_t *hw_entry(intptr_t env, wasmtime_caller_t *caller, wasmtime_val_raw_t *values, size_t count)
{
    static const char message[] = "a host function raised an exception";
    const hw_host *h = (const hw_host *)env;
    (void)caller, (void)count;
    if (hw_call_python(h->function, h->params, h->results, values, values, sizeof *values))
        return NULL;
    hw_unwinding = 1;
    return hw_wasmtime.wasmtime_trap_new(message, sizeof message - 1);
}

static void hw_host_drop(intptr_t env) { free((hw_host *)env); }

/* Make the function of wasmtime that calls the Python function at an address. */
static int hw_host_new(hw_space *space, intptr_t function, intptr_t type, const char *params, const char *results,
                       intptr_t func)
{
    size_t given = strlen(params);
    hw_host *h = calloc(1, sizeof *h + given + strlen(results) + 2);
    if (h == NULL)
        return 0;
    h->function = (PyObject *)function;
    h->params = strcpy(h->types, params);
    h->results = strcpy(h->types + given + 1, results);
    hw_wasmtime.wasmtime_func_new_unchecked(space->context, (const wasm_functype_t *)type, hw_entry, (intptr_t)h,
                                            hw_host_drop, (wasmtime_func_t *)func);
    return 1;
}
