/* Lending: from the copies of handles that a survey found, and a table's counts, to the objects that wrappers show.
   Comes after survey.c in the same translation unit. */

enum { HW_UNSEEN, HW_NO, HW_WRONG, HW_YES, HW_GROUP, HW_LENT }; /* verdicts on slots */

typedef struct {
    int64_t key;
    uint64_t slots;
} hw_tally;

typedef struct {
    int64_t key;
    uint32_t index;
    int lent;
} hw_shared;

/* A table as its accounts describe it, see lend(). */
typedef struct {
    int direct;
    const uint32_t *slots;
    uint64_t count;
    const int32_t *ids;       /* the keys by index; or */
    const int64_t *keys;      /* the same */
    const uint32_t *records;  /* of ids, of which the second word is how many slots and globals hold one; or */
    uint64_t record_count;
    hw_tally *tally; /* by key, with open addressing */
    uint64_t tally_mask;
    uint8_t *verdicts;
    int32_t *found;
} hw_table;

static int hw_occupied(const hw_table *table, uint64_t index)
{
    return table->direct ? (table->keys != NULL ? table->keys[index] : table->ids[index]) != 0
                         : index != 0 && (table->slots[index] & 1);
}

static int64_t hw_key(const hw_table *table, uint64_t index)
{
    return table->keys != NULL ? table->keys[index] : table->ids[index];
}

/* The index of the slot that a word names; 0 if it is no handle of this table. Slot 0 of a direct table has one. */
static int hw_index(const hw_table *table, uint32_t word, uint32_t *index)
{
    *index = table->direct ? word : word >> HW_INDEX_SHIFT & HW_INDEX;
    if (*index >= table->count || (!table->direct && !(word & 1)) || !hw_occupied(table, *index))
        return 0;
    return table->direct || table->slots[*index] >> HW_VERSION_SHIFT == word >> HW_VERSION_SHIFT;
}

static hw_tally *hw_tally_of(const hw_table *table, int64_t key)
{
    uint64_t at = (uint64_t)key * 0x9e3779b97f4a7c15u >> 20;
    hw_tally *entry;
    for (;; at++) {
        entry = &table->tally[at & table->tally_mask];
        if (entry->slots == 0 || entry->key == key)
            return entry;
    }
}

static void hw_count_key(hw_table *table, int64_t key)
{
    hw_tally *entry = hw_tally_of(table, key);
    entry->key = key;
    entry->slots++;
}

/* How many slots and globals hold an object. */
static uint64_t hw_holders(const hw_table *table, int64_t key)
{
    if (table->records == NULL)
        return hw_tally_of(table, key)->slots;
    uint64_t index = (uint64_t)key & HW_ID_INDEX;
    return index < table->record_count ? table->records[index * HW_RECORD_WORDS + HW_RECORD_HOLDERS] : UINT64_MAX;
}

static int hw_tally_all(hw_table *table, const int64_t *others, uint64_t count)
{
    uint64_t size = 16;
    while (size < 2 * (table->count + count))
        size *= 2;
    table->tally = calloc(size, sizeof *table->tally);
    if (table->tally == NULL)
        return 0;
    table->tally_mask = size - 1;
    for (uint64_t i = 0; i < table->count; i++)
        if (hw_occupied(table, i) && hw_key(table, i) != 0)
            hw_count_key(table, hw_key(table, i));
    for (uint64_t i = 0; i < count; i++)
        if (others[i] != 0)
            hw_count_key(table, others[i]);
    return 1;
}

static void hw_count_copies(hw_survey *survey, hw_table *table)
{
    hw_copy *copies = survey->copies.items;
    uint32_t *keep = survey->keep.items, index;
    for (size_t i = 0; i < survey->copies.count; i++) {
        if (!hw_index(table, copies[i].word, &index))
            copies[i].kind = HW_NO_HANDLE;
        else if (table->found[index] != INT32_MAX)
            table->found[index]++;
    }
    for (size_t i = 0; i < survey->keep.count; i++)
        if (hw_index(table, keep[i], &index))
            table->verdicts[index] = HW_WRONG;
}

