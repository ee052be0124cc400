/* The runtime of externref lowering: where the externref tables of lowered modules live.
 *
 * A lowered module holds 32-bit ids in place of externrefs, and its tables are here, in the memory of an
 * instance of its own, where a stray write of the guest cannot reach them. For each id this module counts the
 * table slots and globals that hold it. The host (hiwire_py/objects/ids.py) keeps id -> object, and looks for
 * ids whose count fell to 0 in the list of "zombies"; ids.h has the layout of what both sides read.
 *
 * Handles of tables reach this code from lowered instructions only, never from values that a guest computes;
 * indexes, lengths and ids do come from the guest, and each is checked.
 */
#include "ids.h"

#define EXPORT(name) __attribute__((export_name(name)))

enum { PAGE = 65536, SMALLEST_BLOCK = 6, MOST_SLOTS = 1 << 28, FRAME_BYTES = 1 << 20 };

#define ID_INDEX ((UINT32_C(1) << ID_INDEX_BITS) - 1)

/* Frames of the functions that run: the ids they hold in locals and operands
 * (hiwire_py/passes/externref/frames.py).
 */
static uint32_t frames[FRAME_BYTES / 4];

/* What the host reads and writes directly. */
static State state = {.zombies = LINK_END, .frames = frames, .frames_end = frames};

/* ---- memory: blocks of 2^k bytes, returned ones kept by size; growing arrays leave blocks others can use */

extern unsigned char __heap_base;
static uint64_t heap_end;
static void *spare[33];

static unsigned block_class(uint64_t bytes)
{
    unsigned k = SMALLEST_BLOCK;
    while (((uint64_t)1 << k) < bytes) {
        k++;
    }
    return k;
}

static void *allocate(uint64_t bytes)
{
    unsigned k = block_class(bytes);
    if (k > 31) {
        return NULL;
    }
    if (spare[k]) {
        void *block = spare[k];
        spare[k] = *(void **)block;
        return block;
    }
    uint64_t start = heap_end ? heap_end : ((uintptr_t)&__heap_base + 15) & ~(uint64_t)15;
    uint64_t end = start + ((uint64_t)1 << k);
    uint64_t have = (uint64_t)__builtin_wasm_memory_size(0) * PAGE;
    if (end > have) {
        uint64_t pages = (end - have + PAGE - 1) / PAGE;
        if (end > (uint64_t)UINT32_MAX - PAGE || __builtin_wasm_memory_grow(0, (size_t)pages) == SIZE_MAX) {
            return NULL;
        }
    }
    heap_end = end;
    return (void *)(uintptr_t)start;
}

static void release_block(void *block, uint64_t bytes)
{
    if (block) {
        unsigned k = block_class(bytes);
        *(void **)block = spare[k];
        spare[k] = block;
    }
}

/* An engine that stops a guest in time (hiwire_py's deadline and fuel) does so where a function begins, where
 * a loop jumps back, and in instructions on whole arrays. So what is between two of these leaves blocks,
 * slots and counts as they must be, and nothing is moved across a STEP. */
#define STEP() __asm__ volatile("" ::: "memory")

/* A block that is in no use, for `tidy` to release: it was left here if the guest was stopped. */
static void *loose;
static uint64_t loose_bytes;

static void tidy(void)
{
    if (loose) {
        release_block(loose, loose_bytes);
        loose = NULL;
    }
    STEP();
}

/* A copy of `used` bytes in a block of `bytes`, the rest zero. It is `loose` until the caller has it in the
 * place of the old one, which is loose then. */
static void *regrow(void *old, uint64_t used, uint64_t bytes)
{
    tidy();
    unsigned char *block = allocate(bytes);
    if (!block) {
        return NULL;
    }
    loose = block;
    loose_bytes = bytes;
    STEP();
    __builtin_memcpy(block, old, used);
    __builtin_memset(block + used, 0, bytes - used);
    STEP();
    return block;
}

/* ---- counts */

static _Noreturn void fault(uint32_t why)
{
    state.fault = why;
    __builtin_trap();
}

static inline Record *record_of(uint32_t id)
{
    return &state.records[id & ID_INDEX];
}

/* Who holds null is not counted. */
static inline void hold(uint32_t id, uint32_t times)
{
    if (id != 0) {
        if ((id & ID_INDEX) >= state.record_count || record_of(id)->id != id) {
            fault(FAULT_FORGED);
        }
        record_of(id)->holders += times;
    }
}

/* The id comes from a slot or a global, where `hold` let it in: so it is not a forged one. */
static inline void let_go(uint32_t id)
{
    if (id != 0) {
        Record *record = record_of(id);
        if (--record->holders == 0 && record->link == 0) {
            record->link = state.zombies;
            state.zombies = (id & ID_INDEX) * 2 + 1;
            state.zombie_count++;
        }
    }
}

static inline void put(uint32_t *slot, uint32_t id)
{
    uint32_t old = *slot;
    hold(id, 1);
    *slot = id;
    let_go(old);
}

static inline uint32_t *range(Table *table, uint32_t start, uint32_t count)
{
    if ((uint64_t)start + count > table->size) {
        fault(FAULT_BOUNDS);
    }
    return table->slots + start;
}

