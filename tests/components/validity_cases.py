"""Components in text form, each with the rule that it breaks, or with none.

Of an invalid one there are some words of our error; the oracle must find it invalid too. Where the two differ
it says so in `REFUSED`.
"""

from __future__ import annotations

from typing import NamedTuple

from hiwire_py.wasm.binary import name, section, vector

__all__ = ["ALIKE", "INVALID", "LIBRARY", "REFUSED", "VALID", "Refusal"]

LIBRARY = """
  (core module $lib
    (memory (export "memory") 1)
    (table (export "table") 1 2 funcref)
    (global (export "global") i32 (i32.const 0))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable)
    (func (export "nothing"))
    (func (export "one") (param i32))
    (func (export "get") (result i32) unreachable)
    (func (export "map") (param i32) (result i32) unreachable)
    (func (export "two") (param i32 i32))
    (func (export "three") (param i32 i32 i32) (result i32) unreachable)
    (func (export "both") (param i32 i32) (result i32) unreachable)
    (func (export "joined") (param i32 i64))
    (func (export "wide") (param i64) (result f64) unreachable))
  (core instance $l (instantiate $lib))
  (alias core export $l "memory" (core memory $memory))
  (alias core export $l "realloc" (core func $realloc))
  (alias core export $l "nothing" (core func $nothing))
  (alias core export $l "one" (core func $one))
  (alias core export $l "get" (core func $get))
  (alias core export $l "map" (core func $map))
  (alias core export $l "two" (core func $two))
  (alias core export $l "three" (core func $three))
  (alias core export $l "both" (core func $both))
  (alias core export $l "joined" (core func $joined))
  (alias core export $l "wide" (core func $wide))
"""
"""Core functions of several types, a memory, a table and a global, to be put into a component."""

_FLAGS_33 = " ".join(f'"f{i}"' for i in range(33))
_MANY = " ".join(f'(param "p{i}" u32)' for i in range(17))


def _nested(count: int) -> str:
    types = ["(type $t0 (list u8))", *(f"(type $t{i} (list $t{i - 1}))" for i in range(1, count))]
    return "".join(types)


def _doubled(count: int) -> str:
    types = [
        "(type $t0 (tuple u8 u8))",
        *(f"(type $t{i} (tuple $t{i - 1} $t{i - 1}))" for i in range(1, count)),
    ]
    return "".join(types)


