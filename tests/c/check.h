/* What every C test uses: assertions that name their line, and objects from the host. */
#ifndef CHECK_H
#define CHECK_H

#include "hiwire.h"
#include <stdint.h>

#ifdef __cplusplus
#define C_LINKAGE extern "C"
#else
#define C_LINKAGE
#endif

/* A test is an exported function; each one runs in an instance of its own. */
#define TEST(name) C_LINKAGE __attribute__((export_name("test_" #name))) void test_##name(void)

/* The host object with a number, always the same one; the number of an object, -1 for the null externref. */
#ifdef __EMSCRIPTEN__
#include <emscripten.h>

// clang-format off
EM_JS(void, host_fail, (int line), {
    throw new Error("line " + line);
})
EM_JS(__externref_t, object, (int number), {
    var objects = Module["testObjects"] || (Module["testObjects"] = {});
    return objects[number] || (objects[number] = {number: number});
})
EM_JS(int, number_of, (__externref_t value), {
    return value === null ? -1 : value["number"];
})
// clang-format on
#else
#define FROM_HOST(name) C_LINKAGE __attribute__((import_module("test"), import_name(#name)))

FROM_HOST(fail) void host_fail(int line);
FROM_HOST(object) __externref_t object(int number);
FROM_HOST(number) int number_of(__externref_t value);
#endif

/* Not in hiwire.h, since it is for tests: the word of a slot. */
C_LINKAGE unsigned _hiwire_slot_info(unsigned index);

#define CHECK(condition)         \
    do {                         \
        if (!(condition)) {      \
            host_fail(__LINE__); \
            __builtin_trap();    \
        }                        \
    } while (0)

static inline uint32_t bits(HwRef ref)
{
    return (uint32_t)(uintptr_t)ref;
}

static inline HwRef ref_of(uint32_t value)
{
    return (HwRef)(uintptr_t)value;
}

/* The bits of a heap ref, of an occupied slot and of a free one, as the interface has them. */
static inline uint32_t heap_bits(uint32_t index, uint32_t version)
{
    return version << 26 | index << 1 | 1;
}

static inline uint32_t used_slot(uint32_t count, uint32_t version)
{
    return version << 26 | count << 2 | 1;
}

static inline uint32_t free_slot(uint32_t next, uint32_t version)
{
    return version << 26 | next << 1;
}

static inline uint32_t index_of(HwRef ref)
{
    return bits(ref) >> 1 & 0x1ffffff;
}

#endif
