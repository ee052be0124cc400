/* The interface stock, as it is imported. */
#include "common.h"

#define STOCK "demo:stock/stock"

IMPORT(STOCK, "[constructor]shelf") int32_t shelf_make(const char *label, uint32_t size);
IMPORT(STOCK, "[resource-drop]shelf") void shelf_drop(int32_t shelf);
IMPORT(STOCK, "[method]shelf.put")
void shelf_put(int32_t shelf, const char *name, uint32_t name_size, double price, uint32_t unit,
               uint32_t marks, const text *tags, uint32_t tags_size, uint32_t count, void *result);
IMPORT(STOCK, "[method]shelf.take")
void shelf_take(int32_t shelf, const char *name, uint32_t name_size, uint32_t count, void *result);
IMPORT(STOCK, "[method]shelf.items") void shelf_items(int32_t shelf, void *result);
IMPORT(STOCK, "[method]shelf.label") void shelf_label(int32_t shelf, text *result);
IMPORT(STOCK, "[static]shelf.merge") void shelf_merge(int32_t first, int32_t second, void *result);
IMPORT(STOCK, "total") double total(int32_t shelf);
IMPORT(STOCK, "dearest") void dearest(const void *items, text *result);
IMPORT(STOCK, "counts") void counts(uint32_t *result);
IMPORT(STOCK, "wrong") void wrong(uint32_t how, void *result);
