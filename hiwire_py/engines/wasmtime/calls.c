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

hw_api hw_wasmtime;

static HW_THREAD int hw_unwinding; /* a host function has raised, and the guest unwinds on account of that */

/* Below this address of its stack a thread begins no call; 0: not looked up yet. wasmtime counts what a guest uses from
   where the outermost call of its store begins, and does not know how much there is. */
static HW_THREAD uintptr_t hw_end;

enum { HW_FEW = 8 }; /* parameters or results for which no memory is asked for */

/* A function that crosses, either way. */
typedef struct {
    wasmtime_context_t *context;
    wasmtime_func_t func;
    const void *thread; /* see hw_thread */
    PyObject *function; /* behind an import; hosts.py keeps it */
    size_t size; /* how many parameters or results, whichever are more */
    const char *params, *results; /* types: letters of python_calls.h */
    char types[1];
} hw_func;

static hw_func *hw_new(const char *params, const char *results)
{
    size_t given = strlen(params), gives = strlen(results);
    hw_func *f = calloc(1, sizeof *f + given + gives + 2);
    if (f != NULL) {
        f->size = given > gives ? given : gives;
        f->params = strcpy(f->types, params);
        f->results = strcpy(f->types + given + 1, results);
    }
    return f;
}

/* ---- calls of exports */

static PyObject *hw_call(PyObject *self, PyObject *const *arguments, Py_ssize_t count);
static PyMethodDef hw_call_method = {"call", (PyCFunction)(void (*)(void))hw_call, METH_FASTCALL, NULL};

/* What stands for the running thread: the address of a variable that each thread has. */
static intptr_t hw_thread(void) { return (intptr_t)&hw_end; }

/* A function of an export, whose `call` is put into the dict `into`. Only the thread that owns the store may call it, and
   that until hw_func_drop. NULL: there is no memory for it. */
static void *hw_func_new(intptr_t thread, const char *params, const char *results, intptr_t into)
{
    hw_func *f = hw_new(params, results);
    if (f != NULL)
        f->thread = (const void *)thread;
    if (f != NULL && !hw_put_function(&hw_call_method, f, into)) {
        free(f);
        return NULL;
    }
    return f;
}

/* What it calls: it has to be told before its first call, and again when the store has become another one. */
static void hw_func_target(void *function, intptr_t context, intptr_t func)
{
    hw_func *f = function;
    f->context = (wasmtime_context_t *)context;
    f->func = *(wasmtime_func_t *)func;
}

/* This may come on any thread. */
static void hw_func_drop(void *function) { free(function); }

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

/* As `compiled_form` in calls.py has it. */
static PyObject *hw_call(PyObject *self, PyObject *const *arguments, Py_ssize_t count)
{
    hw_func *f = PyLong_AsVoidPtr(self);
    wasmtime_val_raw_t few[HW_FEW], *values = few;
    wasm_trap_t *trap = NULL;
    wasmtime_error_t *error = NULL;
    PyObject *result = NULL;
    int is_short;
    (void)count;
    if (f->thread != &hw_end)
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
    is_short = hw_stack_is_short();
    if (!is_short)
        error = hw_wasmtime.wasmtime_func_call_unchecked(f->context, &f->func, values, f->size, &trap);
    Py_END_ALLOW_THREADS
    if (is_short || error != NULL || trap != NULL)
        result = hw_call_module("hiwire_py.engines.wasmtime.compiled", "fail", "(inn)", hw_unwound(), (Py_ssize_t)trap,
                                (Py_ssize_t)error);
    else
        result = hw_results(f->results, values, sizeof *values);
done:
    if (values != few)
        PyMem_Free(values);
    return result;
}

/* ---- host functions */

static wasm_trap_t *hw_entry(intptr_t env, wasmtime_caller_t *caller, wasmtime_val_raw_t *values, size_t count)
{
    static const char message[] = "a host function raised an exception";
    const hw_func *h = (const hw_func *)env;
    (void)caller, (void)count;
    if (hw_call_python(h->function, h->params, h->results, values, values, sizeof *values))
        return NULL;
    hw_unwinding = 1;
    return hw_wasmtime.wasmtime_trap_new(message, sizeof message - 1);
}

static void hw_host_drop(intptr_t env) { free((hw_func *)env); }

/* Make the function of wasmtime that calls the Python function at an address. */
static int hw_host_new(intptr_t context, intptr_t function, intptr_t type, const char *params, const char *results,
                       intptr_t func)
{
    hw_func *h = hw_new(params, results);
    if (h == NULL)
        return 0;
    h->function = (PyObject *)function;
    hw_wasmtime.wasmtime_func_new_unchecked((wasmtime_context_t *)context, (const wasm_functype_t *)type, hw_entry,
                                            (intptr_t)h, hw_host_drop, (wasmtime_func_t *)func);
    return 1;
}
