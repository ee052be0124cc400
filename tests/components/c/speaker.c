/* Says what it is given in another way. */
#include "guest.h"

#define VOICES "demo:voices/voices#"

static text answer;

EXPORT(VOICES "shout")
text *shout(const char *words, uint32_t size)
{
    answer = (text){take(size + 1), size + 1};
    for (uint32_t i = 0; i < size; i++) {
        answer.data[i] = words[i] >= 'a' && words[i] <= 'z' ? words[i] - 32 : words[i];
    }
    answer.data[size] = '!';
    return &answer;
}

EXPORT(VOICES "longest")
text *longest(const text *all, uint32_t count)
{
    answer = (text){NULL, 0};
    for (uint32_t i = 0; i < count; i++) {
        answer = all[i].size > answer.size ? all[i] : answer;
    }
    return &answer;
}

/* A checksum, so that it is known that all has come. */
EXPORT(VOICES "hear")
uint32_t hear(const char *words, uint32_t size)
{
    uint32_t sum = size ? (uint8_t)words[0] + (uint8_t)words[size - 1] : 0;
    used = 0;
    return sum + size;
}

EXPORT("cabi_post_" VOICES "shout")
void shout_done(text *given)
{
    (void)given;
    used = 0;
}

EXPORT("cabi_post_" VOICES "longest")
void longest_done(text *given)
{
    (void)given;
    used = 0;
}