/* ---- for the host */

EXPORT("state") void *externref_state(void)
{
    return &state;
}

/* Make room for `count` records or more; 0 when there is no memory, and nothing changes then. */
EXPORT("reserve") uint32_t externref_reserve(uint32_t count)
{
    if (count > state.record_count) {
        uint64_t used = (uint64_t)state.record_count * sizeof(Record);
        uint64_t bytes = (uint64_t)1 << block_class((uint64_t)count * sizeof(Record));
        Record *grown = regrow(state.records, used, bytes);
        if (!grown) {
            return 0;
        }
        loose = state.records;
        loose_bytes = used;
        state.records = grown;
        state.record_count = (uint32_t)(bytes / sizeof(Record));
        STEP();
        tidy();
    }
    return state.record_count;
}

EXPORT("pin") void externref_pin(uint32_t id)
{
    hold(id, 1);
}

EXPORT("unpin") void externref_unpin(uint32_t id)
{
    let_go(id);
}

/* ---- the instructions on tables */

EXPORT("grow") uint32_t externref_grow(uint32_t id, uint32_t count, Table *table)
{
    uint32_t old = table->size;
    uint64_t size = (uint64_t)old + count;
    if (size > table->maximum || size > MOST_SLOTS) {
        return UINT32_MAX;
    }
    if (size > table->capacity) {
        uint64_t capacity = (uint64_t)1 << (block_class(size * 4) - 2);
        uint32_t *slots = regrow(table->slots, (uint64_t)old * 4, capacity * 4);
        if (!slots) {
            return UINT32_MAX;
        }
        loose = table->slots;
        loose_bytes = (uint64_t)table->capacity * 4;
        table->slots = slots;
        table->capacity = (uint32_t)capacity;
        STEP();
        tidy();
    }
    for (uint32_t i = old; i < size; i++) {
        table->slots[i] = id; /* no slot of the table yet */
    }
    STEP();
    hold(id, count);
    table->size = (uint32_t)size;
    return old;
}

/* A new table of `size` nulls, or NULL when there is no memory. */
EXPORT("table") Table *externref_table(uint32_t size, uint32_t maximum)
{
    Table *table = allocate(sizeof(Table));
    if (table) {
        *table = (Table){.maximum = maximum};
        if (externref_grow(0, size, table) == UINT32_MAX) {
            release_block(table, sizeof(Table));
            return NULL;
        }
    }
    return table;
}

EXPORT("get") uint32_t externref_get(uint32_t index, Table *table)
{
    return *range(table, index, 1);
}

EXPORT("set") void externref_set(uint32_t index, uint32_t id, Table *table)
{
    put(range(table, index, 1), id);
}

EXPORT("size") uint32_t externref_size(Table *table)
{
    return table->size;
}

EXPORT("fill") void externref_fill(uint32_t start, uint32_t id, uint32_t count, Table *table)
{
    uint32_t *slots = range(table, start, count);
    for (uint32_t i = 0; i < count; i++) {
        put(slots + i, id);
        STEP();
    }
}

/* table.copy, and table.init from the hidden table that stands for a segment. */
EXPORT("copy")
void externref_copy(uint32_t to, uint32_t from, uint32_t count, Table *target, Table *source)
{
    uint32_t *destination = range(target, to, count);
    uint32_t *origin = range(source, from, count);
    if (destination <= origin) {
        for (uint32_t i = 0; i < count; i++) {
            put(destination + i, origin[i]);
            STEP();
        }
    } else {
        for (uint32_t i = count; i > 0; i--) {
            put(destination + i - 1, origin[i - 1]);
            STEP();
        }
    }
}

/* elem.drop: the segment is empty from now on. */
EXPORT("drop") void externref_drop(Table *table)
{
    while (table->size > 0) {
        let_go(table->slots[--table->size]);
        STEP();
    }
}

/* The instance that owned the table is gone. */
EXPORT("free") void externref_free(Table *table)
{
    externref_drop(table);
    release_block(table->slots, (uint64_t)table->capacity * 4);
    release_block(table, sizeof(Table));
}

/* global.set: gives back the new id, for the instruction that stores it. */
EXPORT("move") uint32_t externref_move(uint32_t id, uint32_t old)
{
    hold(id, 1);
    let_go(old);
    return id;
}

/* ---- frames: their addresses and offsets come from lowered instructions, not from values that a guest
 * computes */

EXPORT("enter") uint32_t *externref_enter(uint32_t bytes)
{
    uint32_t *frame = state.frames_end;
    if (bytes > (uintptr_t)(frames + FRAME_BYTES / 4) - (uintptr_t)frame) {
        fault(FAULT_FRAMES);
    }
    state.frames_end = frame + bytes / 4;
    for (uint32_t *word = frame; word < state.frames_end; word++) {
        *word = 0;
    }
    return frame;
}

EXPORT("keep") uint32_t externref_keep(uint32_t id, uint32_t *frame, uint32_t offset)
{
    frame[offset / 4] = id;
    return id;
}

EXPORT("leave") void externref_leave(uint32_t *frame)
{
    state.frames_end = frame;
}
