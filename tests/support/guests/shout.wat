;; A component without instances: the same string several times.
;;
;;     world w { export shout: func(text: string, times: u8) -> list<string>; }
(component
  (core module $text
    (memory (export "memory") 1)
    (global $end (mut i32) (i32.const 4096))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.get $end)
      (global.set $end
        (i32.and (i32.add (i32.add (global.get $end) (local.get 3)) (i32.const 7)) (i32.const -8))))
    (func (export "shout") (param $text i32) (param $size i32) (param $times i32) (result i32)
      (i32.store (i32.const 0) (i32.const 8))
      (i32.store (i32.const 4) (local.get $times))
      (block $done
        (loop $next
          (br_if $done (i32.eqz (local.get $times)))
          (local.set $times (i32.sub (local.get $times) (i32.const 1)))
          (i32.store offset=8 (i32.mul (local.get $times) (i32.const 8)) (local.get $text))
          (i32.store offset=12 (i32.mul (local.get $times) (i32.const 8)) (local.get $size))
          (br $next)))
      (i32.const 0)))
  (core instance $text (instantiate $text))
  (func (export "shout") (param "text" string) (param "times" u8) (result (list string))
    (canon lift (core func $text "shout")
      (memory (core memory $text "memory")) (realloc (core func $text "realloc")))))
