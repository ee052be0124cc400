/* ABORT_FAIL: says on standard error what was wrong with which ref, and ends the program. */
#include "internal.h"

#ifdef HIWIRE_ABORT_FAIL

#include <stdio.h>
#include <stdlib.h>

static const char *function_name(int type)
{
    switch (type) {
    case HIWIRE_FAIL_GET:
        return "hiwire_get";
    case HIWIRE_FAIL_DECREF:
        return "hiwire_decref";
    default:
        return "hiwire_incref";
    }
}

/* A slot that is free with the version of the ref has yet to give that ref out; so has one beyond the end.
 * Not so a retired slot, whose last ref had this version. Other versions were given out or will be: where
 * versions wrap, a higher one is more often that of a ref released long ago than one made up. */
static bool was_given_out(HwRef ref)
{
    uint32_t index = heap_index(ref);
    if (!is_heap_ref(ref) || index == 0 || index >= _hiwire.slot_count) {
        return false;
    }
    uint32_t word = _hiwire_slots[index];
#ifdef HIWIRE_RETIRE_SLOTS
    if (word == retired_word(index)) {
        return true;
    }
    return (ref_bits(ref) & VERSION_MASK) < (word & VERSION_MASK); /* versions do not wrap */
#else
    return heap_ref(index, word) != ref;
#endif
}

static const char *reason(int type, HwRef ref)
{
    if (type == HIWIRE_FAIL_OVERFLOW) {
        return "has as many counts as fit and is now pinned";
    }
    if (ref == NULL) {
        return "is null";
    }
    return was_given_out(ref) ? "is freed" : "was never given out";
}

/* Decimal digits by hand: the formatted output of a C library weighs forty times as much as all of hiwire. */
static void put_number(uint32_t number)
{
    char digits[11];
    char *first = &digits[sizeof digits - 1];
    *first = '\0';
    do {
        *--first = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    fputs(first, stderr);
}

void _hiwire_abort(int type, HwRef ref)
{
    fputs(function_name(type), stderr);
    fputs(" failed: reference ", stderr);
    put_number(ref_bits(ref));
    fputs(" ", stderr);
    fputs(reason(type, ref), stderr);
    fputs("\n", stderr);
    abort();
}

#endif
