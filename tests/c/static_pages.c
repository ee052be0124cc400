/* STATIC_PAGES=n: n * 1024 slots less the unused one, and then NULL. */
// build: -DSTATIC_PAGES=1 -DPAGES=1
// build: -DHIWIRE_STATIC_PAGES=3 -DPAGES=3
// build: -DSTATIC_PAGES=7 -DPAGES=7
// build: -DSTATIC_PAGES=32 -DPAGES=32
#include "check.h"

#define ROOM (PAGES * 1024 - 1)

TEST(enough_and_too_few)
{
    CHECK(hiwire_capacity() == ROOM);
    __externref_t value = object(1);
    for (int i = 0; i < ROOM; i++) {
        CHECK(bits(hiwire_new(value)) == heap_bits((unsigned)i + 1, 0));
    }
    for (int i = 0; i < 3; i++) {
        CHECK(hiwire_new(value) == NULL);
        CHECK(hiwire_num_refs() == ROOM);
    }
    CHECK(hiwire_capacity() == ROOM);
    hiwire_decref(ref_of(3));
    CHECK(bits(hiwire_new(value)) == heap_bits(1, 1));
    CHECK(hiwire_new(value) == NULL);
    CHECK(_hiwire_slot_info(PAGES * 1024) == 0);
}
