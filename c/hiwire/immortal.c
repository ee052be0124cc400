/* Immortal refs: a second table that only grows. Nothing is released, so there is nothing to count. */
#include "internal.h"
#include "table.h"

EXTERNREF_TABLE(_hiwire_interned)

uint32_t _hiwire_num_immortals;

HwRef hiwire_intern(__externref_t value)
{
    uint32_t index = _hiwire_num_immortals + 1; /* index 0 is NULL */
    uint32_t size = _hiwire_interned_size();
    if (index >= size && _hiwire_interned_grow(growth_of(size)) == TABLE_GROW_FAILED) {
        return NULL;
    }
    _hiwire_interned_set(index, value);
    _hiwire_num_immortals = index;
    return ref_from_bits(index << TAG_BITS);
}

__externref_t _hiwire_immortal_get(uint32_t index)
{
    return _hiwire_interned_get(index);
}
