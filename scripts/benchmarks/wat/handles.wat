;; What handles cost: a component that defines a resource, one that hands it on, one that calls both in loops.
;; Each loop does what it is named for as often as its parameter says.
(component
  (component $definer
    ;; The destructor belongs to the resource type, which is there before the core module that has it: so it is
    ;; called through a table, as toolchains have it too.
    (core module $before
      (type $dtor (func (param i32)))
      (table (export "table") 1 1 funcref)
      (func (export "dtor") (param i32) (call_indirect (type $dtor) (local.get 0) (i32.const 0))))
    (core instance $before (instantiate $before))
    (type $counter (resource (rep i32) (dtor (core func $before "dtor"))))
    (core func $new (canon resource.new $counter))
    (core module $main
      (import "canon" "new" (func $new (param i32) (result i32)))
      (global $destroyed (mut i32) (i32.const 0))
      (func (export "make") (param i32) (result i32) (call $new (local.get 0)))
      (func (export "get") (param i32) (result i32) (local.get 0))
      (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
      (func (export "destroyed") (result i32) (global.get $destroyed))
      (func (export "dtor") (param i32)
        (global.set $destroyed (i32.add (global.get $destroyed) (i32.const 1)))))
    (core instance $main (instantiate $main (with "canon" (instance (export "new" (func $new))))))
    (core module $after
      (import "main" "dtor" (func $dtor (param i32)))
      (import "before" "table" (table 1 1 funcref))
      (elem (i32.const 0) func $dtor))
    (core instance (instantiate $after
      (with "main" (instance $main)) (with "before" (instance $before))))
    (export $c "counter" (type $counter))
    (func (export "[constructor]counter") (param "start" u32) (result (own $c))
      (canon lift (core func $main "make")))
    (func (export "[method]counter.get") (param "self" (borrow $c)) (result u32)
      (canon lift (core func $main "get")))
    (func (export "add") (param "one" u32) (param "other" u32) (result u32)
      (canon lift (core func $main "add")))
    (func (export "destroyed") (result u32) (canon lift (core func $main "destroyed"))))

  (component $between
    (import "counters" (instance $from
      (export "counter" (type $c (sub resource)))
      (export "[constructor]counter" (func (param "start" u32) (result (own $c))))
      (export "[method]counter.get" (func (param "self" (borrow $c)) (result u32)))))
    (alias export $from "counter" (type $c))
    (core func $make (canon lower (func $from "[constructor]counter")))
    (core func $get (canon lower (func $from "[method]counter.get")))
    (core func $drop (canon resource.drop $c))
    (core module $main
      (import "canon" "make" (func $make (param i32) (result i32)))
      (import "canon" "get" (func $get (param i32) (result i32)))
      (import "canon" "drop" (func $drop (param i32)))
      (func (export "make") (param i32) (result i32) (call $make (local.get 0)))
      (func (export "get") (param i32) (result i32) (local $got i32)
        (local.set $got (call $get (local.get 0)))
        (call $drop (local.get 0))
        (local.get $got)))
    (core instance $main (instantiate $main (with "canon" (instance
      (export "make" (func $make)) (export "get" (func $get)) (export "drop" (func $drop))))))
    (export $x "counter" (type $c))
    (func (export "[constructor]counter") (param "start" u32) (result (own $x))
      (canon lift (core func $main "make")))
    (func (export "[method]counter.get") (param "self" (borrow $x)) (result u32)
      (canon lift (core func $main "get"))))

  (component $caller
    (import "direct" (instance $direct
      (export "counter" (type $c (sub resource)))
      (export "[constructor]counter" (func (param "start" u32) (result (own $c))))
      (export "[method]counter.get" (func (param "self" (borrow $c)) (result u32)))))
    (alias export $direct "counter" (type $c))
    (import "handed-on" (instance $on
      (alias outer 1 $c (type $c))
      (export "counter" (type $same (eq $c)))
      (export "[constructor]counter" (func (param "start" u32) (result (own $same))))
      (export "[method]counter.get" (func (param "self" (borrow $same)) (result u32)))))
    (type $own (resource (rep i32)))
    (core func $new (canon resource.new $own))
    (core func $rep (canon resource.rep $own))
    (core func $drop-own (canon resource.drop $own))
    (core func $make (canon lower (func $direct "[constructor]counter")))
    (core func $get (canon lower (func $direct "[method]counter.get")))
    (core func $make-on (canon lower (func $on "[constructor]counter")))
    (core func $get-on (canon lower (func $on "[method]counter.get")))
    (core func $drop (canon resource.drop $c))
    (core module $main
      (import "canon" "new" (func $new (param i32) (result i32)))
      (import "canon" "rep" (func $rep (param i32) (result i32)))
      (import "canon" "drop-own" (func $drop-own (param i32)))
      (import "canon" "make" (func $make (param i32) (result i32)))
      (import "canon" "get" (func $get (param i32) (result i32)))
      (import "canon" "make-on" (func $make-on (param i32) (result i32)))
      (import "canon" "get-on" (func $get-on (param i32) (result i32)))
      (import "canon" "drop" (func $drop (param i32)))
      (func (export "new-drop") (param $left i32) (loop $more
        (call $drop-own (call $new (local.get $left)))
        (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1))))))
      (func (export "rep") (param $left i32) (local $handle i32)
        (local.set $handle (call $new (i32.const 3)))
        (loop $more
          (drop (call $rep (local.get $handle)))
          (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
        (call $drop-own (local.get $handle)))
      (func (export "own") (param $left i32) (loop $more
        (call $drop (call $make (local.get $left)))
        (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1))))))
      (func (export "own-handed-on") (param $left i32) (loop $more
        (call $drop (call $make-on (local.get $left)))
        (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1))))))
      (func (export "borrow") (param $left i32) (local $handle i32)
        (local.set $handle (call $make (i32.const 3)))
        (loop $more
          (drop (call $get (local.get $handle)))
          (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
        (call $drop (local.get $handle)))
      (func (export "borrow-handed-on") (param $left i32) (local $handle i32)
        (local.set $handle (call $make (i32.const 3)))
        (loop $more
          (drop (call $get-on (local.get $handle)))
          (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
        (call $drop (local.get $handle))))
    (core instance $main (instantiate $main (with "canon" (instance
      (export "new" (func $new)) (export "rep" (func $rep)) (export "drop-own" (func $drop-own))
      (export "make" (func $make)) (export "get" (func $get)) (export "make-on" (func $make-on))
      (export "get-on" (func $get-on)) (export "drop" (func $drop))))))
    (type $loop (func (param "count" u32)))
    (func (export "new-drop") (type $loop) (canon lift (core func $main "new-drop")))
    (func (export "rep") (type $loop) (canon lift (core func $main "rep")))
    (func (export "own") (type $loop) (canon lift (core func $main "own")))
    (func (export "own-handed-on") (type $loop) (canon lift (core func $main "own-handed-on")))
    (func (export "borrow") (type $loop) (canon lift (core func $main "borrow")))
    (func (export "borrow-handed-on") (type $loop) (canon lift (core func $main "borrow-handed-on"))))

  (instance $direct (instantiate $definer))
  (instance $on (instantiate $between (with "counters" (instance $direct))))
  (instance $loops (instantiate $caller (with "direct" (instance $direct)) (with "handed-on" (instance $on))))
  (export "counters" (instance $direct))
  (export "loops" (instance $loops)))
