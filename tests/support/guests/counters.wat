;; A component with a resource. As WIT:
;;
;;     interface counters {
;;         resource counter {
;;             constructor(start: u32);
;;             add: func(by: u32) -> u32;
;;             merge: static func(a: counter, b: counter) -> result<counter, string>;
;;         }
;;         record stats { live: u32, last: option<u32> }
;;         get-stats: func() -> stats;
;;         highest: func(of: list<borrow<counter>>) -> u32;
;;     }
;;     world w { export counters; }
;;
;; A counter's representation is the address of its number. Counters beyond 1,000,000 cannot be merged.
(component
  (component $counters
    (core module $store
      (memory (export "memory") 1)
      (global (export "live") (mut i32) (i32.const 0))
      (global (export "end") (mut i32) (i32.const 1024))
      (func (export "dtor") (param i32)
        (global.set 0 (i32.sub (global.get 0) (i32.const 1)))))
    (core instance $store (instantiate $store))
    (type $counter' (resource (rep i32) (dtor (core func $store "dtor"))))
    (core func $new (canon resource.new $counter'))
    (core func $rep (canon resource.rep $counter'))
    (core func $drop (canon resource.drop $counter'))
    (core module $code
      (import "" "new" (func $new (param i32) (result i32)))
      (import "" "rep" (func $rep (param i32) (result i32)))
      (import "" "drop" (func $drop (param i32)))
      (import "store" "memory" (memory 1))
      (import "store" "live" (global $live (mut i32)))
      (import "store" "end" (global $end (mut i32)))
      (global $last (mut i32) (i32.const 0))
      (data (i32.const 16) "too many")
      (func $take (export "realloc") (param i32 i32 i32 i32) (result i32)
        (global.get $end)
        (global.set $end
          (i32.and (i32.add (i32.add (global.get $end) (local.get 3)) (i32.const 7)) (i32.const -8))))
      (func $make (export "make") (param $start i32) (result i32) (local $at i32)
        (local.set $at (call $take (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 4)))
        (i32.store (local.get $at) (local.get $start))
        (global.set $live (i32.add (global.get $live) (i32.const 1)))
        (global.set $last (local.get $at))
        (call $new (local.get $at)))
      (func (export "add") (param $at i32) (param $by i32) (result i32)
        (i32.store (local.get $at) (i32.add (i32.load (local.get $at)) (local.get $by)))
        (i32.load (local.get $at)))
      (func (export "merge") (param $a i32) (param $b i32) (result i32) (local $sum i32)
        (local.set $sum
          (i32.add (i32.load (call $rep (local.get $a))) (i32.load (call $rep (local.get $b)))))
        (call $drop (local.get $a))
        (call $drop (local.get $b))
        (if (i32.gt_u (local.get $sum) (i32.const 1000000))
          (then
            (i32.store (i32.const 0) (i32.const 1))
            (i32.store (i32.const 4) (i32.const 16))
            (i32.store (i32.const 8) (i32.const 8)))
          (else
            (i32.store (i32.const 0) (i32.const 0))
            (i32.store (i32.const 4) (call $make (local.get $sum)))))
        (i32.const 0))
      (func (export "stats") (result i32)
        (i32.store (i32.const 0) (global.get $live))
        (i32.store (i32.const 4) (i32.ne (global.get $last) (i32.const 0)))
        (i32.store (i32.const 8) (i32.load (global.get $last)))
        (i32.const 0))
      (func (export "highest") (param $at i32) (param $count i32) (result i32) (local $most i32)
        (block $done
          (loop $next
            (br_if $done (i32.eqz (local.get $count)))
            (if (i32.gt_u (i32.load (i32.load (local.get $at))) (local.get $most))
              (then (local.set $most (i32.load (i32.load (local.get $at))))))
            (local.set $at (i32.add (local.get $at) (i32.const 4)))
            (local.set $count (i32.sub (local.get $count) (i32.const 1)))
            (br $next)))
        (local.get $most)))
    (core instance $code (instantiate $code
      (with "store" (instance $store))
      (with "" (instance
        (export "new" (func $new)) (export "rep" (func $rep)) (export "drop" (func $drop))))))
    (export $counter "counter" (type $counter'))
    (type $stats' (record (field "live" u32) (field "last" (option u32))))
    (export $stats "stats" (type $stats'))
    (func (export "[constructor]counter") (param "start" u32) (result (own $counter))
      (canon lift (core func $code "make")))
    (func (export "[method]counter.add") (param "self" (borrow $counter)) (param "by" u32) (result u32)
      (canon lift (core func $code "add")))
    (func (export "[static]counter.merge") (param "a" (own $counter)) (param "b" (own $counter))
      (result (result (own $counter) (error string)))
      (canon lift (core func $code "merge") (memory (core memory $store "memory"))))
    (func (export "get-stats") (result $stats)
      (canon lift (core func $code "stats") (memory (core memory $store "memory"))))
    (func (export "highest") (param "of" (list (borrow $counter))) (result u32)
      (canon lift (core func $code "highest")
        (memory (core memory $store "memory")) (realloc (core func $code "realloc")))))
  (instance $counters (instantiate $counters))
  (export "demo:counters/counters@1.0.0" (instance $counters)))
