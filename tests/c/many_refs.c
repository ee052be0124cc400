/* As many refs as one likes: all distinct, all with their own value, all released again. */
// build: -DSTATIC_PAGES=100
// build: -DEXTERN_REALLOC -DOWN_REALLOC
// build: -DEXTERN_REALLOC -DOWN_REALLOC -DMOVING
// build: --target=wasm32-wasi
#include "check.h"

#ifdef OWN_REALLOC
#include "bump_realloc.h"
#endif

#define MANY 100000

TEST(hundred_thousand)
{
#ifdef MOVING
    realloc_moves = true;
#endif
    static HwRef refs[MANY];
    __externref_t value = object(1);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < MANY; i++) {
            refs[i] = i % 997 != 0 ? hiwire_new(value) : hiwire_new(object(i));
            CHECK(refs[i] != NULL);
            CHECK(hiwire_num_refs() == i + 1);
        }
        CHECK(hiwire_capacity() >= MANY);
        for (int i = 0; i < MANY; i++) {
            CHECK(hiwire_refcount(refs[i]) == 1);
        }
        for (int i = 0; i + 1 < MANY; i += 997) {
            CHECK(number_of(hiwire_get(refs[i])) == i && number_of(hiwire_get(refs[i + 1])) == 1);
        }
        for (int i = 0; i < MANY; i++) {
            hiwire_decref(refs[i]);
        }
        for (int i = 0; i < MANY; i++) {
            CHECK(!hiwire_is_valid(refs[i]));
        }
        CHECK(hiwire_num_refs() == 0);
    }
}
