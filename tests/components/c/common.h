/* What the components of stock.wit have in common: the canonical ABI by hand, and memory that is never freed.
 */
#include <stddef.h>
#include <stdint.h>

#define EXPORT(name) __attribute__((export_name(name)))
#define IMPORT(module, name) __attribute__((import_module(module), import_name(name)))

typedef struct {
    const char *data;
    uint32_t size;
} text;

typedef struct {
    const text *data;
    uint32_t size;
} texts;

/* The compiler lays this out as the canonical ABI does. */
typedef struct {
    text name;
    double price;
    uint8_t unit;
    uint8_t marks;
    texts tags;
} item;
_Static_assert(sizeof(item) == 32 && offsetof(item, tags) == 20, "layout of item");

enum { UNKNOWN, TOO_MANY, CLOSED };

typedef struct {
    uint8_t tag;
    union {
        text unknown;
        uint32_t too_many;
    };
} fault;
_Static_assert(sizeof(fault) == 12 && offsetof(fault, unknown) == 4, "layout of fault");

/* result<item, fault>, result<u32, fault> and result<own<shelf>, fault> */
typedef struct {
    uint8_t is_error;
    union {
        item ok;
        fault error;
    };
} item_or_fault;
_Static_assert(sizeof(item_or_fault) == 40 && offsetof(item_or_fault, error) == 8, "layout of item_or_fault");

typedef struct {
    uint8_t is_error;
    union {
        uint32_t ok;
        fault error;
    };
} number_or_fault;
_Static_assert(sizeof(number_or_fault) == 16, "layout of number_or_fault");

extern char __heap_base;
static uintptr_t heap;

static void *take(uint32_t size, uint32_t alignment)
{
    if (heap == 0) {
        heap = (uintptr_t)&__heap_base;
    }
    heap = (heap + alignment - 1) & ~(uintptr_t)(alignment - 1);
    uintptr_t result = heap, end = (uintptr_t)__builtin_wasm_memory_size(0) << 16;
    heap += size;
    if (heap > end && __builtin_wasm_memory_grow(0, ((heap - end) >> 16) + 1) == (size_t)-1) {
        __builtin_trap();
    }
    return (void *)result;
}

static inline text copy(text from)
{
    char *to = take(from.size, 1);
    for (uint32_t i = 0; i < from.size; i++) {
        to[i] = from.data[i];
    }
    return (text){to, from.size};
}

static inline int same(text a, text b)
{
    if (a.size != b.size) {
        return 0;
    }
    for (uint32_t i = 0; i < a.size; i++) {
        if (a.data[i] != b.data[i]) {
            return 0;
        }
    }
    return 1;
}

#define TEXT(literal) ((text){literal, sizeof(literal) - 1})

EXPORT("cabi_realloc") void *cabi_realloc(void *old, uint32_t old_size, uint32_t alignment, uint32_t size)
{
    char *to = take(size, alignment);
    for (uint32_t i = 0; i < old_size && i < size; i++) {
        to[i] = ((const char *)old)[i];
    }
    return to;
}
