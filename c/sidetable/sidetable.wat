;; The side table in WebAssembly's text format. What it does, and why, is told in sidetable.c; the functions
;; here are in the same order. docs/sidetable.md has the interface.
;;
;; Every function has a name, also those that are only exported, because in an object file functions are
;; symbols: without names, `wat2wasm --relocatable` refuses the second one as a duplicate. The linker has its
;; own memory, so the one imported here only makes the text valid.

(module
  (import "env" "__linear_memory" (memory 0))
  (import "env" "malloc" (func $malloc (param i32) (result i32)))
  (import "env" "free" (func $free (param i32)))
  (import "rt" "invoke" (func $invoke (param externref)))
  (import "rt" "out_of_memory" (func $out_of_memory))

  (table $objects 0 externref)

  ;; The address of the first node, 0 for none.
  (global $free_list (mut i32) (i32.const 0))

  ;; Puts a node for a handle in front of a list: the node, or 0 without memory.
  (func $push (param $list i32) (param $handle i32) (result i32)
    (local $node i32)
    (if (local.tee $node (call $malloc (i32.const 8)))
      (then
        (i32.store (local.get $node) (local.get $handle))
        (i32.store offset=4 (local.get $node) (local.get $list))))
    (local.get $node))

  (func $drop (param $list i32)
    (local $next i32)
    (loop $again
      (if (local.get $list)
        (then
          (local.set $next (i32.load offset=4 (local.get $list)))
          (call $free (local.get $list))
          (local.set $list (local.get $next))
          (br $again)))))

  ;; Adds half as many handles again, and one: the first of them, or -1, and nothing has changed.
  (func $expand (result i32)
    (local $size i32) (local $more i32) (local $handle i32) (local $list i32) (local $longer i32)
    (local.set $size (table.size $objects))
    (local.set $more (i32.add (i32.shr_u (local.get $size) (i32.const 1)) (i32.const 1)))
    (local.set $handle (i32.add (local.get $size) (local.get $more)))
    (block $full
      (loop $again
        (local.set $handle (i32.sub (local.get $handle) (i32.const 1)))
        (if (i32.gt_s (local.get $handle) (local.get $size))
          (then
            (local.set $longer (call $push (local.get $list) (local.get $handle)))
            (br_if $full (i32.eqz (local.get $longer)))
            (local.set $list (local.get $longer))
            (br $again))))
      ;; Last, because a table cannot shrink again.
      (br_if $full
        (i32.eq (table.grow $objects (ref.null extern) (local.get $more)) (i32.const -1)))
      (global.set $free_list (local.get $list))
      (return (local.get $size)))
    (call $drop (local.get $list))
    (i32.const -1))

  (func $take_handle (result i32)
    (local $node i32) (local $handle i32)
    (if (i32.eqz (local.tee $node (global.get $free_list)))
      (then (return (call $expand))))
    (local.set $handle (i32.load (local.get $node)))
    (global.set $free_list (i32.load offset=4 (local.get $node)))
    (call $free (local.get $node))
    (local.get $handle))

  ;; Traps unless the address is that of an object.
  (func $check (param $object i32)
    (if (i32.and (local.get $object) (i32.const 15))
      (then (unreachable)))
    (if (i32.ne
          (i32.load offset=4 (local.get $object))
          (i32.xor (local.get $object) (i32.const 0xA9D3517E)))
      (then (unreachable))))

  (func $make_obj (export "make_obj") (result i32)
    (local $object i32)
    (if (i32.eqz (local.tee $object (call $malloc (i32.const 8))))
      (then
        (call $out_of_memory)
        (return (i32.const 0))))
    (i32.store (local.get $object) (i32.const -1))
    (i32.store offset=4 (local.get $object) (i32.xor (local.get $object) (i32.const 0xA9D3517E)))
    (local.get $object))

  (func $free_obj (export "free_obj") (param $object i32)
    (local $handle i32)
    (call $check (local.get $object))
    (if (i32.eq (local.tee $handle (i32.load (local.get $object))) (i32.const -1))
      (then
        (i32.store offset=4 (local.get $object) (i32.const 0))
        (call $free (local.get $object))
        (return)))
    (table.set $objects (local.get $handle) (ref.null extern))
    (i32.store offset=4 (local.get $object) (global.get $free_list))
    (global.set $free_list (local.get $object)))

  (func $attach_callback (export "attach_callback") (param $object i32) (param $callback externref)
    (local $handle i32)
    (call $check (local.get $object))
    (if (i32.eq (local.tee $handle (i32.load (local.get $object))) (i32.const -1))
      (then
        (if (i32.eq (local.tee $handle (call $take_handle)) (i32.const -1))
          (then
            (call $out_of_memory)
            (return)))
        (i32.store (local.get $object) (local.get $handle))))
    (table.set $objects (local.get $handle) (local.get $callback)))

  (func $invoke_callback (export "invoke_callback") (param $object i32)
    (local $handle i32)
    (call $check (local.get $object))
    (if (i32.eq (local.tee $handle (i32.load (local.get $object))) (i32.const -1))
      (then
        (call $invoke (ref.null extern))
        (return)))
    (call $invoke (table.get $objects (local.get $handle)))))
