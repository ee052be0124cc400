/* The four table instructions, for the one table of the file that says EXTERNREF_TABLE(name).
 *
 * Clang has builtins for them, but only for a static array in the same file, and not dependably under -fPIC,
 * where older versions ask for the address of the table and fail. There the instructions are written as
 * assembly at file scope, which no relocation model changes: the same sources and the same command line then
 * serve both, at the price of one call per access that the builtins do not have.
 */
#ifndef HIWIRE_TABLE_H
#define HIWIRE_TABLE_H

#include "hiwire.h"

#define TABLE_GROW_FAILED (-1)

#ifndef __PIC__

#define EXTERNREF_TABLE(table)                                                              \
    static __externref_t table[0];                                                          \
    static inline __externref_t table##_get(unsigned index)                                 \
    {                                                                                       \
        return __builtin_wasm_table_get(table, (int)index);                                 \
    }                                                                                       \
    static inline void table##_set(unsigned index, __externref_t value)                     \
    {                                                                                       \
        __builtin_wasm_table_set(table, (int)index, value);                                 \
    }                                                                                       \
    static inline unsigned table##_size(void)                                               \
    {                                                                                       \
        return (unsigned)__builtin_wasm_table_size(table);                                  \
    }                                                                                       \
    static inline int table##_grow(unsigned by)                                             \
    {                                                                                       \
        return __builtin_wasm_table_grow(table, __builtin_wasm_ref_null_extern(), (int)by); \
    }

#else

#define TABLE_FUNCTION(name, type, body)                                                 \
    ".section .text." #name ",\"\",@\n.hidden " #name "\n.globl " #name "\n.type " #name \
    ",@function\n" #name ":\n.functype " #name " " type "\n" body "end_function\n"

#define EXTERNREF_TABLE(table)                                                                               \
    __asm__(".tabletype " #table ", externref\n" #table                                                      \
            ":\n" TABLE_FUNCTION(table##_get, "(i32) -> (externref)", "local.get 0\ntable.get " #table "\n") \
                TABLE_FUNCTION(table##_set, "(i32, externref) -> ()",                                        \
                               "local.get 0\nlocal.get 1\ntable.set " #table "\n")                           \
                    TABLE_FUNCTION(table##_size, "() -> (i32)", "table.size " #table "\n")                   \
                        TABLE_FUNCTION(table##_grow, "(i32) -> (i32)",                                       \
                                       "ref.null_extern\nlocal.get 0\ntable.grow " #table "\n"));            \
    __attribute__((visibility("hidden"))) __externref_t table##_get(unsigned index);                         \
    __attribute__((visibility("hidden"))) void table##_set(unsigned index, __externref_t value);             \
    __attribute__((visibility("hidden"))) unsigned table##_size(void);                                       \
    __attribute__((visibility("hidden"))) int table##_grow(unsigned by);

#endif

#endif
