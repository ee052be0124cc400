/* Which edges are all that hold their object, by what a refcount source says about its slots. */

enum { HW_UNSEEN, HW_NO, HW_WRONG, HW_YES, HW_GROUP, HW_SHOWN }; /* verdicts on slots */

/* One of several slots with the same object. */
typedef struct {
    int32_t key;
    uint32_t index;
    int lent;
} hw_sharing;

/* A source, and what is found out about its slots. */
typedef struct {
    hw_slots slots;
    uint8_t *verdicts;
    int32_t *found;
    hw_array sharing; /* hw_sharing, by key */
} hw_counts;

static int hw_occupied(const hw_slots *slots, uint64_t index)
{
    return slots->words == NULL ? slots->keys[index] != 0 : index != 0 && (slots->words[index] & 1);
}

/* The index of the slot that a reference names, or 0 if it names none. Without words a reference is the index. */
static int hw_index(const hw_slots *slots, uint32_t reference, uint32_t *index)
{
    *index = slots->words == NULL ? reference : reference >> HW_INDEX_SHIFT & HW_INDEX;
    if (*index >= slots->count || (slots->words != NULL && !(reference & 1)) || !hw_occupied(slots, *index))
        return 0;
    return slots->words == NULL ||
           slots->words[*index] >> HW_VERSION_SHIFT == reference >> HW_VERSION_SHIFT;
}

/* How many slots and globals hold an object. */
static uint64_t hw_holders(const hw_slots *slots, int32_t key)
{
    uint64_t index = (uint32_t)key & HW_ID_INDEX;
    return index < slots->record_count ? slots->records[index * HW_RECORD_WORDS + HW_RECORD_HOLDERS] : UINT64_MAX;
}

static void hw_count_edges(hw_edges *edges, hw_counts *counts)
{
    hw_edge *all = edges->all.items;
    uint32_t *keep = edges->keep.items, index;
    for (size_t i = 0; i < edges->all.count; i++) {
        if (!hw_index(&counts->slots, all[i].word, &index))
            all[i].kind = HW_NO_HANDLE;
        else if (counts->found[index] != INT32_MAX)
            counts->found[index]++;
    }
    for (size_t i = 0; i < edges->keep.count; i++)
        if (hw_index(&counts->slots, keep[i], &index))
            counts->verdicts[index] = HW_WRONG;
}

static int hw_by_key(const void *one, const void *other)
{
    int32_t a = ((const hw_sharing *)one)->key, b = ((const hw_sharing *)other)->key;
    return (a > b) - (a < b);
}

/* An object in several slots is shown by wrappers if all of its slots are. */
static void hw_judge_groups(hw_counts *counts)
{
    hw_sharing *entries = counts->sharing.items;
    size_t count = counts->sharing.count;
    if (count > 0)
        qsort(entries, count, sizeof *entries, hw_by_key);
    for (size_t first = 0, next; first < count; first = next) {
        for (next = first + 1; next < count && entries[next].key == entries[first].key; next++)
            ;
        if (hw_holders(&counts->slots, entries[first].key) == next - first)
            for (size_t i = first; i < next; i++)
                counts->verdicts[entries[i].index] = HW_GROUP;
    }
}

/* Decide for each slot that was found whether wrappers show its object: if all of its counts are edges, and no other
   slot and no global holds the object. */
static int hw_judge(hw_edges *edges, hw_counts *counts, int *wrong)
{
    const hw_slots *slots = &counts->slots;
    hw_edge *all = edges->all.items;
    uint32_t index;
    for (size_t i = 0; i < edges->all.count; i++) {
        if (all[i].kind == HW_NO_HANDLE)
            continue;
        hw_index(slots, all[i].word, &index);
        if (counts->verdicts[index] != HW_UNSEEN) {
            *wrong |= counts->verdicts[index] == HW_WRONG;
            continue;
        }
        uint32_t word = slots->words == NULL ? 1 | 1 << HW_COUNT_SHIFT : slots->words[index];
        int32_t count = (int32_t)(word >> HW_COUNT_SHIFT & HW_COUNT_MAX);
        int32_t key = slots->keys[index];
        counts->verdicts[index] = HW_NO;
        if (counts->found[index] > count) {
            counts->verdicts[index] = HW_WRONG;
            *wrong = 1;
        } else if (counts->found[index] == count && count != HW_COUNT_MAX && !(word & 2) && key != 0) {
            /* Bit 1: the map of equal objects holds the object, or looks it up by its address. */
            if (hw_holders(slots, key) == 1) {
                counts->verdicts[index] = HW_YES;
            } else {
                hw_sharing *entry = hw_grow(&counts->sharing, sizeof *entry);
                if (entry == NULL)
                    return 0;
                *entry = (hw_sharing){key, index, 0};
            }
        }
    }
    hw_judge_groups(counts);
    return 1;
}

/* Find the layouts of wrappers with references that were found more often than they are counted, or twice in one
   place. */
static int hw_name_mistaken(hw_edges *edges, hw_counts *counts)
{
    hw_edge *all = edges->all.items;
    uint32_t index;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(edges->registries); i++) {
        hw_registry *registry = (hw_registry *)PyList_GET_ITEM(edges->registries, i);
        for (hw_link *link = registry->wrappers.next; link != &registry->wrappers; link = link->next) {
            hw_wrapper *wrapper = hw_wrapper_of(link);
            for (uint32_t j = wrapper->start; j < wrapper->start + wrapper->count; j++)
                if (all[j].kind != HW_NO_HANDLE && hw_index(&counts->slots, all[j].word, &index) &&
                    counts->verdicts[index] == HW_WRONG && PySet_Add(edges->mistaken, wrapper->map->layout) < 0)
                    return 0;
        }
    }
    return 1;
}

/* Find out which edges wrappers show. A failure is an exception. */
static int hw_count(hw_edges *edges, hw_counts *counts)
{
    size_t room = (size_t)counts->slots.count + 1;
    int wrong = 0;
    counts->verdicts = calloc(room, 1);
    counts->found = calloc(room, sizeof *counts->found);
    if (counts->verdicts == NULL || counts->found == NULL) {
        PyErr_NoMemory();
        return 0;
    }
    if (!hw_keep_again(edges))
        return 0;
    hw_count_edges(edges, counts);
    return hw_judge(edges, counts, &wrong) && (!wrong || hw_name_mistaken(edges, counts));
}

static void hw_forget_counts(hw_counts *counts)
{
    free(counts->verdicts), free(counts->found);
    hw_empty(&counts->sharing);
}
