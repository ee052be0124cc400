/* memcpy, memmove, memset and memcmp for modules linked without a C library.
 *
 * A freestanding compiler still calls these four for struct copies and loops it recognises, and a guest,
 * linked with undefined names allowed, would import them from a host that has none. They come from an
 * archive: a module that does not call them does not grow. Built with -fno-builtin, or each loop would be
 * compiled to a call of itself.
 */
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int value, size_t size);
int memcmp(const void *left, const void *right, size_t size);

/* A word that may alias anything and stand at any address; wasm loads and stores take both. */
typedef uint64_t __attribute__((may_alias, aligned(1))) Word;

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
    return memmove(to, from, size);
}

void *memmove(void *to, const void *from, size_t size)
{
    unsigned char *target = to;
    const unsigned char *source = from;
    /* Upwards is right, word by word too, whenever the target does not start inside the source. */
    if ((uintptr_t)to - (uintptr_t)from >= size) {
        for (; size >= sizeof(Word); size -= sizeof(Word), target += sizeof(Word), source += sizeof(Word)) {
            *(Word *)target = *(const Word *)source;
        }
        while (size--) {
            *target++ = *source++;
        }
        return to;
    }
    target += size, source += size;
    for (; size >= sizeof(Word); size -= sizeof(Word)) {
        target -= sizeof(Word), source -= sizeof(Word);
        *(Word *)target = *(const Word *)source;
    }
    while (size--) {
        *--target = *--source;
    }
    return to;
}

void *memset(void *to, int value, size_t size)
{
    unsigned char *at = to;
    Word word = (unsigned char)value * (Word)0x0101010101010101;
    for (; size >= sizeof(Word); size -= sizeof(Word), at += sizeof(Word)) {
        *(Word *)at = word;
    }
    while (size--) {
        *at++ = (unsigned char)value;
    }
    return to;
}

int memcmp(const void *left, const void *right, size_t size)
{
    const unsigned char *a = left, *b = right;
    for (; size--; a++, b++) {
        if (*a != *b) {
            return *a < *b ? -1 : 1;
        }
    }
    return 0;
}