VALID: dict[str, str] = {
    "nothing": "",
    "all value types": """
        (type $rec (record (field "a" u8) (field "b-C" string)))
        (type (variant (case "a") (case "b" u8)))
        (type (list u8)) (type (list u8 4)) (type (tuple u8 char)) (type (flags "a" "b")) (type (enum "x"))
        (type (option $rec)) (type (result)) (type (result u8)) (type (result (error u8)))
        (type (result bool (error string))) (type (map string f32)) (type u64)""",
    "records are named by imports": """
        (type $r (record (field "a" u8))) (import "r" (type $s (eq $r)))
        (import "f" (func $f (param "x" (list $s)) (result (option $s)))) (export "f" (func $f))
        (export $t "t" (type $s)) (export "g" (func $f) (func (param "x" (list $t)) (result (option $t))))""",
    "lifted functions": f"""{LIBRARY}
        (func $a (param "x" string) (result string) (canon lift (core func $both)
          (memory $memory) (realloc $realloc) string-encoding=utf16 (post-return $one)))
        (func $b (param "x" (tuple u32 u32)) (canon lift (core func $two)))
        (func $c {_MANY} (canon lift (core func $one) (memory $memory) (realloc $realloc)))
        (func $d (result (list u8)) (canon lift (core func $get) (memory $memory)))
        (func $e (param "x" s64) (result f64) (canon lift (core func $wide)))
        (func $f (param "x" (result u64 (error f32)))
          (canon lift (core func $joined)))
        (export "a" (func $a)) (export "b" (func $b)) (export "c" (func $c)) (export "d" (func $d))""",
    "lowered functions": f"""{LIBRARY}
        (import "s" (func $s (param "x" string) (result (list string))))
        (import "n" (func $n (param "x" u64) (result f64)))
        (import "m" (func $m {_MANY}))
        (core func $cs (canon lower (func $s) (memory $memory) (realloc $realloc)))
        (core func $cn (canon lower (func $n)))
        (core func $cm (canon lower (func $m) (memory $memory)))
        (core module $user
          (import "e" "s" (func (param i32 i32 i32))) (import "e" "n" (func (param i64) (result f64)))
          (import "e" "m" (func (param i32))) (import "l" "table" (table 1 funcref))
          (import "l" "memory" (memory 1)) (import "l" "global" (global i32)))
        (core instance (instantiate $user (with "l" (instance $l)) (with "e" (instance
          (export "s" (func $cs)) (export "n" (func $cn)) (export "m" (func $cm))))))""",
    "a resource with its functions": f"""{LIBRARY}
        (type $r (resource (rep i32) (dtor (core func $one))))
        (core func (canon resource.new $r)) (core func (canon resource.rep $r))
        (core func (canon resource.drop $r))
        (export $e "thing" (type $r))
        (func $make (param "x" u32) (result (own $e)) (canon lift (core func $map)))
        (func $use (param "self" (borrow $e)) (canon lift (core func $one)))
        (func $join (param "a" (own $e)) (param "b" (borrow $e)) (canon lift (core func $two)))
        (export "[constructor]thing" (func $make)) (export "[method]thing.use" (func $use))
        (export "[static]thing.join" (func $join))""",
    "methods of an imported instance": """
        (import "a:b/c@1.2.3" (instance $i
          (export "r" (type $r (sub resource)))
          (export "[constructor]r" (func (param "x" u8) (result (result (own $r) (error string)))))
          (export "[method]r.put" (func (param "self" (borrow $r)) (param "x" string)))
          (export "[static]r.one" (func (result (own $r))))))
        (alias export $i "r" (type $r)) (alias export $i "[static]r.one" (func $f))
        (import "g" (func (param "x" (own $r)))) (export "again" (instance $i)) (export "f" (func $f))""",
    "components in each other": """
        (component $c (import "f" (func $f (param "x" u8))) (export "g" (func $f)))
        (import "h" (func $h (param "x" u8)))
        (instance $i (instantiate $c (with "f" (func $h)) (with "more" (func $h))))
        (alias export $i "g" (func $g)) (export "g" (func $g))
        (component $d (alias outer 1 $c (component $e)) (export "c" (component $e)))
        (instance $j (instantiate $d)) (alias export $j "c" (component $k))
        (instance (instantiate $k (with "f" (func $g))))""",
    "a resource that goes through others": """
        (component $definer (type $r (resource (rep i32))) (export $e "r" (type $r))
          (core module $m (func (export "f") (result i32) unreachable)) (core instance $i (instantiate $m))
          (alias core export $i "f" (core func $c))
          (func $f (result (own $e)) (canon lift (core func $c))) (export "make" (func $f)))
        (component $user (import "i" (instance $i (export "r" (type $r (sub resource)))
            (export "make" (func (result (own $r))))))
          (alias export $i "r" (type $r)) (core func (canon resource.drop $r))
          (export "again" (instance $i)) (alias export $i "make" (func $m))
          (export $s "s" (type $r)) (export "make" (func $m) (func (result (own $s)))))
        (instance $d (instantiate $definer))
        (instance $u (instantiate $user (with "i" (instance $d))))
        (alias export $u "again" (instance $a)) (alias export $d "r" (type $r)) (alias export $u "s" (type $s))
        (component $same (import "x" (type $x (sub resource))) (import "y" (type (eq $x))))
        (instance (instantiate $same (with "x" (type $r)) (with "y" (type $s))))
        (instance (instantiate $user (with "i" (instance $a))))
        (export $out "out" (type $r))""",
    "component and instance types": """
        (import "t" (type $t (sub resource)))
        (type $i (instance (alias outer 1 $t (type $t)) (export "f" (func (param "x" (borrow $t))))
          (export "s" (type (eq $t))) (export "n" (instance (export "r" (type (sub resource)))))))
        (import "i" (instance (type $i))) (import "j" (instance (type $i)))
        (type $c (component (import "r" (type $r (sub resource))) (import "f" (func (param "x" (own $r))))
          (export "p" (type $p (sub resource))) (export "q" (type (eq $p)))
          (export "g" (func (param "x" (own $r)) (result (own $p))))
          (core type $m (module (import "a" "b" (func)) (export "c" (memory 1))))
          (export "m" (core module (type $m)))))
        (import "c" (component $cc (type $c))) (import "f" (func $f (param "x" (own $t))))
        (instance $x (instantiate $cc (with "r" (type $t)) (with "f" (func $f))))
        (alias export $x "m" (core module $m)) (alias export $x "p" (type $p))
        (core module $e (func (export "b"))) (core instance $y (instantiate $e))
        (core instance (instantiate $m (with "a" (instance $y))))
        (export "p" (type $p))""",
    "a component under a type with less": """
        (import "c" (component $c (import "a" (func)) (export "x" (func)) (export "y" (func))))
        (export "d" (component $c) (component (import "a" (func)) (import "b" (func)) (export "x" (func))))""",
    "component types with resources fit": """
        (component $c
          (import "r" (type $r (sub resource))) (import "f" (func $f (param "x" (own $r))))
          (type $s (resource (rep i32))) (export "s" (type $s)) (export "f" (func $f)))
        (export "c" (component $c) (component
          (import "r" (type $r (sub resource))) (import "f" (func (param "x" (own $r))))
          (export "s" (type (sub resource))) (export "f" (func (param "x" (own $r))))))""",
    "core types": """
        (core type $f (func (param i32) (result i64)))
        (core type $m (module (alias outer 1 $f (type $g)) (import "a" "f" (func (type $g)))
          (import "a" "t" (table 1 funcref)) (import "a" "m" (memory 1 2)) (export "g" (global (mut i32)))
          (type $h (func (param externref))) (export "h" (func (type $h)))))
        (import "m" (core module $i (type $m)))
        (core module $a (func (export "f") (param i32) (result i64) unreachable)
          (table (export "t") 2 funcref) (memory (export "m") 1 1))
        (core instance $x (instantiate $a)) (core instance $y (instantiate $i (with "a" (instance $x))))
        (alias core export $y "g" (core global $g)) (core instance (export "g" (global $g)))""",
    "references to types of modules": """
        (core module $a
          (rec (type $s (struct (field (ref null $f)))) (type $f (func (param (ref $s)))))
          (func (export "f") (type $f)) (global (export "g") (ref null $s) (ref.null $s))
          (table (export "t") 1 (ref null $f)))
        (core module $b
          (type $other (func))
          (rec (type $s (struct (field (ref null $f)))) (type $f (func (param (ref $s)))))
          (import "a" "f" (func (type $f))) (import "a" "g" (global (ref null struct)))
          (import "a" "t" (table 1 (ref null $f))))
        (core instance $i (instantiate $a)) (core instance (instantiate $b (with "a" (instance $i))))""",
    "a function of a subtype": """
        (core module $a (type $t (sub (func))) (type $u (sub $t (func))) (func (export "f") (type $u)))
        (core module $b (type $t (sub (func))) (import "a" "f" (func (type $t))))
        (core instance $i (instantiate $a)) (core instance (instantiate $b (with "a" (instance $i))))""",
    "attributes of names": """
        (import "first" (implements "a:b/c") (instance)) (import "second" (implements "a:b/c") (instance))
        (import "a:b/c@0.2" (version-suffix ".6") (instance)) (import "x" (external-id "any") (func))
        (import "third" (implements "a:b/c@1") (version-suffix ".2.3") (instance))""",
    "imports and exports of the same name": """
        (import "a" (func $f)) (export "a" (func $f)) (import "r" (type $r (sub resource)))
        (import "[constructor]r" (func (result (own $r))))""",
    "deep and large types, just within bounds": f"{_nested(99)}",
    "large types, just within bounds": f"{_doubled(18)}",
    "records keep their names through an instance": """
        (type $a (record (field "x" u8))) (import "t" (type $t (eq $a)))
        (component $c (type $a (record (field "x" u8))) (import "t" (type $t (eq $a)))
          (import "f" (func $f (param "x" $t))) (export "g" (func $f)))
        (import "f" (func $f (param "x" $t)))
        (instance $i (instantiate $c (with "t" (type $t)) (with "f" (func $f))))
        (alias export $i "g" (func $g)) (export "g" (func $g))""",
    "instances put together": """
        (import "f" (func $f)) (import "r" (type $r (sub resource)))
        (core module $m) (component $c)
        (instance $i (export "f" (func $f)) (export "r" (type $r)) (export "m" (core module $m))
          (export "c" (component $c)))
        (instance $j (export "i" (instance $i))) (export "j" (instance $j))
        (alias export $i "m" (core module $n)) (core instance (instantiate $n))""",
}

