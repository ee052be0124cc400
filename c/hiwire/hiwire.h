/* hiwire: small integer handles for host objects.
 *
 * A WebAssembly guest cannot keep an externref in its memory. It can keep a handle: an HwRef names one slot
 * of a table that holds the object, and counts how often the guest holds it. For wasm32 with
 * -mreference-types, as C11 or C++17.
 *
 * Words used below. A *heap ref* comes from hiwire_new or hiwire_new_deduplicate and lives until its count
 * falls to 0. An *immortal* ref comes from hiwire_intern and lives as long as the instance. A ref is *stale*
 * once it was released, and *forged* when this table never gave it out. Every function checks the refs that
 * it is given, whatever 32 bits they hold; for a bad one it calls the invalid-ref hook (see README.md:
 * EXTERN_FAIL, ABORT_FAIL) and changes nothing.
 */
#ifndef HIWIRE_H
#define HIWIRE_H

#ifndef __wasm32__
#error "hiwire.h: handles are for wasm32 targets only, for instance --target=wasm32-unknown-unknown"
#endif
#ifndef __wasm_reference_types__
#error "hiwire.h: externref is missing: compile with -mreference-types"
#endif

#include <stdbool.h>
#include <stddef.h>

/* -DHIWIRE_IMPORT: the guest shares the table of another module and imports these functions from "hiwire". */
#ifdef HIWIRE_IMPORT
#define HIWIRE_API(name) __attribute__((import_module("hiwire"), import_name(#name)))
#else
#define HIWIRE_API(name)
#endif

/* The options of the library follow in an installed copy of this file, as _HIWIRE_NAME. */

/* Where the library's options are known they decide; a program's own count where it is compiled together with
 * the library, or with HIWIRE_IMPORT. */
#if defined(_HIWIRE_EXTERN_DEDUPLICATE) || defined(_HIWIRE_EMSCRIPTEN_DEDUPLICATE)
#define HIWIRE_IF_DEDUPLICATE
#elif (!defined(_HIWIRE_CONFIGURED) || defined(HIWIRE_IMPORT)) &&         \
    (defined(HIWIRE_EXTERN_DEDUPLICATE) || defined(EXTERN_DEDUPLICATE) || \
     defined(HIWIRE_EMSCRIPTEN_DEDUPLICATE) || defined(EMSCRIPTEN_DEDUPLICATE))
