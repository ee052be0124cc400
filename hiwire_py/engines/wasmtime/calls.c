/* Calls between Python and wasmtime, one crossing of cffi each: see compiled.py for the Python side. An externref is an
   i32 here, as everywhere in a lowered module. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(_MSC_VER)
#include <intrin.h>
#define HW_THREAD __declspec(thread)
#define HW_ADD(at, n) (_InterlockedExchangeAdd64((volatile long long *)(at), (n)) + (n))
#else
#define HW_THREAD __thread
#define HW_ADD(at, n) __atomic_add_fetch((at), (n), __ATOMIC_ACQ_REL)
#endif

enum { HW_I32 = 0x7f };

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
    int64_t users; /* its functions that Python has, and 1 for the store: the last one frees it, on any thread */
    wasmtime_context_t *context;
    hw_failure *failures; /* a stack: a finalizer may call, and fail, before a failure before it is looked at */
};

hw_api hw_wasmtime;

static HW_THREAD int hw_raised;   /* the Python function that was called has raised */
static HW_THREAD int hw_unwinding; /* and the guest unwinds on account of that */

/* Below this address of its stack a thread begins no call; 0: not looked up yet. wasmtime counts what a guest uses from
   where the outermost call of its store begins, and does not know how much there is. */
static HW_THREAD uintptr_t hw_end;

struct hw_func {
    hw_space *space;
    wasmtime_func_t func;
    size_t size; /* of parameters or results, whichever are more */
    int gives; /* whether there are results */
};

typedef struct {
    int64_t index;
    int gives, shape;
    uint8_t codes[1]; /* of the parameters */
} hw_host;

/* ---- spaces */

static hw_space *hw_space_new(intptr_t context)
{
    hw_space *space = calloc(1, sizeof *space);
    if (space != NULL) {
        space->users = 1;
        space->context = (wasmtime_context_t *)context;
    }
    return space;
}

/* The store becomes another one. */
static void hw_space_move(hw_space *space, intptr_t context) { space->context = (wasmtime_context_t *)context; }

static void hw_space_unuse(hw_space *space)
{
    if (HW_ADD(&space->users, -1) == 0)
        free(space);
}

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

/* The store is gone; Python may still have functions of it. */
static void hw_space_drop(hw_space *space)
{
    intptr_t trap, error;
    while (hw_failure_take(space, &trap, &error))
        hw_delete((wasm_trap_t *)trap, (wasmtime_error_t *)error);
    hw_space_unuse(space);
}

/* ---- calls of exports */

static hw_func *hw_func_new(hw_space *space, intptr_t func, size_t params, size_t results)
{
    hw_func *f = calloc(1, sizeof *f);
    if (f == NULL)
        return NULL;
    f->space = space;
    HW_ADD(&space->users, 1);
    f->func = *(wasmtime_func_t *)func;
    f->size = params > results ? params : results;
    f->gives = results > 0;
    return f;
}

/* The same function in the store that the space has been moved to. */
static void hw_func_move(hw_func *f, intptr_t func) { f->func = *(wasmtime_func_t *)func; }

static void hw_func_drop(hw_func *f)
{
    hw_space_unuse(f->space);
    free(f);
}

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
static int hw_call(hw_func *f, wasmtime_val_raw_t *values)
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

/* The same for integers only, with at most one result, no i64: HW_FAILED cannot be a value of it. */
#define HW_FAILED INT64_MIN

static int64_t hw_call_values(hw_func *f, wasmtime_val_raw_t *values)
{
    if (hw_call(f, values))
        return HW_FAILED;
    return f->gives ? values[0].i32 : 0;
}

static int64_t hw_call_0(hw_func *f)
{
    wasmtime_val_raw_t v[1];
    return hw_call_values(f, v);
}

static int64_t hw_call_1(hw_func *f, int64_t a)
{
    wasmtime_val_raw_t v[1];
    v[0].i64 = a;
    return hw_call_values(f, v);
}

static int64_t hw_call_2(hw_func *f, int64_t a, int64_t b)
{
    wasmtime_val_raw_t v[2];
    v[0].i64 = a, v[1].i64 = b;
    return hw_call_values(f, v);
}

static int64_t hw_call_3(hw_func *f, int64_t a, int64_t b, int64_t c)
{
    wasmtime_val_raw_t v[3];
    v[0].i64 = a, v[1].i64 = b, v[2].i64 = c;
    return hw_call_values(f, v);
}

static int64_t hw_call_4(hw_func *f, int64_t a, int64_t b, int64_t c, int64_t d)
{
    wasmtime_val_raw_t v[4];
    v[0].i64 = a, v[1].i64 = b, v[2].i64 = c, v[3].i64 = d;
    return hw_call_values(f, v);
}

/* ---- host functions */

static int64_t hw_host_0(int64_t index);
static int64_t hw_host_1(int64_t index, int64_t a);
static int64_t hw_host_2(int64_t index, int64_t a, int64_t b);
static int64_t hw_host_3(int64_t index, int64_t a, int64_t b, int64_t c);
static int64_t hw_host_n(int64_t index, wasmtime_val_raw_t *values);

/* The Python function that this thread is in has raised an exception, and hosts.py has put it aside. */
static void hw_raise(void) { hw_raised = 1; }

static int64_t hw_integer(const hw_host *h, const wasmtime_val_raw_t *values, size_t i)
{
    return h->codes[i] == HW_I32 ? values[i].i32 : values[i].i64;
}

static wasm_trap_t *hw_entry(intptr_t env, wasmtime_caller_t *caller, wasmtime_val_raw_t *values, size_t count)
{
    static const char message[] = "a host function raised an exception";
    const hw_host *h = (const hw_host *)env;
    int64_t result;
    (void)caller, (void)count;
    switch (h->shape) {
    case 0: result = hw_host_0(h->index); break;
    case 1: result = hw_host_1(h->index, hw_integer(h, values, 0)); break;
    case 2: result = hw_host_2(h->index, hw_integer(h, values, 0), hw_integer(h, values, 1)); break;
    case 3:
        result = hw_host_3(h->index, hw_integer(h, values, 0), hw_integer(h, values, 1), hw_integer(h, values, 2));
        break;
    default: result = hw_host_n(h->index, values);
    }
    if (hw_raised) {
        hw_raised = 0;
        hw_unwinding = 1;
        return hw_wasmtime.wasmtime_trap_new(message, sizeof message - 1);
    }
    if (h->shape >= 0 && h->gives)
        values[0].i64 = result;
    return NULL;
}

static void hw_host_drop(intptr_t env) { free((hw_host *)env); }

/* Make the host function that calls Python with `index`; `shape` is the count of its parameters if all of them and the
   result, if any, are integers, else -1. */
static int hw_host_new(hw_space *space, int64_t index, intptr_t type, const uint8_t *codes, size_t params, int gives,
                       int shape, intptr_t func)
{
    hw_host *h = calloc(1, sizeof *h + params);
    if (h == NULL)
        return 0;
    h->index = index;
    h->gives = gives;
    h->shape = shape;
    if (params > 0)
        memcpy(h->codes, codes, params);
    hw_wasmtime.wasmtime_func_new_unchecked(space->context, (const wasm_functype_t *)type, hw_entry, (intptr_t)h,
                                            hw_host_drop, (wasmtime_func_t *)func);
    return 1;
}
