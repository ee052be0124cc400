"""WebAssembly components: typed modules with handle tables between them, on every engine.

definitions     what a component's binary says; decode reads it
validate        all rules for a component, before anything is made of it; scopes has index spaces and what
                must be named, names their grammar, abstract the types of all, cores those of core modules,
                and match compares them
types           types without index spaces; evaluate makes them of definitions
inline          from a component to a plan: what instantiating it comes to; plan has its parts
layout          how values lie in memory, and as which core values they pass
faults          why generated code traps
tables          the handle table of an instance, in WebAssembly
glue            modules of generated functions
translate       values on their way between two memories; strings has three encodings to three
adapters        what is generated for a plan: calls between components, and Python's way in
assemble        the modules of a plan, in order
link            instantiating them in a space
classes         the Python classes of types
abi             values between Python and a memory
handles         resources on Python's side
calls           Python functions for exports and imports
fuse            one core module of a component; fused is how that is named, and loaded
merge           several modules linked to one; skeleton is a component without its code
memory_tables   handle tables in the memory of an instance
component       `Component` and its instances
"""

from __future__ import annotations

from .classes import Err, Ok, Some
from .component import Component, ComponentInstance, InstanceNamespace
from .fuse import fuse
from .handles import HostResource, ResourceHandle

__all__ = [
    "Component",
    "ComponentInstance",
    "Err",
    "HostResource",
    "InstanceNamespace",
    "Ok",
    "ResourceHandle",
    "Some",
    "fuse",
]
