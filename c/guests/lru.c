/* lru: a cache of Python objects that forgets what was used least recently.
 *
 * Keys and values are any objects; C holds them as handles. Which keys are the same the table decides: equal
 * ones with Hiwire(identity="equality"), as in a dict.
 *
 * Python code may run inside any function here that hashes or compares a key, and it may call this guest
 * again or raise. Hence one rule for all that follows: ask the host first, then change the structure without
 * a break, and let go of old handles last, when everything is consistent again.
 */
#include <hiwire.h>
#include <stdint.h>

#define EXPORT(name) __attribute__((export_name(#name)))

/* Positions in nodes, rather than pointers: half of them would be null, and 0 is free to mean that. */
typedef uint32_t Position;

/* A node is in one bucket of the map, and in a ring in order of use. Node 0 holds nothing: it is where the
 * ring starts and ends, so that putting in and taking out need no special cases. */
typedef struct {
    HwRef key, value;      /* both owned */
    Position newer, older; /* of node 0: the oldest and the newest */
    Position next;         /* in the same bucket, or in the list of unused nodes; 0 ends both */
} Node;

static Node *nodes;       /* 1 + capacity */
static Position *buckets; /* 2^bucket_bits, at least as many as nodes */
static uint32_t bucket_bits;
static uint32_t capacity, length;
static Position unused;

/* ---- memory: laid out once, by lru_start */

enum { PAGE = 65536, MOST = 1 << 26 };
extern unsigned char __heap_base; /* set by the linker: where the program's own data end */

static bool reach(uint64_t end)
{
    uint64_t size = (uint64_t)__builtin_wasm_memory_size(0) * PAGE;
    if (end <= size) {
        return true;
    }
    return end <= UINT32_MAX && __builtin_wasm_memory_grow(0, (end - size + PAGE - 1) / PAGE) != (size_t)-1;
}

/* ---- the ring */

static void ring_take(Position at)
{
    nodes[nodes[at].newer].older = nodes[at].older;
    nodes[nodes[at].older].newer = nodes[at].newer;
}

static void ring_add_newest(Position at)
{
    Position second = nodes[0].older;
    nodes[at].newer = 0;
    nodes[at].older = second;
    nodes[second].newer = at;
    nodes[0].older = at;
}

static void touch(Position at)
{
    ring_take(at);
    ring_add_newest(at);
}

/* ---- the map from keys to nodes */

static Position *bucket(HwRef key)
{
    return &buckets[((uint32_t)(uintptr_t)key * 2654435769u) >> (32 - bucket_bits)];
}

static Position find(HwRef key)
{
    Position at = *bucket(key);
    while (at != 0 && nodes[at].key != key) {
        at = nodes[at].next;
    }
    return at;
}

static void map_take(Position at)
{
    Position *from = bucket(nodes[at].key);
    while (*from != at) {
        from = &nodes[*from].next;
    }
    *from = nodes[at].next;
}

/* ---- what the host calls */

/* Forgets everything. */
EXPORT(lru_clear) void lru_clear(void)
{
    while (length > 0) {
        Position at = nodes[0].newer;
        Node old = nodes[at];
        map_take(at);
        ring_take(at);
        nodes[at].next = unused;
        unused = at;
        length--;
        hiwire_decref(old.value);
        hiwire_decref(old.key);
    }
}

/* Sets how many keys the cache remembers, and empties it. False, and nothing has changed, if there is not
 * that much memory, or most is 0. */
EXPORT(lru_start) bool lru_start(uint32_t most)
{
    if (most == 0 || most > MOST) {
        return false;
    }
    uint32_t bits = 1;
    while ((uint32_t)1 << bits <= most) {
        bits++;
    }
    uint64_t nodes_at = ((uintptr_t)&__heap_base + 15) & ~(uintptr_t)15;
    uint64_t buckets_at = nodes_at + ((uint64_t)most + 1) * sizeof(Node);
    if (!reach(buckets_at + (sizeof(Position) << bits))) {
        return false;
    }
    lru_clear();
    nodes = (Node *)(uintptr_t)nodes_at;
    buckets = (Position *)(uintptr_t)buckets_at;
    bucket_bits = bits;
    capacity = most;
    nodes[0] = (Node){0};
    for (uint32_t i = 0; i < (uint32_t)1 << bits; i++) {
        buckets[i] = 0;
    }
    for (Position at = 1; at <= most; at++) {
        nodes[at].next = at < most ? at + 1 : 0;
    }
    unused = 1;
    return true;
}

/* Remembers value under key, which is now the newest; the oldest goes if there are too many. False, and
 * nothing has changed, if the handle table is full or lru_start was not called. */
EXPORT(lru_put) bool lru_put(__externref_t key_object, __externref_t value_object)
{
    HwRef key = hiwire_new_deduplicate(key_object); /* first: a key without a hash raises here */
    HwRef value = hiwire_new(value_object);
    if (capacity == 0 || key == NULL || value == NULL) {
        hiwire_decref(value); /* nothing happens to NULL */
        hiwire_decref(key);
        return false;
    }
    HwRef old_key = NULL, old_value;
    Position at = find(key);
    if (at != 0) {
        old_key = key; /* the node owns a count of it already */
        old_value = nodes[at].value;
        nodes[at].value = value;
        touch(at);
    } else {
        if (length == capacity) {
            at = nodes[0].newer;
            old_key = nodes[at].key;
            old_value = nodes[at].value;
            map_take(at);
            ring_take(at);
        } else {
            at = unused;
            unused = nodes[at].next;
            old_value = NULL;
            length++;
        }
        Position *first = bucket(key);
        nodes[at] = (Node){.key = key, .value = value, .next = *first};
        *first = at;
        ring_add_newest(at);
    }
    hiwire_decref(old_value);
    hiwire_decref(old_key);
    return true;
}

/* The value remembered under key, which is now the newest; the null externref if there is none. */
EXPORT(lru_get) __externref_t lru_get(__externref_t key_object)
{
    HwRef key = hiwire_new_deduplicate(key_object);
    Position at = capacity == 0 || key == NULL ? 0 : find(key);
    if (at == 0) {
        hiwire_decref(key);
        return __builtin_wasm_ref_null_extern();
    }
    touch(at);
    HwRef value = nodes[at].value;
    hiwire_decref(key); /* not its last count, so no Python code runs here, and value stays */
    return hiwire_get(value);
}

/* How many keys are remembered. */
EXPORT(lru_len) uint32_t lru_len(void)
{
    return length;
}
