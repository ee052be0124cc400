/* Heap refs: making, reading, counting and releasing them.
 *
 * Two rules keep the table right whatever the host does. First, everything that can fail, trap or run code of
 * the host comes before the first change of state, since a trap unwinds without giving us a chance to undo.
 * Second, host code may call back into the table, so what was read before such a call is read and checked
 * again after it.
 */
#include "internal.h"
#include "table.h"

EXTERNREF_TABLE(_hiwire_objects)

#ifdef HIWIRE_STATIC_PAGES
struct HiwireState _hiwire = {.slots = _hiwire_slots};
#else
struct HiwireState _hiwire;
#endif

/* More slots, at the head of the free list; kept out of line, since hiwire_new is hot and this is not. The
 * table goes first: a larger table that is not used yet harms nothing and is found by the next attempt, while
 * a slot array that was moved cannot be moved back. */
static __attribute__((noinline)) bool grow(void)
{
    uint32_t before = _hiwire.slot_count;
    uint32_t by = growth_of(before);
    uint32_t room = MOST_SLOTS - before;
    if (by > room) {
        by = room;
    }
    if (by == 0) {
        return false;
    }
    uint32_t after = before + by;
    uint32_t table_size = _hiwire_objects_size();
    if (table_size < after && _hiwire_objects_grow(after - table_size) == TABLE_GROW_FAILED) {
        return false;
    }
#ifdef HIWIRE_STATIC_PAGES
    uint32_t *slots = _hiwire_slots;
#else
    uint32_t *slots = _hiwire_resize_slots(after);
    if (_hiwire.slot_count != before) {
        return _hiwire.free_head !=
               0; /* the host called back and the table has grown meanwhile: that block is the valid one */
    }
    if (slots == NULL) {
        return false;
    }
    _hiwire_slots = slots;
#endif
    uint32_t first = before == 0 ? 1 : before; /* slot 0 is never used: its index means "none" */
    slots[0] = 0;
    for (uint32_t index = first; index < after - 1; index++) {
        slots[index] = (index + 1) << INDEX_SHIFT;
    }
    slots[after - 1] = _hiwire.free_head << INDEX_SHIFT;
    _hiwire.slot_count = after;
    _hiwire.free_head = first;
    return true;
}

/* Slot index, free with this word, becomes the home of value. Its successor in the free list is dealt with
 * already. */
static inline HwRef occupy(uint32_t index, uint32_t word, __externref_t value, uint32_t flags)
{
    HwRef ref = heap_ref(index, word);
    _hiwire_slots[index] = (word & VERSION_MASK) | ONE_COUNT | flags | TAG_MASK;
    _hiwire.num_refs++;
    /* Last: an engine may call its collector here, and saves what is needed after a call around the whole
     * function. The slot exists, so this cannot fail. */
    _hiwire_objects_set(index, value);
    TRACE("new", ref, index, value, 1);
    return ref;
}

/* The slot of a live ref gives up its value and goes back to the head of the free list, one version on. */
static inline void vacate(HwRef ref)
{
    uint32_t index = heap_index(ref);
    uint32_t version = ref_bits(ref) & VERSION_MASK; /* the slot's too, and the ref is at hand already */
    _hiwire.num_refs--;
#ifdef HIWIRE_RETIRE_SLOTS
    if (version == VERSION_MASK) {
        _hiwire_slots[index] = retired_word(index); /* free but on no list: no ref fits it ever again */
        _hiwire.num_retired++;
        _hiwire_objects_set(index, __builtin_wasm_ref_null_extern());
        return;
    }
#endif
    _hiwire_slots[index] = (version + ONE_VERSION) | _hiwire.free_head << INDEX_SHIFT;
    _hiwire.free_head = index;
    _hiwire_objects_set(index, __builtin_wasm_ref_null_extern());
}

/* The first free slot, which there must be, becomes the home of value. */
static inline HwRef take(__externref_t value)
{
    uint32_t index = _hiwire.free_head;
    uint32_t word = _hiwire_slots[index];
    _hiwire.free_head = next_free(word);
    return occupy(index, word, value, 0);
}

static __attribute__((noinline)) HwRef grow_and_take(__externref_t value)
{
    return grow() ? take(value) : NULL;
}

/* The rare case ends in a call: one in the midst would have values to keep over it, and engines that inline
 * nothing save registers for that in every call of hiwire_new. */
HwRef hiwire_new(__externref_t value)
{
    return _hiwire.free_head != 0 ? take(value) : grow_and_take(value);
}

__externref_t hiwire_get(HwRef ref)
{
    if (is_heap_ref(ref)) {
        if (is_live(ref)) {
            return _hiwire_objects_get(heap_index(ref));
        }
    } else if (is_immortal(ref)) {
        return _hiwire_immortal_get(ref_bits(ref) >> TAG_BITS);
    }
    FAIL(HIWIRE_FAIL_GET, ref);
    return __builtin_wasm_ref_null_extern();
}

/* Whether a count can be taken or given back: false for refs that are not counted, and for bad ones, which
 * are reported. */
