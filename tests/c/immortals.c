/* Interned values live on whatever is done to their refs. */
// build: -DSTATIC_PAGES=1 -DEXTERN_FAIL
// build: -DSTATIC_PAGES=1 -DEXTERN_FAIL -fPIC
#include "check.h"

static int num_failures, last_type;
static HwRef last_ref;

void hiwire_invalid_ref(int type, HwRef ref)
{
    num_failures++;
    last_type = type;
    last_ref = ref;
}

TEST(are_even_and_never_released)
{
    HwRef ref = hiwire_intern(object(1));
    CHECK(bits(ref) == 2);
    CHECK(bits(hiwire_intern(object(1))) == 4);
    for (int i = 0; i < 5; i++) {
        hiwire_decref(ref);
    }
    hiwire_incref(ref);
    CHECK(number_of(hiwire_pop(ref)) == 1);
    CHECK(number_of(hiwire_get(ref)) == 1);
    CHECK(hiwire_is_valid(ref));
    CHECK(hiwire_refcount(ref) == 0xffffff);
    CHECK(hiwire_num_refs() == 0);
    CHECK(hiwire_next(NULL) == NULL);
    CHECK(num_failures == 0);
}

TEST(many)
{
    for (int i = 0; i < 5000; i++) {
        CHECK(bits(hiwire_intern(object(i % 7))) == 2 * (unsigned)(i + 1));
    }
    for (int i = 0; i < 5000; i++) {
        CHECK(number_of(hiwire_get(ref_of(2 * (unsigned)(i + 1)))) == i % 7);
    }
}

TEST(null_counts_as_one_but_holds_nothing)
{
    hiwire_incref(NULL);
    hiwire_decref(NULL);
    CHECK(num_failures == 0);
    CHECK(number_of(hiwire_get(NULL)) == -1);
    CHECK(num_failures == 1 && last_type == HIWIRE_FAIL_GET && last_ref == NULL);
    CHECK(number_of(hiwire_pop(NULL)) == -1);
    CHECK(num_failures == 2 && last_type == HIWIRE_FAIL_GET);
    CHECK(!hiwire_is_valid(NULL) && hiwire_refcount(NULL) == 0);
}

TEST(an_index_beyond_the_last_is_reported)
{
    hiwire_intern(object(1));
    HwRef forged = ref_of(4);
    CHECK(number_of(hiwire_get(forged)) == -1 && last_type == HIWIRE_FAIL_GET);
    hiwire_incref(forged);
    CHECK(last_type == HIWIRE_FAIL_INCREF);
    hiwire_decref(forged);
    CHECK(last_type == HIWIRE_FAIL_DECREF && last_ref == forged);
    hiwire_get(ref_of(0xfffffffe));
    CHECK(num_failures == 4);
}
