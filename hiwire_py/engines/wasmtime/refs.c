/* Python objects as wasmtime's externrefs: what the compiled half of the engine knows of them.
   calls.c comes after this in the same translation unit; see _build.py.

   An object is known here by its id, a positive number that Python chose; 0 is the null reference. On the way into
   wasmtime an id becomes an externref whose data is a slot, and back on the way out. When wasmtime drops an
   externref, on whatever thread, its slot goes on the list `released`; nothing else happens until Python asks. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(_MSC_VER)
#include <intrin.h>
#define HW_THREAD __declspec(thread)
#define HW_ADD(at, n) (_InterlockedExchangeAdd64((volatile long long *)(at), (n)) + (n))
#define HW_SWAP(at, value) _InterlockedExchangePointer((void *volatile *)(at), (value))
#define HW_REPLACE(at, old, new_) (_InterlockedCompareExchangePointer((void *volatile *)(at), (new_), (old)) == (old))
#else
#define HW_THREAD __thread
#define HW_ADD(at, n) __atomic_add_fetch((at), (n), __ATOMIC_ACQ_REL)
#define HW_SWAP(at, value) __atomic_exchange_n((at), (value), __ATOMIC_ACQ_REL)
#define HW_REPLACE(at, old, new_) __sync_bool_compare_and_swap((at), (old), (new_))
#endif

/* Of the id of a slot whose externref is in the store that is being left: see hw_space_leave. */
#define HW_OLD ((int64_t)1 << 62)

enum { HW_I32 = 0x7f, HW_I64 = 0x7e, HW_EXTERNREF = 0x6f, HW_CHUNK = 64, HW_LOCAL = 8, HW_EXTERNREF_KIND = 6 };

typedef struct hw_slot {
    int64_t id;           /* 0: free */
    struct hw_slot *next; /* in the list `free`, `released` or `taken` */
    struct hw_space *space;
} hw_slot;

typedef struct hw_chunk {
    struct hw_chunk *next;
    hw_slot slots[HW_CHUNK];
} hw_chunk;

typedef struct hw_failure {
    struct hw_failure *next;
    wasm_trap_t *trap;
    wasmtime_error_t *error;
    int stack; /* the call has not begun: the thread's stack is too short for it */
} hw_failure;

struct hw_space {
    volatile int64_t status[5]; /* not 0: hw_collect has something to do; the rest is for objects/calls.py */
    int64_t wants_gc;
    int64_t held;  /* slots that wasmtime holds */
    int64_t users; /* these, functions, and 1 for Python: the last one frees the space, on any thread */
    int full;      /* wasmtime could not make an externref for a host function's result */
    int leaving;   /* a store, for `context` */
    wasmtime_context_t *context;
    hw_slot *volatile released; /* any thread pushes */
    hw_slot *taken;             /* was released, and waits for hw_take */
    hw_slot *free;
    hw_chunk *chunks;
    hw_failure *failures; /* a stack: a finalizer may call, and fail, before a failure before it is looked at */
};

hw_api hw_wasmtime;

/* ---- slots */

static void hw_space_unuse(hw_space *space)
{
    if (HW_ADD(&space->users, -1) != 0)
        return;
    while (space->chunks != NULL) {
        hw_chunk *chunk = space->chunks;
        space->chunks = chunk->next;
        free(chunk);
    }
    free(space);
}

/* The finalizer of every externref: on any thread, without the GIL, perhaps within a collection by wasmtime. */
static void hw_released(intptr_t data)
{
    hw_slot *slot = (hw_slot *)data, *head;
    hw_space *space = slot->space;
    do {
        head = space->released;
        slot->next = head;
    } while (!HW_REPLACE(&space->released, head, slot));
    space->status[0] = 1;
    HW_ADD(&space->held, -1);
    hw_space_unuse(space);
}

static hw_slot *hw_slot_new(hw_space *space, int64_t id)
{
    hw_slot *slot;
    if (space->free == NULL) {
        hw_chunk *chunk = calloc(1, sizeof *chunk);
        if (chunk == NULL)
            return NULL;
        chunk->next = space->chunks;
        space->chunks = chunk;
        for (int i = 0; i < HW_CHUNK; i++) {
            chunk->slots[i].space = space;
            chunk->slots[i].next = space->free;
            space->free = &chunk->slots[i];
        }
    }
    slot = space->free;
    space->free = slot->next;
    slot->id = id;
    return slot;
}

static int hw_ref_new(hw_space *space, int64_t id, wasmtime_externref_t *ref)
{
    hw_slot *slot = hw_slot_new(space, id);
    if (slot == NULL)
        return 0;
    space->wants_gc = 1;
    space->status[0] = 1;
    HW_ADD(&space->held, 1);
    HW_ADD(&space->users, 1);
    /* It fails when wasmtime's heap for references is full, and then calls the finalizer. */
    return hw_wasmtime.wasmtime_externref_new(space->context, (intptr_t)slot, hw_released, ref);
}

