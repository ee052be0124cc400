/* Which edges are all that hold their object, by what a refcount source says about its slots. */

enum { HW_UNSEEN, HW_NO, HW_WRONG, HW_ALL }; /* verdicts on slots; HW_ALL: every count is an edge */

#define HW_SHOWN UINT32_MAX

/* A source, and what is found out about its slots and objects. */
typedef struct {
    hw_slots slots;
    int32_t *found;    /* by slot: how many edges it has */
    uint8_t *verdicts; /* by slot */
    uint32_t *parts;   /* by the index in a key: how many slots of the object are HW_ALL; HW_SHOWN: wrappers show it */
} hw_counts;

/* Find the slot that a reference names. Returns whether it names one. */
static int hw_find_slot(const hw_slots *slots, uint32_t reference, uint32_t *index)
{
    if (slots->words == NULL) {
        *index = reference;
        return reference < slots->slot_count && slots->keys[reference] != 0;
    }
    *index = reference >> HW_INDEX_SHIFT & HW_INDEX;
    if (*index == 0 || *index >= slots->slot_count)
        return 0;
    uint32_t word = slots->words[*index];
    return (reference & word & 1) && word >> HW_VERSION_SHIFT == reference >> HW_VERSION_SHIFT;
}

static uint32_t hw_key_index(const hw_slots *slots, uint32_t slot)
{
    return (uint32_t)slots->keys[slot] & HW_ID_INDEX;
}

/* From now on an edge's word is the index of its slot. */
static void hw_count_edges(hw_edges *edges, hw_counts *counts)
{
    hw_edge *all = edges->all.items;
    uint32_t *keep = edges->keep.items, index;
    for (size_t i = 0; i < edges->all.count; i++) {
        if (!hw_find_slot(&counts->slots, all[i].word, &all[i].word))
            all[i].kind = HW_NO_HANDLE;
        else if (counts->found[all[i].word] != INT32_MAX)
            counts->found[all[i].word]++;
    }
    for (size_t i = 0; i < edges->keep.count; i++)
        if (hw_find_slot(&counts->slots, keep[i], &index))
            counts->verdicts[index] = HW_WRONG;
}

/* Compare the counts of each slot that was found with its edges. Returns whether one has more edges than counts. */
static int hw_judge(const hw_edges *edges, hw_counts *counts)
{
    const hw_slots *slots = &counts->slots;
    const hw_edge *all = edges->all.items;
    int wrong = 0;
    for (size_t i = 0; i < edges->all.count; i++) {
        if (all[i].kind == HW_NO_HANDLE)
            continue;
        uint32_t slot = all[i].word, key_index = hw_key_index(slots, slot);
        uint8_t *verdict = &counts->verdicts[slot];
        if (*verdict == HW_UNSEEN) {
            uint32_t word = slots->words == NULL ? 1 | 1 << HW_COUNT_SHIFT : slots->words[slot];
            int32_t found = counts->found[slot], count = (int32_t)(word >> HW_COUNT_SHIFT & HW_COUNT_MAX);
            *verdict = found > count ? HW_WRONG : HW_NO;
            /* Bit 1: the map of equal objects holds the object, or looks it up by its address. */
            if (found == count && count != HW_COUNT_MAX && !(word & 2) && slots->keys[slot] != 0 &&
                key_index < slots->record_count) {
                *verdict = HW_ALL;
                counts->parts[key_index]++;
            }
        }
        wrong |= *verdict == HW_WRONG;
    }
    return wrong;
}

/* Whether wrappers show the object of a slot: all counts of all its slots are edges, and no global holds it. */
static int hw_shows(const hw_counts *counts, uint32_t slot)
{
    if (counts->verdicts[slot] != HW_ALL)
        return 0;
    uint32_t key_index = hw_key_index(&counts->slots, slot), parts = counts->parts[key_index];
    return parts == HW_SHOWN ||
           parts == counts->slots.records[(size_t)key_index * HW_RECORD_WORDS + HW_RECORD_HOLDERS];
}

/* Find the layouts of wrappers with references that were found more often than they are counted, or twice in one
   place. */
static int hw_name_mistaken(hw_edges *edges, hw_counts *counts)
{
    hw_edge *all = edges->all.items;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(edges->registries); i++) {
        hw_registry *registry = (hw_registry *)PyList_GET_ITEM(edges->registries, i);
        for (hw_wrapper *wrapper = registry->wrappers; wrapper != NULL; wrapper = wrapper->next)
            for (uint32_t j = wrapper->start; j < wrapper->start + wrapper->count; j++)
                if (all[j].kind != HW_NO_HANDLE && counts->verdicts[all[j].word] == HW_WRONG &&
                    PySet_Add(edges->mistaken, wrapper->map->layout) < 0)
                    return 0;
    }
    return 1;
}

/* Find out which edges wrappers show. 0, and an exception, on failure. */
static int hw_count(hw_edges *edges, hw_counts *counts)
{
    counts->found = calloc((size_t)counts->slots.slot_count + 1, sizeof *counts->found);
    counts->verdicts = calloc((size_t)counts->slots.slot_count + 1, 1);
    counts->parts = calloc((size_t)counts->slots.record_count + 1, sizeof *counts->parts);
    if (counts->found == NULL || counts->verdicts == NULL || counts->parts == NULL) {
        PyErr_NoMemory();
        return 0;
    }
    if (!hw_keep_again(edges))
        return 0;
    hw_count_edges(edges, counts);
    return !hw_judge(edges, counts) || hw_name_mistaken(edges, counts);
}
