/* What the parts of this extension share. They are one translation unit: _build.py puts them together, in this
   order:

   pointer_map.c  where a struct's handles are: the type PointerMap
   wrappers.c     the types WrapperBase and RegistryBase: wrappers, and the structs they own
   trace.c        what wrappers refer to, found in the memory of guests
   counts.c       which of those references are all that hold their object
   show.c         those are shown to Python's collector, as references of the wrappers, and hidden again
   edges.c        the type Edges, for one collection, and the module

   A wrapper shows Python's collector what its struct holds only for the time of one collection. Else it shows nothing
   but its own fields. */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if PY_VERSION_HEX < 0x030c0000
#include <structmember.h>
#define Py_T_UINT T_UINT
#define Py_T_PYSSIZET T_PYSSIZET
#define Py_T_OBJECT_EX T_OBJECT_EX
#define Py_READONLY READONLY
#endif
#ifdef Py_GIL_DISABLED
#error "the lists here are guarded by the interpreter lock; without one, collections go without this module"
#endif

typedef struct hw_edges hw_edges;
typedef struct hw_registry hw_registry;

/* ---- what is lasting */

typedef struct {
    PyObject_HEAD
    PyObject *layout; /* as the user knows it */
    PyObject *bytes;  /* which has the offsets */
    PyObject *targets;
    uint64_t size; /* of the struct, in bytes */
    Py_ssize_t handles, owned;
    const uint32_t *offsets; /* in words: of handles, then of owning pointers */
} hw_map;

/* A struct of a guest. It is made together with the wrapper, since a finalizer could not say that there is no memory. */
typedef struct hw_struct {
    struct hw_struct *next; /* in the list of those whose wrappers are dead */
    PyObject *free;
    uint32_t pointer;
} hw_struct;

typedef struct hw_wrapper {
    PyObject_HEAD
    struct hw_wrapper *next, **before; /* in its registry's list; where the pointer to this one is */
    hw_registry *registry; /* NULL: it has no struct */
    hw_map *map;
    hw_struct *owned;
    uint32_t pointer;
    uint32_t start, count; /* its part of the edges */
} hw_wrapper;

struct hw_registry {
    PyObject_HEAD
    hw_wrapper *wrappers;
    hw_struct *dead, **last_dead; /* those whose wrappers are dead, the longest dead first */
    Py_ssize_t waiting;           /* how many they are */
    PyObject *live;               /* a set: the pointers of all structs that are owned, or not freed yet */
    hw_edges *edges;              /* while they are shown; they clear this before they go */
};

/* ---- for one collection */

/* The slots of a refcount source, where they lie: what refcounts.Slots says. _build.py puts the constants of handles.py
   and objects/layout.py before all this, with HW_ before their names. */
typedef struct {
    const uint32_t *words;   /* as in c/hiwire/layout.h; NULL: a reference is the index of a slot, and counts once */
    const int32_t *keys;     /* of the slots' objects; 0: none */
    const uint32_t *records; /* of keys, by their index */
    uint64_t slot_count;
    uint64_t record_count;
} hw_slots;

/* An array that grows. */
typedef struct {
    void *items;
    size_t count, room;
} hw_array;

/* A reference in memory, a word of a struct; and if the struct's wrapper shows it, the object and its key, an int that is
   held so that nothing has to be made when the dict is put in order. Once they are counted, the word is the index of a
   slot. */
typedef struct {
    PyObject *object;
    PyObject *key;
    uint32_t word;
    uint32_t kind;
} hw_edge;

enum { HW_LENT, HW_OWN, HW_NO_HANDLE }; /* of edges: whether the count of the object is the dict's, or its own */

struct hw_edges {
    PyObject_HEAD
    PyObject *registries; /* a list */
    PyObject *mistaken;   /* a set of layouts that the memory did not agree with */
    hw_array memories;    /* hw_memory */
    hw_array all;         /* hw_edge */
    hw_array again;       /* hw_place: structs that were found more than once */
    hw_array keep;        /* uint32_t: words whose objects must not be shown by wrappers */
    hw_array rest;        /* PyObject *: what is in the dict and no wrapper shows */
    PyObject *objects, *tombstones;
    uint32_t none;
    char shown, dropped, over;
};

static PyTypeObject *hw_map_type, *hw_wrapper_type, *hw_registry_type, *hw_edges_type;

static int hw_edges_visit(hw_edges *edges, hw_wrapper *wrapper, visitproc visit, void *arg);
static void hw_edges_drop(hw_edges *edges, hw_wrapper *wrapper);
