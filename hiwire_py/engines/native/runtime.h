/* What the C of wasm2c needs at run time, for the engine `native`.
 *
 * This file is compiled into each library that hiwire_py makes of a module, between wasm2c's own declarations
 * (wasm-rt.h) and its output. It stands in for wasm2c's runtime because that one
 *   - moves memories when they grow (older releases), which views of them do not survive;
 *   - installs signal handlers, in a process that is Python's and other engines';
 *   - knows one thread, or one counter of calls, where here a guest may call Python, and that a guest again.
 *
 * Here memories never move, bounds are checked, and the end of the stack is seen by comparing the stack pointer.
 *
 * A trap jumps to the innermost entry from Python: between the two there are C frames only, because a host
 * function that raises is done before the trap begins (see hw_call_python).
 *
 * Several libraries work as one: the first that is loaded lends the others its `hw_runtime`.
 *
 * The generator (source.py) defines HW_MEMORY_ARGUMENTS: how many wasm_rt_allocate_memory takes
 * after the memory, by which wasm2c's releases differ.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "../python_calls.h"
#include "../stack_end.h"

/* ---- threads and traps */

/* Why a call failed is said by the name of its trap, or one of these, for which engine.py raises something else. */
#define HW_HOST_RAISED "a host function raised"
#define HW_NO_MEMORY "no memory"

typedef struct {
    jmp_buf *target;      /* of the innermost entry */
    uintptr_t stack_limit; /* guests stop when the stack pointer is below */
    pthread_t self;
    const char *why;
} hw_thread;

typedef struct {
    hw_thread *(*thread)(void);
    __attribute__((noreturn)) void (*trap)(const char *why);
    uint32_t (*register_type)(char *type);
} hw_runtime;

static _Thread_local hw_thread hw_own_thread;

/* Left for host functions, and for guest functions with large frames, which look before they use them. */
#define HW_MOST_RESERVED ((size_t)2 << 20)

static hw_thread *hw_this_thread(void) {
    hw_thread *thread = &hw_own_thread;
    if (__builtin_expect(!thread->stack_limit, 0)) {
        hw_stack stack = hw_find_stack();
        thread->self = pthread_self();
        thread->stack_limit = stack.low + hw_stack_share(stack, HW_MOST_RESERVED);
    }
    return thread;
}

static __attribute__((noreturn)) void hw_unwind(const char *why) {
    hw_thread *thread = hw_this_thread();
    thread->why = why;
    longjmp(*thread->target, 1);
}

/* Types get the same number in all libraries if they are the same. Only wasm2c before 1.0.33 asks for numbers. */
static uint32_t hw_number_type(char *type) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static char **known;
    static uint32_t count;
    uint32_t number = 0;
    pthread_mutex_lock(&lock);
    while (number < count && strcmp(known[number], type) != 0) {
        number++;
    }
    if (number == count) {
        char **more = realloc(known, (count + 1) * sizeof *known);
        if (!more) {
            abort(); /* while a library is loaded: nothing has run yet */
        }
        known = more;
        known[count++] = type;
    } else {
        free(type);
    }
    pthread_mutex_unlock(&lock);
    return number + 1; /* 0 is the type of null */
}

static hw_runtime hw_own_runtime = {hw_this_thread, hw_unwind, hw_number_type};
static hw_runtime *hw = &hw_own_runtime;

/* wasm2c reports tables and memories as one; its helpers for tables have the word in their names. */
static __attribute__((noreturn, cold)) void hw_trap(wasm_rt_trap_t trap, const char *function) {
    static const char *const known[] = {
        [WASM_RT_TRAP_UNREACHABLE] = "unreachable",
        [WASM_RT_TRAP_DIV_BY_ZERO] = "integer divide by zero",
        [WASM_RT_TRAP_INT_OVERFLOW] = "integer overflow",
        [WASM_RT_TRAP_INVALID_CONVERSION] = "invalid conversion to integer",
        [WASM_RT_TRAP_OOB] = "out of bounds memory access",
        [WASM_RT_TRAP_CALL_INDIRECT] = "indirect call type mismatch",
        [WASM_RT_TRAP_EXHAUSTION] = "call stack exhausted",
    };
    const char *why = (size_t)trap < sizeof known / sizeof *known ? known[trap] : NULL;
    if (trap == WASM_RT_TRAP_OOB && strncmp(function, "funcref_table_", 14) == 0) {
        why = "out of bounds table access";
    }
    hw->trap(why ? why : "trap");
}

#define wasm_rt_trap(trap) hw_trap(trap, __func__)

/* In place of TRAP(CALL_INDIRECT): source.py puts it there. */
#define HW_INDIRECT(table, index)                                              \
    (hw->trap((index) >= (table).size            ? "out of bounds table access"  \
              : !(table).data[index].func ? "uninitialized element"              \
                                          : "indirect call type mismatch"), 0)

