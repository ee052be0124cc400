/* Wrappers and arenas as types of CPython's collector; survey.c comes after this in the same translation unit, and
   _build_types.py puts both into a module.

   A wrapper shows Python's collector, for the time of one collection, the objects that its struct in the guest's
   memory holds. Which those are is in the survey of its arena; without one it shows nothing but its own fields. */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if PY_VERSION_HEX < 0x030c0000
#include <structmember.h>
#define Py_T_PYSSIZET T_PYSSIZET
#define Py_T_OBJECT_EX T_OBJECT_EX
#define Py_READONLY READONLY
#endif
#ifdef Py_GIL_DISABLED
#error "the lists here are guarded by the interpreter lock; without one, collections take the way without this module"
#endif

typedef struct hw_survey hw_survey;
typedef struct hw_arena hw_arena;

/* A layout, as the survey reads it. */
typedef struct hw_shape {
    PyObject_HEAD
    PyObject *layout;
    uint64_t size; /* bytes */
    Py_ssize_t handles, owned;
    uint32_t *offsets; /* in words: of handles, then of owning pointers */
    struct hw_shape **targets;
} hw_shape;

typedef struct hw_link {
    struct hw_link *next, *before;
} hw_link;

/* A struct of a guest. It is made together with the wrapper, since a finalizer could not say that there is no memory. */
typedef struct hw_struct {
    struct hw_struct *next; /* in the list of those whose wrappers are dead */
    PyObject *free;
    uint32_t pointer;
} hw_struct;

typedef struct {
    PyObject_HEAD
    hw_link link;    /* in its arena's list */
    hw_arena *arena; /* NULL: it has no struct */
    hw_shape *shape;
    hw_struct *owned;
    uint32_t start, count; /* its part of the survey's copies */
} hw_wrapper;

struct hw_arena {
    PyObject_HEAD
    hw_link wrappers;
    hw_struct *dead, **last_dead; /* those whose wrappers are dead, the longest dead first */
    Py_ssize_t waiting;           /* how many they are */
    PyObject *live;               /* a set: the pointers of all structs that are owned, or not freed yet */
    hw_survey *survey;            /* while there is one; it clears this before it goes */
};

static PyTypeObject *hw_shape_type, *hw_wrapper_type, *hw_arena_type, *hw_survey_type;

static int hw_survey_visit(hw_survey *survey, hw_wrapper *wrapper, visitproc visit, void *arg);
static void hw_survey_drop(hw_survey *survey, hw_wrapper *wrapper);

static hw_wrapper *hw_wrapper_of(hw_link *link)
{
    return (hw_wrapper *)((char *)link - offsetof(hw_wrapper, link));
}

/* ---- shapes */

static PyObject *hw_shape_new(PyTypeObject *type, PyObject *args, PyObject *named)
{
    static char *names[] = {"layout", "size", "handles", "owned", NULL};
    PyObject *layout, *handles, *owned;
    unsigned long long size;
    if (!PyArg_ParseTupleAndKeywords(args, named, "OKO!O!", names, &layout, &size, &PyTuple_Type, &handles,
                                     &PyTuple_Type, &owned))
        return NULL;
    hw_shape *shape = (hw_shape *)type->tp_alloc(type, 0);
    if (shape == NULL)
        return NULL;
    shape->handles = PyTuple_GET_SIZE(handles);
    shape->owned = PyTuple_GET_SIZE(owned);
    shape->size = size;
    shape->layout = layout;
    Py_INCREF(layout);
    shape->offsets = calloc(shape->handles + shape->owned + 1, sizeof *shape->offsets);
    shape->targets = calloc(shape->owned + 1, sizeof *shape->targets);
    if (shape->offsets == NULL || shape->targets == NULL) {
        Py_DECREF(shape);
        return PyErr_NoMemory();
    }
    for (Py_ssize_t i = 0; i < shape->handles + shape->owned; i++) {
        PyObject *offset =
            i < shape->handles ? PyTuple_GET_ITEM(handles, i) : PyTuple_GET_ITEM(owned, i - shape->handles);
        unsigned long word = PyLong_AsUnsignedLong(offset);
        if (PyErr_Occurred() || (uint64_t)word >= size / 4) {
            if (!PyErr_Occurred())
                PyErr_SetString(PyExc_ValueError, "a field is not within the struct");
            Py_DECREF(shape);
            return NULL;
        }
        shape->offsets[i] = (uint32_t)word;
    }
    return (PyObject *)shape;
}