static int hw_by_key(const void *one, const void *other)
{
    int64_t a = ((const hw_shared *)one)->key, b = ((const hw_shared *)other)->key;
    return (a > b) - (a < b);
}

/* Decide for each slot that was found whether its object can be lent. */
static int hw_judge(hw_survey *survey, hw_table *table, hw_array *shared, int *wrong)
{
    hw_copy *copies = survey->copies.items;
    uint32_t index;
    for (size_t i = 0; i < survey->copies.count; i++) {
        if (copies[i].kind == HW_NO_HANDLE)
            continue;
        hw_index(table, copies[i].word, &index);
        if (table->verdicts[index] != HW_UNSEEN) {
            *wrong |= table->verdicts[index] == HW_WRONG;
            continue;
        }
        uint32_t info = table->direct ? 1 | 1 << HW_COUNT_SHIFT : table->slots[index];
        int32_t count = (int32_t)(info >> HW_COUNT_SHIFT & HW_COUNT_MAX);
        int64_t key = hw_key(table, index);
        table->verdicts[index] = HW_NO;
        if (table->found[index] > count) {
            table->verdicts[index] = HW_WRONG;
            *wrong = 1;
        } else if (table->found[index] == count && count != (int32_t)HW_COUNT_MAX && !(info & 2) && key != 0) {
            /* Bit 1: the map of equal objects knows it, and holds the object or looks it up by its address. */
            if (hw_holders(table, key) == 1) {
                table->verdicts[index] = HW_YES;
            } else {
                hw_shared *entry = hw_grow(shared, sizeof *entry);
                if (entry == NULL)
                    return 0;
                *entry = (hw_shared){key, index, 0};
            }
        }
    }
    /* An object in several slots can be lent if all of them were found. */
    hw_shared *entries = shared->items;
    if (shared->count > 0)
        qsort(entries, shared->count, sizeof *entries, hw_by_key);
    for (size_t first = 0, next; first < shared->count; first = next) {
        for (next = first + 1; next < shared->count && entries[next].key == entries[first].key; next++)
            ;
        if (hw_holders(table, entries[first].key) == next - first)
            for (size_t i = first; i < next; i++)
                table->verdicts[entries[i].index] = HW_GROUP;
    }
    return 1;
}

static int hw_set(PyObject *dict, int64_t key, PyObject *value)
{
    PyObject *number = PyLong_FromLongLong(key);
    int good = number != NULL && PyDict_SetItem(dict, number, value) == 0;
    Py_XDECREF(number);
    return good;
}

/* The object is not in the table any more, though a handle names it. */
static void hw_take_out(hw_survey *survey, int64_t key)
{
    PyObject *number = PyLong_FromLongLong(key);
    if (number == NULL || PyDict_SetItem(survey->gone, number, Py_None) < 0 ||
        PyDict_DelItem(survey->objects, number) < 0)
        PyErr_Clear(); /* no memory: the table holds the object until the struct is freed */
    Py_XDECREF(number);
}

/* Whether the dict's reference to an object in several slots is lent already; from now on it is. */
static int hw_group_lent(hw_array *shared, int64_t key)
{
    hw_shared wanted = {key, 0, 0};
    hw_shared *entry = bsearch(&wanted, shared->items, shared->count, sizeof wanted, hw_by_key);
    while (entry > (hw_shared *)shared->items && entry[-1].key == key)
        entry--;
    int was = entry->lent;
    entry->lent = 1;
    return was;
}