static int64_t hw_ref_id(hw_space *space, wasmtime_externref_t *ref)
{
    hw_slot *slot = (hw_slot *)hw_wasmtime.wasmtime_externref_data(space->context, ref);
    return slot == NULL || slot->space != space ? -1 : slot->id;
}

/* ids -> externrefs, in place; 0: no memory. All are made before the first is handed over as a number, which does not
   protect it: making another one may collect. */
static int hw_refs_in(hw_space *space, const uint8_t *codes, size_t count, wasmtime_val_raw_t *values)
{
    wasmtime_externref_t local[HW_LOCAL], *refs = local;
    size_t i, made = 0, done = 0;
    int good = 1;
    if (count > HW_LOCAL && (refs = malloc(count * sizeof *refs)) == NULL)
        return 0;
    for (i = 0; i < count && good; i++)
        if (codes[i] == HW_EXTERNREF && values[i].i64 != 0) {
            good = hw_ref_new(space, values[i].i64, &refs[made]);
            made += good;
        }
    for (i = 0; i < count && good; i++)
        if (codes[i] == HW_EXTERNREF && values[i].i64 != 0)
            values[i].i64 = hw_wasmtime.wasmtime_externref_to_raw(space->context, &refs[done++]);
    while (made > 0)
        hw_wasmtime.wasmtime_externref_unroot(&refs[--made]);
    if (refs != local)
        free(refs);
    return good;
}

/* externrefs -> ids, in place. Nothing here collects. */
static void hw_refs_out(hw_space *space, const uint8_t *codes, size_t count, wasmtime_val_raw_t *values)
{
    for (size_t i = 0; i < count; i++)
        if (codes[i] == HW_EXTERNREF) {
            uint32_t raw = values[i].externref;
            values[i].i64 = 0;
            if (raw != 0) {
                wasmtime_externref_t ref;
                hw_wasmtime.wasmtime_externref_from_raw(space->context, raw, &ref);
                values[i].i64 = hw_ref_id(space, &ref);
                hw_wasmtime.wasmtime_externref_unroot(&ref);
            }
        }
}

/* ---- spaces */

static hw_space *hw_space_new(intptr_t context)
{
    hw_space *space = calloc(1, sizeof *space);
    if (space != NULL) {
        space->users = 1;
        space->context = (wasmtime_context_t *)context;
    }
    return space;
}

/* What the last call that failed left, for the caller to delete; both 0 if no externref could be made.
   0: there is none; 2: the stack was too short. */
static int hw_failure_take(hw_space *space, intptr_t *trap, intptr_t *error)
{
    hw_failure *failure = space->failures;
    int found;
    if (failure == NULL)
        return 0;
    found = failure->stack ? 2 : 1;
    space->failures = failure->next;
    *trap = (intptr_t)failure->trap;
    *error = (intptr_t)failure->error;
    free(failure);
    if (space->full) {
        space->full = 0;
        if (*trap != 0)
            hw_wasmtime.wasm_trap_delete((wasm_trap_t *)*trap);
        if (*error != 0)
            hw_wasmtime.wasmtime_error_delete((wasmtime_error_t *)*error);
        *trap = *error = 0;
    }
    return found;
}

/* The same, when a host function raised and its exception says all. */
static int hw_failure_drop(hw_space *space)
{
    intptr_t trap, error;
    if (!hw_failure_take(space, &trap, &error))
        return 0;
    if (trap != 0)
        hw_wasmtime.wasm_trap_delete((wasm_trap_t *)trap);
    if (error != 0)
        hw_wasmtime.wasmtime_error_delete((wasmtime_error_t *)error);
    return 1;
}

/* Python lets go of the space; wasmtime may still hold slots of it. */
static void hw_space_drop(hw_space *space)
{
    while (hw_failure_drop(space)) {
    }
    hw_space_unuse(space);
}

static volatile int64_t *hw_space_status(hw_space *space) { return space->status; }

static int64_t hw_space_held(hw_space *space) { return space->held; }

/* The id of a released slot, negative if there are more, or 0. */
static int64_t hw_take(hw_space *space)
{
    hw_slot *slot;
    int64_t id;
    do {
        if (space->taken == NULL)
            space->taken = HW_SWAP(&space->released, NULL);
        slot = space->taken;
        if (slot == NULL)
            return 0;
        id = slot->id;
        space->taken = slot->next;
        slot->id = 0;
        slot->next = space->free;
        space->free = slot;
    } while (id == 0); /* of an externref that another store has now */
    return space->taken != NULL || space->released != NULL ? -id : id;
}

