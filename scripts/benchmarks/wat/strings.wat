;; What strings cost: a component that takes some and gives a list, and one that passes it some in loops.
(component
  (component $taker
    (core module $main
      (memory (export "memory") 2)
      ;; An allocator without a memory: the second page, over and over again.
      (global $next (mut i32) (i32.const 65536))
      (func (export "realloc") (param $old i32) (param $had i32) (param $align i32) (param $size i32) (result i32)
        (local $at i32)
        (local.set $at (i32.and
          (i32.sub (i32.add (global.get $next) (local.get $align)) (i32.const 1))
          (i32.sub (i32.const 0) (local.get $align))))
        (if (i32.gt_u (i32.add (local.get $at) (local.get $size)) (i32.const 131072))
          (then (local.set $at (i32.const 65536))))
        (global.set $next (i32.add (local.get $at) (local.get $size)))
        (local.get $at))
      (func (export "take") (param $at i32) (param $size i32) (result i32) (local.get $size))
      (func (export "words") (result i32) (i32.const 0))
      ;; At 0 the list: where its pairs are, and how many. At 8 the pairs, each of one word of ten bytes.
      (data (i32.const 1000) "aardvarks benchmark calendars dandelion eiderduck ")
      (func $fill (local $left i32) (local $pair i32)
        (i32.store (i32.const 0) (i32.const 8))
        (i32.store (i32.const 4) (i32.const 100))
        (local.set $left (i32.const 100))
        (local.set $pair (i32.const 8))
        (loop $more
          (i32.store (local.get $pair)
            (i32.add (i32.const 1000) (i32.mul (i32.rem_u (local.get $left) (i32.const 5)) (i32.const 10))))
          (i32.store offset=4 (local.get $pair) (i32.const 10))
          (local.set $pair (i32.add (local.get $pair) (i32.const 8)))
          (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1))))))
      (start $fill))
    (core instance $main (instantiate $main))
    (alias core export $main "memory" (core memory $memory))
    (alias core export $main "realloc" (core func $realloc))
    (func (export "take") (param "text" string) (result u32)
      (canon lift (core func $main "take") (memory $memory) (realloc $realloc)))
    (func (export "words") (result (list string))
      (canon lift (core func $main "words") (memory $memory))))

  (component $giver
    (import "texts" (instance $texts
      (export "take" (func (param "text" string) (result u32)))))
    ;; The memory is there before the function that reads it.
    (core module $memory
      (memory (export "memory") 1)
      (data (i32.const 0) "short")
      ;; At 16 ten thousand bytes of ASCII; at 20000 the same of characters with two bytes.
      (func $fill (local $at i32)
        (memory.fill (i32.const 16) (i32.const 120) (i32.const 10000))
        (local.set $at (i32.const 20000))
        (loop $more
          (i32.store16 (local.get $at) (i32.const 0xa9c3))
          (br_if $more (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 2))) (i32.const 30000)))))
      (start $fill))
    (core instance $memory (instantiate $memory))
    (core func $take (canon lower (func $texts "take") (memory (core memory $memory "memory"))))
    (core module $main
      (import "canon" "take" (func $take (param i32 i32) (result i32)))
      (func $pass (param $left i32) (param $at i32) (param $size i32) (loop $more
        (drop (call $take (local.get $at) (local.get $size)))
        (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1))))))
      (func (export "short") (param i32) (call $pass (local.get 0) (i32.const 0) (i32.const 5)))
      (func (export "long") (param i32) (call $pass (local.get 0) (i32.const 16) (i32.const 10000)))
      (func (export "long-accents") (param i32) (call $pass (local.get 0) (i32.const 20000) (i32.const 10000))))
    (core instance $main (instantiate $main (with "canon" (instance (export "take" (func $take))))))
    (type $loop (func (param "count" u32)))
    (func (export "short") (type $loop) (canon lift (core func $main "short")))
    (func (export "long") (type $loop) (canon lift (core func $main "long")))
    (func (export "long-accents") (type $loop) (canon lift (core func $main "long-accents"))))

  (instance $texts (instantiate $taker))
  (instance $loops (instantiate $giver (with "texts" (instance $texts))))
  (export "texts" (instance $texts))
  (export "loops" (instance $loops)))
