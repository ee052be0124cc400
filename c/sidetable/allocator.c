/* allocator: malloc, free and realloc for wasm32 programs that are linked without a C library.
 *
 * The heap begins at __heap_base and is one row of blocks, without holes:
 *
 *     in use   [header][payload ...                       ]
 *     free     [header][next][previous][ ...        ][size]
 *     header   [size in bytes, a multiple of 16 .. 28 bits][unused .. 2][after free][free]
 *
 * A header is the word just below an address divisible by 16, so that payloads are aligned for every C type,
 * and the smallest block is 16 bytes, of which 12 are payload. Nothing but a free block ends with its size:
 * `after free`, in the header that follows, says whether that word is there. Two free blocks are never
 * neighbours. The row ends with a header of size 0, the last word of the heap.
 *
 * Free blocks are listed in bins, one for each power of two, by the highest bit of their size. A bitmap says
 * which bins have a block, so malloc and free take constant time. Only when all this finds nothing, and the
 * memory cannot grow, is the one bin searched whose blocks may or may not be large enough: malloc gives NULL
 * only if no free block would do. Finer bins would save memory where sizes are many, which they are not here:
 * with sizes at random, four bins for each power of two took 7 pages where these take 8.
 *
 * Memory that someone else grew is theirs: the heap goes on behind it, and the gap is a block in use for
 * good. All of the memory that is there at the first malloc belongs to the heap.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *malloc(size_t size);
void free(void *payload);
void *realloc(void *payload, size_t size);

_Static_assert(sizeof(void *) == 4, "headers hold 32-bit sizes");

/* The number of a byte, and a word of the heap: blocks are made of what user code sees as anything. */
typedef uint32_t Address;
typedef uint32_t __attribute__((may_alias)) Word;

enum {
    GRANULE = 16,
    HEADER = sizeof(Word),
    FREE = 1,
    AFTER_FREE = 2,
    PAGE = 65536,
    BINS = 32, /* a size has so many bits */
};

_Static_assert(GRANULE == 4 * sizeof(Word), "header, next, previous and size fit the smallest block");

extern unsigned char __heap_base; /* set by the linker: where the program's own data end */

static Address bins[BINS]; /* the first block of each list, 0 for none */
static uint32_t filled;    /* bit i: bins[i] is not 0 */
static Address end;        /* the header of size 0; 0 before the first use */

static Word *word(Address at)
{
    return (Word *)(uintptr_t)at;
}

static uint32_t size_of(Address block)
{
    return *word(block) & ~(uint32_t)(GRANULE - 1);
}

static Word *next_of(Address block)
{
    return word(block + HEADER);
}

static Word *previous_of(Address block)
{
    return word(block + 2 * HEADER);
}

/* ---- the bins */

/* The bin of blocks of so many bytes. Those in later bins are larger. */
static unsigned bin_of(uint32_t size)
{
    return BINS - 1 - (unsigned)__builtin_clz(size);
}

/* Makes the bytes from block on a free block. The blocks around it are in use. */
static void list(Address block, uint32_t size)
{
    unsigned bin = bin_of(size);
    Address next = bins[bin];
    *word(block) = size | FREE;
    *next_of(block) = next;
    *previous_of(block) = 0;
    *word(block + size - HEADER) = size;
    *word(block + size) |= AFTER_FREE;
    if (next != 0) {
        *previous_of(next) = block;
    }
    bins[bin] = block;
    filled |= (uint32_t)1 << bin;
}

/* Takes a free block out of its list; the caller writes its header. */
static void unlist(Address block)
{
    uint32_t size = size_of(block);
    unsigned bin = bin_of(size);
    Address next = *next_of(block), previous = *previous_of(block);
    if (next != 0) {
        *previous_of(next) = previous;
    }
    if (previous != 0) {
        *next_of(previous) = next;
    } else {
        bins[bin] = next;
        if (next == 0) {
            filled &= ~((uint32_t)1 << bin);
        }
    }
    *word(block + size) &= ~(uint32_t)AFTER_FREE;
}

/* A free block of at least size bytes: the last one freed of nearly this size, since requests repeat, or the
 * first that the bitmap finds; 0 if there is neither. */
static Address find(uint32_t size)
{
    unsigned bin = bin_of(size);
    if (bins[bin] != 0 && size_of(bins[bin]) >= size) {
        return bins[bin];
    }
    uint32_t larger = filled & (~(uint32_t)1 << bin);
    return larger == 0 ? 0 : bins[__builtin_ctz(larger)];
}

/* A free block of at least size bytes among those of nearly this size; 0 if there is none. */
static Address search(uint32_t size)
{
    Address block = bins[bin_of(size)];
    while (block != 0 && size_of(block) < size) {
        block = *next_of(block);
    }
    return block;
}

/* ---- the row of blocks */

/* A block in use becomes free, together with free neighbours. */
static void release(Address block)
{
    uint32_t size = size_of(block);
    bool after_free = *word(block) & AFTER_FREE;
    /* Stays behind when the block is joined to the one before: free() finds it the second time. */
    *word(block) |= FREE;
    if (*word(block + size) & FREE) {
        Address next = block + size;
        size += size_of(next);
        unlist(next);
    }
    if (after_free) {
        uint32_t before = *word(block - HEADER);
        block -= before;
        size += before;
        unlist(block);
    }
    list(block, size);
}

/* Gives back what a block in use has beyond size bytes. */
static void trim(Address block, uint32_t size)
{
    uint32_t rest = size_of(block) - size;
    if (rest > 0) {
        *word(block) -= rest;
        *word(block + size) = rest;
        release(block + size);
    }
}

