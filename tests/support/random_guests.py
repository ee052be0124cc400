"""Guests made at random: three functions that juggle externrefs in locals, operands, blocks, tables and
globals.

Every value they get hold of is sooner or later shown to the host, so a reference that was released too early
is seen.
"""

from __future__ import annotations

import random

REFS = 4  # locals of type externref, the parameter among them
HEAD = """(module
  (type $again (func (param externref i32) (result externref)))
  (import "env" "make" (func $make (param i32) (result externref)))
  (import "env" "see" (func $see (param externref i32)))
  (import "env" "both" (func $both (param externref externref) (result externref)))
  (table $t 4 externref) (table $f 3 funcref) (global $g (mut externref) (ref.null extern))
  (elem (table $f) (i32.const 0) func $f0 $f1 $f2)
"""


class _Writer:
    def __init__(self, r: random.Random, index: int) -> None:
        self.r = r
        self.index = index
        self.labels: list[bool] = []  # of open blocks: whether they give an externref

    def local(self) -> str:
        return f"$r{self.r.randrange(REFS)}"

    def number(self) -> str:
        return self.r.choice(["(local.get $n)", f"(i32.const {self.r.randrange(9)})"])

    def ref(self, depth: int) -> str:
        """An expression that gives an externref."""
        r = self.r
        if depth <= 0:
            return r.choice(
                [
                    f"(local.get {self.local()})",
                    f"(call $make {self.number()})",
                    "(global.get $g)",
                    f"(table.get $t (i32.const {r.randrange(4)}))",
                    "(ref.null extern)",
                ]
            )
        kind = r.randrange(9)
        if kind == 0:
            return f"(call $both {self.ref(depth - 1)} {self.ref(depth - 1)})"
        if kind == 1:
            return f"(select (result externref) {self.ref(depth - 1)} {self.ref(depth - 1)} {self.number()})"
        if kind == 2:
            self.labels.append(True)
            text = (
                f"(block (result externref) {self.statement(depth - 1)} {self.ref(depth - 1)}"
                f" (br_if 0 {self.number()}) drop {self.ref(depth - 1)})"
            )
            self.labels.pop()
            return text
        if kind == 3:
            self.labels.append(True)
            text = f"(if (result externref) {self.number()} (then {self.ref(depth - 1)}) (else {self.ref(depth - 1)}))"
            self.labels.pop()
            return text
        if kind == 4 and self.index:
            return f"(call $f{r.randrange(self.index)} {self.ref(depth - 1)} {self.number()})"
        if kind == 5:
            return f"(local.tee {self.local()} {self.ref(depth - 1)})"
        if kind == 6:  # an older value of a local stays on the stack while the local changes
            local = self.local()
            return (
                f"(local.get {local}) {self.statement(depth - 1)} (local.set {local} {self.ref(depth - 1)})"
                f" {self.statement(depth - 1)}"
            )
        if kind == 7 and self.index:
            callee = r.randrange(self.index)
            return (
                f"(call_indirect $f (type $again) {self.ref(depth - 1)} {self.number()} (i32.const {callee}))"
            )
        return self.ref(depth - 1)

    def statement(self, depth: int) -> str:
        r = self.r
        kind = r.randrange(13)
        if kind <= 2:
            return f"(local.set {self.local()} {self.ref(depth - 1)})"
        if kind == 3:
            return f"(table.set $t (i32.const {r.randrange(4)}) {self.ref(depth - 1)})"
        if kind == 4:
            return f"(global.set $g {self.ref(depth - 1)})"
        if kind == 5 and depth > 0:
            self.labels.append(False)
            text = (
                f"(loop {self.statement(depth - 1)} {self.statement(depth - 1)}"
                " (br_if 0 (i32.lt_s (local.tee $c (i32.add (local.get $c) (i32.const 1))) (i32.const 9))))"
            )
            self.labels.pop()
            return text
        if kind == 6 and depth > 0:
            self.labels.append(False)
            text = (
                f"(if {self.number()} (then {self.statement(depth - 1)}) (else {self.statement(depth - 1)}))"
            )
            self.labels.pop()
            return text
        if kind == 7 and depth > 0:
            self.labels.append(False)
            text = (
                f"(block {self.statement(depth - 1)} (br_if 0 (ref.is_null {self.ref(depth - 1)}))"
                f" {self.statement(depth - 1)})"
            )
            self.labels.pop()
            return text
        if kind == 8 and r.random() < 0.3:
            return f"(if {self.number()} (then (return {self.ref(depth - 1)})))"
        if kind == 9 and depth > 0:
            return f"(drop {self.ref(depth - 1)})"
        if kind >= 11:  # uses of locals that are no calls
            return r.choice(
                [
                    f"(table.set $t (i32.const {r.randrange(4)}) (local.get {self.local()}))",
                    f"(global.set $g (local.get {self.local()}))",
                ]
            )
        return f"(call $see {self.ref(depth - 1)} {self.number()})"

    def function(self) -> str:
        body = "\n    ".join(self.statement(3) for _ in range(self.r.randrange(2, 6)))
        shown = " ".join(
            self.r.choice(
                [
                    f"(call $see (local.get $r{i}) (i32.const {100 + i}))",
                    f"(table.set $t (i32.const {i}) (local.get $r{i}))",
                    "",
                ]
            )
            for i in range(REFS)
        )
        refs = " ".join(f"(local $r{i} externref)" for i in range(1, REFS))
        return (
            f'  (func $f{self.index} (export "f{self.index}") (param $r0 externref) (param $n i32) (result externref)\n'
            f"    {refs} (local $c i32)\n    {body}\n    {shown}\n    {self.ref(2)})\n"
        )


def random_guest(seed: int) -> str:
    """The text of a module that exports ``f0``, ``f1`` and ``f2``: (externref, i32) -> (externref)."""
    r = random.Random(seed)
    return (
        HEAD
        + "".join(_Writer(r, index).function() for index in range(3))
        + ('  (func (export "stored") (param i32) (result externref) (table.get $t (local.get 0))))')
    )
