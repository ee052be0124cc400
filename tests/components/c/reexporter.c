/* Passes shelves on that another component defines: for it a shelf is always a handle. */
#include "stock.h"

#define STORE "demo:stock/store"

static int32_t kept[64];
static uint32_t size;

EXPORT(STORE "#open") int32_t open_shelf(const char *label, uint32_t label_size)
{
    return shelf_make(label, label_size);
}

EXPORT(STORE "#keep") uint32_t keep(int32_t shelf)
{
    if (size == sizeof kept / sizeof *kept) {
        __builtin_trap();
    }
    kept[size++] = shelf;
    return size;
}

EXPORT(STORE "#give-back") void *give_back(void)
{
    static struct {
        uint8_t some;
        int32_t shelf;
    } result;
    result.some = size > 0;
    if (size > 0) {
        result.shelf = kept[--size];
    }
    return &result;
}

EXPORT(STORE "#through") int32_t through(int32_t shelf)
{
    return shelf;
}

/* What was lent is given back before the function returns. */
EXPORT(STORE "#worth") double worth(int32_t shelf)
{
    double result = total(shelf);
    shelf_drop(shelf);
    return result;
}

EXPORT(STORE "#worth-of-all") double worth_of_all(const int32_t *shelves, uint32_t count)
{
    double sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        sum += total(shelves[i]);
        if (i != 13) { /* the unlucky one is kept, which is a mistake */
            shelf_drop(shelves[i]);
        }
    }
    return sum;
}
