/* Each release raises the version of the slot; after 64 it wraps, and an old ref fits again: the price of the
 * layout. */
// build: -DSTATIC_PAGES=1
#include "check.h"

TEST(stale_refs_fail_until_the_version_wraps)
{
    HwRef first = hiwire_new(object(1));
    hiwire_decref(first);
    for (unsigned version = 1; version < 64; version++) {
        CHECK(_hiwire_slot_info(1) >> 26 == version);
        HwRef ref = hiwire_new(object(2));
        CHECK(bits(ref) == heap_bits(1, version));
        CHECK(!hiwire_is_valid(first));
        CHECK(number_of(hiwire_get(first)) == -1);
        hiwire_decref(ref);
    }
    CHECK(hiwire_new(object(3)) == first);
    CHECK(number_of(hiwire_get(first)) == 3);
    CHECK(hiwire_num_retired() == 0);
}

TEST(counting_does_not_touch_the_version)
{
    HwRef ref = hiwire_new(object(1));
    hiwire_decref(ref);
    ref = hiwire_new(object(1));
    for (int i = 0; i < 1000; i++) {
        hiwire_incref(ref);
    }
    CHECK(_hiwire_slot_info(1) == used_slot(1001, 1));
}
