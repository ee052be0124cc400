/* Neither EXTERN_FAIL nor ABORT_FAIL: bad refs do nothing and give the null externref. */
// build: -DSTATIC_PAGES=1
#include "check.h"

TEST(bad_refs_do_nothing)
{
    HwRef ref = hiwire_new(object(1));
    hiwire_decref(ref);
    HwRef newer = hiwire_new(object(2));
    hiwire_incref(ref);
    hiwire_decref(ref);
    CHECK(number_of(hiwire_get(ref)) == -1 && number_of(hiwire_pop(ref)) == -1);
    CHECK(number_of(hiwire_get(NULL)) == -1);
    CHECK(hiwire_refcount(newer) == 1 && hiwire_num_refs() == 1);
}
