/* The map and the trace in JavaScript, for programs that Emscripten links.
 *
 * Each function that the rest of the library calls is one of C around one of JavaScript. EM_JS alone defines
 * nothing that a linker would take this file out of an archive for, and without this file the JavaScript is
 * missing too. The JavaScript is kept from clang-format, which takes it for C and tears operators apart, and
 * from two question marks in a row, which begin a trigraph in C11. It calls nothing of Emscripten's own
 * JavaScript, of which a program has only what it was linked for.
 */
#include "internal.h"

#if defined(HIWIRE_EMSCRIPTEN_DEDUPLICATE) || defined(HIWIRE_EMSCRIPTEN_TRACEREFS)
#include <emscripten.h>
#endif

#ifdef HIWIRE_EMSCRIPTEN_DEDUPLICATE
/* One Map per instance, made at its first use. It finds equal what is ===, and NaN. */

// clang-format off
EM_JS(HwRef, _hiwire_js_map_get, (__externref_t value), {
    var map = Module["hiwireDeduplicate"];
    return map ? map.get(value) | 0 : 0;
})

EM_JS(void, _hiwire_js_map_set, (__externref_t value, HwRef ref), {
    var map = Module["hiwireDeduplicate"] || (Module["hiwireDeduplicate"] = new Map());
    map.set(value, ref);
})

EM_JS(void, _hiwire_js_map_delete, (__externref_t value), {
    Module["hiwireDeduplicate"].delete(value);
})
// clang-format on

HwRef hiwire_deduplicate_get(__externref_t value)
{
    return _hiwire_js_map_get(value);
}

void hiwire_deduplicate_set(__externref_t value, HwRef ref)
{
    _hiwire_js_map_set(value, ref);
}

void hiwire_deduplicate_delete(__externref_t value)
{
    _hiwire_js_map_delete(value);
}
#endif

#ifdef HIWIRE_EMSCRIPTEN_TRACEREFS
// clang-format off
EM_JS(void, _hiwire_js_trace, (int letter, HwRef ref, unsigned index, __externref_t value, unsigned count), {
    var types = {110: "new", 105: "incref", 100: "decref"};
    console.log({type: types[letter], ref: ref >>> 0, index: index, value: value, count: count});
})
// clang-format on

/* The letter says which of the three it is, so that no string has to be read from the memory. */
void hiwire_traceref(char *type, HwRef ref, unsigned index, __externref_t value, unsigned count)
{
    _hiwire_js_trace(type[0], ref, index, value, count);
}
#endif
