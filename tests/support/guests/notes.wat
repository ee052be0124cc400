;; A component that imports a resource: it makes a note, asks it for its length, and drops it.
;;
;;     interface notes { resource note { constructor(text: string); length: func() -> u32; } }
;;     world w { import notes; export length-of: func(text: string) -> u32; }
(component
  (import "demo:notes/notes@0.1.0" (instance $notes
    (export "note" (type $note (sub resource)))
    (export "[constructor]note" (func (param "text" string) (result (own $note))))
    (export "[method]note.length" (func (param "self" (borrow $note)) (result u32)))))
  (alias export $notes "note" (type $note))
  (core module $store
    (memory (export "memory") 1)
    (global $end (mut i32) (i32.const 1024))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.get $end)
      (global.set $end (i32.add (global.get $end) (local.get 3)))))
  (core instance $store (instantiate $store))
  (core func $make (canon lower (func $notes "[constructor]note") (memory (core memory $store "memory"))))
  (core func $length (canon lower (func $notes "[method]note.length")))
  (core func $drop (canon resource.drop $note))
  (core module $code
    (import "" "make" (func $make (param i32 i32) (result i32)))
    (import "" "length" (func $length (param i32) (result i32)))
    (import "" "drop" (func $drop (param i32)))
    (func (export "length-of") (param $text i32) (param $size i32) (result i32) (local $note i32)
      (local.set $note (call $make (local.get $text) (local.get $size)))
      (call $length (local.get $note))
      (call $drop (local.get $note))))
  (core instance $code (instantiate $code (with "" (instance
    (export "make" (func $make)) (export "length" (func $length)) (export "drop" (func $drop))))))
  (func (export "length-of") (param "text" string) (result u32)
    (canon lift (core func $code "length-of")
      (memory (core memory $store "memory")) (realloc (core func $store "realloc")))))
