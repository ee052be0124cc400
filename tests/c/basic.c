/* New, get, incref, decref and pop, and the bits that they leave behind. */
// build: -DSTATIC_PAGES=1
// build: -DHIWIRE_STATIC_PAGES=1 -fPIC
// build: -DEXTERN_REALLOC -DOWN_REALLOC
// build: -DHIWIRE_EXTERN_REALLOC -DOWN_REALLOC -fPIC
// build: --target=wasm32-wasi
// build: --target=wasm32-wasi -fPIC
#include "check.h"

#ifdef OWN_REALLOC
#include "bump_realloc.h"
#endif

TEST(first_ref_is_three)
{
    CHECK(hiwire_num_refs() == 0);
    HwRef ref = hiwire_new(object(1));
    CHECK(bits(ref) == 3);
    CHECK(hiwire_num_refs() == 1);
    CHECK(number_of(hiwire_get(ref)) == 1);
    CHECK(_hiwire_slot_info(0) == 0);
    CHECK(_hiwire_slot_info(1) == used_slot(1, 0));
}

TEST(counts)
{
    HwRef ref = hiwire_new(object(1));
    CHECK(hiwire_refcount(ref) == 1);
    hiwire_incref(ref);
    hiwire_incref(ref);
    CHECK(hiwire_refcount(ref) == 3);
    CHECK(_hiwire_slot_info(1) == used_slot(3, 0));
    hiwire_decref(ref);
    hiwire_decref(ref);
    CHECK(number_of(hiwire_get(ref)) == 1);
    hiwire_decref(ref);
    CHECK(hiwire_num_refs() == 0);
    CHECK(!hiwire_is_valid(ref) && hiwire_refcount(ref) == 0);
    CHECK(number_of(hiwire_get(ref)) == -1);
}

TEST(pop_takes_the_value_out)
{
    HwRef ref = hiwire_new(object(5));
    hiwire_incref(ref);
    CHECK(number_of(hiwire_pop(ref)) == 5);
    CHECK(hiwire_is_valid(ref));
    CHECK(number_of(hiwire_pop(ref)) == 5);
    CHECK(!hiwire_is_valid(ref));
}

TEST(equal_values_get_different_refs)
{
    HwRef first = hiwire_new(object(1));
    HwRef second = hiwire_new(object(1));
    CHECK(first != second);
    hiwire_decref(first);
    CHECK(number_of(hiwire_get(second)) == 1);
}

TEST(null_externref_is_a_value)
{
    HwRef ref = hiwire_new(__builtin_wasm_ref_null_extern());
    CHECK(ref != NULL && hiwire_is_valid(ref));
    CHECK(number_of(hiwire_get(ref)) == -1);
    hiwire_decref(ref);
    CHECK(hiwire_num_refs() == 0);
}

TEST(free_list_is_last_in_first_out)
{
    HwRef refs[4];
    for (int i = 0; i < 4; i++) {
        refs[i] = hiwire_new(object(i));
        CHECK(bits(refs[i]) == heap_bits((unsigned)i + 1, 0));
    }
    hiwire_decref(refs[1]);
    hiwire_decref(refs[2]);
    CHECK((_hiwire_slot_info(3) >> 1 & 0x1ffffff) == 2); /* slot 3 leads to slot 2 */
    CHECK((_hiwire_slot_info(2) >> 1 & 0x1ffffff) == 5);
    CHECK(bits(hiwire_new(object(9))) == heap_bits(3, 1));
    CHECK(bits(hiwire_new(object(9))) == heap_bits(2, 1));
    CHECK(bits(hiwire_new(object(9))) == heap_bits(5, 0));
}
