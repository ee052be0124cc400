/* The build options: both spellings brought to one, and what cannot be is refused with a reason. README.md
 * has the table. */
#ifndef HIWIRE_OPTIONS_H
#define HIWIRE_OPTIONS_H

#if defined(STATIC_PAGES) && !defined(HIWIRE_STATIC_PAGES)
#define HIWIRE_STATIC_PAGES STATIC_PAGES
#endif
#if defined(EXTERN_REALLOC) && !defined(HIWIRE_EXTERN_REALLOC)
#define HIWIRE_EXTERN_REALLOC 1
#endif
#if defined(EXTERN_DEDUPLICATE) && !defined(HIWIRE_EXTERN_DEDUPLICATE)
#define HIWIRE_EXTERN_DEDUPLICATE 1
#endif
#if defined(EMSCRIPTEN_DEDUPLICATE) && !defined(HIWIRE_EMSCRIPTEN_DEDUPLICATE)
#define HIWIRE_EMSCRIPTEN_DEDUPLICATE 1
#endif
#if defined(EXTERN_TRACEREFS) && !defined(HIWIRE_EXTERN_TRACEREFS)
#define HIWIRE_EXTERN_TRACEREFS 1
#endif
#if defined(EMSCRIPTEN_TRACEREFS) && !defined(HIWIRE_EMSCRIPTEN_TRACEREFS)
#define HIWIRE_EMSCRIPTEN_TRACEREFS 1
#endif
#if defined(EXTERN_FAIL) && !defined(HIWIRE_EXTERN_FAIL)
#define HIWIRE_EXTERN_FAIL 1
#endif
#if defined(ABORT_FAIL) && !defined(HIWIRE_ABORT_FAIL)
#define HIWIRE_ABORT_FAIL 1
#endif
#if defined(RETIRE_SLOTS) && !defined(HIWIRE_RETIRE_SLOTS)
#define HIWIRE_RETIRE_SLOTS 1
#endif

#if defined(HIWIRE_STATIC_PAGES) && defined(HIWIRE_EXTERN_REALLOC)
#error "hiwire: STATIC_PAGES and EXTERN_REALLOC exclude each other: the slot array is static or it grows"
#endif
#if defined(HIWIRE_EXTERN_DEDUPLICATE) && defined(HIWIRE_EMSCRIPTEN_DEDUPLICATE)
#error "hiwire: EXTERN_DEDUPLICATE and EMSCRIPTEN_DEDUPLICATE exclude each other: there is one map"
#endif
#if defined(HIWIRE_EXTERN_TRACEREFS) && defined(HIWIRE_EMSCRIPTEN_TRACEREFS)
#error "hiwire: EXTERN_TRACEREFS and EMSCRIPTEN_TRACEREFS exclude each other: there is one trace"
#endif
#if defined(HIWIRE_EXTERN_FAIL) && defined(HIWIRE_ABORT_FAIL)
#error "hiwire: EXTERN_FAIL and ABORT_FAIL exclude each other: a bad ref is reported once"
#endif

#ifndef __EMSCRIPTEN__
#ifdef HIWIRE_EMSCRIPTEN_DEDUPLICATE
#error "hiwire: EMSCRIPTEN_DEDUPLICATE needs the target wasm32-emscripten; elsewhere use EXTERN_DEDUPLICATE"
#endif
#ifdef HIWIRE_EMSCRIPTEN_TRACEREFS
#error "hiwire: EMSCRIPTEN_TRACEREFS needs the target wasm32-emscripten; elsewhere use EXTERN_TRACEREFS"
#endif
#endif

#if defined(HIWIRE_ABORT_FAIL) && !(__has_include(<stdio.h>) && __has_include(<stdlib.h>))
#error \
    "hiwire: ABORT_FAIL needs a C library (stdio.h, stdlib.h): use wasm32-wasi or Emscripten, or EXTERN_FAIL"
#endif

#ifdef HIWIRE_STATIC_PAGES
/* A page is 1024 slots and the index of a slot has 25 bits. `+ 0` makes an empty definition a number. */
#if HIWIRE_STATIC_PAGES + 0 < 1 || HIWIRE_STATIC_PAGES + 0 > 32768
#error "hiwire: STATIC_PAGES=n takes a number of pages from 1 to 32768, of 1024 slots each"
#endif
#endif

#if defined(HIWIRE_EXTERN_DEDUPLICATE) || defined(HIWIRE_EMSCRIPTEN_DEDUPLICATE)
#define HIWIRE_DEDUPLICATE 1
#endif
#if defined(HIWIRE_EXTERN_TRACEREFS) || defined(HIWIRE_EMSCRIPTEN_TRACEREFS)
#define HIWIRE_TRACEREFS 1
#endif

#endif
