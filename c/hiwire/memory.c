/* Where the slot array comes from: it is static, or grown by the host or by the C library. */
#include "internal.h"

#if defined(HIWIRE_STATIC_PAGES)

uint32_t _hiwire_slots[STATIC_SLOTS];

#else

#ifdef HIWIRE_EXTERN_REALLOC
#define RESIZE hiwire_realloc
#else
/* Declared here, since any linked malloc will do and wasm32-unknown-unknown has no stdlib.h. */
void *realloc(void *old, size_t size);
#define RESIZE realloc
#endif

uint32_t *_hiwire_resize_slots(uint32_t count)
{
    return RESIZE(_hiwire_slots, count * sizeof(uint32_t));
}

#endif