static int hw_lend_copies(hw_survey *survey, hw_table *table, hw_array *shared)
{
    enum { FEW = 8 }; /* to hide an object and show it again takes as long as to show so many in place of the dict */
    hw_copy *copies = survey->copies.items;
    uint32_t index;
    survey->hides = survey->copies.count <= (size_t)PyDict_Size(survey->objects) / FEW;
    for (size_t i = 0; i < survey->copies.count; i++) {
        hw_copy *copy = &copies[i];
        if (copy->kind == HW_NO_HANDLE)
            continue;
        hw_index(table, copy->word, &index);
        uint8_t verdict = table->verdicts[index];
        if (verdict != HW_YES && verdict != HW_GROUP && verdict != HW_LENT)
            continue;
        copy->key = hw_key(table, index);
        PyObject *number = PyLong_FromLongLong(copy->key);
        if (number == NULL)
            return 0;
        PyObject *object = PyDict_GetItemWithError(survey->objects, number);
        Py_DECREF(number);
        if (object == NULL && PyErr_Occurred())
            return 0;
        if (object == NULL)
            continue;
        if (survey->hides || verdict == HW_LENT || (verdict == HW_GROUP && hw_group_lent(shared, copy->key)))
            copy->kind = HW_OWN_COPY;
        if (copy->kind == HW_OWN_COPY)
            Py_INCREF(object);
        copy->object = object;
        survey->lends = 1;
        if (verdict == HW_YES)
            table->verdicts[index] = HW_LENT;
    }
    for (size_t i = 0; survey->hides && i < survey->copies.count; i++)
        if (copies[i].object != NULL && !hw_set(survey->objects, copies[i].key, survey->gone))
            return 0;
    return 1;
}

/* What is in the dict and not lent, for the survey to show. */
static int hw_find_rest(hw_survey *survey)
{
    hw_copy *copies = survey->copies.items;
    hw_table lent = {0};
    uint64_t count = 0, size = 16;
    Py_ssize_t at = 0;
    PyObject *number, *object;
    int good = 1;
    for (size_t i = 0; i < survey->copies.count; i++)
        count += copies[i].object != NULL && copies[i].kind == HW_LENT_COPY;
    if (count == (uint64_t)PyDict_Size(survey->objects))
        return 1;
    while (size < 2 * count)
        size *= 2;
    lent.tally = calloc(size, sizeof *lent.tally);
    lent.tally_mask = size - 1;
    if (lent.tally == NULL) {
        PyErr_NoMemory();
        return 0;
    }
    for (size_t i = 0; i < survey->copies.count; i++)
        if (copies[i].object != NULL && copies[i].kind == HW_LENT_COPY)
            hw_count_key(&lent, copies[i].key);
    while (good && PyDict_Next(survey->objects, &at, &number, &object)) {
        long long key = PyLong_AsLongLong(number);
        if (key == -1 && PyErr_Occurred()) {
            good = 0;
        } else if (PyObject_IS_GC(object) && hw_tally_of(&lent, key)->slots == 0) {
            PyObject **rest = hw_grow(&survey->rest, sizeof *rest);
            good = rest != NULL;
            if (good)
                *rest = object;
        }
    }
    free(lent.tally);
    return good;
}

/* Find the layouts of wrappers with copies of handles that were found more often than they are counted, or twice in
   one place. */
static int hw_name_mistaken(hw_survey *survey, hw_table *table)
{
    hw_copy *copies = survey->copies.items;
    uint32_t index;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(survey->arenas); i++) {
        hw_arena *arena = (hw_arena *)PyList_GET_ITEM(survey->arenas, i);
        for (hw_link *link = arena->wrappers.next; link != &arena->wrappers; link = link->next) {
            hw_wrapper *wrapper = hw_wrapper_of(link);
            for (uint32_t j = wrapper->start; j < wrapper->start + wrapper->count; j++)
                if (copies[j].kind != HW_NO_HANDLE && hw_index(table, copies[j].word, &index) &&
                    table->verdicts[index] == HW_WRONG && PySet_Add(survey->mistaken, wrapper->shape->layout) < 0)
                    return 0;
        }
    }
    return 1;
}

static void hw_survey_end(hw_survey *survey);

/* lend(objects, gone, direct, slots, count, keys, key_count, wide, records, record_count, others, other_count): show
   the wrappers what they hold. Numbers are addresses, and lengths in items.

   direct: a handle is the index of a slot, and counts once; there are no words of slots.
   slots: a word for each slot, as in c/hiwire/layout.h.
   keys: of the objects in the slots, in `objects`, 0 for none: 32 bits each, or 64 if `wide`.
   records: of the companion, in words; or 0, and `others` are the keys that something else than these slots holds. */
