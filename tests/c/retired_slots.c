/* RETIRE_SLOTS: a slot whose versions are used up leaves service, so that no stale ref ever fits again. */
// build: -DSTATIC_PAGES=1 -DRETIRE_SLOTS
// build: -DHIWIRE_STATIC_PAGES=1 -DHIWIRE_RETIRE_SLOTS
#include "check.h"

TEST(a_slot_serves_64_times)
{
    HwRef given[64];
    unsigned capacity = hiwire_capacity();
    for (int i = 0; i < 64; i++) {
        CHECK(hiwire_num_retired() == 0);
        given[i] = hiwire_new(object(i));
        CHECK(index_of(given[i]) == 1);
        hiwire_decref(given[i]);
    }
    CHECK(hiwire_num_retired() == 1);
    CHECK(hiwire_capacity() == capacity - 1);
    CHECK(bits(hiwire_new(object(0))) == heap_bits(2, 0));
    for (int i = 0; i < 64; i++) {
        CHECK(!hiwire_is_valid(given[i]));
    }
    CHECK(hiwire_num_refs() == 1);
}

TEST(a_table_can_wear_out)
{
    __externref_t value = object(1);
    long served = 0;
    for (HwRef ref; (ref = hiwire_new(value)) != NULL; served++) {
        hiwire_decref(ref);
    }
    CHECK(served == 1023 * 64);
    CHECK(hiwire_num_retired() == 1023);
    CHECK(hiwire_capacity() == 0);
    CHECK(hiwire_num_refs() == 0);
    CHECK(hiwire_next(NULL) == NULL);
    for (uint32_t version = 0; version < 64; version++) {
        CHECK(!hiwire_is_valid(ref_of(heap_bits(500, version))));
    }
}
