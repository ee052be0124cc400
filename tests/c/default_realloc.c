/* Neither STATIC_PAGES nor EXTERN_REALLOC: the slots live in the C library's heap, beside the program's own
 * blocks. */
// build: --target=wasm32-wasi
#include "check.h"
#include <stdlib.h>

TEST(shares_the_heap)
{
    unsigned char *mine = NULL;
    __externref_t value = object(1);
    for (int i = 0; i < 30000; i++) {
        if (i % 1000 == 0) {
            unsigned char *block = malloc(1000);
            CHECK(block != NULL);
            for (int at = 0; at < 1000; at++) {
                block[at] = 0xff;
                CHECK(mine == NULL || mine[at] == 0xff);
            }
            free(mine);
            mine = block;
        }
        CHECK(bits(hiwire_new(value)) == heap_bits((unsigned)i + 1, 0));
    }
    for (unsigned i = 1; i <= 30000; i++) {
        CHECK(_hiwire_slot_info(i) == used_slot(1, 0));
    }
}
