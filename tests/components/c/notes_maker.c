/* Makes notes: the representation of a note is its address. */
#include "guest.h"

#define NOTES "demo:notes/notes"
#define P NOTES "#"

typedef struct {
    text title;
    uint32_t lines;
} note;

typedef struct {
    uint8_t failed;
    union {
        int32_t note;
        text error;
    };
} joined;

IMPORT("[export]" NOTES, "[resource-new]note") int32_t handle_of(note *);
IMPORT("[export]" NOTES, "[resource-rep]note") note *behind(int32_t);
IMPORT("[export]" NOTES, "[resource-drop]note") void drop(int32_t);

EXPORT(P "[constructor]note") int32_t make(char *title, uint32_t size)
{
    note *made = take(sizeof *made);
    made->title = (text){title, size};
    made->lines = 0;
    return handle_of(made);
}

EXPORT(P "[method]note.write") uint32_t write(note *at, char *line, uint32_t size)
{
    (void)line;
    at->lines += size;
    return at->lines;
}

EXPORT(P "[method]note.title") text *title(note *of)
{
    static text out;
    out = of->title;
    return &out;
}

EXPORT("cabi_post_" P "[method]note.title") void title_read(text *out)
{
    out->data = NULL;
}

EXPORT(P "[static]note.joined") joined *join(int32_t first, int32_t second)
{
    static joined out;
    note *one = behind(first), *other = behind(second);
    if (other->lines == 0) {
        static char words[] = "nothing to join";
        drop(first);
        drop(second);
        out = (joined){.failed = 1, .error = {words, sizeof words - 1}};
        return &out;
    }
    one->lines += other->lines;
    drop(second);
    out = (joined){.failed = 0, .note = first};
    return &out;
}

EXPORT(P "size") uint32_t size(note *of)
{
    return of->lines;
}

EXPORT(P "scale") double scale(double number, int32_t by)
{
    return number * by;
}

EXPORT(P "[dtor]note") void destroyed(note *dead)
{
    dead->lines = 0xdead;
}
