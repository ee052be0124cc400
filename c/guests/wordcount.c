/* wordcount: counts words that are Python strings, without ever looking inside one.
 *
 * The host hands over each word as an externref. hiwire_new_deduplicate turns it into a handle, the same one
 * for equal words, so two words are compared by comparing two 32-bit numbers. A hash map in linear memory
 * counts by handle; it owns one count of each handle in it, and release_all gives them back.
 *
 * The table must take equal strings for the same: Hiwire(identity="equality").
 *
 * Host functions must not call back into this guest. They may raise: an exception that unwinds these
 * functions leaves the map as it was after the last complete word, and release_all then releases everything.
 */
#include <hiwire.h>
#include <stdint.h>

#define IMPORT(name) __attribute__((import_module("env"), import_name(#name)))
#define EXPORT(name) __attribute__((export_name(#name)))

/* The next word of the file; the null externref after the last one. */
IMPORT(next_word) __externref_t next_word(void);

/* Takes one word of the result. The host keeps the string if it wants to, not the handle. */
IMPORT(report) void report(__externref_t word, uint32_t count);

enum { TABLE_FULL = -1, OUT_OF_MEMORY = -2 };

/* ---- memory: one region behind the program's data, which only grows */

enum { PAGE = 65536 };
extern unsigned char __heap_base; /* set by the linker: where the program's own data end */
static uint64_t region_end; /* first byte that the map does not use; 64 bits, so that sums cannot wrap */

/* Memory up to the address end; false when the engine has no more. */
static bool reach(uint64_t end)
{
    uint64_t size = (uint64_t)__builtin_wasm_memory_size(0) * PAGE;
    if (end <= size) {
        return true;
    }
    return end <= UINT32_MAX && __builtin_wasm_memory_grow(0, (end - size + PAGE - 1) / PAGE) != (size_t)-1;
}

/* Room for count elements at the end of the region, without taking it: the next call gives the same room. */
static void *room(uint64_t count, size_t size)
{
    if (region_end == 0) {
        region_end = ((uintptr_t)&__heap_base + 15) & ~(uintptr_t)15;
    }
    return reach(region_end + count * size) ? (void *)(uintptr_t)region_end : NULL;
}

/* ---- the map: open addressing with linear probing, at most 3/4 full */

typedef struct {
    HwRef word;     /* owned; NULL in an empty entry */
    uint32_t count; /* at least 1 */
    uint32_t rank;  /* how many distinct words came before this one */
} Entry;

enum { FIRST_BITS = 12 };
static Entry *entries;
static uint32_t bits; /* there are 2^bits entries, none while bits is 0 */
static uint32_t used;

/* A handle that no word has: the one of the null externref. C cannot ask whether an externref is null, but it
 * can compare handles, so the end of a file costs nothing to see. Made with the first word, owned until
 * release_all. */
static HwRef end_of_file;

/* The entry that holds word, or the empty one where it belongs. There is always an empty one. */
static Entry *find(HwRef word)
{
    uint32_t mask = ((uint32_t)1 << bits) - 1;
    /* Fibonacci hashing: handles count upwards, and the golden ratio spreads such numbers evenly. */
    uint32_t at = (uint32_t)(uintptr_t)word * 2654435769u >> (32 - bits);
    while (entries[at].word != NULL && entries[at].word != word) {
        at = (at + 1) & mask;
    }
    return &entries[at];
}

/* Twice the entries, in new memory; false, and nothing has changed, when there is none. The old ones are left
 * behind: all maps outgrown are together as large as the new one, so half of the memory is in use at worst.
 */
static bool grow(void)
{
    uint32_t new_bits = bits == 0 ? FIRST_BITS : bits + 1;
    Entry *new_entries = room((uint64_t)1 << new_bits, sizeof(Entry));
    if (new_entries == NULL) {
        return false;
    }
    Entry *old_entries = entries;
    uint32_t old_count = bits == 0 ? 0 : (uint32_t)1 << bits;
    entries = new_entries;
    bits = new_bits;
    region_end += sizeof(Entry) << bits;
    /* After a release_all this memory is not fresh, so it has to be cleared. */
    for (uint32_t i = 0; i < (uint32_t)1 << bits; i++) {
        entries[i].word = NULL;
    }
    for (uint32_t i = 0; i < old_count; i++) {
        if (old_entries[i].word != NULL) {
            *find(old_entries[i].word) = old_entries[i];
        }
    }
    return true;
}

