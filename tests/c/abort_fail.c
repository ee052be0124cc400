/* ABORT_FAIL: a message on standard error, then abort. The runner reads what stands there. */
// build: --target=wasm32-wasi -DABORT_FAIL
#include "check.h"

#define ABORTS(name) __attribute__((export_name("abort_" #name))) void abort_##name(void)

ABORTS(get_freed)
{
    HwRef ref = hiwire_new(object(1));
    hiwire_decref(ref);
    hiwire_get(ref);
}

ABORTS(incref_freed)
{
    HwRef ref = hiwire_new(object(1));
    hiwire_decref(ref);
    hiwire_new(object(2)); /* the slot has another tenant */
    hiwire_incref(ref);
}

ABORTS(decref_freed)
{
    HwRef ref = hiwire_new(object(1));
    hiwire_decref(ref);
    hiwire_decref(ref);
}

ABORTS(get_null)
{
    hiwire_get(NULL);
}

ABORTS(get_forged)
{
    hiwire_get(ref_of(4294967295u));
}

ABORTS(get_not_yet)
{
    hiwire_new(object(1));
    hiwire_get(ref_of(5));
}

ABORTS(incref_immortal)
{
    hiwire_incref(ref_of(8));
}

ABORTS(pinned)
{
    HwRef ref = hiwire_new(object(1));
    for (int i = 0; i < 1 << 24; i++) {
        hiwire_incref(ref);
    }
}

TEST(good_refs_do_not_abort)
{
    HwRef ref = hiwire_new(object(1));
    hiwire_incref(NULL);
    hiwire_decref(NULL);
    CHECK(number_of(hiwire_pop(ref)) == 1);
}