/* own(i, shape): what the struct's i-th owning pointer points to; without it the pointer is not followed. */
static PyObject *hw_shape_own(PyObject *self, PyObject *args)
{
    hw_shape *shape = (hw_shape *)self;
    PyObject *target;
    Py_ssize_t i;
    if (!PyArg_ParseTuple(args, "nO!", &i, hw_shape_type, &target))
        return NULL;
    if (i < 0 || i >= shape->owned) {
        PyErr_SetString(PyExc_IndexError, "the struct has no such owning pointer");
        return NULL;
    }
    hw_shape *old = shape->targets[i];
    Py_INCREF(target);
    shape->targets[i] = (hw_shape *)target;
    Py_XDECREF(old);
    Py_RETURN_NONE;
}

static int hw_shape_traverse(PyObject *self, visitproc visit, void *arg)
{
    hw_shape *shape = (hw_shape *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(shape->layout);
    for (Py_ssize_t i = 0; shape->targets != NULL && i < shape->owned; i++)
        Py_VISIT(shape->targets[i]);
    return 0;
}

static int hw_shape_clear(PyObject *self)
{
    hw_shape *shape = (hw_shape *)self;
    for (Py_ssize_t i = 0; shape->targets != NULL && i < shape->owned; i++)
        Py_CLEAR(shape->targets[i]);
    return 0; /* a mere layout makes no cycle, and errors name it */
}

static void hw_shape_dealloc(PyObject *self)
{
    hw_shape *shape = (hw_shape *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    hw_shape_clear(self);
    Py_XDECREF(shape->layout);
    free(shape->offsets);
    free(shape->targets);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef hw_shape_methods[] = {{"own", hw_shape_own, METH_VARARGS, NULL}, {NULL}};

static PyType_Slot hw_shape_slots[] = {{Py_tp_new, hw_shape_new},
                                       {Py_tp_traverse, hw_shape_traverse},
                                       {Py_tp_clear, hw_shape_clear},
                                       {Py_tp_dealloc, hw_shape_dealloc},
                                       {Py_tp_methods, hw_shape_methods},
                                       {0, NULL}};

static PyType_Spec hw_shape_spec = {"hiwire_py.collect.Shape", sizeof(hw_shape), 0,
                                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, hw_shape_slots};

/* ---- arenas */

static PyObject *hw_arena_new(PyTypeObject *type, PyObject *args, PyObject *named)
{
    hw_arena *arena = (hw_arena *)type->tp_alloc(type, 0);
    (void)args, (void)named; /* those of a subclass's __init__ */
    if (arena != NULL) {
        arena->wrappers.next = arena->wrappers.before = &arena->wrappers;
        arena->last_dead = &arena->dead;
        arena->live = PySet_New(NULL);
        if (arena->live == NULL)
            Py_CLEAR(arena);
    }
    return (PyObject *)arena;
}

/* own(wrapper, pointer, shape, free): the wrapper owns the struct from now on. */
static PyObject *hw_arena_own(PyObject *self, PyObject *args)
{
    hw_arena *arena = (hw_arena *)self;
    PyObject *object, *shape, *free_;
    unsigned int pointer;
    if (!PyArg_ParseTuple(args, "O!IO!O", hw_wrapper_type, &object, &pointer, hw_shape_type, &shape, &free_))
        return NULL;
    hw_wrapper *wrapper = (hw_wrapper *)object;
    if (wrapper->arena != NULL) {
        PyErr_SetString(PyExc_TypeError, "the wrapper has a struct already");
        return NULL;
    }
    hw_struct *owned = malloc(sizeof *owned);
    if (owned == NULL)
        return PyErr_NoMemory();
    PyObject *number = PyLong_FromUnsignedLong(pointer);
    if (number == NULL || PySet_Add(((hw_arena *)self)->live, number) < 0) {
        Py_XDECREF(number);
        free(owned);
        return NULL;
    }
    Py_DECREF(number);
    Py_INCREF(self), Py_INCREF(shape), Py_INCREF(free_);
    owned->free = free_;
    owned->pointer = pointer;
    owned->next = NULL;
    wrapper->owned = owned;
    wrapper->shape = (hw_shape *)shape;
    wrapper->count = 0;
    wrapper->link.next = &arena->wrappers;
    wrapper->link.before = arena->wrappers.before;
    wrapper->link.before->next = arena->wrappers.before = &wrapper->link;
    wrapper->arena = arena;
    Py_RETURN_NONE;
}

static void hw_arena_bury(hw_arena *arena, hw_struct *owned)
{
    owned->next = NULL;
    *arena->last_dead = owned;
    arena->last_dead = &owned->next;
    arena->waiting++;
}

static hw_struct *hw_arena_exhume(hw_arena *arena)
{
    hw_struct *owned = arena->dead;
    if (owned != NULL) {
        arena->dead = owned->next;
        if (arena->dead == NULL)
            arena->last_dead = &arena->dead;
        arena->waiting--;
    }
    return owned;
}

/* next_free() -> what frees the struct whose wrapper is dead for the longest time, or None. */
static PyObject *hw_arena_next_free(PyObject *self, PyObject *unused)
{
    hw_struct *owned = ((hw_arena *)self)->dead;
    (void)unused;
    return Py_NewRef(owned == NULL ? Py_None : owned->free);
}

/* next_dead(free) -> that struct's pointer as a signed integer, or None if something else frees it. It is the caller's
   now, and not in `live` any more. */
static PyObject *hw_arena_next_dead(PyObject *self, PyObject *free_)
{
    hw_arena *arena = (hw_arena *)self;
    if (arena->dead == NULL || arena->dead->free != free_)
        Py_RETURN_NONE;
    PyObject *taken = PyLong_FromLong((int32_t)arena->dead->pointer);
    PyObject *pointer = PyLong_FromUnsignedLong(arena->dead->pointer);
    if (taken == NULL || pointer == NULL || PySet_Discard(arena->live, pointer) < 0) {
        Py_XDECREF(taken), Py_XDECREF(pointer);
        return NULL;
    }
    Py_DECREF(pointer);
    free(hw_arena_exhume(arena));
    Py_DECREF(free_); /* not the last one: the caller has another */
    return taken;
}

static int hw_arena_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    for (hw_struct *owned = ((hw_arena *)self)->dead; owned != NULL; owned = owned->next)
        Py_VISIT(owned->free);
    Py_VISIT(((hw_arena *)self)->live);
    return 0;
}

static int hw_arena_clear(PyObject *self)
{
    hw_arena *arena = (hw_arena *)self;
    for (hw_struct *owned; (owned = hw_arena_exhume(arena)) != NULL;) {
        Py_DECREF(owned->free);
        free(owned);
    }
    return 0;
}

static void hw_arena_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_CLEAR(((hw_arena *)self)->live);
    hw_arena_clear(self); /* no wrapper is left: each holds its arena; and so does a survey */
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef hw_arena_methods[] = {{"own", hw_arena_own, METH_VARARGS, NULL},
                                         {"next_free", hw_arena_next_free, METH_NOARGS, NULL},
                                         {"next_dead", hw_arena_next_dead, METH_O, NULL},
                                         {NULL}};

static PyMemberDef hw_arena_members[] = {
    {"waiting", Py_T_PYSSIZET, offsetof(hw_arena, waiting), Py_READONLY, NULL},
    {"live", Py_T_OBJECT_EX, offsetof(hw_arena, live), Py_READONLY, NULL},
    {NULL}};

static PyType_Slot hw_arena_slots[] = {{Py_tp_new, hw_arena_new},
                                       {Py_tp_traverse, hw_arena_traverse},
                                       {Py_tp_clear, hw_arena_clear},
                                       {Py_tp_dealloc, hw_arena_dealloc},
                                       {Py_tp_methods, hw_arena_methods},
                                       {Py_tp_members, hw_arena_members},
                                       {0, NULL}};

static PyType_Spec hw_arena_spec = {"hiwire_py.collect.ArenaBase", sizeof(hw_arena), 0,
                                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE, hw_arena_slots};

/* ---- wrappers */

static int hw_wrapper_traverse(PyObject *self, visitproc visit, void *arg)
{
    hw_wrapper *wrapper = (hw_wrapper *)self;
    Py_VISIT(Py_TYPE(self));
    if (wrapper->arena == NULL)
        return 0;
    Py_VISIT(wrapper->arena);
    Py_VISIT(wrapper->shape);
    Py_VISIT(wrapper->owned->free);
    if (wrapper->arena->survey != NULL)
        return hw_survey_visit(wrapper->arena->survey, wrapper, visit, arg);
    return 0;
}

/* Python takes a cycle apart. What the struct holds goes; what the struct itself needs to be freed does not. */
static int hw_wrapper_clear(PyObject *self)
{
    hw_wrapper *wrapper = (hw_wrapper *)self;
    if (wrapper->arena != NULL && wrapper->arena->survey != NULL)
        hw_survey_drop(wrapper->arena->survey, wrapper);
    return 0;
}

static void hw_wrapper_dealloc(PyObject *self)
{
    hw_wrapper *wrapper = (hw_wrapper *)self;
    PyTypeObject *type = Py_TYPE(self);
    hw_arena *arena = wrapper->arena;
    PyObject_GC_UnTrack(self);
    if (arena != NULL) {
        hw_wrapper_clear(self);
        wrapper->link.before->next = wrapper->link.next;
        wrapper->link.next->before = wrapper->link.before;
        hw_arena_bury(arena, wrapper->owned);
        wrapper->arena = NULL;
        Py_DECREF(wrapper->shape);
        Py_DECREF(arena);
    }
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *hw_wrapper_pointer(PyObject *self, void *unused)
{
    (void)unused;
    if (((hw_wrapper *)self)->arena == NULL) {
        PyErr_SetString(PyExc_AttributeError, "the wrapper has no struct");
        return NULL;
    }
    return PyLong_FromUnsignedLong(((hw_wrapper *)self)->owned->pointer);
}

static PyObject *hw_wrapper_arena(PyObject *self, void *unused)
{
    hw_arena *arena = ((hw_wrapper *)self)->arena;
    (void)unused;
    if (arena == NULL) {
        PyErr_SetString(PyExc_AttributeError, "the wrapper has no struct");
        return NULL;
    }
    Py_INCREF(arena);
    return (PyObject *)arena;
}

static PyGetSetDef hw_wrapper_getset[] = {{"_guest_pointer", hw_wrapper_pointer, NULL, NULL, NULL},
                                          {"_guest_arena", hw_wrapper_arena, NULL, NULL, NULL},
                                          {NULL}};

static PyType_Slot hw_wrapper_slots[] = {{Py_tp_traverse, hw_wrapper_traverse},
                                         {Py_tp_clear, hw_wrapper_clear},
                                         {Py_tp_dealloc, hw_wrapper_dealloc},
                                         {Py_tp_getset, hw_wrapper_getset},
                                         {0, NULL}};

static PyType_Spec hw_wrapper_spec = {"hiwire_py.collect.WrapperBase", sizeof(hw_wrapper), 0,
                                      Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE, hw_wrapper_slots};
