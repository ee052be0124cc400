/* ABORT_FAIL: a message on standard error, the one that stands above each function, then abort. */
// build: --target=wasm32-wasi -DABORT_FAIL
// build: --target=wasm32-wasi -DHIWIRE_ABORT_FAIL -DRETIRE_SLOTS
#include "check.h"

#define ABORTS(name) __attribute__((export_name("abort_" #name))) void abort_##name(void)

// says: hiwire_get failed: reference 3 is freed
ABORTS(get_freed)
{
    HwRef ref = hiwire_new(object(1));
    hiwire_decref(ref);
    hiwire_get(ref);
}

// says: hiwire_incref failed: reference 3 is freed
ABORTS(incref_freed)
{
    HwRef ref = hiwire_new(object(1));
    hiwire_decref(ref);
    hiwire_new(object(2)); /* the slot has another tenant */
    hiwire_incref(ref);
}

// says: hiwire_decref failed: reference 3 is freed
ABORTS(decref_freed)
{
    HwRef ref = hiwire_new(object(1));
    hiwire_decref(ref);
    hiwire_decref(ref);
}

/* The highest index that a slot has. */
// says: hiwire_get failed: reference 2047 is freed
ABORTS(get_freed_last_slot)
{
    HwRef ref = NULL;
    for (int i = 0; i < 1023; i++) {
        ref = hiwire_new(object(1));
    }
    hiwire_decref(ref);
    hiwire_get(ref);
}

// says: hiwire_get failed: reference 2049 was never given out
ABORTS(get_behind_the_last_slot)
{
    for (int i = 0; i < 1023; i++) {
        hiwire_new(object(1));
    }
    hiwire_get(ref_of(2049));
}

/* With RETIRE_SLOTS the slot is out of service by then, which makes its refs no less freed. */
// says: hiwire_get failed: reference 4227858435 is freed
ABORTS(get_freed_last_version)
{
    HwRef ref = NULL;
    for (int i = 0; i < 64; i++) {
        ref = hiwire_new(object(1));
        hiwire_decref(ref);
    }
    hiwire_get(ref);
}

// says: hiwire_get failed: reference 0 is null
ABORTS(get_null)
{
    hiwire_get(NULL);
}

// says: hiwire_get failed: reference 4294967295 was never given out
ABORTS(get_forged)
{
    hiwire_get(ref_of(4294967295u));
}

// says: hiwire_get failed: reference 5 was never given out
ABORTS(get_not_yet)
{
    hiwire_new(object(1));
    hiwire_get(ref_of(5));
}

// says: hiwire_incref failed: reference 8 was never given out
ABORTS(incref_immortal)
{
    hiwire_incref(ref_of(8));
}

// says: hiwire_incref failed: reference 3 has as many counts as fit and is now pinned
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
