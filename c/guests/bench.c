/* bench: what each hiwire function costs a guest that calls it, for `hiwire compare`.
 *
 * Every function runs one operation in a loop, and the host looks at its clock before and after the call. So
 * a time divided by the count is: the operation, reading its argument, one turn of the loop, and the count-th
 * part of a call from the host. bench_loop measures the last two alone; nobody subtracts it, it is shown
 * beside the others.
 *
 * The objects to make handles of stand in a table of this guest, since an object that came from the host for
 * each operation would cost more than the operation. The handles stand in an array of its memory. The host
 * reserves both before it measures.
 */
#include <hiwire.h>
#include <stdint.h>

#define IMPORT(name) __attribute__((import_module("env"), import_name(#name)))
#define EXPORT(name) __attribute__((export_name(#name)))

/* As cheap as a host function with an object can be: what one call out of a guest costs. */
IMPORT(host) uint32_t host(__externref_t object);

enum { PAGE = 65536 };
extern unsigned char __heap_base; /* set by the linker: where the program's own data end */

static __externref_t objects[0];
static uint32_t object_count;
static uint32_t ref_room; /* handles that the array has room for */

static HwRef *refs(void)
{
    return (HwRef *)(((uintptr_t)&__heap_base + 15) & ~(uintptr_t)15);
}

/* ---- before the clock runs */

/* Room for so many handles; whether there is. */
EXPORT(bench_reserve) bool bench_reserve(uint32_t count)
{
    uint64_t end = (uintptr_t)refs() + (uint64_t)count * sizeof(HwRef);
    uint64_t size = (uint64_t)__builtin_wasm_memory_size(0) * PAGE;
    if (end > size &&
        (end > UINT32_MAX || __builtin_wasm_memory_grow(0, (end - size + PAGE - 1) / PAGE) == (size_t)-1)) {
        return false;
    }
    /* Touched once, so that no page is handed out by the system while the clock runs. */
    for (uint32_t i = ref_room; i < count; i++) {
        refs()[i] = NULL;
    }
    ref_room = count > ref_room ? count : ref_room;
    return true;
}

/* One more object to make handles of; whether there is room. */
EXPORT(bench_object) bool bench_object(__externref_t object)
{
    if (object_count == (uint32_t)__builtin_wasm_table_size(objects) &&
        __builtin_wasm_table_grow(objects, __builtin_wasm_ref_null_extern(), 1024) == -1) {
        return false;
    }
    __builtin_wasm_table_set(objects, (int)object_count++, object);
    return true;
}

/* ---- the loops: each over the first count handles, or as many objects */

/* The loop and nothing else; the empty assembly is what keeps it from being optimised away. */
EXPORT(bench_loop) void bench_loop(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        __asm__ volatile("" ::"r"(i));
    }
}

EXPORT(bench_host) uint32_t bench_host(uint32_t count)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        sum += host(__builtin_wasm_table_get(objects, (int)i));
    }
    return sum;
}

/* How many handles were made: less than count when the table is full. */
#define MAKING(operation)                                                                              \
    EXPORT(bench_##operation) uint32_t bench_##operation(uint32_t count)                               \
    {                                                                                                  \
        for (uint32_t i = 0; i < count; i++) {                                                         \
            if ((refs()[i] = hiwire_##operation(__builtin_wasm_table_get(objects, (int)i))) == NULL) { \
                return i;                                                                              \
            }                                                                                          \
        }                                                                                              \
        return count;                                                                                  \
    }

#define USING(operation)                                             \
    EXPORT(bench_##operation) void bench_##operation(uint32_t count) \
    {                                                                \
        for (uint32_t i = 0; i < count; i++) {                       \
            (void)hiwire_##operation(refs()[i]);                     \
        }                                                            \
    }

MAKING(new)
MAKING(intern)
MAKING(new_deduplicate)
USING(get)
USING(incref)
USING(decref)
USING(pop)

/* ---- growth, capacity, fragmentation */

/* Makes the handles from..to - 1 of one object and keeps them. Where it stopped: before `to` when the table
 * is full. */
EXPORT(bench_fill) uint32_t bench_fill(__externref_t object, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        if ((refs()[i] = hiwire_new(object)) == NULL) {
            return i;
        }
    }
    return to;
}

/* Makes up to count handles of one object and forgets them, all but the last, which becomes handle 0. How
 * many there was room for. */
EXPORT(bench_exhaust) uint32_t bench_exhaust(__externref_t object, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        HwRef ref = hiwire_new(object);
        if (ref == NULL) {
            return i;
        }
        refs()[0] = ref;
    }
    return count;
}

/* Replaces count handles, each time one of the first `live`: in order, or at random. 0, or the turn at which
 * there was no room, counted from 1. */
EXPORT(bench_replace)
uint32_t bench_replace(__externref_t object, uint32_t live, uint32_t count, uint32_t seed)
{
    uint32_t random = seed;
    for (uint32_t i = 0, next = 0; i < count; i++) {
        uint32_t at = next;
        if (seed != 0) {
            random ^= random << 13; /* xorshift of three terms: all 2^32 - 1 states come once */
            random ^= random >> 17;
            random ^= random << 5;
            at = (uint32_t)(((uint64_t)random * live) >> 32);
        } else if (++next == live) {
            next = 0;
        }
        hiwire_decref(refs()[at]);
        if ((refs()[at] = hiwire_new(object)) == NULL) {
            return i + 1;
        }
    }
    return 0;
}

/* Releases the handles at random: what follows finds the free list in no order. */
EXPORT(bench_scatter) void bench_scatter(uint32_t live, uint32_t seed)
{
    for (uint32_t left = live; left > 1; left--) {
        seed ^= seed << 13;
        seed ^= seed >> 17;
        seed ^= seed << 5;
        uint32_t at = (uint32_t)(((uint64_t)seed * left) >> 32);
        HwRef ref = refs()[at];
        refs()[at] = refs()[left - 1];
        refs()[left - 1] = ref;
    }
    for (uint32_t i = 0; i < live; i++) {
        hiwire_decref(refs()[i]);
    }
}
