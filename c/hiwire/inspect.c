/* Looking at the table; nothing here changes it or runs code of the host. */
#include "internal.h"

int hiwire_num_refs(void)
{
    return (int)_hiwire.num_refs;
}

unsigned hiwire_num_retired(void)
{
    return _hiwire.num_retired;
}

unsigned hiwire_capacity(void)
{
    uint32_t slots = SLOT_BOUND;
    return slots == 0 ? 0 : slots - 1 - _hiwire.num_retired;
}

bool hiwire_is_valid(HwRef ref)
{
    return is_heap_ref(ref) ? is_live(ref) : is_immortal(ref);
}

unsigned hiwire_refcount(HwRef ref)
{
    if (!is_heap_ref(ref)) {
        return is_immortal(ref) ? COUNT_MAX : 0;
    }
    return is_live(ref) ? count_of(_hiwire_slots[heap_index(ref)]) : 0;
}

HwRef hiwire_next(HwRef previous)
{
    uint32_t index = is_heap_ref(previous) ? heap_index(previous) : 0;
    if (previous != NULL && index == 0) {
        return NULL; /* an immortal, or forged: no place in the order of slots */
    }
    while (++index < _hiwire.slot_count) {
        uint32_t word = _hiwire_slots[index];
        if (word & TAG_MASK) {
            return heap_ref(index, word);
        }
    }
    return NULL;
}

unsigned _hiwire_slot_info(unsigned index)
{
    return index < SLOT_BOUND ? _hiwire_slots[index] : 0;
}

const struct HiwireState *_hiwire_state(void)
{
    return &_hiwire;
}
