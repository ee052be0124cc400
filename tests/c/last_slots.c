/* Which slots there are: the first, the last and the one behind it, before and after growing and retiring. */
// build: -DSTATIC_PAGES=2 -DPAGES=2
// build: -DSTATIC_PAGES=2 -DPAGES=2 -DRETIRE_SLOTS
// build: -DEXTERN_REALLOC -DOWN_REALLOC
// build: -DEXTERN_REALLOC -DOWN_REALLOC -DRETIRE_SLOTS
// build: --target=wasm32-wasi
// build: --target=wasm32-wasi -DRETIRE_SLOTS
#include "check.h"

#ifdef OWN_REALLOC
#include "bump_realloc.h"
#endif

/* What the slot array has room for, grown that often. */
#ifdef PAGES
#define ROOM(pages) (PAGES * 1024u - 1)
#else
#define ROOM(pages) ((pages) * 1024u - 1)
#endif

static HwRef fill(void)
{
    __externref_t value = object(1);
    HwRef last = NULL;
    do {
        last = hiwire_new(value);
        CHECK(last != NULL);
    } while ((unsigned)hiwire_num_refs() < hiwire_capacity());
    return last;
}

TEST(none_before_the_first_ref)
{
#ifdef PAGES
    CHECK(hiwire_capacity() == ROOM(0));
#else
    CHECK(hiwire_capacity() == 0);
#endif
    for (unsigned i = 0; i < 3; i++) {
        CHECK(_hiwire_slot_info(i) == 0);
    }
}

TEST(capacity_is_the_index_of_the_last)
{
    CHECK(index_of(hiwire_new(object(1))) == 1);
    CHECK(hiwire_capacity() == ROOM(1) && _hiwire_slot_info(ROOM(1)) == 0);
    HwRef last = fill();
    CHECK(index_of(last) == ROOM(1) && hiwire_capacity() == ROOM(1));
    CHECK(_hiwire_slot_info(ROOM(1)) == used_slot(1, 0) && _hiwire_slot_info(ROOM(1) + 1) == 0);
    CHECK(hiwire_next(last) == NULL && number_of(hiwire_get(last)) == 1);
    hiwire_decref(last);
    CHECK(_hiwire_slot_info(ROOM(1)) == free_slot(0, 1) && !hiwire_is_valid(last));
    CHECK(number_of(hiwire_get(last)) == -1 && hiwire_refcount(last) == 0 && hiwire_next(last) == NULL);
    CHECK(bits(hiwire_new(object(2))) == heap_bits(ROOM(1), 1));
#ifdef PAGES
    CHECK(hiwire_new(object(2)) == NULL);
#else
    CHECK(bits(hiwire_new(object(2))) == heap_bits(ROOM(1) + 1, 0));
    CHECK(hiwire_capacity() == ROOM(2) && index_of(fill()) == ROOM(2));
    CHECK(_hiwire_slot_info(ROOM(2)) == used_slot(1, 0) && _hiwire_slot_info(ROOM(2) + 1) == 0);
#endif
}

/* A free slot at the end of the list, whose next version is the last: it looks like no retired one. */
TEST(the_last_slot_retires)
{
    HwRef last = fill();
    unsigned index = index_of(last);
    for (uint32_t version = 0; version < 63; version++) {
        CHECK(bits(last) == heap_bits(index, version));
        hiwire_decref(last);
        CHECK(_hiwire_slot_info(index) == free_slot(0, version + 1));
        last = hiwire_new(object(1));
    }
    hiwire_decref(last);
    CHECK(!hiwire_is_valid(last) && hiwire_refcount(last) == 0 && hiwire_next(last) == NULL);
#ifdef RETIRE_SLOTS
    CHECK(_hiwire_slot_info(index) == free_slot(index, 63));
    CHECK(hiwire_num_retired() == 1 && hiwire_capacity() + hiwire_num_retired() == index);
#else
    CHECK(_hiwire_slot_info(index) == free_slot(0, 0));
    CHECK(hiwire_num_retired() == 0 && hiwire_capacity() == index);
#endif
}