static PyObject *hw_survey_lend(PyObject *self, PyObject *args)
{
    hw_survey *survey = (hw_survey *)self;
    PyObject *objects, *gone;
    unsigned long long slots, keys, key_count, records, others, other_count;
    int wide, wrong = 0, good;
    hw_table table = {0};
    hw_array shared = {NULL, 0, 0};
    if (!PyArg_ParseTuple(args, "O!O!iKKKKiKKKK", &PyDict_Type, &objects, &PyDict_Type, &gone, &table.direct, &slots,
                          &table.count, &keys, &key_count, &wide, &records, &table.record_count, &others,
                          &other_count))
        return NULL;
    if (survey->objects != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "a survey lends once");
        return NULL;
    }
    if (survey->over)
        return PySet_New(NULL);
    survey->objects = objects;
    survey->gone = gone;
    Py_INCREF(objects), Py_INCREF(gone);
    table.slots = (const uint32_t *)(uintptr_t)slots;
    table.records = (const uint32_t *)(uintptr_t)records;
    table.record_count /= HW_RECORD_WORDS;
    if (table.direct || key_count < table.count)
        table.count = key_count;
    if (wide)
        table.keys = (const int64_t *)(uintptr_t)keys;
    else
        table.ids = (const int32_t *)(uintptr_t)keys;
    good = hw_keep_again(survey);
    if (good) {
        table.verdicts = calloc((size_t)table.count + 1, 1);
        table.found = calloc((size_t)table.count + 1, sizeof *table.found);
        good = table.verdicts != NULL && table.found != NULL &&
               (table.records != NULL ||
                hw_tally_all(&table, (const int64_t *)(uintptr_t)others, other_count));
    }
    if (!good && !PyErr_Occurred())
        PyErr_NoMemory();
    if (good) {
        hw_count_copies(survey, &table);
        good = hw_judge(survey, &table, &shared, &wrong) && (!wrong || hw_name_mistaken(survey, &table)) &&
               hw_lend_copies(survey, &table, &shared) && (!survey->lends || survey->hides || hw_find_rest(survey));
    }
    free(table.tally), free(table.verdicts), free(table.found);
    hw_empty(&shared);
    if (!good) {
        PyObject *type, *value, *trace;
        PyErr_Fetch(&type, &value, &trace);
        survey->lends = 1;
        hw_survey_end(survey);
        PyErr_Restore(type, value, trace);
        return NULL;
    }
    if (survey->lends) {
        for (Py_ssize_t i = 0; i < PyList_GET_SIZE(survey->arenas); i++)
            ((hw_arena *)PyList_GET_ITEM(survey->arenas, i))->survey = survey;
        if (!survey->hides && PyObject_GC_IsTracked(objects))
            PyObject_GC_UnTrack(objects);
    }
    Py_INCREF(survey->mistaken);
    return survey->mistaken;
}

/* ---- while it lends */

static int hw_survey_visit(hw_survey *survey, hw_wrapper *wrapper, visitproc visit, void *arg)
{
    hw_copy *copies = survey->copies.items;
    for (uint32_t i = wrapper->start; i < wrapper->start + wrapper->count; i++)
        Py_VISIT(copies[i].object);
    return 0;
}

/* The wrapper is dead or will be: the table lets go of what only its struct held. */
static void hw_survey_drop(hw_survey *survey, hw_wrapper *wrapper)
{
    PyObject *type, *value, *trace;
    hw_arena *arena = wrapper->arena;
    uint32_t next = wrapper->start, end = next + wrapper->count;
    if (next == end)
        return;
    PyErr_Fetch(&type, &value, &trace);
    Py_INCREF(survey);
    wrapper->count = 0;
    /* What dies here may run anything, the end of the survey included. */
    for (; next < end && arena->survey == survey; next++) {
        hw_copy *copy = (hw_copy *)survey->copies.items + next;
        PyObject *object = copy->object;
        copy->object = NULL;
        if (object == NULL)
            continue;
        survey->dropped = 1;
        if (copy->kind == HW_OWN_COPY)
            Py_DECREF(object);
        else
            hw_take_out(survey, copy->key);
    }
    Py_DECREF(survey);
    PyErr_Restore(type, value, trace);
}

