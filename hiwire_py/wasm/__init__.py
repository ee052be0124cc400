"""The binary format of WebAssembly: reading and writing modules, and nothing else.

binary    numbers, names, vectors, sections
module    what a module declares
"""
