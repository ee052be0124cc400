/* The side table in C, with clang's __externref_t and table builtins. See docs/sidetable.md; sidetable.wat
 * and sidetable.S do the same.
 *
 * An object of the host, a callback, cannot be in linear memory. It is in the table `objects`, and memory
 * holds its handle: its index. Handles that are not in use are in a list of nodes from malloc. An object with
 * a handle and a node have the same size, on purpose: a freed object becomes the node of its own handle, so
 * freeing needs no memory and cannot fail.
 *
 *     object   [handle, or EMPTY][own address ^ LIVE]
 *     node     [handle          ][next node, or 0   ]
 *
 * The host passes addresses as plain numbers. LIVE tells the addresses of objects from all others: no other
 * word in this memory, of at most 256 MiB, starts with the bits 1010, so none is some address ^ LIVE by
 * accident.
 *
 * rt.out_of_memory may raise, call this module again, or return; it is called with everything as it was
 * before.
 */
#include <stddef.h>
#include <stdint.h>

#define IMPORT(name) __attribute__((import_module("rt"), import_name(#name))) extern
#define EXPORT(name) __attribute__((export_name(#name)))

void *malloc(size_t size);
void free(void *payload);

IMPORT(invoke) void invoke(__externref_t callback);
IMPORT(out_of_memory) void out_of_memory(void);

typedef struct Cell Cell;
struct Cell {
    int32_t handle;
    union {
        uint32_t check; /* of an object */
        Cell *next;     /* of a node */
    };
};

_Static_assert(sizeof(Cell) == 8, "an object is as large as a node");

#define EMPTY (-1)
#define ALIGNMENT 16 /* malloc's */
#define LIVE 0xA9D3517Eu
#define NOBODY __builtin_wasm_ref_null_extern()

static __externref_t objects[0];
static Cell *free_list;

static Cell *push(Cell *list, int32_t handle)
{
    Cell *node = malloc(sizeof *node);
    if (node != NULL) {
        node->handle = handle;
        node->next = list;
    }
    return node;
}

static void drop(Cell *list)
{
    while (list != NULL) {
        Cell *node = list;
        list = node->next;
        free(node);
    }
}

/* Adds half as many handles again, and one. Gives the first of them, and makes nodes of the others, of which
 * there are none; or EMPTY, and nothing has changed. */
static int32_t expand(void)
{
    int32_t size = __builtin_wasm_table_size(objects);
    int32_t more = (int32_t)((uint32_t)size >> 1) + 1;
    Cell *list = NULL;
    for (int32_t handle = size + more - 1; handle > size; handle--) {
        Cell *longer = push(list, handle);
        if (longer == NULL) {
            drop(list);
            return EMPTY;
        }
        list = longer;
    }
    /* Last, because a table cannot shrink again. */
    if (__builtin_wasm_table_grow(objects, NOBODY, more) == -1) {
        drop(list);
        return EMPTY;
    }
    free_list = list;
    return size;
}

static int32_t take_handle(void)
{
    Cell *node = free_list;
    if (node == NULL) {
        return expand();
    }
    int32_t handle = node->handle;
    free_list = node->next;
    free(node);
    return handle;
}

static void check(const Cell *object)
{
    uint32_t address = (uint32_t)(uintptr_t)object;
    if (address % ALIGNMENT != 0 || object->check != (address ^ LIVE)) {
        __builtin_trap();
    }
}

/* A new object without a callback; NULL when out_of_memory was called and returned. */
EXPORT(make_obj) Cell *make_obj(void)
{
    Cell *object = malloc(sizeof *object);
    if (object == NULL) {
        out_of_memory();
        return NULL;
    }
    object->handle = EMPTY;
    object->check = (uint32_t)(uintptr_t)object ^ LIVE;
    return object;
}

/* Lets go of the callback and of the object. Traps on what is no object. */
EXPORT(free_obj) void free_obj(Cell *object)
{
    check(object);
    if (object->handle == EMPTY) {
        /* Or the free memory would still pass for an object. Compilers know that nobody reads what is freed,
         * and leave such a store out unless it is volatile. */
        *(volatile uint32_t *)&object->check = 0;
        free(object);
        return;
    }
    __builtin_wasm_table_set(objects, object->handle, NOBODY);
    object->next = free_list;
    free_list = object;
}

/* Makes the object hold this callback instead of what it held. When out_of_memory was called and returned, it
 * holds nothing as before. Traps on what is no object. */
EXPORT(attach_callback) void attach_callback(Cell *object, __externref_t callback)
{
    check(object);
    if (object->handle == EMPTY) {
        int32_t handle = take_handle();
        if (handle == EMPTY) {
            out_of_memory();
            return;
        }
        object->handle = handle;
    }
    __builtin_wasm_table_set(objects, object->handle, callback);
}

/* Hands the callback to the host, or null if there is none. Traps on what is no object. */
EXPORT(invoke_callback) void invoke_callback(const Cell *object)
{
    check(object);
    if (object->handle == EMPTY) {
        invoke(NOBODY);
        return;
    }
    invoke(__builtin_wasm_table_get(objects, object->handle));
}
