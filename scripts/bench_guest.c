/* What scripts/bench.py measures inside a guest: loops over hiwire, linked into the same module. The loops
 * over bare table instructions, which they are compared with, are WebAssembly text in benchmarks/in_guests.py:
 * a C compiler leaves out a table.get whose result nobody uses. */
#include <hiwire.h>

#define EXPORT(name) __attribute__((export_name(#name)))

EXPORT(churn) unsigned churn(__externref_t value, unsigned count)
{
    unsigned sum = 0;
    for (unsigned i = 0; i < count; i++) {
        HwRef ref = hiwire_new(value);
        (void)hiwire_get(ref);
        sum += (unsigned)(__UINTPTR_TYPE__)ref;
        hiwire_decref(ref);
    }
    return sum;
}

EXPORT(get) void get(HwRef ref, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        (void)hiwire_get(ref);
    }
}

/* How many handles there was room for. */
EXPORT(fill) unsigned fill(__externref_t value, unsigned count)
{
    unsigned made = 0;
    while (made < count && hiwire_new(value) != NULL) {
        made++;
    }
    return made;
}

EXPORT(count) unsigned count(void)
{
    return (unsigned)hiwire_num_refs();
}

/* Handles of many objects, to be read in turn. */
static HwRef kept[20000];
static unsigned kept_count;

EXPORT(keep) void keep(__externref_t value)
{
    kept[kept_count++] = hiwire_new(value);
}

EXPORT(get_kept) void get_kept(unsigned rounds)
{
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned i = 0; i < kept_count; i++) {
            (void)hiwire_get(kept[i]);
        }
    }
}

/* Releases every handle; how many there were. */
EXPORT(drain) unsigned drain(void)
{
    unsigned released = 0;
    HwRef ref = hiwire_next(NULL);
    while (ref != NULL) {
        HwRef next = hiwire_next(ref);
        hiwire_decref(ref);
        ref = next;
        released++;
    }
    kept_count = 0;
    return released;
}
