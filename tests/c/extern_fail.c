/* EXTERN_FAIL: the hook gets the kind of access and the ref; when it returns, nothing has changed. */
// build: -DSTATIC_PAGES=1 -DEXTERN_FAIL
// build: -DSTATIC_PAGES=1 -DHIWIRE_EXTERN_FAIL -fPIC
// build: --target=wasm32-wasi -DEXTERN_FAIL
#include "check.h"

static int types[8], num_failures;
static HwRef refs[8];

void hiwire_invalid_ref(int type, HwRef ref)
{
    types[num_failures % 8] = type;
    refs[num_failures % 8] = ref;
    num_failures++;
}

TEST(stale_refs_are_reported)
{
    HwRef ref = hiwire_new(object(1));
    hiwire_decref(ref);
    HwRef newer = hiwire_new(object(2));
    CHECK(number_of(hiwire_get(ref)) == -1);
    hiwire_incref(ref);
    hiwire_decref(ref);
    CHECK(number_of(hiwire_pop(ref)) == -1);
    const int wanted[] = {HIWIRE_FAIL_GET, HIWIRE_FAIL_INCREF, HIWIRE_FAIL_DECREF, HIWIRE_FAIL_GET,
                          HIWIRE_FAIL_DECREF};
    CHECK(num_failures == 5);
    for (int i = 0; i < 5; i++) {
        CHECK(types[i] == wanted[i] && refs[i] == ref);
    }
    CHECK(hiwire_refcount(newer) == 1 && number_of(hiwire_get(newer)) == 2);
}

TEST(looking_does_not_report)
{
    CHECK(!hiwire_is_valid(ref_of(3)) && hiwire_refcount(ref_of(3)) == 0 && hiwire_next(ref_of(3)) == NULL);
    CHECK(num_failures == 0);
}