/* Let wasmtime drop what nothing holds, if that can be anything, then as hw_take. */
static int64_t hw_collect(hw_space *space)
{
    space->status[0] = 0; /* before: what another thread releases from now on is seen the next time */
    if (space->wants_gc) {
        wasmtime_error_t *error = hw_wasmtime.wasmtime_context_gc(space->context);
        if (error != NULL)
            hw_wasmtime.wasmtime_error_delete(error);
        space->wants_gc = 0;
    }
    return hw_take(space);
}

/* Ids that wasmtime holds, or that wait for hw_take: up to `room` of them are written, and all are counted. */
static int64_t hw_space_ids(hw_space *space, int64_t *ids, int64_t room)
{
    int64_t count = 0;
    for (hw_chunk *chunk = space->chunks; chunk != NULL; chunk = chunk->next)
        for (int i = 0; i < HW_CHUNK; i++)
            if (chunk->slots[i].id != 0) {
                if (count < room)
                    ids[count] = chunk->slots[i].id;
                count++;
            }
    return count;
}

/* An externref value for the cold functions, which Python calls itself; to be unrooted there. */
static int hw_value_new(hw_space *space, int64_t id, intptr_t value)
{
    wasmtime_val_t *v = (wasmtime_val_t *)value;
    return hw_ref_new(space, id, &v->of.externref);
}

static int64_t hw_value_id(hw_space *space, intptr_t value)
{
    return hw_ref_id(space, &((wasmtime_val_t *)value)->of.externref);
}

/* References may have been overwritten, or their last holders left: collect at the next opportunity. */
static void hw_touched(hw_space *space)
{
    if (space->held > 0) {
        space->wants_gc = 1;
        space->status[0] = 1;
    }
}

/* ---- moving to another store: externrefs are made there anew, and the ids must not seem to be released when those of
   the store before go */

/* Forget the ids that are marked, or those that are not: their slots say nothing when they are released. */
static void hw_space_forget(hw_space *space, int marked)
{
    for (hw_chunk *chunk = space->chunks; chunk != NULL; chunk = chunk->next)
        for (int i = 0; i < HW_CHUNK; i++)
            if (((chunk->slots[i].id & HW_OLD) != 0) == marked)
                chunk->slots[i].id = 0;
}

/* The store becomes another one. The ids that wasmtime holds are marked. */
static void hw_space_leave(hw_space *space, intptr_t context)
{
    for (hw_chunk *chunk = space->chunks; chunk != NULL; chunk = chunk->next)
        for (int i = 0; i < HW_CHUNK; i++)
            if (chunk->slots[i].id != 0)
                chunk->slots[i].id |= HW_OLD;
    space->leaving = 1;
    space->context = (wasmtime_context_t *)context;
}

/* It is the one before again, whether it was left or not. */
static void hw_space_back(hw_space *space, intptr_t context)
{
    space->context = (wasmtime_context_t *)context;
    if (!space->leaving)
        return;
    hw_space_forget(space, 0);
    for (hw_chunk *chunk = space->chunks; chunk != NULL; chunk = chunk->next)
        for (int i = 0; i < HW_CHUNK; i++)
            chunk->slots[i].id &= ~HW_OLD;
    space->leaving = 0;
}

/* The store before is about to be freed. */
static void hw_space_arrive(hw_space *space)
{
    if (space->leaving)
        hw_space_forget(space, 1);
    space->leaving = 0;
}

/* Store externrefs for ids, 0 for none, in the slots of a table of nulls. 1: they could not all be made. */
static int hw_table_fill(hw_space *space, intptr_t table, const int64_t *ids, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (ids[i] != 0) {
            wasmtime_val_t value = {.kind = HW_EXTERNREF_KIND};
            wasmtime_error_t *error;
            if (!hw_ref_new(space, ids[i], &value.of.externref))
                return 1;
            error = hw_wasmtime.wasmtime_table_set(space->context, (const wasmtime_table_t *)table, i, &value);
            hw_wasmtime.wasmtime_externref_unroot(&value.of.externref);
            if (error != NULL) {
                hw_wasmtime.wasmtime_error_delete(error);
                return 1;
            }
        }
    return 0;
}

/* The ids of a table's slots, from `first` on; 0 for null, negative for an externref that is not from here. 1: there
   are not so many slots. Unlike table.get in a guest this never makes wasmtime collect. */
static int hw_table_ids(hw_space *space, intptr_t table, int64_t *ids, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        wasmtime_val_t value;
        if (!hw_wasmtime.wasmtime_table_get(space->context, (const wasmtime_table_t *)table, i, &value))
            return 1;
        ids[i] = 0;
        if (value.of.externref.store_id != 0) {
            ids[i] = hw_ref_id(space, &value.of.externref);
            hw_wasmtime.wasmtime_externref_unroot(&value.of.externref);
        }
    }
    return 0;
}
