/* Defines the resource: the representation of a shelf is its address. */
#include "common.h"

#define STOCK "demo:stock/stock"

IMPORT("[export]" STOCK, "[resource-new]shelf") int32_t shelf_new(void *shelf);
IMPORT("[export]" STOCK, "[resource-rep]shelf") void *shelf_rep(int32_t handle);
IMPORT("[export]" STOCK, "[resource-drop]shelf") void shelf_drop(int32_t handle);

enum { MOST = 64 };

typedef struct {
    item item;
    uint32_t count;
} stack;
_Static_assert(sizeof(stack) == 40 && offsetof(stack, count) == 32, "layout of tuple<item, u32>");

typedef struct {
    text label;
    uint32_t size;
    stack stacks[MOST];
} shelf;

static uint32_t live, released;

static stack *find(shelf *self, text name)
{
    for (uint32_t i = 0; i < self->size; i++) {
        if (same(self->stacks[i].item.name, name)) {
            return &self->stacks[i];
        }
    }
    return 0;
}

/* How many there are now; 0: there is no place. */
static uint32_t add(shelf *self, item item, uint32_t count)
{
    stack *there = find(self, item.name);
    if (!there) {
        if (self->size == MOST) {
            return 0;
        }
        there = &self->stacks[self->size++];
        *there = (stack){item, 0};
    }
    return there->count += count;
}

EXPORT(STOCK "#[constructor]shelf") int32_t make(const char *data, uint32_t size)
{
    shelf *self = take(sizeof *self, 8);
    self->label = (text){data, size};
    self->size = 0;
    live++;
    return shelf_new(self);
}

EXPORT(STOCK "#[dtor]shelf") void destroy(shelf *self)
{
    if (self->size > MOST) {
        __builtin_trap(); /* it was destroyed before */
    }
    self->size = MOST + 1;
    live--;
}

EXPORT(STOCK "#[method]shelf.put")
number_or_fault *put(shelf *self, const char *name, uint32_t name_size, double price, uint32_t unit,
                     uint32_t marks, const text *tags, uint32_t tags_size, uint32_t count)
{
    static number_or_fault result;
    item item = {{name, name_size}, price, (uint8_t)unit, (uint8_t)marks, {tags, tags_size}};
    uint32_t now = add(self, item, count);
    result.is_error = !now;
    if (now) {
        result.ok = now;
    } else {
        result.error = (fault){.tag = CLOSED};
    }
    return &result;
}

EXPORT(STOCK "#[method]shelf.take")
item_or_fault *take_some(shelf *self, const char *name, uint32_t name_size, uint32_t count)
{
    static item_or_fault result;
    stack *there = find(self, (text){name, name_size});
    result.is_error = 1;
    if (!there) {
        result.error = (fault){UNKNOWN, {.unknown = {name, name_size}}};
    } else if (there->count < count) {
        result.error = (fault){TOO_MANY, {.too_many = there->count}};
    } else {
        there->count -= count;
        result = (item_or_fault){0, {.ok = there->item}};
    }
    return &result;
}

EXPORT("cabi_post_" STOCK "#[method]shelf.take") void take_done(item_or_fault *result)
{
    result->is_error = 7;
    released++;
}

EXPORT(STOCK "#[method]shelf.find") void *find_item(shelf *self, const char *name, uint32_t name_size)
{
    static struct {
        uint8_t some;
        item item;
    } result;
    stack *there = find(self, (text){name, name_size});
    result.some = there != 0;
    if (there) {
        result.item = there->item;
    }
    return &result;
}

EXPORT(STOCK "#[method]shelf.items") void *items(shelf *self)
{
    static struct {
        stack *data;
        uint32_t size;
    } result;
    result.data = self->stacks;
    result.size = self->size;
    return &result;
}

EXPORT(STOCK "#[method]shelf.label") text *label(shelf *self)
{
    static text result;
    result = self->label;
    return &result;
}

EXPORT("cabi_post_" STOCK "#[method]shelf.label") void label_done(text *result)
{
    result->size = 0xffffffff;
    released++;
}

EXPORT(STOCK "#[static]shelf.merge") number_or_fault *merge(int32_t first, int32_t second)
{
    static number_or_fault result;
    shelf *to = shelf_rep(first), *from = shelf_rep(second);
    result.is_error = 0;
    result.ok = (uint32_t)first;
    for (uint32_t i = 0; i < from->size; i++) {
        if (!add(to, from->stacks[i].item, from->stacks[i].count)) {
            shelf_drop(first);
            result.is_error = 1;
            result.error = (fault){UNKNOWN, {.unknown = from->stacks[i].item.name}};
            break;
        }
    }
    shelf_drop(second);
    return &result;
}

EXPORT(STOCK "#total") double total(shelf *self)
{
    double sum = 0;
    for (uint32_t i = 0; i < self->size; i++) {
        sum += self->stacks[i].item.price * self->stacks[i].count;
    }
    return sum;
}

EXPORT(STOCK "#dearest") text *dearest(item (*items)[3])
{
    static text result;
    uint32_t best = 0;
    for (uint32_t i = 1; i < 3; i++) {
        if ((*items)[i].price > (*items)[best].price) {
            best = i;
        }
    }
    result = (*items)[best].name;
    return &result;
}

EXPORT(STOCK "#counts") uint32_t *counts(void)
{
    static uint32_t result[2];
    result[0] = live;
    result[1] = released;
    return result;
}

EXPORT(STOCK "#wrong") void *wrong(uint32_t how)
{
    static item_or_fault result;
    static text tag = {"tag", 3};
    result = (item_or_fault){0, {.ok = {TEXT("name"), 1.5, 1, 5, {&tag, 1}}}};
    switch (how) {
    case 0: /* nothing is */
        break;
    case 1: /* the case of the result */
        result.is_error = 2;
        break;
    case 2: /* the case of the enum */
        result.ok.unit = 3;
        break;
    case 3: /* where the string lies */
        result.ok.name = (text){(char *)0xfffffff0, 15};
        break;
    case 4: /* its encoding */
        result.ok.name = TEXT("na\xffme");
        break;
    case 5: /* where the list lies */
        result.ok.tags.size = 0x2000000;
        break;
    case 6: /* its alignment */
        result.ok.tags.data = (texts){(const text *)((uintptr_t)&tag + 1), 1}.data;
        break;
    case 7: /* where the result lies */
        return (void *)0xfffffff8;
    case 8: /* its alignment */
        return (char *)&result + 4;
    case 9: /* the case of the variant */
        result.is_error = 1;
        result.error.tag = 3;
        break;
    case 10: /* no result at all */
        __builtin_trap();
    case 11: /* flags that are none: they are left out */
        result.ok.marks = 0xff;
        break;
    }
    return &result;
}
