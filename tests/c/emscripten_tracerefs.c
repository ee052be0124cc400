/* EMSCRIPTEN_TRACEREFS: each change of a count is one object that console.log gets. */
// build: --target=wasm32-emscripten -DSTATIC_PAGES=1 -DHIWIRE_EMSCRIPTEN_TRACEREFS
// build: --target=wasm32-emscripten -DEMSCRIPTEN_TRACEREFS -DEMSCRIPTEN_DEDUPLICATE
#include "check.h"

// clang-format off
EM_JS(void, start_listening, (void), {
    var heard = Module["heard"] = [];
    console.log = function() {
        heard.push(Array.from(arguments));
    };
})
EM_JS(int, num_heard, (void), {
    return Module["heard"].length;
})
/* Whether the last thing heard was this object and nothing beside it, its names in this order. */
EM_JS(int, last_is, (int letter, HwRef ref, unsigned index, __externref_t value, unsigned count), {
    var heard = Module["heard"][Module["heard"].length - 1];
    var said = heard[0];
    return heard.length === 1 && Object.keys(said).join(" ") === "type ref index value count" &&
        said["type"] === {110: "new", 105: "incref", 100: "decref"}[letter] && said["ref"] === ref >>> 0 &&
        said["index"] === index && said["value"] === value && said["count"] === count ? 1 : 0;
})
// clang-format on

TEST(every_change_is_told)
{
    start_listening();
    HwRef ref = hiwire_new(object(1));
    CHECK(num_heard() == 1 && last_is('n', ref, 1, object(1), 1));
    hiwire_incref(ref);
    CHECK(num_heard() == 2 && last_is('i', ref, 1, object(1), 1));
    hiwire_decref(ref);
    CHECK(num_heard() == 3 && last_is('d', ref, 1, object(1), 2));
    hiwire_pop(ref);
    CHECK(num_heard() == 4 && last_is('d', ref, 1, object(1), 1));
    CHECK(hiwire_num_refs() == 0);
}

TEST(nothing_else_is)
{
    start_listening();
    HwRef immortal = hiwire_intern(object(1));
    hiwire_incref(immortal);
    hiwire_decref(immortal);
    hiwire_incref(NULL);
    hiwire_decref(ref_of(3));
    hiwire_get(immortal);
    CHECK(num_heard() == 0);
}

/* Refs of high versions are positive in a trace, as C prints them. */
TEST(high_versions)
{
    for (int version = 0; version < 63; version++) {
        hiwire_decref(hiwire_new(object(1)));
    }
    start_listening();
    HwRef ref = hiwire_new(object(2));
    CHECK(bits(ref) == heap_bits(1, 63) && last_is('n', ref, 1, object(2), 1));
}

#ifdef EMSCRIPTEN_DEDUPLICATE
TEST(deduplicated_refs_too)
{
    start_listening();
    HwRef ref = hiwire_new_deduplicate(object(1));
    CHECK(num_heard() == 1 && last_is('n', ref, 1, object(1), 1));
    CHECK(hiwire_new_deduplicate(object(1)) == ref);
    CHECK(num_heard() == 2 && last_is('i', ref, 1, object(1), 1));
    hiwire_decref(ref);
    hiwire_decref(ref);
    CHECK(num_heard() == 4 && last_is('d', ref, 1, object(1), 1));
}
#endif
