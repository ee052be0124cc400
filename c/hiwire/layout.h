/* The bits of refs and of slot info words. This picture is the interface; every number below follows from it.
 *
 *                    31    26 25                     1 0
 *                   +--------+------------------------+-+
 *     heap ref      |version | index                  |1|
 *                   +--------+------------------------+-+
 *     immortal ref  | index                           |0|     index 0 is NULL
 *                   +--------+----------------------+-+-+
 *     occupied slot |version | count                |d|1|     d: the value is in the deduplication map
 *                   +--------+----------------------+-+-+
 *     free slot     |version | index of the next free |0|     0 ends the list
 *                   +--------+------------------------+-+
 *     retired slot  |all ones| its own index          |0|     so that no free slot looks like it
 *                   +--------+------------------------+-+
 *
 * The version stands in the same place everywhere, and bit 0 means "heap ref" there and "occupied" here: so
 * one exclusive or and one mask say whether a heap ref fits its slot.
 */
#ifndef HIWIRE_LAYOUT_H
#define HIWIRE_LAYOUT_H

#include "hiwire.h"
#include <stdint.h>

enum {
    TAG_BITS = 1,
    DEDUPLICATED_BITS = 1,
    COUNT_BITS = 24,
    INDEX_BITS = 25,
    VERSION_BITS = 6,

    INDEX_SHIFT = TAG_BITS,
    DEDUPLICATED_SHIFT = TAG_BITS,
    COUNT_SHIFT = DEDUPLICATED_SHIFT + DEDUPLICATED_BITS,
    VERSION_SHIFT = INDEX_SHIFT + INDEX_BITS,
};

#define BITS(width, shift) (((UINT32_C(1) << (width)) - 1) << (shift))

#define TAG_MASK BITS(TAG_BITS, 0)
#define INDEX_MASK BITS(INDEX_BITS, INDEX_SHIFT)
#define VERSION_MASK BITS(VERSION_BITS, VERSION_SHIFT)
#define COUNT_MASK BITS(COUNT_BITS, COUNT_SHIFT)
#define DEDUPLICATED BITS(DEDUPLICATED_BITS, DEDUPLICATED_SHIFT)
#define ONE_COUNT (UINT32_C(1) << COUNT_SHIFT)
#define ONE_VERSION (UINT32_C(1) << VERSION_SHIFT)
#define COUNT_MAX (COUNT_MASK >> COUNT_SHIFT)

#define SLOTS_PER_PAGE 1024u
#define SLOT_LIMIT (UINT32_C(1) << INDEX_BITS)

_Static_assert(sizeof(HwRef) == 4 && _Alignof(HwRef) == 4, "a ref is one i32");
_Static_assert(VERSION_SHIFT + VERSION_BITS == 32, "a heap ref fills its word");
_Static_assert(COUNT_SHIFT + COUNT_BITS == VERSION_SHIFT,
               "the version stands in the same place in refs and slots");
_Static_assert((TAG_MASK | INDEX_MASK | VERSION_MASK) == UINT32_MAX,
               "no bit of a heap ref or free slot is unused");
_Static_assert((TAG_MASK | DEDUPLICATED | COUNT_MASK | VERSION_MASK) == UINT32_MAX,
               "nor of an occupied slot");
_Static_assert((TAG_MASK & INDEX_MASK) == 0 && (INDEX_MASK & VERSION_MASK) == 0, "no bit is used twice");
_Static_assert((DEDUPLICATED & COUNT_MASK) == 0 && (COUNT_MASK & VERSION_MASK) == 0, "no bit is used twice");
_Static_assert(SLOT_LIMIT % SLOTS_PER_PAGE == 0, "the last page is whole");

/* A table grows by a page or by a quarter, whichever is more: linear while small, amortised when large. */
static inline uint32_t growth_of(uint32_t size)
{
    return size / 4 > SLOTS_PER_PAGE ? size / 4 : SLOTS_PER_PAGE;
}

static inline uint32_t ref_bits(HwRef ref)
{
    return (uint32_t)(uintptr_t)ref;
}

static inline HwRef ref_from_bits(uint32_t bits)
{
    return (HwRef)(uintptr_t)bits;
}

static inline bool is_heap_ref(HwRef ref)
{
    return (ref_bits(ref) & TAG_MASK) != 0;
}

static inline uint32_t heap_index(HwRef ref)
{
    return (ref_bits(ref) & INDEX_MASK) >> INDEX_SHIFT;
}

/* The ref that a slot has, or will have when it is taken from the free list next. */
static inline HwRef heap_ref(uint32_t index, uint32_t word)
{
    return ref_from_bits((word & VERSION_MASK) | index << INDEX_SHIFT | TAG_MASK);
}

static inline uint32_t next_free(uint32_t word)
{
    return (word & INDEX_MASK) >> INDEX_SHIFT;
}

static inline uint32_t retired_word(uint32_t index)
{
    return VERSION_MASK | index << INDEX_SHIFT;
}

static inline uint32_t count_of(uint32_t word)
{
    return (word & COUNT_MASK) >> COUNT_SHIFT;
}

#endif
