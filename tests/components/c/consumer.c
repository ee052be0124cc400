/* Uses shelves that others define and pass on. */
#include "stock.h"

#define STORE "demo:stock/store"

IMPORT(STORE, "open") int32_t store_open(const char *label, uint32_t size);
IMPORT(STORE, "keep") uint32_t store_keep(int32_t shelf);
IMPORT(STORE, "give-back") void store_give_back(void *result);
IMPORT(STORE, "through") int32_t store_through(int32_t shelf);
IMPORT(STORE, "worth") double store_worth(int32_t shelf);
IMPORT(STORE, "worth-of-all") double store_worth_of_all(const int32_t *shelves, uint32_t size);

typedef struct {
    item item;
    uint32_t count;
} stack;

typedef struct {
    text word;
    uint32_t count;
} counted;

typedef struct {
    uint8_t is_error;
    union {
        struct {
            text label;
            counted *data;
            uint32_t size;
        } ok;
        text error;
    };
} answer;
_Static_assert(sizeof(answer) == 20, "layout of the answer");

EXPORT("words") answer *words(const text *list, uint32_t size)
{
    static answer result;
    static const text tags[] = {{"a word", 6}, {"\xe2\x82\xac", 3}};
    int32_t shelf = store_open("w\xc3\xb6rter", 7);
    result.is_error = 0;
    for (uint32_t i = 0; i < size; i++) {
        number_or_fault put;
        shelf_put(shelf, list[i].data, list[i].size, 0.5, 0, 2, tags, 2, 1, &put);
        if (put.is_error) {
            result.is_error = 1;
            result.error = put.error.tag == CLOSED ? copy(list[i]) : TEXT("?");
        }
    }
    if (!result.is_error) {
        struct {
            stack *data;
            uint32_t size;
        } all;
        shelf = store_through(shelf);
        shelf_label(shelf, &result.ok.label);
        shelf_items(shelf, &all);
        result.ok.data = take(all.size * sizeof(counted), 4);
        result.ok.size = all.size;
        for (uint32_t i = 0; i < all.size; i++) {
            result.ok.data[i] = (counted){all.data[i].item.name, all.data[i].count};
        }
    }
    shelf_drop(shelf);
    return &result;
}

EXPORT("rounds") double rounds(uint32_t count)
{
    double sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        number_or_fault put, merged;
        int32_t first = shelf_make("first", 5), second = store_open("second", 6);
        shelf_put(second, "bread", 5, 0.25 * (i + 1), 0, 0, 0, 0, 4, &put);
        sum += store_worth(second);
        first = store_through(first);
        shelf_merge(first, second, &merged);
        if (merged.is_error) {
            __builtin_trap();
        }
        store_keep((int32_t)merged.ok);
        struct {
            uint8_t some;
            int32_t shelf;
        } back;
        store_give_back(&back);
        const int32_t twice[] = {back.shelf, back.shelf};
        sum += store_worth_of_all(twice, 2);
        shelf_drop(back.shelf);
    }
    return sum;
}

EXPORT("misuse") uint32_t misuse(uint32_t how)
{
    int32_t shelf = shelf_make("shelf", 5);
    number_or_fault put = {0};
    item_or_fault got = {0};
    const text tag = {"tag", 3};
    switch (how) {
    case 0: /* nothing is wrong; the shelf is dropped */
        shelf_drop(shelf);
        return (uint32_t)shelf;
    case 1: /* dropped twice */
        shelf_drop(shelf);
        shelf_drop(shelf);
        break;
    case 2: /* used when it was dropped */
        shelf_drop(shelf);
        total(shelf);
        break;
    case 3: /* used when it was given away */
        store_keep(shelf);
        total(shelf);
        break;
    case 4: /* never was one */
        total(12345);
        break;
    case 5: /* given away twice in one call */
        shelf_merge(shelf, shelf, &put);
        break;
    case 6: /* the case of the enum */
        shelf_put(shelf, "x", 1, 1.0, 3, 0, 0, 0, 1, &put);
        break;
    case 7: /* where a string lies */
        shelf_put(shelf, (char *)0xffffff00, 0xf0, 1.0, 0, 0, 0, 0, 1, &put);
        break;
    case 8: /* its encoding */
        shelf_put(shelf, "x\xc3", 2, 1.0, 0, 0, 0, 0, 1, &put);
        break;
    case 9: /* where a list lies */
        shelf_put(shelf, "x", 1, 1.0, 0, 0, &tag, 0x1000000, 1, &put);
        break;
    case 10: /* its alignment */
        shelf_put(shelf, "x", 1, 1.0, 0, 0, (const text *)((uintptr_t)&tag + 2), 1, 1, &put);
        break;
    case 11: /* where the result is to lie */
        shelf_put(shelf, "x", 1, 1.0, 0, 0, &tag, 1, 1, (void *)0xfffffff0);
        break;
    case 12: /* parameters in memory that are not aligned */
        dearest((char *)0x1001, (text *)&put);
        break;
    case 13: { /* the other keeps what it is lent */
        int32_t many[14];
        for (int i = 0; i < 14; i++) {
            many[i] = shelf;
        }
        store_worth_of_all(many, 14);
        break;
    }
    default: /* the other's result is wrong */
        wrong(how - 20, &got);
        shelf_drop(shelf);
        return got.is_error ? 100u + got.error.tag : got.ok.marks;
    }
    return 0;
}

EXPORT("live") uint32_t live(void)
{
    uint32_t result[2];
    counts(result);
    return result[0];
}