_ITSELF = "its type has a resource, record, variant, enum or flags type in it that no"
_HANDLES = '(import "r" (type $r (sub resource)))'
_C = "(component $c {}) (instance (instantiate $c {}))"

INVALID: list[tuple[str, str]] = [
    # index spaces
    ("(type (list 3))", "there is no type 3: there are 0 so far"),
    ('(export "a" (func 0))', "there is no func 0"),
    ("(instance (instantiate 0))", "there is no component 0"),
    ("(core instance (instantiate 0))", "there is no core module 0"),
    ("(core func (canon lower (func 0)))", "there is no func 0"),
    ("(type $f (func)) (func (type $f) (canon lift (core func 0)))", "there is no core func 0"),
    ('(alias export 0 "a" (func))', "there is no instance 0"),
    ('(alias core export 0 "a" (core func))', "there is no core instance 0"),
    ('(import "i" (instance $i)) (alias export $i "a" (func))', "instance 0 has no func 'a'"),
    ('(import "i" (instance $i (export "a" (func)))) (alias export $i "a" (type))', "instance 0 has no type"),
    ("(core module $m) (core instance $i (instantiate $m)) (alias core export $i \"a\" (core func))",
     "core instance 0 has no core func 'a'"),
    ('(core module $m (func (export "a"))) (core instance $i (instantiate $m))'
     ' (alias core export $i "a" (core memory))', "core instance 0 has no core memory 'a'"),
    ("(alias outer 5 0 (type))", "an alias goes 5 scopes out"),
    ("(alias outer 0 0 (type))", "there is no type 0"),
    # types
    ("(type $f (func)) (type (list $f))", "type 0 is no value type"),
    (f"{_HANDLES} (type (list $r))", "type 0 is no value type"),
    ("(type $l (list u8)) (type (own $l))", "type 0, to which the handle is, is no resource type"),
    ("(type $l (list u8)) (type (borrow $l))", "is no resource type"),
    (f"{_HANDLES} (type (func (result (borrow $r))))", "a borrow in the result"),
    (f"{_HANDLES} (type (func (result (list (option (borrow $r))))))", "a borrow in the result"),
    ("(type (record))", "the record type is empty"), ("(type (variant))", "the variant type is empty"),
    ("(type (flags))", "the flags type is empty"), ("(type (enum))", "the enum type is empty"),
    ("(type (tuple))", "the tuple type is empty"),
    (f"(type (flags {_FLAGS_33}))", "the flags type has 33 parts: more than 32"),
    ('(type (record (field "a" u8) (field "A" u8)))', "the field 'A' conflicts with 'a'"),
    ('(type (record (field "a_b" u8)))', "the field 'a_b' is not in kebab case"),
    ('(type (variant (case "a") (case "a")))', "the case 'a' conflicts with 'a'"),
    ('(type (flags "a" "a"))', "the flag 'a' conflicts"), ('(type (enum "1"))', "the case '1' is not in kebab"),
    ('(type (func (param "a" u8) (param "A" u8)))', "the parameter 'A' conflicts"),
    ('(type (func (param "aB" u8)))', "the parameter 'aB' is not in kebab case"),
    ("(type (list u8 0))", "a list of fixed length is empty"),
    ("(type (list u8 268435456))", "a value of the type takes 268435456 bytes"),
    ("(type $a (list u64 65536)) (type (list $a 65536))", "a value of the type takes"),
    ("(type (map f32 u8))", "f32 cannot be the key of a map"),
    ("(type $t (list u8)) (type (map $t u8))", "list cannot be the key of a map"),
    ("(type (resource (rep f32)))", "the representation of a resource type is not i32"),
    (f"{LIBRARY} (type (resource (rep i32) (dtor (core func $two))))", "the destructor is not of type"),
    ("(type (component (type (resource (rep i32)))))", "a resource type is defined within a type"),
    ("(type (instance (type (resource (rep i32)))))", "a resource type is defined within a type"),
    (_nested(100), "types are nested in each other more than 100 deep"),
    (_doubled(20), "the type is too large"),
    # aliases
    ('(type $r (resource (rep i32))) (component (alias outer 1 $r (type)))',
     "the type outside has a resource type in it"),
    (f"{_HANDLES} (type $l (list (own $r))) (component (alias outer 1 $l (type)))", "has a resource type in it"),
    (f"{_HANDLES} (component (type (instance (alias outer 2 $r (type)))))", "has a resource type in it"),
    ("(component $c) (type (instance (alias outer 1 $c (component))))",
     "an alias of what is outside cannot be a component here"),
    ('(type (component (import "i" (instance $i (export "f" (func)))) (alias export $i "f" (func))))',
     "an alias of a func stands within a type"),
    # core modules and instances
    ("(core module (func (result i32)))", "the core module is invalid"),
    ('(core module (import "a" "b" (func)) (import "a" "b" (func)))', "two imports 'a' 'b'"),
    ('(core module $m (import "a" "b" (func))) (core instance (instantiate $m))',
     "imports from 'a', for which there is no argument"),
    ('(core module $m (import "a" "b" (func))) (core instance $i)'
     ' (core instance (instantiate $m (with "a" (instance $i))))', "'a' has no export 'b'"),
    (f'{LIBRARY} (core module $m (import "a" "map" (func)))'
     ' (core instance (instantiate $m (with "a" (instance $l))))', "its type (i32) -> (i32) is not () -> ()"),
    (f'{LIBRARY} (core module $m (import "a" "memory" (func)))'
     ' (core instance (instantiate $m (with "a" (instance $l))))', "it is a memory, not a function"),
    (f'{LIBRARY} (core module $m (import "a" "memory" (memory 2)))'
     ' (core instance (instantiate $m (with "a" (instance $l))))', "its size is 1: at least 2"),
    (f'{LIBRARY} (core module $m (import "a" "memory" (memory 1 2)))'
     ' (core instance (instantiate $m (with "a" (instance $l))))', "it may grow beyond 2"),
    (f'{LIBRARY} (core module $m (import "a" "memory" (memory i64 1)))'
     ' (core instance (instantiate $m (with "a" (instance $l))))', "addresses of 64 bits, the other not"),
    (f'{LIBRARY} (core module $m (import "a" "table" (table 1 externref)))'
     ' (core instance (instantiate $m (with "a" (instance $l))))', "its elements are of another type"),
    (f'{LIBRARY} (core module $m (import "a" "global" (global (mut i32))))'
     ' (core instance (instantiate $m (with "a" (instance $l))))', "one of the globals is mutable"),
    (f'{LIBRARY} (core module $m (import "a" "global" (global i64)))'
     ' (core instance (instantiate $m (with "a" (instance $l))))', "the global is of another type"),
    ('(core module $a (tag (export "t") (param i32))) (core instance $i (instantiate $a))'
     ' (core module $m (import "a" "t" (tag))) (core instance (instantiate $m (with "a" (instance $i))))',
     "the tag is of another type"),
    ('(core module $m) (core instance $i)'
     ' (core instance (instantiate $m (with "a" (instance $i)) (with "a" (instance $i))))',
     "two arguments are called 'a'"),
    (f'{LIBRARY} (core instance (export "a" (func $one)) (export "a" (func $one)))', "two exports are called 'a'"),
    ('(core module $a (type $s (struct (field i32))) (global (export "g") (ref null $s) (ref.null $s)))'
     ' (core module $b (type $s (struct (field i64))) (import "a" "g" (global (ref null $s))))'
     ' (core instance $i (instantiate $a)) (core instance (instantiate $b (with "a" (instance $i))))',
     "the global is of another type"),
    # types of core modules
    ('(core type (module (import "a" "b" (func)) (import "a" "b" (func))))', "has two imports 'a' 'b'"),
    ('(core type (module (export "a" (func)) (export "a" (func))))', "has two exports 'a'"),
    ('(core type (module (export "a" (func (type 0)))))', "the type 0 of a function is no function type"),
    ('(core type $m (module)) (core type (module (alias outer 1 $m (type))))', "has an alias of a module type"),
    ('(core type (module (export "a" (memory 2 1))))', "the minimum of a memory is above its maximum"),
    ('(core type (module (export "a" (memory 65537))))', "a memory is larger than one may be"),
    ('(core type (module (type $t (func (result i32))) (export "a" (tag (type $t)))))', "the type of a tag has results"),
    ('(core type $f (func)) (import "m" (core module (type $f)))', "core type 0 is not that of a module"),
    ('(core module $m (import "a" "b" (func))) (export "m" (core module $m) (core module))',
     "the module imports 'a' 'b', which its type does not have"),
    ('(core module $m) (export "m" (core module $m) (core module (export "a" (func))))',
     "the module has no export 'a'"),
    ('(core module $m (func (export "a"))) (export "m" (core module $m) (core module (export "a" (memory 1))))',
     "the module's export 'a' does not fit: it is a function, not a memory"),
    # instances
    (_C.format('(import "f" (func))', ""), "the argument 'f' is missing"),
    ('(import "g" (func $g (param "x" u8))) ' + _C.format('(import "f" (func))', '(with "f" (func $g))'),
     "the argument 'f' does not fit: the function has 1 parameters, not 0"),
    ('(import "g" (func $g (param "x" u8))) '
     + _C.format('(import "f" (func (param "y" u8)))', '(with "f" (func $g))'),
     "a parameter is called 'x', not 'y'"),
    ('(import "g" (func $g (param "x" u8))) '
     + _C.format('(import "f" (func (param "x" (list u8))))', '(with "f" (func $g))'),
     "the parameter 'x' is of another type: u8, not list"),
    ('(import "g" (func $g (result u8))) ' + _C.format('(import "f" (func))', '(with "f" (func $g))'),
     "one of the functions has a result"),
    ('(import "g" (instance $g)) ' + _C.format('(import "f" (func))', '(with "f" (instance $g))'),
     "it is an instance, not a func"),
    ('(import "g" (instance $g)) '
     + _C.format('(import "i" (instance (export "f" (func))))', '(with "i" (instance $g))'),
     "the instance has no export 'f'"),
    ('(import "g" (func $g)) ' + _C.format("", '(with "a" (func $g)) (with "a" (func $g))'),
     "two arguments are called 'a'"),
    ('(instance (export "a" (func 7)))', "there is no func 7"),
    (f'{_HANDLES} (import "s" (type $s (sub resource))) '
     + _C.format('(import "x" (type $x (sub resource))) (import "y" (type (eq $x)))',
                 '(with "x" (type $r)) (with "y" (type $s))'), "the resource types are not the same"),
    (f'{_HANDLES} (import "s" (type $s (sub resource))) (import "g" (func $g (param "x" (own $s)))) '
     + _C.format('(import "x" (type $x (sub resource))) (import "f" (func (param "x" (own $x))))',
                 '(with "x" (type $r)) (with "f" (func $g))'), "handles to different resource types"),
    ('(component $c (type $r (resource (rep i32))) (export "r" (type $r)))'
     ' (instance $i (instantiate $c)) (instance $j (instantiate $c))'
     ' (alias export $i "r" (type $a)) (alias export $j "r" (type $b))'
     ' (component $d (import "x" (type $x (sub resource))) (import "y" (type (eq $x))))'
     ' (instance (instantiate $d (with "x" (type $a)) (with "y" (type $b))))',
     "the resource types are not the same"),
    ('(import "c" (component $c (import "a" (func)))) (export "d" (component $c) (component))',
     "the import 'a' is missing"),
    ('(import "c" (component $c)) (export "d" (component $c) (component (export "a" (func))))',
     "the export 'a' is missing"),
    ('(import "f" (func $f)) (instance (export "a" (func $f)) (export "A" (func $f)))',
     "conflicts with that of the export 'a'"),
    ('(import "f" (func $f)) (export "f" (func $f) (func (param "x" u8)))', "is not of the type that is given"),
    ('(type $t (record (field "a" u8))) (type $u (record (field "b" u8))) (export "t" (type $t) (type (eq $u)))',
     "the labels of the record are a, not b"),
    # what must have a name
    ('(type $r (record (field "a" u8))) (import "f" (func (param "x" $r)))', _ITSELF + " import before it"),
    ('(type $r (enum "a")) (import "f" (func (result (list $r))))', _ITSELF),
    ('(type $r (flags "a")) (type $s (record (field "b" $r))) (import "s" (type (eq $s)))', _ITSELF),
    (f'{LIBRARY} (type $r (resource (rep i32))) (func $f (result (own $r)) (canon lift (core func $get)))'
     ' (export "f" (func $f))', _ITSELF + " import or export before it"),
    (f'{LIBRARY} (type $r (resource (rep i32))) (func $f (result (own $r)) (canon lift (core func $get)))'
     ' (export "r" (type $r)) (export "f" (func $f))', _ITSELF),
    ('(type $r (resource (rep i32))) (export $e "r" (type $r)) (import "f" (func (result (own $e))))', _ITSELF),
    ('(type $r (resource (rep i32))) (import "s" (type (eq $r)))',
     "an import has a resource type in it that is defined here"),
    (f'{LIBRARY} (component $c (type $r (resource (rep i32))) (export $e "r" (type $r)))'
     ' (instance $i (instantiate $c)) (alias export $i "r" (type $r))'
     ' (func $f (result (own $r)) (canon lift (core func $get))) (export "f" (func $f))', _ITSELF),
    ('(type (component (type $r (record (field "a" u8))) (export "f" (func (result $r)))))', _ITSELF),
    # names
    ('(import "" (func))', "'' is neither a plain name"), ('(import "aB" (func))', "neither a plain name"),
    ('(import "a-" (func))', "neither a plain name"), ('(import "a:B/c" (func))', "neither a plain name"),
    ('(import "a:b/c/d" (instance))', "neither a plain name"), ('(import "a:b" (instance))', "neither"),
    ('(import "a:b/c@1.2" (instance))', "'1.2' is not a semantic version"),
    ('(import "a:b/c@1.02.3" (instance))', "is not a semantic version"),
    ('(import "a:b/c@1.2.3-01" (instance))', "is not a semantic version"),
    ('(import "a:b/c@18446744073709551616.0.0" (instance))', "is not a semantic version"),
    ('(import "[other]a" (func))', "neither a plain name"),
    ('(import "f" (func $f)) (export "a b" (func $f))', "neither a plain name"),
    ('(import "a" (func)) (import "A" (func))', "the name conflicts with that of the import 'a'"),
    ('(import "a:b/c" (func)) (import "a:b/C" (func))', "the name conflicts with that of the import 'a:b/c'"),
    ('(type (instance (export "a" (func)) (export "a" (func))))', "conflicts with that of the export 'a'"),
    (f'{_HANDLES} (import "[static]r.r" (func))', "conflicts with that of the import 'r'"),
    (f'{_HANDLES} (import "[static]r.a" (func)) (import "[method]r.a" (func (param "self" (borrow $r))))',
     "conflicts with that of the import '[static]r.a'"),
    ('(import "[constructor]a" (func))', "a constructor returns neither an own handle"),
    (f'{_HANDLES} (import "[constructor]r" (func (result (borrow $r))))', "a borrow in the result"),
    (f'{_HANDLES} (import "[constructor]r" (func (result (list (own $r)))))', "a constructor returns neither"),
    (f'{_HANDLES} (import "[constructor]s" (func (result (own $r))))', "belongs to the resource 'r', not 's'"),
    (f'{_HANDLES} (import "[constructor]r" (instance))', "only a function can be called '[constructor]r'"),
    (f'{_HANDLES} (import "[method]r.a" (func))', "a method has no parameter"),
    (f'{_HANDLES} (import "[method]r.a" (func (param "this" (borrow $r))))', "is called 'this', not 'self'"),
    (f'{_HANDLES} (import "[method]r.a" (func (param "self" (own $r))))', "of a method is no borrow"),
    ('(import "[static]r.a" (func))', "'r' is no resource that was named before"),
    (f'{_HANDLES} (import "f" (func $f (param "self" (borrow $r)))) (export "[method]r.a" (func $f))',
     "the resource that the function belongs to was not named before"),
    ('(import "a" (implements "a:b/c") (func))', "only an instance can implement an interface"),
    ('(import "a:b/d" (implements "a:b/c") (instance))', "is no label, and cannot say what it implements"),
    ('(import "a" (implements "b") (instance))', "'b', is no name of an interface"),
    ('(import "a" (version-suffix ".1") (instance))', "is not that of an interface"),
    ('(import "a:b/c@1" (version-suffix "") (instance))', "a version suffix is empty"),
    ('(import "a:b/c@1" (version-suffix ".1.1") (func))', "only an instance can have a version suffix"),
    ('(import "a:b/c@1.2" (version-suffix ".1") (instance))', "the canonical version of '1.2.1': that is '1'"),
    ('(import "a:b/c" (version-suffix ".1") (instance))', "which has no version"),
    # canonical definitions
    (f'{LIBRARY} (type $t (list u8)) (func (type $t) (canon lift (core func $one)))', "type 0 is no function type"),
    (f"{LIBRARY} (func (canon lift (core func $one)))", "has the type (i32) -> (): for this function it must be () -> ()"),
    (f'{LIBRARY} (func (param "x" u64) (canon lift (core func $one)))', "must be (i64) -> ()"),
    (f'{LIBRARY} (func (result string) (canon lift (core func $get)))', "the function needs a memory"),
    (f'{LIBRARY} (func (param "x" string) (canon lift (core func $two) (memory $memory)))', "the function needs realloc"),
    (f"{LIBRARY} (func {_MANY} (canon lift (core func $one) (memory $memory)))", "the function needs realloc"),
    (f'{LIBRARY} (func (param "x" string) (canon lift (core func $two) (realloc $realloc)))',
     "realloc is there without a memory"),
    (f'{LIBRARY} (func (param "x" string) (canon lift (core func $two) (memory $memory) (realloc $map)))',
     "realloc is not of type"),
    (f"{LIBRARY} (func (result u32) (canon lift (core func $get) (post-return $nothing)))",
     "post-return does not take the results"),
    ('(core module $m (memory (export "m") i64 1)) (core instance $i (instantiate $m))'
     ' (import "f" (func $f (param "x" string))) (alias core export $i "m" (core memory $x))'
     ' (core func (canon lower (func $f) (memory $x)))', "the memory has addresses of 64 bits"),
    ('(import "f" (func $f (param "x" string))) (core func (canon lower (func $f)))', "needs a memory"),
    (f'{LIBRARY} (import "f" (func $f (result string))) (core func (canon lower (func $f) (memory $memory)))',
     "needs realloc"),
    ('(import "f" (func $f (result (tuple u8 u8)))) (core func (canon lower (func $f)))', "needs a memory"),
    (f'(import "f" (func $f {_MANY})) (core func (canon lower (func $f)))', "needs a memory"),
    (f'{LIBRARY} (import "f" (func $f)) (core func (canon lower (func $f) (post-return $nothing)))',
     "post-return is no option of a function that is lowered"),
    (f"{_HANDLES} (core func (canon resource.new $r))", "resource.new is for resource types that are defined"),
    (f"{_HANDLES} (core func (canon resource.rep $r))", "resource.rep is for resource types that are defined"),
    ("(type $t (list u8)) (core func (canon resource.drop $t))", "type 0 is no resource type"),
    # sorts
    ('(type $t (func)) (import "i" (instance (type $t)))', "type 0 is not that of an instance"),
    ('(type $t (instance)) (import "f" (func (type $t)))', "type 0 is not that of a func"),
]  # fmt: skip


