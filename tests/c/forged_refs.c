/* Any 32 bits may come as a ref: each one is checked, reported, and changes nothing. */
// build: -DSTATIC_PAGES=1 -DEXTERN_FAIL
// build: -DEXTERN_REALLOC -DOWN_REALLOC -DEXTERN_FAIL
#include "check.h"

#ifdef OWN_REALLOC
#include "bump_realloc.h"
#endif

static int num_failures;
static HwRef last_ref;

void hiwire_invalid_ref(int type, HwRef ref)
{
    (void)type;
    num_failures++;
    last_ref = ref;
}

static void try_all(uint32_t pattern)
{
    HwRef ref = ref_of(pattern);
    num_failures = 0;
    CHECK(number_of(hiwire_get(ref)) == -1 && num_failures == 1 && last_ref == ref);
    hiwire_incref(ref);
    hiwire_decref(ref);
    CHECK(num_failures == (ref == NULL ? 1 : 3));
    hiwire_pop(ref);
    CHECK(!hiwire_is_valid(ref) && hiwire_refcount(ref) == 0);
    HwRef next = hiwire_next(ref);
    CHECK(next == NULL || hiwire_is_valid(next));
}

TEST(before_the_first_ref)
{
    for (uint32_t bit = 0; bit < 32; bit++) {
        try_all(1u << bit);
        try_all(1u << bit | 1);
        try_all(~(1u << bit));
        try_all(0u - (1u << bit));
    }
    try_all(0);
    CHECK(hiwire_num_refs() == 0);
}

TEST(beside_live_refs)
{
    HwRef live[20];
    for (int i = 0; i < 20; i++) {
        live[i] = hiwire_new(object(i));
    }
    hiwire_decref(live[7]);
    HwRef immortal = hiwire_intern(object(99));
    uint32_t random = 0x9e3779b9;
    int tried = 0;
    for (int i = 0; i < 100000; i++) {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        /* half of them near the slots in use, where mistakes are likelier */
        uint32_t pattern = i % 2 ? random : (random & 0xfc00007f);
        if (!hiwire_is_valid(ref_of(pattern))) {
            try_all(pattern);
            tried++;
        }
    }
    CHECK(tried > 90000);
    for (int i = 0; i < 20; i++) {
        CHECK(hiwire_refcount(live[i]) == (i == 7 ? 0 : 1));
        CHECK(i == 7 || number_of(hiwire_get(live[i])) == i);
    }
    CHECK(number_of(hiwire_get(immortal)) == 99 && hiwire_num_refs() == 19);
}

TEST(slot_zero_and_the_slots_beyond)
{
    hiwire_new(object(1));
    for (uint32_t version = 0; version < 64; version++) {
        try_all(heap_bits(0, version));
        try_all(heap_bits(1024, version));
        try_all(heap_bits(0x1ffffff, version));
        try_all(heap_bits(2, version)); /* free, not given out yet */
    }
    CHECK(_hiwire_slot_info(1024) == 0 && _hiwire_slot_info(0xffffffff) == 0);
}
