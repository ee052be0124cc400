/* Asks another component, whose memory it cannot see. */
#include "guest.h"

IMPORT("demo:voices/voices", "shout") void shout(const char *words, uint32_t size, text *answer);
IMPORT("demo:voices/voices", "longest") void longest(const text *all, uint32_t count, text *answer);
IMPORT("demo:voices/voices", "hear") uint32_t hear(const char *words, uint32_t size);

static text answer;

EXPORT("ask")
text *ask(const char *words, uint32_t size)
{
    text heard;
    shout(words, size, &heard);
    answer = (text){take(heard.size + 2), heard.size + 2};
    answer.data[0] = '<';
    copy(answer.data + 1, heard.data, heard.size);
    answer.data[heard.size + 1] = '>';
    return &answer;
}

EXPORT("cabi_post_ask")
void ask_done(text *given)
{
    (void)given;
    used = 0;
}

/* All beginnings of the words, up to so many. */
EXPORT("longest")
text *ask_longest(const char *words, uint32_t size, uint32_t parts)
{
    text *all = (text *)(void *)take(parts * sizeof *all);
    for (uint32_t i = 0; i < parts; i++) {
        all[i] = (text){(char *)words, i < size ? i : size};
    }
    longest(all, parts, &answer);
    return &answer;
}

EXPORT("cabi_post_longest")
void longest_done(text *given)
{
    (void)given;
    used = 0;
}

EXPORT("hear")
uint32_t ask_hear(const char *words, uint32_t size, uint32_t times)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < times; i++) {
        sum += hear(words, size);
    }
    used = 0;
    return sum;
}
