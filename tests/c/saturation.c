/* 2^24 counts do not run into the version: the count stays full, the ref lives for good, and the hook hears
 * it once. */
// build: -DSTATIC_PAGES=1 -DEXTERN_FAIL
#include "check.h"

#define FULL 0xffffffu

static int num_failures, last_type;
static HwRef last_ref;

void hiwire_invalid_ref(int type, HwRef ref)
{
    num_failures++;
    last_type = type;
    last_ref = ref;
}

TEST(a_full_count_pins)
{
    hiwire_decref(hiwire_new(object(0)));
    HwRef ref = hiwire_new(object(1)); /* version 1, so that a carry would show */
    for (unsigned count = 1; count < FULL - 1; count++) {
        hiwire_incref(ref);
    }
    CHECK(num_failures == 0 && hiwire_refcount(ref) == FULL - 1);
    hiwire_incref(ref);
    CHECK(num_failures == 1 && last_type == 4 && HIWIRE_FAIL_OVERFLOW == 4 && last_ref == ref);
    CHECK(_hiwire_slot_info(1) == used_slot(FULL, 1));
    for (int i = 0; i < 10; i++) {
        hiwire_incref(ref);
    }
    for (int i = 0; i < 20; i++) {
        hiwire_decref(ref);
    }
    CHECK(num_failures == 1);
    CHECK(hiwire_refcount(ref) == FULL && number_of(hiwire_pop(ref)) == 1);
    CHECK(number_of(hiwire_get(ref)) == 1 && hiwire_num_refs() == 1);
}

TEST(one_below_full_is_released_as_ever)
{
    HwRef ref = hiwire_new(object(1));
    for (unsigned count = 1; count < FULL - 1; count++) {
        hiwire_incref(ref);
    }
    for (unsigned count = 1; count < FULL - 1; count++) {
        hiwire_decref(ref);
    }
    CHECK(hiwire_refcount(ref) == 1);
    hiwire_decref(ref);
    CHECK(!hiwire_is_valid(ref) && num_failures == 0);
}
