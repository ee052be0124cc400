/* hiwire_next: every live heap ref once, in the order of slots, whatever happens on the way. */
// build: -DSTATIC_PAGES=4
// build: -DEXTERN_REALLOC -DOWN_REALLOC
#include "check.h"

#ifdef OWN_REALLOC
#include "bump_realloc.h"
#endif

TEST(empty)
{
    CHECK(hiwire_next(NULL) == NULL);
}

TEST(visits_each_live_ref_once)
{
    HwRef refs[3000];
    __externref_t value = object(1);
    for (int i = 0; i < 3000; i++) {
        refs[i] = hiwire_new(value);
    }
    hiwire_intern(value);
    for (int i = 0; i < 3000; i += 3) {
        hiwire_decref(refs[i]);
    }
    int seen = 0;
    HwRef ref = NULL;
    for (int i = 0; i < 3000; i++) {
        if (i % 3 != 0) {
            ref = hiwire_next(ref);
            CHECK(ref == refs[i]);
            seen++;
        }
    }
    CHECK(hiwire_next(ref) == NULL && seen == hiwire_num_refs());
}

TEST(releasing_on_the_way)
{
    for (int i = 0; i < 2000; i++) {
        hiwire_new(object(i % 3));
    }
    int released = 0;
    for (HwRef ref = NULL; (ref = hiwire_next(ref)) != NULL; released++) {
        hiwire_decref(ref);
    }
    CHECK(released == 2000 && hiwire_num_refs() == 0);
}

TEST(starts_from_no_other_place)
{
    hiwire_new(object(1));
    CHECK(hiwire_next(hiwire_intern(object(2))) == NULL);
    CHECK(hiwire_next(ref_of(1)) == NULL);
    CHECK(hiwire_next(ref_of(0xffffffff)) == NULL);
    CHECK(hiwire_next(ref_of(0xfffffffe)) == NULL);
}
