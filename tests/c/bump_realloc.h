/* A hiwire_realloc for tests: takes memory from the end, grows the last block in place, fails on demand. */
#ifndef BUMP_REALLOC_H
#define BUMP_REALLOC_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __EMSCRIPTEN__
/* The C library owns what lies beyond __heap_base there, and JavaScript must hear of memory.grow. */
static _Alignas(16) unsigned char arena[8 << 20];
#define FIRST_BLOCK arena

static inline bool has_memory(size_t end)
{
    return end <= (size_t)(arena + sizeof arena);
}
#else
extern unsigned char __heap_base;
#define FIRST_BLOCK &__heap_base

static inline bool has_memory(size_t end)
{
    size_t pages = (end + 65535) / 65536;
    size_t have = __builtin_wasm_memory_size(0);
    return pages <= have || __builtin_wasm_memory_grow(0, pages - have) != (size_t)-1;
}
#endif

static unsigned num_reallocs;
static size_t realloc_sizes[64];
static bool realloc_fails;
static bool realloc_moves;
static size_t block_start, block_size;

void *hiwire_realloc(void *old, size_t size)
{
    if (num_reallocs < sizeof realloc_sizes / sizeof *realloc_sizes) {
        realloc_sizes[num_reallocs] = size;
    }
    num_reallocs++;
    if (realloc_fails) {
        return NULL;
    }
    size_t start = old == NULL || !realloc_moves ? (block_start ? block_start : (size_t)FIRST_BLOCK)
                                                 : block_start + block_size;
    if (!has_memory(start + size)) {
        return NULL;
    }
    if (start != (size_t)old) {
        for (size_t at = 0; at < block_size; at++) {
            ((unsigned char *)start)[at] = ((unsigned char *)old)[at];
            ((unsigned char *)old)[at] = 0xff; /* whoever still reads the old block shall notice */
        }
    }
    block_start = start;
    block_size = size;
    return (void *)start;
}

#endif
