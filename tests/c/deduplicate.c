/* One ref for equal values, and the map entry gone before the slot is. The map is kept here, by object
 * number. */
// build: -DSTATIC_PAGES=1 -DEXTERN_DEDUPLICATE
// build: -DSTATIC_PAGES=1 -DHIWIRE_EXTERN_DEDUPLICATE -fPIC
// build: --target=wasm32-wasi -DSTATIC_PAGES=1 -DEXTERN_DEDUPLICATE
#include "check.h"

static HwRef map[16];
static int num_deletes;

HwRef hiwire_deduplicate_get(__externref_t value)
{
    return map[number_of(value)];
}

void hiwire_deduplicate_set(__externref_t value, HwRef ref)
{
    CHECK(map[number_of(value)] == NULL);
    map[number_of(value)] = ref;
}

void hiwire_deduplicate_delete(__externref_t value)
{
    HwRef ref = map[number_of(value)];
    CHECK(ref != NULL && hiwire_is_valid(ref)); /* the slot is still whole when its entry goes */
    CHECK(number_of(hiwire_get(ref)) == number_of(value));
    map[number_of(value)] = NULL;
    num_deletes++;
}

TEST(equal_values_share_a_ref)
{
    HwRef ref = hiwire_new_deduplicate(object(3));
    CHECK(bits(ref) == 3);
    CHECK(_hiwire_slot_info(1) == (used_slot(1, 0) | 1 << 1));
    CHECK(hiwire_new_deduplicate(object(3)) == ref);
    CHECK(hiwire_refcount(ref) == 2 && hiwire_num_refs() == 1);
    HwRef other = hiwire_new_deduplicate(object(4));
    CHECK(other != ref);
    hiwire_decref(ref);
    CHECK(num_deletes == 0);
    hiwire_decref(ref);
    CHECK(num_deletes == 1 && map[3] == NULL && map[4] == other);
    CHECK(!hiwire_is_valid(ref) && hiwire_num_refs() == 1);
    CHECK(hiwire_new_deduplicate(object(3)) != ref);
}

TEST(plain_refs_stay_out_of_the_map)
{
    HwRef plain = hiwire_new(object(3));
    HwRef ref = hiwire_new_deduplicate(object(3));
    CHECK(plain != ref);
    hiwire_decref(plain);
    CHECK(num_deletes == 0 && map[3] == ref);
    CHECK(number_of(hiwire_pop(ref)) == 3);
    CHECK(num_deletes == 1 && hiwire_num_refs() == 0);
}

TEST(a_full_table_stores_nothing)
{
    while (hiwire_new(object(0)) != NULL) {
    }
    CHECK(hiwire_new_deduplicate(object(3)) == NULL);
    CHECK(map[3] == NULL && num_deletes == 0 && hiwire_num_refs() == 1023);
    hiwire_decref(hiwire_next(NULL));
    HwRef ref = hiwire_new_deduplicate(object(3)); /* the one free slot will do */
    CHECK(ref != NULL && map[3] == ref);
    CHECK(hiwire_new_deduplicate(object(3)) == ref); /* and no slot is needed for this one */
}

TEST(the_map_may_name_an_immortal)
{
    map[3] = hiwire_intern(object(3));
    CHECK(hiwire_new_deduplicate(object(3)) == map[3]);
    hiwire_decref(map[3]);
    CHECK(num_deletes == 0 && hiwire_num_refs() == 0);
}
