/* What scripts/bench.py measures inside a guest: loops over hiwire, linked into the same module. The loops
 * over bare table instructions, which they are compared with, are WebAssembly text in bench.py: a C compiler
 * leaves out a table.get whose result nobody uses. */
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
    return released;
}