static Address start(void)
{
    return (((uintptr_t)&__heap_base + GRANULE - 1) & ~(uintptr_t)(GRANULE - 1)) + GRANULE - HEADER;
}

/* The last word of the memory. Right for 65536 pages too, whose size is 0 as a uint32_t. */
static Address last_word(void)
{
    return (uint32_t)__builtin_wasm_memory_size(0) * PAGE - HEADER;
}

static bool grow(uint32_t pages)
{
    return __builtin_wasm_memory_grow(0, pages) != (size_t)-1;
}

/* Makes the last block of the row: all from block up to the last word of the memory. */
static void append(Address block, bool after_free)
{
    end = last_word();
    *word(block) = (end - block) | (after_free ? AFTER_FREE : 0);
    *word(end) = 0;
    release(block);
}

/* Sets up the heap at the first use; false, and nothing has changed, if there is not even room for that. */
static bool ready(void)
{
    if (end != 0) {
        return true;
    }
    Address last = last_word();
    if (start() + GRANULE > last && !grow(1)) {
        return false;
    }
    append(start(), false);
    return true;
}

static bool at_end_of_memory(void)
{
    return end == last_word();
}

/* The free bytes at the end of the heap. */
static uint32_t tail(void)
{
    return *word(end) & AFTER_FREE ? *word(end - HEADER) : 0;
}

/* Grows the memory until tail() is at least size bytes; false, and nothing has changed, if it cannot grow
 * that far. */
static bool extend(uint32_t size)
{
    if (tail() >= size) {
        return true;
    }
    bool adjacent = at_end_of_memory();
    uint32_t missing = adjacent ? size - tail() : size + GRANULE;
    Address block = adjacent ? end : last_word() + GRANULE;
    if (!grow(missing / PAGE + (missing % PAGE != 0))) {
        return false;
    }
    *word(end) |= block - end; /* the gap, a block in use for good */
    append(block, adjacent && *word(end) & AFTER_FREE);
    return true;
}

/* The size of a block for a payload of so many bytes; 0 if there can be none. */
static uint32_t block_size(size_t payload)
{
    return payload > UINT32_MAX - PAGE ? 0 : (payload + HEADER + GRANULE - 1) & ~(uint32_t)(GRANULE - 1);
}

/* The block of a payload; traps on what cannot be one, or is free. */
static Address block_of(const void *payload)
{
    Address at = (Address)(uintptr_t)payload, block = at - HEADER;
    if (at % GRANULE != 0 || end == 0 || block < start() || block >= end) {
        __builtin_trap();
    }
    uint32_t size = size_of(block);
    if ((*word(block) & FREE) || size == 0 || size > end - block) {
        __builtin_trap();
    }
    return block;
}

/* ---- what programs call */

/* At least size bytes, aligned to 16, whose content is undefined; malloc(0) too gives a block of its own.
 * NULL, and nothing has changed, if there is no room. */
void *malloc(size_t size)
{
    uint32_t wanted = block_size(size);
    if (wanted == 0 || !ready()) {
        return NULL;
    }
    Address block = find(wanted);
    if (block == 0) {
        /* A block of its own is better than one more page, but looking for it has no bound; so that comes
         * last. */
        block = extend(wanted) ? end - tail() : search(wanted);
    }
    if (block == 0) {
        return NULL;
    }
    uint32_t size_found = size_of(block);
    unlist(block);
    *word(block) = size_found;
    trim(block, wanted);
    return (void *)(uintptr_t)(block + HEADER);
}

/* Gives back what malloc or realloc gave; nothing happens to NULL. Traps on an address that cannot be a
 * payload, and on one already given back, as long as its bytes have not been given out again. */
void free(void *payload)
{
    if (payload != NULL) {
        release(block_of(payload));
    }
}

/* Without no_builtin, the compiler would make this loop a call of memcpy, which there may not be. */
__attribute__((no_builtin)) static void copy(Address to, Address from, uint32_t size)
{
    for (uint32_t i = 0; i < size; i += sizeof(Word)) {
        *word(to + i) = *word(from + i);
    }
}

/* A payload of at least size bytes that starts with the bytes of the old one, which is given back; in its old
 * place if it can be. NULL, and the old one stays as it was, if there is no room. realloc(NULL, size) is
 * malloc(size); size 0 leaves a block of its own, as malloc does. Traps like free. */
void *realloc(void *payload, size_t size)
{
    if (payload == NULL) {
        return malloc(size);
    }
    Address block = block_of(payload);
    uint32_t wanted = block_size(size), have = size_of(block);
    if (wanted == 0) {
        return NULL;
    }
    if (have < wanted) {
        Address next = block + have;
        uint32_t room = *word(next) & FREE ? size_of(next) : 0;
        if (room < wanted - have && next + room == end && at_end_of_memory() && extend(wanted - have)) {
            room = size_of(next);
        }
        if (room < wanted - have) {
            void *moved = malloc(size);
            if (moved != NULL) {
                copy((Address)(uintptr_t)moved, block + HEADER, have - HEADER);
                release(block);
            }
            return moved;
        }
        unlist(next);
        *word(block) += room;
    }
    trim(block, wanted);
    return payload;
}

/* What a hiwire library built with HIWIRE_EXTERN_REALLOC asks for. Weak: a program's own goes first. */
void *hiwire_realloc(void *payload, size_t size) __attribute__((weak, alias("realloc")));
