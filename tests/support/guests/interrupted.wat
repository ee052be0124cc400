;; Long calls that signal handlers come in at: with numbers only, passing objects, and storing them.
(module
  (import "env" "same" (func $same (param externref) (result externref)))
  (import "env" "next" (func $next (param i32) (result i32)))
  (table $t 16 externref)
  (func (export "numbers") (param i32)
    (loop (br_if 0 (local.tee 0 (call $next (local.get 0))))))
  (func (export "pass") (param externref i32)
    (loop
      (drop (call $same (local.get 0)))
      (br_if 0 (local.tee 1 (i32.sub (local.get 1) (i32.const 1))))))
  (func (export "store") (param externref i32)
    (loop
      (table.set $t (i32.and (local.get 1) (i32.const 15)) (call $same (local.get 0)))
      (br_if 0 (local.tee 1 (i32.sub (local.get 1) (i32.const 1))))))
  (func (export "forget") (table.fill $t (i32.const 0) (ref.null extern) (i32.const 16))))
