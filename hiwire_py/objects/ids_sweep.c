/* Sweeping: in the midst of a guest's call, release what no slot, no global and no frame holds. */

enum { HW_EARLIER = 1, HW_IN_FRAME = 2, HW_SEEN = 4 };

/* What is known of some ids, by open addressing; 0 is no id of interest. */
typedef struct {
    int32_t *ids;
    uint8_t *marks;
    size_t mask;
} hw_marks;

static uint8_t *hw_mark(hw_marks *marks, int32_t id)
{
    size_t at = ((uint32_t)id * UINT32_C(0x9e3779b9)) >> 4;
    while (marks->ids[at & marks->mask] != id && marks->ids[at & marks->mask] != 0) {
        at++;
    }
    marks->ids[at & marks->mask] = id;
    return &marks->marks[at & marks->mask];
}

/* Keep those in a list from `first` on that frames hold, each once, and release the rest unless they are
 * older. */
static int hw_sweep_list(hw_ids *ids, hw_id_list *list, Py_ssize_t first, hw_marks *marks, uint8_t seen,
                         hw_dead *dead)
{
    Py_ssize_t kept = first;
    int good = 1;
    for (Py_ssize_t i = first; i < list->count; i++) {
        int32_t id = list->items[i];
        uint8_t *mark = id != 0 ? hw_mark(marks, id) : NULL;
        if (mark == NULL || *mark & seen) {
            continue;
        }
        *mark |= seen;
        if (*mark & HW_EARLIER) {
            continue;
        }
        if (good && !(*mark & HW_IN_FRAME)) {
            good = hw_release_one(ids, id, dead);
        }
        if (!good || *mark & HW_IN_FRAME) {
            list->items[kept++] = id;
        }
    }
    list->count = kept;
    return good;
}

static int hw_sweep(hw_ids *ids, hw_dead *dead)
{
    const int32_t *frame = (int32_t *)(ids->base + ids->state[HW_STATE_FRAMES]);
    const int32_t *end = (int32_t *)(ids->base + ids->state[HW_STATE_FRAMES_END]);
    int opaque = ids->unsettled;
    for (const int32_t *word = frame; word < end && !opaque; word++) {
        opaque = *word == HW_OPAQUE;
    }
    if (opaque) {
        ids->limit = ids->flight.count + ids->patience;
        return 1;
    }
    if (!hw_take_zombies(ids)) {
        return 0;
    }
    size_t most = (size_t)(end - frame) + (size_t)ids->flight.count + (size_t)ids->waiting.count, size = 16;
    while (size < 2 * most) {
        size *= 2;
    }
    hw_marks marks = {calloc(size, sizeof *marks.ids), calloc(size, 1), size - 1};
    int good = marks.ids != NULL && marks.marks != NULL;
    if (good) {
        for (const int32_t *word = frame; word < end; word++) {
            if (*word != 0) {
                *hw_mark(&marks, *word) |= HW_IN_FRAME;
            }
        }
        for (Py_ssize_t i = 0; i < ids->floor; i++) {
            *hw_mark(&marks, ids->flight.items[i]) |= HW_EARLIER;
        }
        good = hw_sweep_list(ids, &ids->flight, ids->floor, &marks, HW_SEEN, dead) &&
               /* Cleared from slots by any call, so they may be in the frames of calls further out than this
                  one. */
               hw_sweep_list(ids, &ids->waiting, 0, &marks, HW_SEEN << 1, dead);
        /* So that sweeps of deep stacks cost no more than the calls. */
        ids->limit = 2 * ids->flight.count + ids->patience;
    } else {
        PyErr_NoMemory();
    }
    free(marks.ids), free(marks.marks);
    return good;
}
