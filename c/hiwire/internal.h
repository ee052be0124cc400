/* What the files of the library share: the state of the heap slots, and how a ref is checked against it. */
#ifndef HIWIRE_INTERNAL_H
#define HIWIRE_INTERNAL_H

#include "options.h"
#include "hiwire.h"
#include "layout.h"

#define INTERNAL extern __attribute__((visibility("hidden")))

#ifdef HIWIRE_STATIC_PAGES
#define STATIC_SLOTS (SLOTS_PER_PAGE * (HIWIRE_STATIC_PAGES + 0))
_Static_assert(STATIC_SLOTS <= SLOT_LIMIT, "an index reaches every static slot");
INTERNAL uint32_t _hiwire_slots[STATIC_SLOTS];
/* A slot not yet in service is all zero bits, which is "free": so the fixed size is the only bound to check.
 */
#define SLOT_BOUND STATIC_SLOTS
#define MOST_SLOTS STATIC_SLOTS
#else
#define _hiwire_slots _hiwire.slots
#define SLOT_BOUND _hiwire.slot_count
#define MOST_SLOTS SLOT_LIMIT
#endif

struct HiwireState {
    uint32_t *slots; /* where they are; the host reads this word and the next, see _hiwire_state */
    /* slots in service, slot 0 included: each is occupied, on the free list, or retired */
    uint32_t slot_count;
    uint32_t free_head; /* index of the first free slot; 0: none */
    uint32_t num_refs;
    uint32_t num_retired;
};
INTERNAL struct HiwireState _hiwire;

/* In inspect.c, for hosts that read the slots in bulk. The first two words of what it returns are the address
 * of the slots and how many are in service, and stay so after every change. What it returns is always the
 * same address. */
const struct HiwireState *_hiwire_state(void);

/* Whether a heap ref fits an occupied slot. Slot 0 is never occupied, so forged refs to it fail like others.
 */
static inline bool is_live(HwRef ref)
{
    uint32_t index = heap_index(ref);
    return index < SLOT_BOUND && ((_hiwire_slots[index] ^ ref_bits(ref)) & (VERSION_MASK | TAG_MASK)) == 0;
}

/* inspect.c, for hosts and tests, which declare it themselves: the info word of a slot as drawn in layout.h;
 * 0 for a slot that does not exist. */
unsigned _hiwire_slot_info(unsigned index);

/* memory.c: a slot array with room for count slots, or NULL with nothing changed. Runs code of the host. */
INTERNAL uint32_t *_hiwire_resize_slots(uint32_t count);

/* immortal.c */
INTERNAL uint32_t _hiwire_num_immortals;
INTERNAL __externref_t _hiwire_immortal_get(uint32_t index);

static inline bool is_immortal(HwRef ref)
{
    uint32_t index = ref_bits(ref) >> TAG_BITS;
    return !is_heap_ref(ref) && index != 0 && index <= _hiwire_num_immortals;
}

/* slots.c, for deduplicate.c. A free slot, after growing if it must be; 0: the table is full. The first one
 * of the free list, or the last, which is not the first. */
INTERNAL uint32_t _hiwire_first_free(void);
INTERNAL uint32_t _hiwire_last_free(void);
/* Occupies the free slot that was to get this ref, wherever in the free list it is. false: it is not free any
 * more. */
INTERNAL bool _hiwire_occupy_deduplicated(HwRef ref, __externref_t value);

/* The invalid-ref hook. */
#if defined(HIWIRE_EXTERN_FAIL)
#define FAIL(type, ref) hiwire_invalid_ref(type, ref)
#elif defined(HIWIRE_ABORT_FAIL)
INTERNAL void _hiwire_abort(int type, HwRef ref);
#define FAIL(type, ref) _hiwire_abort(type, ref)
#else
#define FAIL(type, ref) ((void)0)
#endif

#ifdef HIWIRE_TRACEREFS
#define TRACE(type, ref, index, value, count) hiwire_traceref((char *)(type), ref, index, value, count)
#else
#define TRACE(type, ref, index, value, count) ((void)(type))
#endif

#endif