/* ---- what the host calls */

/* Counts the words that next_word gives. How many there were, or TABLE_FULL or OUT_OF_MEMORY; the words
 * before that are counted. */
EXPORT(count_file) int count_file(void)
{
    if (end_of_file == NULL) {
        end_of_file = hiwire_new_deduplicate(__builtin_wasm_ref_null_extern());
        if (end_of_file == NULL) {
            return TABLE_FULL;
        }
    }
    for (int words = 0;; words++) {
        /* Before the handle is made: a handle that has nowhere to go would have to be given back. */
        if (used >= ((uint32_t)3 << bits) / 4 && !grow()) {
            return OUT_OF_MEMORY;
        }
        HwRef word = hiwire_new_deduplicate(next_word());
        if (word == NULL) {
            return TABLE_FULL;
        }
        if (word == end_of_file) {
            hiwire_decref(word); /* the count that end_of_file holds stays */
            return words;
        }
        Entry *entry = find(word);
        if (entry->word == NULL) {
            *entry = (Entry){.word = word, .count = 1, .rank = used++};
        } else {
            entry->count++;
            hiwire_decref(word); /* the map owns one count of it already */
        }
    }
}

/* Whether a comes before b in the result: more frequent, or as frequent and first seen earlier. */
static bool before(const Entry *a, const Entry *b)
{
    return a->count != b->count ? a->count > b->count : a->rank < b->rank;
}

/* Moves an entry of a heap down to where it belongs; each parent then comes before its children. */
static void sift_down(const Entry **heap, uint32_t at, uint32_t size)
{
    const Entry *moved = heap[at];
    for (uint32_t child; (child = 2 * at + 1) < size; at = child) {
        if (child + 1 < size && before(heap[child + 1], heap[child])) {
            child++;
        }
        if (!before(heap[child], moved)) {
            break;
        }
        heap[at] = heap[child];
    }
    heap[at] = moved;
}

/* Reports the n most frequent words, the most frequent first, ties in the order of first appearance. How many
 * that were, or OUT_OF_MEMORY. Needs memory for a pointer to each word, and sorts no more than n of them. */
EXPORT(report_top) int report_top(uint32_t n)
{
    const Entry **heap = room(used, sizeof *heap);
    if (heap == NULL) {
        return OUT_OF_MEMORY;
    }
    uint32_t size = 0;
    for (uint32_t i = 0; size < used; i++) {
        if (entries[i].word != NULL) {
            heap[size++] = &entries[i];
        }
    }
    for (uint32_t at = size / 2; at-- > 0;) {
        sift_down(heap, at, size);
    }
    uint32_t reported = 0;
    for (; reported < n && size > 0; reported++) {
        const Entry *best = heap[0];
        heap[0] = heap[--size];
        sift_down(heap, 0, size);
        report(hiwire_get(best->word), best->count);
    }
    return (int)reported;
}

/* Reports every word, in no particular order. How many there were. */
EXPORT(report_all) int report_all(void)
{
    for (uint32_t i = 0; used > 0 && i < (uint32_t)1 << bits; i++) {
        if (entries[i].word != NULL) {
            report(hiwire_get(entries[i].word), entries[i].count);
        }
    }
    return (int)used;
}

/* Gives every handle back and starts afresh, in the same memory. */
EXPORT(release_all) void release_all(void)
{
    for (uint32_t i = 0; used > 0 && i < (uint32_t)1 << bits; i++) {
        HwRef word = entries[i].word;
        if (word != NULL) {
            entries[i].word = NULL; /* first, so that a host that raises here finds no handle twice */
            used--;
            hiwire_decref(word);
        }
    }
    HwRef end = end_of_file;
    end_of_file = NULL;
    hiwire_decref(end); /* nothing happens to NULL */
    entries = NULL;
    bits = 0;
    region_end = 0;
}