/* ---- the stack: what wasm2c means to be a counter of calls becomes a look at the stack pointer */

/* What the instances of a store share. All run on one thread. */
typedef struct {
    uintptr_t stack_limit;
    pthread_t owner;
} hw_store;

typedef struct {
    hw_store *store;
    void *unused;
} hw_head; /* stands before each instance */

static inline __attribute__((always_inline)) uintptr_t hw_stack_pointer(void) {
    uintptr_t here;
#if defined(__x86_64__)
    __asm__ volatile("mov %%rsp, %0" : "=r"(here));
#elif defined(__aarch64__)
    __asm__ volatile("mov %0, sp" : "=r"(here));
#else
    here = (uintptr_t)__builtin_frame_address(0);
#endif
    return here;
}

#define wasm_rt_call_stack_depth \
    ((unsigned){hw_stack_pointer() < ((hw_head *)(void *)instance)[-1].store->stack_limit})

/* ---- memories: the whole range they may ever have is reserved, and made accessible as they grow */

enum { HW_PAGE = 65536 };

#if HW_MEMORY_ARGUMENTS == 2
typedef uint32_t hw_pages;
#define HW_MORE_ARGUMENTS
enum { HW_MOST_PAGES = 65535 }; /* the size in bytes must fit 32 bits */
#elif HW_MEMORY_ARGUMENTS == 3
typedef uint64_t hw_pages;
#define HW_MORE_ARGUMENTS , bool is64
enum { HW_MOST_PAGES = 65536 };
#else
typedef uint64_t hw_pages;
#define HW_MORE_ARGUMENTS , bool is64, uint32_t page_size
enum { HW_MOST_PAGES = 65536 };
#endif

static size_t hw_reserved(const wasm_rt_memory_t *memory) {
    return (size_t)memory->max_pages * HW_PAGE;
}

