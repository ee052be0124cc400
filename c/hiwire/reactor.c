/* The entry of a module without a main program, for targets whose C library brings none. Weak, so that the
 * one of wasi-libc or Emscripten wins where there is one. hiwire itself needs no constructors: its tables
 * grow at first use. */
#if !defined(__EMSCRIPTEN__)

#include <stdbool.h>

void __wasm_call_ctors(void);
void _initialize(void);

/* Hosts call it once after instantiation. A second call does nothing rather than run the constructors again.
 */
__attribute__((weak)) void _initialize(void)
{
    static bool done;
    if (!done) {
        done = true;
        __wasm_call_ctors();
    }
}

#endif
