/* hiwire_layout: tells the host where a struct keeps its handles, in the compiler's own numbers.
 *
 *     typedef struct Node Node;
 *     struct Node {
 *         HwRef value;
 *         Node *next;
 *     };
 *     HIWIRE_LAYOUT(node, Node, HIWIRE_HANDLE(Node, value), HIWIRE_OWNS(Node, next, node));
 *
 * The host reads it as layout(guest, "node"), through the export hiwire_layout_node, and can then collect
 * cycles of host objects that pass through such structs. A field belongs in the list if whoever frees the
 * struct gives this handle back, or frees what this pointer points to, and nobody else does. A field that is
 * left out keeps its object alive. No cost in code but one function that returns an address.
 */
#ifndef HIWIRE_LAYOUT_DESCRIPTION_H
#define HIWIRE_LAYOUT_DESCRIPTION_H

#include "hiwire.h"
#include <stddef.h>
#include <stdint.h>

struct HiwireLayout;

typedef struct {
    uint32_t kind; /* 1: an owned handle; 2: an owning pointer */
    uint32_t offset;
    const struct HiwireLayout *owned;
} HiwireField;

struct HiwireLayout {
    uint32_t size;
    uint32_t count;
    const HiwireField *fields;
};

/* The comparisons are never run: they make the compiler refuse a member of another type. */
#define HIWIRE_HANDLE(type, member) \
    {1 + 0 * sizeof(((type *)0)->member == (HwRef)0), offsetof(type, member), NULL}

/* `name` is that of another HIWIRE_LAYOUT, or of this one. One that comes later in the file needs
 * HIWIRE_LAYOUT_DECLARE(name) before. */
#define HIWIRE_OWNS(type, member, name) \
    {2 + 0 * sizeof(*((type *)0)->member), offsetof(type, member), &hiwire_layout_of_##name}

#define HIWIRE_LAYOUT_DECLARE(name) extern const struct HiwireLayout hiwire_layout_of_##name

#define HIWIRE_LAYOUT(name, type, ...)                                                                \
    HIWIRE_LAYOUT_DECLARE(name);                                                                      \
    static const HiwireField hiwire_fields_of_##name[] = {__VA_ARGS__};                               \
    const struct HiwireLayout hiwire_layout_of_##name = {                                             \
        sizeof(type), sizeof hiwire_fields_of_##name / sizeof(HiwireField), hiwire_fields_of_##name}; \
    __attribute__((export_name("hiwire_layout_" #name)))                                              \
    const struct HiwireLayout *hiwire_layout_##name(void);                                            \
    const struct HiwireLayout *hiwire_layout_##name(void)                                             \
    {                                                                                                 \
        return &hiwire_layout_of_##name;                                                              \
    }                                                                                                 \
    _Static_assert(sizeof(HiwireField) == 12, "the host reads three words a field")

#endif