#define HIWIRE_IF_DEDUPLICATE
#else
#define HIWIRE_IF_DEDUPLICATE \
    __attribute__((unavailable("build with EXTERN_DEDUPLICATE or EMSCRIPTEN_DEDUPLICATE to have it")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* A pointer type so that the compiler tells handles from numbers; never dereferenced. NULL is an immortal ref
 * that holds no value. Make mix-ups errors with -Werror=int-conversion -Werror=incompatible-pointer-types. */
typedef struct HiwireObject *HwRef;

/* What the invalid-ref hook is told: the kind of access that failed. */
#define HIWIRE_FAIL_GET 1
#define HIWIRE_FAIL_INCREF 2
#define HIWIRE_FAIL_DECREF 3
#define HIWIRE_FAIL_OVERFLOW 4 /* not a bad ref: its count is full, and the ref was pinned for good */

/* A new heap ref to value, owned by the caller, with a count of 1. NULL when the table is full or cannot
 * grow; then nothing has changed. value may be the null externref. */
HwRef hiwire_new(__externref_t value) HIWIRE_API(hiwire_new);

/* An immortal ref to value. NULL when the table cannot grow. Equal values get different refs. */
HwRef hiwire_intern(__externref_t value) HIWIRE_API(hiwire_intern);

/* The value behind a ref; the caller's counts stay as they are. For NULL, a stale or a forged ref: calls the
 * hook with HIWIRE_FAIL_GET and, if the hook returns, gives the null externref. */
__externref_t hiwire_get(HwRef ref) HIWIRE_API(hiwire_get);

/* One count more. Nothing happens to NULL and immortal refs. A stale or forged ref: HIWIRE_FAIL_INCREF.
 * A count has 24 bits. The incref that fills it pins the ref, which is from then on never released, and calls
 * the hook once with HIWIRE_FAIL_OVERFLOW; later increfs and decrefs of a pinned ref do nothing. */
void hiwire_incref(HwRef ref) HIWIRE_API(hiwire_incref);

/* One count less; at 0 the table drops the value and the ref is stale. Nothing happens to NULL, immortal and
 * pinned refs. A stale or forged ref: HIWIRE_FAIL_DECREF. */
void hiwire_decref(HwRef ref) HIWIRE_API(hiwire_decref);

/* hiwire_get, then hiwire_decref: takes the value out of the caller's ref. A stale or forged ref is reported
 * by both. */
__externref_t hiwire_pop(HwRef ref) HIWIRE_API(hiwire_pop);

/* A ref that is the same for equal values; what is equal, the map of the host decides. The caller owns one
 * count more of it. NULL when a new one was needed and hiwire_new would have failed; then nothing has
 * changed. If a map function traps, nothing has changed in the table either. The last decref takes the value
 * out of the map before out of the table. */
HwRef hiwire_new_deduplicate(__externref_t value) HIWIRE_API(hiwire_new_deduplicate) HIWIRE_IF_DEDUPLICATE;

/* Live heap refs; immortals are not counted. */
int hiwire_num_refs(void) HIWIRE_API(hiwire_num_refs);

/* The count of a ref; 0 for NULL, a stale or a forged one (no hook). Pinned and immortal refs give 2^24 - 1.
 */
unsigned hiwire_refcount(HwRef ref) HIWIRE_API(hiwire_refcount);

/* Whether hiwire_get would find a value (no hook). NULL is not valid in this sense. */
bool hiwire_is_valid(HwRef ref) HIWIRE_API(hiwire_is_valid);

/* Heap refs that the slot array has room for without growing, live ones included: with STATIC_PAGES all there
 * will ever be. Slot 0 is never used, and retired slots do not count. */
unsigned hiwire_capacity(void) HIWIRE_API(hiwire_capacity);

/* Slots taken out of service because all their versions were used; always 0 without RETIRE_SLOTS. */
unsigned hiwire_num_retired(void) HIWIRE_API(hiwire_num_retired);

/* The live heap ref that comes after previous in the order of slots: start with NULL, stop at NULL. Owns
 * nothing. Refs may be made and released on the way, previous too; one made on the way may or may not be
 * seen. */
HwRef hiwire_next(HwRef previous) HIWIRE_API(hiwire_next);

/* What the program or its host provides, each only under the option named. */

/* EXTERN_REALLOC: as realloc of the C library: a block of size bytes, 4-aligned, with the contents of old,
 * which it replaces; or NULL, and then old is as before. It must not call back into the table. */
void *hiwire_realloc(void *old, size_t size);

/* EXTERN_DEDUPLICATE: the map from values to refs. get gives NULL for a value that is not there. set stores,
 * or traps and stores nothing. They may call back into the table. */
HwRef hiwire_deduplicate_get(__externref_t value);
void hiwire_deduplicate_set(__externref_t value, HwRef ref);
void hiwire_deduplicate_delete(__externref_t value);

/* EXTERN_FAIL: told of each bad ref. It may trap; if it returns, the function that found the ref does
 * nothing. */
void hiwire_invalid_ref(int type, HwRef ref);

/* EXTERN_TRACEREFS: type is "new" (after it, with count 1), "incref" or "decref" (before it, with the count
 * as it was). Heap refs only. A trap in "new" leaks the ref that its caller did not get. */
void hiwire_traceref(char *type, HwRef ref, unsigned index, __externref_t value, unsigned count);

#ifdef __cplusplus
}
#endif

#endif
