/* cycle: objects with callbacks, of which the host has a wrapper each.
 *
 * A callback is a Python object, and may hold its own wrapper: then the wrapper holds this object, this
 * object its handle, the handle its slot of the table, and the slot the callback. No reference count sees the
 * end of that. The layout at the end is all that the host needs to collect such rings.
 *
 * The memory is small on purpose (see LINK_cycle in c/Makefile): 10 pages, of which one is the stack.
 */
#include <hiwire.h>
#include <hiwire_layout.h>
#include <stdint.h>

#define IMPORT(name) __attribute__((import_module("env"), import_name(#name)))
#define EXPORT(name) __attribute__((export_name(#name)))

/* Calls the callback; its result is up to the host. */
IMPORT(invoke) int32_t invoke(__externref_t callback, int32_t argument);

typedef struct Object Object;
struct Object {
    HwRef callback; /* owned; NULL without */
    Object *next;   /* in the list of free objects */
    uint32_t payload[10];
};

/* ---- memory: objects of one size; freed ones are used again before more is taken */

enum { PAGE = 65536 };
extern unsigned char __heap_base; /* set by the linker: where the program's own data end */
static Object *unused;
static uint32_t end; /* of what was ever given out; 0 at the start */
static uint32_t live;

static Object *take(void)
{
    if (unused != NULL) {
        Object *object = unused;
        unused = object->next;
        return object;
    }
    uint32_t start = end != 0 ? end : ((uintptr_t)&__heap_base + 15) & ~(uint32_t)15;
    if (start + sizeof(Object) > __builtin_wasm_memory_size(0) * PAGE &&
        __builtin_wasm_memory_grow(0, 1) == (size_t)-1) {
        return NULL;
    }
    end = start + sizeof(Object);
    return (Object *)(uintptr_t)start;
}

/* ---- what the host calls */

/* A new object without a callback. NULL when the memory is full. */
EXPORT(object_new) Object *object_new(void)
{
    Object *object = take();
    if (object != NULL) {
        *object = (Object){0};
        live++;
    }
    return object;
}

/* Gives the object a callback in place of the one it had. False, and nothing has changed, if the handle table
 * is full. */
EXPORT(object_attach) bool object_attach(Object *object, __externref_t callback)
{
    HwRef ref = hiwire_new(callback);
    if (ref == NULL) {
        return false;
    }
    HwRef old = object->callback;
    object->callback = ref;
    hiwire_decref(old); /* last: the old one may die now, and its finalizer may come back here */
    return true;
}

/* Has the host call the object's callback, which it must have. What the callback raises passes through. */
EXPORT(object_fire) int32_t object_fire(Object *object, int32_t argument)
{
    return invoke(hiwire_get(object->callback), argument);
}

/* Frees the object and gives its handle back. */
EXPORT(object_free) void object_free(Object *object)
{
    HwRef old = object->callback;
    object->callback = NULL;
    object->next = unused;
    unused = object;
    live--;
    hiwire_decref(old);
}

/* How many objects there are. */
EXPORT(objects_live) uint32_t objects_live(void)
{
    return live;
}

HIWIRE_LAYOUT(object, Object, HIWIRE_HANDLE(Object, callback));
