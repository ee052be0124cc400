/* EMSCRIPTEN_DEDUPLICATE: one ref for what a JavaScript Map finds equal, and no entry once it is released. */
// build: --target=wasm32-emscripten -DSTATIC_PAGES=1 -DEMSCRIPTEN_DEDUPLICATE
// build: --target=wasm32-emscripten -DHIWIRE_EMSCRIPTEN_DEDUPLICATE -DEXTERN_FAIL
// build: --target=wasm32-emscripten -DEMSCRIPTEN_DEDUPLICATE -DRETIRE_SLOTS -DABORT_FAIL
#include "check.h"

// clang-format off
EM_JS(__externref_t, js_value, (int which), {
    return [undefined, "text", "te" + "xt", NaN, 0, -0, 0n, "", null, false][which];
})
EM_JS(int, num_entries, (void), {
    return Module["hiwireDeduplicate"] ? Module["hiwireDeduplicate"].size : 0;
})
// clang-format on

enum { UNDEFINED, TEXT, SAME_TEXT, NAN_, ZERO, MINUS_ZERO, BIG_ZERO, NO_TEXT, NULL_, FALSE_, NUM_VALUES };

#ifdef EXTERN_FAIL
static int num_failures;

void hiwire_invalid_ref(int type, HwRef ref)
{
    (void)type, (void)ref;
    num_failures++;
}
#endif

TEST(objects_are_equal_to_themselves_alone)
{
    HwRef ref = hiwire_new_deduplicate(object(3));
    CHECK(bits(ref) == 3 && _hiwire_slot_info(1) == (used_slot(1, 0) | 1 << 1));
    CHECK(hiwire_new_deduplicate(object(3)) == ref && hiwire_refcount(ref) == 2);
    HwRef other = hiwire_new_deduplicate(object(4));
    CHECK(other != ref && num_entries() == 2);
    CHECK(number_of(hiwire_get(ref)) == 3 && number_of(hiwire_get(other)) == 4);
}

TEST(a_map_says_what_is_equal)
{
    HwRef refs[NUM_VALUES];
    for (int i = 0; i < NUM_VALUES; i++) {
        refs[i] = hiwire_new_deduplicate(js_value(i));
        CHECK(refs[i] != NULL && hiwire_is_valid(refs[i]));
    }
    CHECK(refs[TEXT] == refs[SAME_TEXT] && refs[ZERO] == refs[MINUS_ZERO]);
    CHECK(hiwire_num_refs() == NUM_VALUES - 2 && num_entries() == NUM_VALUES - 2);
    CHECK(hiwire_new_deduplicate(js_value(NAN_)) == refs[NAN_]);
}

TEST(the_last_decref_takes_the_entry_out)
{
    HwRef plain = hiwire_new(object(3));
    HwRef ref = hiwire_new_deduplicate(object(3));
    CHECK(plain != ref && hiwire_new_deduplicate(object(3)) == ref);
    hiwire_decref(plain);
    hiwire_decref(ref);
    CHECK(num_entries() == 1 && hiwire_is_valid(ref));
    CHECK(number_of(hiwire_pop(ref)) == 3);
    CHECK(num_entries() == 0 && hiwire_num_refs() == 0);
}

/* Refs of high versions are negative numbers in JavaScript. */
TEST(each_version_of_a_slot)
{
    for (uint32_t version = 0; version < 64; version++) {
        HwRef ref = hiwire_new_deduplicate(js_value(TEXT));
        CHECK(bits(ref) == heap_bits(1, version));
        CHECK(hiwire_new_deduplicate(js_value(SAME_TEXT)) == ref);
        hiwire_decref(ref);
        hiwire_decref(ref);
        CHECK(num_entries() == 0 && !hiwire_is_valid(ref));
    }
}

TEST(plain_refs_need_no_map)
{
    HwRef ref = hiwire_new(js_value(TEXT));
    hiwire_decref(ref);
    CHECK(num_entries() == 0 && hiwire_num_refs() == 0);
#ifdef EXTERN_FAIL
    hiwire_decref(ref);
    CHECK(num_failures == 1);
#endif
}

#ifdef STATIC_PAGES
TEST(a_full_table_stores_nothing)
{
    while (hiwire_new(object(0)) != NULL) {
    }
    CHECK(hiwire_new_deduplicate(object(3)) == NULL && num_entries() == 0);
    hiwire_decref(hiwire_next(NULL));
    CHECK(hiwire_new_deduplicate(object(3)) != NULL && num_entries() == 1);
}
#endif