class Refusal(NamedTuple):
    """What hiwire_py refuses, and the oracle takes, with the features that both have.

    Attributes:
        what: what it is, and why it is refused.
        words: a pattern for our error.
        wasm: a component that is so.
    """

    what: str
    words: str
    wasm: bytes


_START = b"\0asm\x0d\0\1\0"
_COLLECTED = "a core type of the garbage collection proposal is not supported"


def _core_type(type_: bytes) -> bytes:
    return _START + section(3, vector([type_]))


def _large_instances() -> bytes:
    """Instances of a type with 700 resource types, each of which has resource types of its own."""
    exports = [b"\4\0" + name(f"e{i}") + b"\3\1" for i in range(700)]
    imports = [b"\0" + name(f"i{i}") + b"\5\0" for i in range(150)]
    return _START + section(7, vector([b"\x42" + vector(exports)])) + section(10, vector(imports))


def _in_each_other(depth: int) -> bytes:
    found = _START
    for _ in range(depth):
        found = _START + section(4, found)
    return found


REFUSED = [
    Refusal("a structure as a core type: no canonical function has one", _COLLECTED, _core_type(b"\x5f\0")),
    Refusal("an array as a core type", _COLLECTED, _core_type(b"\x5e\x7f\0")),
    Refusal("a function type that may have subtypes", _COLLECTED, _core_type(b"\0\x50\0\x60\0\0")),
    Refusal("core types that may refer to each other", _COLLECTED, _core_type(b"\x4e\1\x60\0\0")),
    Refusal(
        "components in each other more than 100 deep: the bound protects Python's stack",
        "components are nested in each other more than 100 deep",
        _in_each_other(101),
    ),
    Refusal(
        "instances that have more than 200,000 exports in all: the bound protects time, as few bytes make them",
        "the types of all instances, written out, have more than 200000 parts",
        _large_instances(),
    ),
]
"""All differences. What is asynchronous, values as definitions and error contexts the oracle does not take
either, with `random_components.FEATURES`."""

ALIKE = {
    "a resource type that an export hides": """
        (type $r (resource (rep i32))) (export "r" (type $r)) (export "s" (type $r) (type (sub resource)))""",
    "a canonical version without the suffix": '(import "a:b/c@1" (instance))',
}
"""What the specification takes, and neither the oracle nor hiwire_py do."""