static int hw_hidden(hw_survey *survey, int64_t key)
{
    PyObject *number = PyLong_FromLongLong(key);
    int hidden = number != NULL && PyDict_GetItemWithError(survey->objects, number) == survey->gone;
    PyErr_Clear();
    Py_XDECREF(number);
    return hidden;
}

/* The dict has what a living wrapper shows by a reference of its own: it was hidden, or another wrapper, to which the
   dict's reference was lent, is dead. */
static void hw_put_back(hw_survey *survey, const hw_copy *copy)
{
    PyObject *number = PyLong_FromLongLong(copy->key);
    int gone = number == NULL ? -1 : PyDict_Contains(survey->gone, number);
    if (gone > 0 || (gone == 0 && PyDict_GetItemWithError(survey->objects, number) == survey->gone)) {
        if (PyDict_SetItem(survey->objects, number, copy->object) == 0 && gone > 0)
            PyDict_DelItem(survey->gone, number);
    }
    PyErr_Clear();
    Py_XDECREF(number);
}

/* Nothing is lent any more: the dict has everything that living wrappers showed. */
static void hw_survey_end(hw_survey *survey)
{
    if (!survey->lends)
        return;
    survey->lends = 0;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(survey->arenas); i++)
        ((hw_arena *)PyList_GET_ITEM(survey->arenas, i))->survey = NULL;
    hw_array taken = survey->copies;
    hw_copy *copies = taken.items;
    survey->copies = (hw_array){NULL, 0, 0};
    hw_empty(&survey->rest);
    for (size_t i = 0; (survey->dropped || survey->hides) && i < taken.count; i++)
        if (copies[i].object != NULL && copies[i].kind == HW_OWN_COPY)
            hw_put_back(survey, &copies[i]);
    for (size_t i = 0; survey->dropped && survey->hides && i < taken.count; i++)
        if (copies[i].object == NULL && copies[i].kind == HW_OWN_COPY && hw_hidden(survey, copies[i].key))
            hw_take_out(survey, copies[i].key);
    if (!PyObject_GC_IsTracked(survey->objects))
        PyObject_GC_Track(survey->objects);
    for (size_t i = 0; i < taken.count; i++)
        if (copies[i].object != NULL && copies[i].kind == HW_OWN_COPY)
            Py_DECREF(copies[i].object);
    free(copies);
}

static PyObject *hw_survey_end_method(PyObject *self, PyObject *unused)
{
    (void)unused;
    ((hw_survey *)self)->over = 1;
    hw_survey_end((hw_survey *)self);
    Py_RETURN_NONE;
}

/* words() -> list: those that were found and may be handles. For tests. */
static PyObject *hw_survey_words(PyObject *self, PyObject *unused)
{
    hw_survey *survey = (hw_survey *)self;
    const hw_copy *copies = survey->copies.items;
    PyObject *list = PyList_New(0);
    (void)unused;
    for (size_t i = 0; list != NULL && i < survey->copies.count; i++) {
        PyObject *word = PyLong_FromUnsignedLong(copies[i].word);
        if (word == NULL || PyList_Append(list, word) < 0)
            Py_CLEAR(list);
        Py_XDECREF(word);
    }
    return list;
}

/* ---- the type */

/* Survey(none): none is what stands in a field that holds no handle. */
static PyObject *hw_survey_new(PyTypeObject *type, PyObject *args, PyObject *named)
{
    unsigned int none;
    (void)named;
    if (!PyArg_ParseTuple(args, "I", &none))
        return NULL;
    hw_survey *survey = (hw_survey *)type->tp_alloc(type, 0);
    if (survey != NULL)
        survey->none = none;
    if (survey != NULL && ((survey->arenas = PyList_New(0)) == NULL || (survey->mistaken = PySet_New(NULL)) == NULL)) {
        Py_DECREF(survey);
        return NULL;
    }
    return (PyObject *)survey;
}