/* Neither 64-bit memories nor other page sizes come here: see validation.py. */
void wasm_rt_allocate_memory(wasm_rt_memory_t *memory, hw_pages initial, hw_pages maximum HW_MORE_ARGUMENTS) {
    memset(memory, 0, sizeof *memory);
#if HW_MEMORY_ARGUMENTS == 4
    memory->page_size = page_size;
#endif
    memory->max_pages = maximum < HW_MOST_PAGES ? maximum : HW_MOST_PAGES;
    size_t size = (size_t)initial * HW_PAGE, reserved = hw_reserved(memory);
    if (size > reserved) {
        hw->trap(HW_NO_MEMORY);
    }
    if (reserved) {
        void *data = mmap(NULL, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (data == MAP_FAILED) {
            hw->trap(HW_NO_MEMORY);
        }
        memory->data = data; /* from here on it is freed with the instance, complete or not */
        if (size && mprotect(data, size, PROT_READ | PROT_WRITE) != 0) {
            hw->trap(HW_NO_MEMORY);
        }
    }
#if HW_MEMORY_ARGUMENTS == 4
    memory->data_end = memory->data + reserved;
#endif
    memory->pages = initial;
    memory->size = (hw_pages)size;
}

hw_pages wasm_rt_grow_memory(wasm_rt_memory_t *memory, hw_pages more) {
    hw_pages before = memory->pages;
    if (more > memory->max_pages - before) {
        return (uint32_t)-1;
    }
    size_t size = (size_t)before * HW_PAGE, added = (size_t)more * HW_PAGE;
    if (added && mprotect(memory->data + size, added, PROT_READ | PROT_WRITE) != 0) {
        return (uint32_t)-1;
    }
    memory->pages = before + more;
    memory->size = (hw_pages)(size + added);
    return before;
}

void wasm_rt_free_memory(wasm_rt_memory_t *memory) {
    if (memory->data) {
        munmap(memory->data, hw_reserved(memory));
        memory->data = NULL;
    }
}

/* ---- tables of functions; those of externrefs are in the runtime of lowered modules */

enum { HW_MOST_ELEMENTS = 10000000 }; /* as in browsers */

void wasm_rt_allocate_funcref_table(wasm_rt_funcref_table_t *table, uint32_t elements, uint32_t maximum) {
    table->max_size = maximum;
    table->size = 0;
    table->data = elements <= HW_MOST_ELEMENTS ? calloc(elements ? elements : 1, sizeof(wasm_rt_funcref_t)) : NULL;
    if (!table->data) {
        hw->trap(HW_NO_MEMORY);
    }
    table->size = elements;
}

uint32_t wasm_rt_grow_funcref_table(wasm_rt_funcref_table_t *table, uint32_t more, wasm_rt_funcref_t value) {
    uint32_t before = table->size;
    uint64_t size = (uint64_t)before + more;
    if (size > table->max_size || size > HW_MOST_ELEMENTS) {
        return (uint32_t)-1;
    }
    wasm_rt_funcref_t *data = realloc(table->data, (size ? size : 1) * sizeof(wasm_rt_funcref_t));
    if (!data) {
        return (uint32_t)-1;
    }
    for (uint64_t i = before; i < size; i++) {
        data[i] = value;
    }
    table->data = data;
    table->size = (uint32_t)size;
    return before;
}

void wasm_rt_free_funcref_table(wasm_rt_funcref_table_t *table) {
    free(table->data);
    table->data = NULL;
    table->size = 0;
}

#if HW_MEMORY_ARGUMENTS == 2
uint32_t wasm_rt_register_func_type(uint32_t parameters, uint32_t results, ...) {
    char *type = malloc((size_t)parameters + results + 2), *end = type;
    if (!type) {
        abort();
    }
    va_list list;
    va_start(list, results);
    for (uint32_t i = 0; i < parameters + results; i++) {
        if (i == parameters) {
            *end++ = '>';
        }
        *end++ = (char)('0' + va_arg(list, int));
    }
    va_end(list);
    *end = 0;
    return hw->register_type(type);
}
#endif

/* ---- entries and imports, for the code that source.py writes */

typedef struct {
    void (*function)(void); /* or NULL: then `with` is a memory, table or global */
    void *with;
} hw_slot;

/* What runs between the two may trap; then the function returns why. */
#define HW_ENTER(head)                                  \
    jmp_buf here;                                       \
    hw_thread *thread = hw->thread();                   \
    jmp_buf *outer = thread->target;                    \
    (head)->store->stack_limit = thread->stack_limit;   \
    if (_setjmp(here)) {                                \
        thread->target = outer;                         \
        return thread->why;                             \
    }                                                   \
    thread->target = &here
#define HW_LEAVE thread->target = outer

/* An export that Python can call. */
typedef struct {
    /* Gives NULL, or why it failed; the results go into `out`. */
    const char *(*enter)(void *instance, const hw_value *given, hw_value *out);
    const char *params, *results;
    int is_short; /* it keeps Python's lock: that costs less than to give it up and take it back */
} hw_entry;

typedef struct {
    void *instance;
    const hw_head *head; /* of the instance */
    const hw_entry *entry;
} hw_bound;

/* A function of Python's own kind, as cffi's would look at the type of the instance, and at errno, in each call. It is
 * as `compiled_form` in calls.py has it. */
static PyObject *hw_call_entry(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    const hw_bound *bound = PyLong_AsVoidPtr(self);
    const hw_entry *entry = bound->entry;
    hw_value given[count], out[strlen(entry->results) + 1];
    const char *why;
    if (hw->thread()->self != bound->head->store->owner ||
        !hw_all_from_python(args + 1, entry->params, given, sizeof *given)) {
        Py_RETURN_NONE;
    }
    hw_mark(args[0]);
    if (entry->is_short) {
        why = entry->enter(bound->instance, given, out);
    } else {
        Py_BEGIN_ALLOW_THREADS
        why = entry->enter(bound->instance, given, out);
        Py_END_ALLOW_THREADS
    }
    return !why ? hw_results(entry->results, out, sizeof *out)
                : hw_call_module("hiwire_py.engines.native.engine", "fail", "(s)", why);
}

static PyMethodDef hw_entry_method = {"call", (PyCFunction)(void *)hw_call_entry, METH_FASTCALL, NULL};

static void *hw_new_store(void) {
    hw_store *store = calloc(1, sizeof(hw_store));
    if (store) {
        store->owner = hw->thread()->self;
    }
    return store;
}

/* What this library's code runs by: from now on what another one lends, unless that is NULL. */
static void *hw_share(void *lent) {
    if (lent) {
        hw = lent;
    }
    return hw;
}

static uint64_t hw_memory_size(void *memory) {
    return ((wasm_rt_memory_t *)memory)->size;
}

static void *hw_memory_data(void *memory) {
    return ((wasm_rt_memory_t *)memory)->data;
}

static uint64_t hw_memory_maximum(void *memory) {
    return ((wasm_rt_memory_t *)memory)->max_pages;
}

static int hw_memory_grow(void *memory, uint32_t pages) {
    return wasm_rt_grow_memory(memory, pages) != (hw_pages)(uint32_t)-1;
}

static uint32_t hw_table_size(void *table) {
    return ((wasm_rt_funcref_table_t *)table)->size;
}

static uint32_t hw_table_maximum(void *table) {
    return ((wasm_rt_funcref_table_t *)table)->max_size;
}
