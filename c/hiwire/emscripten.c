/* The functions that a JavaScript host provides itself when Emscripten links the program. */
#include "internal.h"

#if defined(HIWIRE_EMSCRIPTEN_DEDUPLICATE) || defined(HIWIRE_EMSCRIPTEN_TRACEREFS)
#include <emscripten.h>
#endif

#ifdef HIWIRE_EMSCRIPTEN_DEDUPLICATE
/* One Map per instance, made at its first use. What is equal is what a Map finds equal. */
EM_JS(HwRef, hiwire_deduplicate_get, (__externref_t value),
      { return (Module.hiwireDeduplicate ? ? = new Map()).get(value) ? ? 0; });

EM_JS(void, hiwire_deduplicate_set, (__externref_t value, HwRef ref),
      { (Module.hiwireDeduplicate ? ? = new Map()).set(value, ref); });

EM_JS(void, hiwire_deduplicate_delete, (__externref_t value),
      { (Module.hiwireDeduplicate ? ? = new Map()).delete(value); });
#endif

#ifdef HIWIRE_EMSCRIPTEN_TRACEREFS
EM_JS(void, hiwire_traceref, (char *type, HwRef ref, unsigned index, __externref_t value, unsigned count),
      { console.log("hiwire", UTF8ToString(type), "ref", ref, "index", index, "count", count, value); });
#endif
