/* What guests in C share that take and give values as the canonical ABI has them. A guest that sets `used`
   back gives all memory back that was taken. */
#include <stddef.h>
#include <stdint.h>

#define EXPORT(name) __attribute__((export_name(name)))
#define IMPORT(module, name) __attribute__((import_module(module), import_name(name)))

typedef struct {
    char *data;
    uint32_t size;
} text;

static char heap[1 << 18] __attribute__((aligned(16)));
static uint32_t used;

static void *take(uint32_t size)
{
    void *place = heap + used;
    used += (size + 15) & ~15u;
    if (used > sizeof heap) {
        __builtin_trap();
    }
    return place;
}

static void copy(char *to, const char *from, uint32_t size)
{
    for (uint32_t i = 0; i < size; i++) {
        to[i] = from[i];
    }
}

EXPORT("cabi_realloc") void *cabi_realloc(void *old, uint32_t old_size, uint32_t alignment, uint32_t size)
{
    (void)alignment;
    char *place = take(size);
    if (old != NULL) {
        copy(place, old, old_size < size ? old_size : size);
    }
    return place;
}
