/* Uses notes that another component makes. */
#include "guest.h"

#define NOTES "demo:notes/notes"

typedef struct {
    uint8_t failed;
    union {
        int32_t note;
        text error;
    };
} joined;

typedef struct {
    uint8_t failed;
    union {
        uint32_t count;
        text error;
    };
} counted;

IMPORT(NOTES, "[constructor]note") int32_t new_note(const char *, uint32_t);
IMPORT(NOTES, "[method]note.write") uint32_t write_note(int32_t, const char *, uint32_t);
IMPORT(NOTES, "[method]note.title") void title_of(int32_t, text *);
IMPORT(NOTES, "[static]note.joined") void join(int32_t, int32_t, joined *);
IMPORT(NOTES, "size") uint32_t size_of_note(int32_t);
IMPORT(NOTES, "scale") double scale(double, int32_t);
IMPORT(NOTES, "[resource-drop]note") void drop(int32_t);

EXPORT("count") counted *count(text *lines, uint32_t n)
{
    static counted out;
    int32_t one = new_note("one", 3), other = new_note("other", 5);
    for (uint32_t i = 0; i < n; i++) {
        write_note(i & 1 ? other : one, lines[i].data, lines[i].size);
    }
    joined both;
    join(one, other, &both);
    if (both.failed) {
        out = (counted){.failed = 1, .error = both.error};
    } else {
        out = (counted){.failed = 0, .count = size_of_note(both.note)};
        drop(both.note);
    }
    used = 0;
    return &out;
}

EXPORT("titles") text *titles(text *names, uint32_t n)
{
    static text all[64], list;
    if (n > 64) {
        __builtin_trap();
    }
    for (uint32_t i = 0; i < n; i++) {
        int32_t made = new_note(names[i].data, names[i].size);
        title_of(made, &all[i]);
        drop(made);
    }
    list = (text){(char *)all, n};
    used = 0;
    return &list;
}

EXPORT("scaled") double scaled(uint32_t rounds)
{
    double sum = 0;
    for (uint32_t i = 0; i < rounds; i++) {
        sum += scale(0.5, (int32_t)i);
    }
    return sum;
}

EXPORT("asked") uint32_t asked(uint32_t rounds)
{
    int32_t made = new_note("asked", 5);
    uint32_t sum = write_note(made, "1234567", 7) - 7;
    for (uint32_t i = 0; i < rounds; i++) {
        sum += size_of_note(made);
    }
    drop(made);
    return sum;
}
