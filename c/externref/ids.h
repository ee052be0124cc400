/* Ids and what is kept for each: the interface between this runtime and the host, which reads and writes
 * both.
 *
 *            31    26 25                          0
 *           +--------+-----------------------------+
 *     id    |genera- | index, never 0              |     0 is the null reference
 *           |tion    |                             |
 *           +--------+-----------------------------+
 *
 * Each index has a record of RECORD_WORDS words, and the runtime as a whole a state of STATE_WORDS words. The
 * names are the positions of words. hiwire_py/objects/layout.py has the same names and
 * numbers; tests/test_layouts.py compares.
 */
#ifndef EXTERNREF_IDS_H
#define EXTERNREF_IDS_H

#include <stddef.h>
#include <stdint.h>

enum {
    ID_INDEX_BITS = 26,

    RECORD_ID = 0,      /* which of the ids of this index is in use; 0: none */
    RECORD_HOLDERS = 1, /* how many table slots and globals hold it */
    RECORD_LINK = 2,    /* see STATE_ZOMBIES */
    RECORD_WORDS = 3,

    STATE_ZOMBIES = 0,      /* the list of records whose holders fell to 0, most recent first: a link */
    STATE_ZOMBIE_COUNT = 1, /* how long it is */
    STATE_FAULT = 2,        /* why the last trap happened; the host sets it back */
    STATE_FRAMES = 3,       /* the address of the first frame, */
    STATE_FRAMES_END = 4,   /* and where the last one ends */
    STATE_RECORDS = 5,      /* the address of the records, */
    STATE_RECORD_COUNT = 6, /* and how many there are */
    STATE_WORDS = 7,

    TABLE_SLOTS = 0, /* of a table: the address of its slots, each an id, */
    TABLE_SIZE = 1,  /* and how many there are */

    /* A link is the next record's index * 2 + 1, so that 0 says "not in the list", and this ends it. A record
     * in the list may be held again by the time the host reads it. */
    LINK_END = 1,

    FAULT_NONE = 0,
    FAULT_BOUNDS = 1, /* an access beyond the end of a table */
    FAULT_FORGED = 2, /* an id that the host did not give out */
    FAULT_FRAMES = 3, /* too many frames */
};

typedef struct {
    uint32_t id, holders, link;
} Record;

typedef struct {
    uint32_t zombies, zombie_count, fault;
    uint32_t *frames, *frames_end;
    Record *records;
    uint32_t record_count;
} State;

typedef struct {
    uint32_t *slots;
    uint32_t size, capacity, maximum;
} Table;

#define AT(type, field, word) (offsetof(type, field) == 4 * (word))

_Static_assert(AT(Record, id, RECORD_ID) && AT(Record, holders, RECORD_HOLDERS) &&
                   AT(Record, link, RECORD_LINK) && sizeof(Record) == 4 * RECORD_WORDS,
               "records are as the host reads them");
_Static_assert(AT(State, zombies, STATE_ZOMBIES) && AT(State, zombie_count, STATE_ZOMBIE_COUNT) &&
                   AT(State, fault, STATE_FAULT) && AT(State, frames, STATE_FRAMES) &&
                   AT(State, frames_end, STATE_FRAMES_END) && AT(State, records, STATE_RECORDS) &&
                   AT(State, record_count, STATE_RECORD_COUNT) && sizeof(State) == 4 * STATE_WORDS,
               "the state is as the host reads it");
_Static_assert(AT(Table, slots, TABLE_SLOTS) && AT(Table, size, TABLE_SIZE),
               "tables are as the host reads them");

#endif
