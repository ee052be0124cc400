/* EXTERN_REALLOC: the sizes asked for, blocks that move, and failures that leave everything as it was. */
// build: -DEXTERN_REALLOC
// build: -DHIWIRE_EXTERN_REALLOC -fPIC
#include "check.h"
#include "bump_realloc.h"

TEST(sizes)
{
    __externref_t value = object(1);
    CHECK(hiwire_capacity() == 0 && num_reallocs == 0);
    for (int i = 0; i < 5000; i++) {
        CHECK(hiwire_new(value) != NULL);
    }
    CHECK(num_reallocs == 5);
    for (unsigned i = 0; i < 5; i++) {
        CHECK(realloc_sizes[i] == 4096 * (i + 1));
    }
    CHECK(hiwire_capacity() == 5119);
    for (int i = 5000; i < 200000; i++) {
        CHECK(hiwire_new(value) != NULL);
    }
    CHECK(realloc_sizes[5] == 4 * (5120 + 5120 / 4)); /* a quarter more from here on */
    CHECK(num_reallocs < 25);
}

TEST(moved_blocks_keep_their_slots)
{
    realloc_moves = true;
    HwRef first = hiwire_new(object(1));
    __externref_t value = object(2);
    for (int i = 0; i < 20000; i++) {
        CHECK(hiwire_new(value) != NULL);
    }
    CHECK(number_of(hiwire_get(first)) == 1);
    CHECK(hiwire_refcount(first) == 1);
}

TEST(first_growth_fails)
{
    realloc_fails = true;
    CHECK(hiwire_new(object(1)) == NULL);
    CHECK(hiwire_num_refs() == 0 && hiwire_capacity() == 0 && hiwire_next(NULL) == NULL);
    CHECK(!hiwire_is_valid(ref_of(3)) && _hiwire_slot_info(1) == 0);
    realloc_fails = false;
    CHECK(bits(hiwire_new(object(1))) == 3);
}

TEST(later_growth_fails)
{
    for (int i = 0; i < 1023; i++) {
        CHECK(hiwire_new(object(i % 5)) != NULL);
    }
    realloc_fails = true;
    for (int i = 0; i < 3; i++) {
        CHECK(hiwire_new(object(1)) == NULL);
        CHECK(hiwire_num_refs() == 1023 && hiwire_capacity() == 1023);
    }
    for (unsigned i = 0; i < 1023; i++) {
        CHECK(_hiwire_slot_info(i + 1) == used_slot(1, 0));
        CHECK(number_of(hiwire_get(ref_of(heap_bits(i + 1, 0)))) == (int)(i % 5));
    }
    hiwire_decref(ref_of(3));
    CHECK(bits(hiwire_new(object(1))) == heap_bits(1, 1)); /* a freed slot needs no growth */
    realloc_fails = false;
    CHECK(bits(hiwire_new(object(1))) == heap_bits(1024, 0));
}