static int hw_survey_traverse(PyObject *self, visitproc visit, void *arg)
{
    hw_survey *survey = (hw_survey *)self;
    PyObject **rest = survey->rest.items;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(survey->arenas);
    Py_VISIT(survey->mistaken);
    Py_VISIT(survey->objects);
    Py_VISIT(survey->gone);
    for (size_t i = 0; survey->lends && i < survey->rest.count; i++)
        Py_VISIT(rest[i]);
    return 0;
}

static int hw_survey_clear(PyObject *self)
{
    hw_survey_end((hw_survey *)self);
    return 0;
}

static void hw_survey_dealloc(PyObject *self)
{
    hw_survey *survey = (hw_survey *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    hw_survey_end(survey);
    hw_memory *memories = survey->memories.items;
    for (size_t i = 0; i < survey->memories.count; i++)
        free(memories[i].read), free(memories[i].structs), free(memories[i].kept);
    hw_empty(&survey->memories), hw_empty(&survey->copies), hw_empty(&survey->again);
    hw_empty(&survey->keep), hw_empty(&survey->rest);
    Py_XDECREF(survey->arenas);
    Py_XDECREF(survey->mistaken);
    Py_XDECREF(survey->objects);
    Py_XDECREF(survey->gone);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef hw_survey_methods[] = {{"add", hw_survey_add, METH_VARARGS, NULL},
                                          {"lend", hw_survey_lend, METH_VARARGS, NULL},
                                          {"end", hw_survey_end_method, METH_NOARGS, NULL},
                                          {"words", hw_survey_words, METH_NOARGS, NULL},
                                          {NULL}};

/* How many copies were found, and structs more than once; without either there is nothing to lend. */
static PyMemberDef hw_survey_members[] = {
    {"copies", Py_T_PYSSIZET, offsetof(hw_survey, copies.count), Py_READONLY, NULL},
    {"again", Py_T_PYSSIZET, offsetof(hw_survey, again.count), Py_READONLY, NULL},
    {NULL}};

static PyType_Slot hw_survey_slots[] = {{Py_tp_new, hw_survey_new},
                                        {Py_tp_traverse, hw_survey_traverse},
                                        {Py_tp_clear, hw_survey_clear},
                                        {Py_tp_dealloc, hw_survey_dealloc},
                                        {Py_tp_methods, hw_survey_methods},
                                        {Py_tp_members, hw_survey_members},
                                        {0, NULL}};

static PyType_Spec hw_survey_spec = {"hiwire_py.collect.Survey", sizeof(hw_survey), 0,
                                     Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, hw_survey_slots};

/* Put the types into a dict, whose address is given. 0: an exception is set aside in it, as "error". */
static int hw_types_into(intptr_t address)
{
    PyGILState_STATE state = PyGILState_Ensure();
    PyObject *into = (PyObject *)address;
    struct {
        const char *name;
        PyType_Spec *spec;
        PyTypeObject **type;
    } all[] = {{"Shape", &hw_shape_spec, &hw_shape_type},
               {"ArenaBase", &hw_arena_spec, &hw_arena_type},
               {"WrapperBase", &hw_wrapper_spec, &hw_wrapper_type},
               {"Survey", &hw_survey_spec, &hw_survey_type}};
    int good = 1;
    for (size_t i = 0; good && i < sizeof all / sizeof *all; i++) {
        if (*all[i].type == NULL)
            *all[i].type = (PyTypeObject *)PyType_FromSpec(all[i].spec);
        good = *all[i].type != NULL && PyDict_SetItemString(into, all[i].name, (PyObject *)*all[i].type) == 0;
    }
    if (!good)
        PyErr_Clear();
    PyGILState_Release(state);
    return good;
}
