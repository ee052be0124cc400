/* Equal refs for equal values, by a map that the host keeps.
 *
 * Three steps of hiwire_new_deduplicate can trap: asking the map, growing, storing in the map. None may leave
 * a slot behind that nobody owns, so no slot is taken until the last of them returned: the map is told the
 * ref that a free slot is *going* to have, and the slot is taken afterwards. What the map says is not
 * trusted: a ref that it returns must be live and carry the mark that only this function sets.
 *
 * The map functions may call back. If the callback takes the slot that was offered, the offer is made again
 * with the slot at the other end of the free list, which making and releasing refs does not reach before
 * every other slot is used up.
 */
#include "internal.h"

#ifdef HIWIRE_DEDUPLICATE

/* More than one retry takes a callback that used up the whole table and gave it back, each time. */
#define MAX_OFFERS 4

static inline bool is_deduplicated(HwRef ref)
{
    return is_heap_ref(ref) && is_live(ref) && (_hiwire_slots[heap_index(ref)] & DEDUPLICATED) != 0;
}

HwRef hiwire_new_deduplicate(__externref_t value)
{
    HwRef known = hiwire_deduplicate_get(value);
    if (is_deduplicated(known) || is_immortal(known)) {
        hiwire_incref(known);
        return known;
    }
    if (known != NULL) {
        FAIL(HIWIRE_FAIL_INCREF, known); /* the map is wrong; storing a new ref below mends it */
    }

    for (int offers = 0; offers < MAX_OFFERS; offers++) {
        uint32_t index = offers == 0 ? _hiwire_first_free() : _hiwire_last_free();
        if (index == 0) {
            if (offers == 0) {
                return NULL;
            }
            break;
        }
        HwRef ref = heap_ref(index, _hiwire_slots[index]);
        hiwire_deduplicate_set(value, ref);
        if (_hiwire_occupy_deduplicated(ref, value)) {
            return ref;
        }
    }
    hiwire_deduplicate_delete(value); /* takes the last offer back */
    return NULL;
}

#endif
