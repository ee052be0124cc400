/* Where the stack of the running thread ends, and how much of it is kept free for what: the one place that says so for
   all engines. stack_guard.c, calls.c and runtime.h include it; stack.py says the same in Python, for
   machines that had no C compiler.

   A stack is shared out by its size, a quarter at most to each:

     high                                                                              low
      | Python, and calls from it ...        | a guest: HW_STACK_GUEST | HW_STACK_HOST |

   A call into a guest begins only where the last two are left, and a host function only where the last one is. */

#ifndef HW_STACK_END_H
#define HW_STACK_END_H

#include <stddef.h>
#include <stdint.h>
#if !defined(_WIN32)
#include <pthread.h>
#endif

/* What Python may need for a host function: a thousand calls in each other of a kilobyte each. */
#define HW_STACK_HOST ((size_t)1 << 20)
/* What wasmtime gives a guest of its own accord. */
#define HW_STACK_GUEST ((size_t)512 << 10)
/* A larger stack is used no further: "unlimited" is not. */
#define HW_STACK_MOST ((size_t)64 << 20)

typedef struct {
    uintptr_t low; /* the lowest address that is used */
    size_t size;   /* from there up to the highest */
    size_t whole;  /* what the system would give */
} hw_stack;

#if defined(_WIN32)
__declspec(dllimport) void __stdcall GetCurrentThreadStackLimits(uintptr_t *low, uintptr_t *high);
#endif

static inline hw_stack hw_find_stack(void)
{
    char local;
    uintptr_t here = (uintptr_t)&local;
    hw_stack stack = {0, 0, 0};
#if defined(_WIN32)
    uintptr_t high = 0;
    GetCurrentThreadStackLimits(&stack.low, &high);
    stack.size = high - stack.low;
#elif defined(__APPLE__)
    stack.size = pthread_get_stacksize_np(pthread_self());
    stack.low = (uintptr_t)pthread_get_stackaddr_np(pthread_self()) - stack.size;
#else
    pthread_attr_t attributes;
    void *address = NULL;
    if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
        if (pthread_attr_getstack(&attributes, &address, &stack.size) == 0)
            stack.low = (uintptr_t)address;
        pthread_attr_destroy(&attributes);
    }
#endif
    if (here <= stack.low || here - stack.low > stack.size) { /* a stack of another kind: take what is always there */
        stack.size = (size_t)64 << 10;
        stack.low = here - stack.size;
    }
    stack.whole = stack.size;
    if (stack.size > HW_STACK_MOST) {
        stack.low += stack.size - HW_STACK_MOST;
        stack.size = HW_STACK_MOST;
    }
    return stack;
}

/* How much of a stack is for what takes `most` of a large one. */
static inline size_t hw_stack_share(hw_stack stack, size_t most)
{
    return stack.size / 4 < most ? stack.size / 4 : most;
}

/* Below this address no host function begins. */
static inline uintptr_t hw_stack_host_end(hw_stack stack) { return stack.low + hw_stack_share(stack, HW_STACK_HOST); }

/* Below this address no call of a guest begins. */
static inline uintptr_t hw_stack_guest_end(hw_stack stack)
{
    return hw_stack_host_end(stack) + hw_stack_share(stack, HW_STACK_GUEST);
}

#endif
