"""The binary format of WebAssembly: reading and writing modules, and nothing else.

binary         numbers, names, vectors, sections
types          types of values, functions, tables, memories, globals and tags
module         what a module declares
instructions   all instructions: operands, results, immediates
opcodes        names for some of them
code           walking code, and writing single instructions anew
names          the section of names
write          writing modules: with a few sections changed, or all of it
"""