static inline bool is_counted(HwRef ref, int fail_type)
{
    if (is_heap_ref(ref) && is_live(ref)) {
        return true;
    }
    if (ref != NULL && !is_immortal(ref)) {
        FAIL(fail_type, ref);
    }
    (void)fail_type; /* not used when a build has no hook */
    return false;
}

/* The same, with a trace. After it the ref is checked again: the host may have released it meanwhile. */
static inline bool is_counted_traced(const char *type, HwRef ref, int fail_type)
{
    if (!is_counted(ref, fail_type)) {
        return false;
    }
    TRACE(type, ref, heap_index(ref), _hiwire_objects_get(heap_index(ref)),
          count_of(_hiwire_slots[heap_index(ref)]));
    return is_counted(ref, fail_type);
}

void hiwire_incref(HwRef ref)
{
    if (!is_counted_traced("incref", ref, HIWIRE_FAIL_INCREF)) {
        return;
    }
    uint32_t *slot = &_hiwire_slots[heap_index(ref)];
    if ((*slot & COUNT_MASK) == COUNT_MASK) {
        return;
    }
    *slot += ONE_COUNT;
    if ((*slot & COUNT_MASK) == COUNT_MASK) {
        FAIL(HIWIRE_FAIL_OVERFLOW, ref);
    }
}

#ifdef HIWIRE_DEDUPLICATE
/* Takes the entry of a ref back from the host's map. false: the host released the caller's count meanwhile.
 * Kept out of line, since hiwire_decref is hot: where references are lowered to integers, a function that
 * hands an externref to the host pays for keeping it on record. */
static __attribute__((noinline)) bool forget(HwRef ref)
{
    hiwire_deduplicate_delete(_hiwire_objects_get(heap_index(ref)));
    if (!is_counted(ref, HIWIRE_FAIL_DECREF)) {
        return false;
    }
    _hiwire_slots[heap_index(ref)] &= ~DEDUPLICATED;
    return true;
}
#endif

/* What hiwire_decref does when the ref does not have its last count, or is not counted at all. */
static __attribute__((noinline)) void decref_checked(HwRef ref)
{
    if (!is_counted_traced("decref", ref, HIWIRE_FAIL_DECREF)) {
        return;
    }
    uint32_t index = heap_index(ref);
    uint32_t count = _hiwire_slots[index] & COUNT_MASK;
    if (count == COUNT_MASK) {
        return;
    }
#ifdef HIWIRE_DEDUPLICATE
    if (count == ONE_COUNT && (_hiwire_slots[index] & DEDUPLICATED)) {
        if (!forget(ref)) {
            return;
        }
        count = _hiwire_slots[index] & COUNT_MASK; /* the host may have taken counts of its own */
        if (count == COUNT_MASK) {
            return;
        }
    }
#endif
    if (count > ONE_COUNT) {
        _hiwire_slots[index] -= ONE_COUNT;
        return;
    }
    vacate(ref);
}

void hiwire_decref(HwRef ref)
{
#ifndef HIWIRE_TRACEREFS
    /* Most refs have one count when they are released. One comparison says that, and that the ref is live and
     * its value in no map. */
    uint32_t index = heap_index(ref);
    uint32_t last = (ref_bits(ref) & VERSION_MASK) | ONE_COUNT | TAG_MASK;
    if (is_heap_ref(ref) && index < SLOT_BOUND && _hiwire_slots[index] == last) {
        vacate(ref);
        return;
    }
#endif
    decref_checked(ref);
}

__externref_t hiwire_pop(HwRef ref)
{
    __externref_t value = hiwire_get(ref);
    hiwire_decref(ref);
    return value;
}

#ifdef HIWIRE_DEDUPLICATE
uint32_t _hiwire_first_free(void)
{
    return _hiwire.free_head != 0 || grow() ? _hiwire.free_head : 0;
}

uint32_t _hiwire_last_free(void)
{
    uint32_t last = _hiwire.free_head;
    if (last == 0 || next_free(_hiwire_slots[last]) == 0) {
        (void)grow(); /* if it cannot, the only free slot has to do */
        last = _hiwire.free_head;
    }
    while (last != 0 && next_free(_hiwire_slots[last]) != 0) {
        last = next_free(_hiwire_slots[last]);
    }
    return last;
}

bool _hiwire_occupy_deduplicated(HwRef ref, __externref_t value)
{
    uint32_t index = heap_index(ref);
    uint32_t before = 0;
    uint32_t at = _hiwire.free_head;
    while (at != 0 && at != index) {
        before = at;
        at = next_free(_hiwire_slots[at]);
    }
    if (at == 0 || heap_ref(index, _hiwire_slots[index]) != ref) {
        return false;
    }
    uint32_t word = _hiwire_slots[index];
    if (before == 0) {
        _hiwire.free_head = next_free(word);
    } else {
        _hiwire_slots[before] = (_hiwire_slots[before] & VERSION_MASK) | (word & INDEX_MASK);
    }
    occupy(index, word, value, DEDUPLICATED);
    return true;
}
#endif
