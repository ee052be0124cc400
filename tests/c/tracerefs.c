/* EXTERN_TRACEREFS: told after "new", and before "incref" and "decref". */
// build: -DSTATIC_PAGES=1 -DEXTERN_TRACEREFS -DEXTERN_DEDUPLICATE
// build: -DSTATIC_PAGES=1 -DHIWIRE_EXTERN_TRACEREFS -DEXTERN_DEDUPLICATE -fPIC
// build: --target=wasm32-wasi -DEXTERN_TRACEREFS -DEXTERN_DEDUPLICATE
#include "check.h"

static int num_traces;
static char kind;
static HwRef traced;
static unsigned traced_index, traced_count, count_at_trace;
static int traced_number;
static bool release_it;
static HwRef mapped;

void hiwire_traceref(char *type, HwRef ref, unsigned index, __externref_t value, unsigned count)
{
    num_traces++;
    kind = type[0];
    traced = ref;
    traced_index = index;
    traced_number = number_of(value);
    traced_count = count;
    count_at_trace = hiwire_refcount(ref);
    if (release_it) {
        release_it = false;
        hiwire_decref(ref);
    }
}

HwRef hiwire_deduplicate_get(__externref_t value)
{
    (void)value;
    return mapped;
}

void hiwire_deduplicate_set(__externref_t value, HwRef ref)
{
    (void)value;
    mapped = ref;
}

void hiwire_deduplicate_delete(__externref_t value)
{
    (void)value;
    mapped = NULL;
}

static void expect(int traces, char type, HwRef ref, unsigned count)
{
    CHECK(num_traces == traces && kind == type && traced == ref);
    CHECK(traced_index == index_of(ref));
    CHECK(traced_number == 1);
    CHECK(traced_count == count && count_at_trace == count);
}

TEST(every_change_is_told)
{
    HwRef ref = hiwire_new(object(1));
    expect(1, 'n', ref, 1);
    hiwire_incref(ref);
    expect(2, 'i', ref, 1);
    hiwire_decref(ref);
    expect(3, 'd', ref, 2);
    hiwire_get(ref);
    CHECK(num_traces == 3);
    hiwire_pop(ref);
    expect(4, 'd', ref, 1);
    CHECK(hiwire_num_refs() == 0);
}

TEST(immortals_and_bad_refs_are_not)
{
    HwRef ref = hiwire_intern(object(1));
    hiwire_incref(ref);
    hiwire_decref(ref);
    hiwire_incref(NULL);
    hiwire_decref(NULL);
    hiwire_decref(ref_of(3));
    CHECK(num_traces == 0);
}

TEST(deduplicated_refs_too)
{
    HwRef ref = hiwire_new_deduplicate(object(1));
    expect(1, 'n', ref, 1);
    hiwire_new_deduplicate(object(1));
    expect(2, 'i', ref, 1);
    hiwire_decref(ref);
    expect(3, 'd', ref, 2);
    hiwire_decref(ref);
    expect(4, 'd', ref, 1);
    CHECK(mapped == NULL && hiwire_num_refs() == 0);
}

TEST(a_trace_that_releases_the_ref)
{
    HwRef ref = hiwire_new(object(1));
    release_it = true;
    hiwire_incref(ref);
    CHECK(hiwire_num_refs() == 0 && _hiwire_slot_info(1) == free_slot(2, 1));
    ref = hiwire_new(object(1));
    release_it = true;
    hiwire_decref(ref);
    CHECK(hiwire_num_refs() == 0 && _hiwire_slot_info(1) == free_slot(2, 2));
}
