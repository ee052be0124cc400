"""Fused modules do what the component does, on each engine; what is left out of them, and what is not."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import wasmtime
import wasmtime.component
from c_support import compiler
from component_support import Form, assemble, wasm_tools
from fuse_texts import HOSTS, JARS, ROUND, STARTS
from test_host_resources import *  # noqa: F403  these run again, with fused components

from hiwire_py.cli import main
from hiwire_py.components import Component, ComponentInstance, HostResource, fuse
from hiwire_py.components.fused import SECTION, component_in
from hiwire_py.errors import ComponentError, GuestTrap, UnsupportedModuleError
from hiwire_py.wasm.binary import name as spelled
from hiwire_py.wasm.binary import section
from hiwire_py.wasm.module import MEMORY, Module

FORMS: dict[str, Callable[[bytes], bytes]] = {
    "linked": bytes,
    "fused": fuse,
    "table in memory": lambda wasm: fuse(wasm, table_in_memory=True),
}


@pytest.fixture(autouse=True)
def fused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tests of other files make of text is fused."""
    monkeypatch.setattr(Form, "of", staticmethod(fuse))


@pytest.fixture(params=["fused", "table in memory"])
def form(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


def made(text: str, form: str) -> Component:
    """A component in a form."""
    return Component(FORMS[form](assemble(text)))


def outcome(function: Any, *args: Any) -> object:
    """What a call gives, or the words it traps with."""
    try:
        return function(*args)
    except GuestTrap as error:
        return str(error)


JAR_CALLS: list[tuple[str, str, list[int]]] = [
    *[("use", name, [5]) for name in ("add", "own", "own-again", "borrow", "borrow-again", "text")],
    ("jars", "drops", []),
    ("jars", "add", [2**32 - 1, 3]),
    ("use", "borrow", [1]),
]
TRAPS = [("use", "fail", 1), ("use", "twice", 1), ("use", "forge", 99), ("use", "forge", 0)]


def jars(component: Component, engine: str) -> Iterator[object]:
    """What a lot of calls give: all at one instance, then each trap at one of its own, and a call after
    it."""
    instance = component.instantiate({}, engine=engine)
    for place, name, args in JAR_CALLS:
        yield outcome(instance[place][name], *args)
    Jar, Other = instance["jars"].Jar, instance["shelf"].Jar
    assert Jar is Other
    with Jar(11) as jar:
        yield jar.get()
        yield outcome(jar.fill, "words")
        yield instance["shelf"]["[method]jar.get"](jar)
    yield instance["shelf"]["[constructor]jar"](4).get()
    yield instance["jars"]["drops"]()
    for place, name, number in TRAPS:
        instance = component.instantiate({}, engine=engine)
        yield outcome(instance[place][name], number)
        yield outcome(instance["jars"]["add"], 1, 2)


def test_same_as_linked(engine: str, form: str) -> None:
    """Calls, resources and traps of three components are those of the linked ones."""
    shown = list(jars(made(JARS, form), engine))
    assert shown == list(jars(made(JARS, "linked"), "wasmtime"))
    assert shown[:8] == [15, 0, 0, 15, 15, 5 * (3 + 5 + ord("h")), 13, 2]
    words = "add trapped: cannot enter component instance"
    assert shown.count(words) == len(TRAPS)  # the instance stays dead
    assert "twice trapped: unknown handle index" in shown


def test_start_functions_and_segments(engine: str) -> None:
    """Segments and start functions of later modules see what those of the ones before have done."""
    for one, where in (("linked", "wasmtime"), ("fused", engine)):
        instance = made(STARTS, one).instantiate(engine=where)
        assert instance["sum"]() == 11 + 100 * (3 + 7) + 10000 * (3 + 2)
        assert [instance["later"](n) for n in range(3)] == [3, 2, 3]
        assert [instance["byte"](n) for n in (8, 32, 33, 34)] == [3, ord("y"), ord("z"), 0]
        assert "later trapped" in str(outcome(instance["later"], 3))


@pytest.mark.parametrize(
    "old, new",
    [
        ('(data (global.get $at) "\\03")', '(data (i32.const 65536) "\\03")'),
        ("(elem (i32.const 0) func $three)", "(elem (i32.const 4) func $three)"),
        ('(data (i32.const 8) "\\01")', '(data (i32.const 65536) "\\01")'),
    ],
)
def test_segment_without_room(old: str, new: str) -> None:
    """A segment that has no room is a trap when the fused module is instantiated, though nothing uses it."""
    text = STARTS.replace(old, new)
    assert text != STARTS
    with pytest.raises(GuestTrap, match="out of bounds"):
        made(text, "fused").instantiate(engine="wasmtime")


def test_round_calls(engine: str) -> None:
    """Where a component can come to call itself, the checks are made: the same calls trap as in linked
    ones, and those that are allowed go through."""
    for one, where in (("linked", "wasmtime"), ("fused", engine)):
        component = made(ROUND, one)
        instance = component.instantiate(engine=where)
        assert instance["run"](3) == 103
        assert instance["give"](4) == 4
        assert instance["calls"]() == 1
        for call, words in ((("run", 7), "cannot enter"), (("give", 3), "cannot leave")):
            instance = component.instantiate(engine=where)
            assert outcome(instance[call[0]], call[1]) == f"{call[0]} trapped: {words} component instance"
            assert "cannot enter" in str(outcome(instance["calls"]))


def test_host_cannot_come_back() -> None:
    """A function of the host that the fused module calls cannot enter any instance of it."""
    component = made(HOSTS, "fused")
    seen: list[object] = []

    def write(line: str) -> str:
        seen.extend(outcome(instance[place]["say"], "again") for place in "ab")
        return line

    given = {"demo:log/log": {"write": write}, "plain": float}
    instance: ComponentInstance = component.instantiate(given, engine="wasmtime")
    assert instance["a"]["say"]("x") == "x"
    assert seen == ["say trapped: cannot enter component instance"] * 2


def test_host_functions(engine: str) -> None:
    """Two instances call one function of the host, each with its own memory."""
    lines: list[str] = []

    def write(line: str) -> str:
        lines.append(line)
        return line[::-1]

    wasm = fuse(assemble(HOSTS))
    imports = [(one.module, one.name) for one in Module.parse(wasm).imports]
    assert sorted(imports) == [("$root", "plain"), ("demo:log/log", "write"), ("demo:log/log", "write#2")]
    given = {"demo:log/log": {"write": write}, "plain": lambda n: n + 0.5}
    instance = Component(wasm).instantiate(given, engine=engine)
    assert instance["a"]["say"]("grün") == "nürg"
    assert instance["b"]["say"]("") == ""
    assert instance["half"](-4) == -1.75
    assert lines == ["grün", ""]


# ---- hosts that know nothing of hiwire_py


class Plain:
    """A fused module run by wasmtime as any core module is."""

    def __init__(self, wasm: bytes, imports: Mapping[str, Any] | None = None) -> None:
        config = wasmtime.Config()
        config.wasm_multi_memory = True
        self.store = wasmtime.Store(wasmtime.Engine(config))
        module = wasmtime.Module(self.store.engine, wasm)
        given = [
            wasmtime.Func(self.store, one.type, (imports or {})[one.name or ""])  # type: ignore[arg-type]
            for one in module.imports
        ]
        self.exports = wasmtime.Instance(self.store, module, given).exports(self.store)

    def __call__(self, name: str, *args: Any) -> Any:
        return self.exports[name](self.store, *args)  # type: ignore[operator]

    def memory(self, name: str) -> wasmtime.Memory:
        found = self.exports[name]
        assert isinstance(found, wasmtime.Memory)
        return found

    def number(self, name: str) -> int:
        found = self.exports[name]
        assert isinstance(found, wasmtime.Global)
        value: int = found.value(self.store)
        return value


def test_plain_host() -> None:
    """Any host can call exports by their names: numbers and representations, and strings in memory."""
    plain = Plain(fuse(assemble(JARS)))
    jar = plain("jars#[constructor]jar", 7)
    assert jar == 7 and plain("jars#[method]jar.get", jar) == 7
    name = "jars#[method]jar.fill"
    plain(f"cabi_begin_{name}")
    at = plain(f"cabi_realloc_{name}", 0, 0, 1, 5)
    plain.memory(f"cabi_memory_{name}").write(plain.store, b"hello", at)
    assert plain(name, jar, at, 5) == 7 + 5 + ord("h")
    plain(f"cabi_end_{name}", 0)
    plain("cabi_destroy_jars#jar", jar)
    assert plain("jars#drops") == 1
    with pytest.raises(wasmtime.Trap):
        plain("use#twice", 1)
    assert plain.number("cabi_fault") == 1


def test_plain_host_functions() -> None:
    """What the module imports gets values as the canonical ABI has them, in the memory that goes with it."""
    where = {"write": "", "write#2": "#2"}

    def writer(field: str) -> Any:
        def write(at: int, size: int, result: int) -> None:
            names = [f"cabi_import_{what}_demo:log/log#{field}" for what in ("memory", "realloc")]
            memory = plain.memory(names[0])
            line = bytes(memory.read(plain.store, at, at + size)) + where[field].encode()
            to = plain(names[1], 0, 0, 1, len(line))
            memory.write(plain.store, line, to)
            pair = to.to_bytes(4, "little") + len(line).to_bytes(4, "little")
            memory.write(plain.store, pair, result)

        return write

    functions = {field: writer(field) for field in where}
    plain = Plain(fuse(assemble(HOSTS)), {**functions, "plain": float})
    told = []
    for place in "ab":
        name = f"{place}#say"
        plain(f"cabi_begin_{name}")
        result = plain(name, 16, 3)
        memory = plain.memory(f"cabi_memory_{name}")
        pair = memory.read(plain.store, result, result + 8)
        at, size = (int.from_bytes(pair[i : i + 4], "little") for i in (0, 4))
        told.append(bytes(memory.read(plain.store, at, at + size)))
        plain(f"cabi_end_{name}", result)
        assert bytes(memory.read(plain.store, result, result + 4)) == bytes(4)  # its post-return was called
    assert told == [b"one", b"one#2"]


# ---- what is left out


def test_unused_is_left_out() -> None:
    """Functions, tables, memories and globals that nothing leads to are not in the module."""
    component = Component(assemble(JARS))
    before = [stage.module for stage in component._assembly.stages]
    after = Module.parse(fuse(assemble(JARS)))
    # The maker's and the user's memory, the shelf's for itself, and three tables.
    assert len(after.memories) == 6
    assert not after.tables and not after.elements  # all calls through them became direct ones
    assert not any(one.minimum == 7 for one in after.memories)
    assert len(after.globals) < sum(len(one.globals) - one.count_imports(3) for one in before) - 6
    assert len(after.functions) <= sum(len(one.functions) - one.count_imports(0) for one in before) - 10


def test_direct_calls() -> None:
    """A call that passes numbers alone is one of the core function; the adapter is not there."""
    wasm = fuse(assemble(JARS))
    # The callee adds, and there is one more function that calls it: the host's way in.
    assert Module.parse(wasm).wasm.count(b"\x20\x00\x20\x01\x6a\x0b") == 1
    text = JARS.replace('(param "a" u32) (param "b" u32)', '(param "a" u8) (param "b" u32)')
    assert len(Module.parse(fuse(assemble(text))).functions) == len(Module.parse(wasm).functions) + 1


def test_flags_are_left_out() -> None:
    """Where no component can come to call itself, one mark is left: whether the outermost is entered."""
    for text, flags in ((JARS, 1), (ROUND, 3)):
        ones = [one for one in Module.parse(fuse(assemble(text))).globals if one.mutable]
        state = Component(assemble(text))._assembly.stages[0].module
        assert len(state.globals) == 1 + 2 * len(Component(assemble(text))._plan.instances)
        initial = [Module.parse(fuse(assemble(text))).wasm[slice(*one.init or (0, 0))] for one in ones]
        tables = len(Module.parse(fuse(assemble(text))).memories) - (3 if text is JARS else 2)
        assert initial.count(b"\x41\x01\x0b") == flags + tables  # a table's length is 1 at first, too


# ---- handle tables in memory


SHELF = 2  # the number of its instance


def base_of(plain: Plain) -> int:
    """The base of the shelf's table, in which nothing has been yet."""
    return plain.number(f"ht_next_{SHELF}") - 4


@pytest.fixture
def tabled() -> Plain:
    """Jars, with the shelf's table in its memory."""
    return Plain(fuse(assemble(JARS), table_in_memory=True))


def test_table_place(tabled: Plain) -> None:
    """The table is a page at the end of the memory of the instance that holds handles of others' resources;
    its handles are addresses of representations."""
    base = base_of(tabled)
    assert base == 65536 and tabled("shelf#size") == 2
    first = tabled("shelf#fill", 1)
    assert first == base + 4
    assert tabled("shelf#read", first) == 1  # the representation, in the right memory
    assert tabled("shelf#fill", 2) == base + 12
    assert tabled("shelf#read", base + 8) == 2


def test_table_reuse(tabled: Plain) -> None:
    """Freed entries are 0 in memory, and are used again, the last one first."""
    base = base_of(tabled)
    tabled("shelf#fill", 5)
    for handle in (base + 8, base + 16):
        tabled("shelf#drop", handle)
        assert tabled("shelf#read", handle) == 0
    assert [tabled("shelf#fill", 1) for _ in range(3)] == [base + 16, base + 8, base + 24]
    assert tabled("jars#drops") == 2


def test_table_growth(tabled: Plain) -> None:
    """The table has room for more than 256 handles, and for more than a page of them, which may lie anywhere
    in the memory; all of them stay aligned and true."""
    base = base_of(tabled)
    assert tabled("shelf#fill", 255) == base + 1020
    assert tabled("shelf#fill", 1) == base + 1024
    assert tabled("shelf#fill", 16383 - 256) == base + 65532
    assert tabled("shelf#size") == 2
    assert tabled("shelf#fill", 1) == 2 * 65536
    assert tabled("shelf#size") == 3
    assert tabled("shelf#fill", 16384) == 3 * 65536
    assert tabled("shelf#size") == 4
    for handle in (base + 4, base + 1024, base + 65532, 2 * 65536, 3 * 65536):
        assert handle % 4 == 0
        assert tabled("shelf#ask", handle) == tabled("shelf#read", handle) > 0
    assert tabled.number(f"ht_next_{SHELF}") == 3 * 65536 + 4


@pytest.mark.parametrize("handle", [0, 4, 65536, 65536 + 5, 65536 + 24, 65536 + 1028, 2 * 65536, 2**32 - 4])
def test_table_bounds(tabled: Plain, handle: int) -> None:
    """What is no handle of the table traps: no address, not aligned, beyond the last one, or not in the
    table."""
    tabled("shelf#fill", 5)
    with pytest.raises(wasmtime.Trap):
        tabled("shelf#ask", handle)
    assert tabled.number("cabi_fault") == 1


@pytest.mark.parametrize("engine", ["wasmtime"], indirect=True)
def test_table_overwritten(engine: str) -> None:
    """A guest that writes into its table cannot forge a representation: it traps."""
    instance = made(JARS, "table in memory").instantiate(engine=engine)
    handle = instance["shelf"]["fill"](1)
    instance["shelf"]["write"](handle, 12345)
    told = str(outcome(instance["shelf"]["ask"], handle))
    assert told == "ask trapped: the handle table in the instance's own memory was overwritten"


def test_table_functions(tabled: Plain) -> None:
    """The functions of the published layout: a representation to a handle and back, without a type."""
    base = base_of(tabled)
    new, rep, drop = (f"ht_{what}_{SHELF}" for what in ("new", "rep", "drop"))
    handles = [tabled(new, n) for n in (10, 20, 30)]
    assert handles == [base + 4, base + 8, base + 12]
    assert [tabled(rep, handle) for handle in handles] == [10, 20, 30]
    tabled(drop, handles[1])
    assert tabled("shelf#read", handles[1]) == 0
    with pytest.raises(wasmtime.Trap):
        tabled(rep, handles[1])
    with pytest.raises(wasmtime.Trap):
        tabled(drop, handles[1])
    assert tabled(new, 40) == handles[1]


def test_table_of_a_definer() -> None:
    """An instance that holds handles of its own resources alone keeps its private table."""
    names = [one.name for one in Module.parse(fuse(assemble(JARS), table_in_memory=True)).exports]
    assert [one for one in names if one.startswith("ht_new_")] == [f"ht_new_{SHELF}", f"ht_new_{SHELF + 1}"]
    assert not [one for one in Module.parse(fuse(assemble(JARS))).exports if one.name.startswith("ht_")]


def test_full_memory() -> None:
    """A memory that is as large as any is refused by name; a maximum is no hindrance."""
    text = JARS.replace(
        '(memory (export "memory") 1)\n   (func (export "make")', '{}\n   (func (export "make")'
    )
    assert text != JARS
    whole = assemble(text.replace("{}", '(memory (export "memory") 65536)'))
    with pytest.raises(UnsupportedModuleError, match="has no room for the page of its handle table"):
        fuse(whole, table_in_memory=True)
    for limits, found in (("1 65536", (2, 65536)), ("1 1", (2, 2))):
        wasm = fuse(
            assemble(text.replace("{}", f'(memory (export "memory") {limits})')), table_in_memory=True
        )
        assert found in [(one.minimum, one.maximum) for one in Module.parse(wasm).memories]


# ---- modules that are not what they say


def test_not_a_component() -> None:
    """A core module is refused, fused or not."""
    with pytest.raises(UnsupportedModuleError, match="not a WebAssembly component, but a core module"):
        fuse(fuse(assemble(JARS)))
    with pytest.raises(UnsupportedModuleError, match="not a WebAssembly component, but a core module"):
        Component(b"\0asm\1\0\0\0")


IMPORTS_F = """
(component
 (import "f" (func $f (param "n" u32)))
 (core func $l (canon lower (func $f)))
 (core module $m (import "" "f" (func (param i32))))
 (core instance (instantiate $m (with "" (instance (export "f" (func $l)))))))
"""


def undescribed(wasm: bytes) -> bytes:
    """A fused module without its description, which is its last section."""
    return wasm[: Module.parse(wasm).sections[-2].end]


def described(wasm: bytes, component: bytes) -> bytes:
    """A module that says it was made of a component."""
    return wasm + section(0, spelled(SECTION) + component)


def test_lying_modules() -> None:
    """A module that does not export or import what its description says is refused by name."""
    nothing, hosts = b"\0asm\1\0\0\0", fuse(assemble(HOSTS))
    component = assemble(JARS)
    with pytest.raises(UnsupportedModuleError, match="lacks the export 'cabi_fault'"):
        Component(described(nothing, component))
    with pytest.raises(UnsupportedModuleError, match="lacks the export 'jars#"):
        Component(described(undescribed(hosts), component))
    for text, words in (
        ('(global (export "cabi_fault") i32 (i32.const 0))', "export 'cabi_fault' is no global of the type"),
        ('(func (export "cabi_fault"))', "export 'cabi_fault' is no global of the type"),
        ('(import "a" "b" (func)) (global (export "cabi_fault") (mut i32) (i32.const 0))', "imports a.b"),
        (
            '(import "$root" "f" (func)) (global (export "cabi_fault") (mut i32) (i32.const 0))',
            "import \\$root.f is no function of the type",
        ),
    ):
        wasm = bytes(wasmtime.wat2wasm(f"(module {text})"))
        with pytest.raises(UnsupportedModuleError, match=words):
            Component(described(wasm, assemble(IMPORTS_F)))


@pytest.mark.parametrize("size", [0, 7, 100, -1])
def test_cut_short(size: int) -> None:
    """A description that is cut short is refused."""
    fused = fuse(assemble(JARS))
    description = component_in(Module.parse(fused))
    assert description is not None
    with pytest.raises(UnsupportedModuleError):
        Component(described(undescribed(fused), description[:size]))


def test_invalid_component() -> None:
    """Code that is not valid is refused, though nothing leads to it; so is an invalid description."""
    text = JARS.replace("(func $unused (global.set", "(func $unused (drop (i32.const 0)) (global.set")
    invalid = bytearray(assemble(text))
    at = invalid.index(b"\x41\0\x1a\x41")  # i32.const, drop
    invalid[at + 2] = 0x1B  # select, which takes more
    with pytest.raises(UnsupportedModuleError, match="type mismatch"):
        fuse(bytes(invalid))
    fused = fuse(assemble(JARS))
    with pytest.raises(UnsupportedModuleError):
        Component(described(undescribed(fused), assemble('(component (export "x" (func 3)))')))


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`hiwire fuse` writes the module, and `hiwire run` runs it as the component."""
    component, target = tmp_path / "jars.wasm", tmp_path / "fused.wasm"
    component.write_bytes(assemble(JARS))
    assert main(["fuse", str(component), "-o", str(target), "--table-in-memory"]) == 0
    assert target.read_bytes() == fuse(assemble(JARS), table_in_memory=True)
    assert f"{target}: " in capsys.readouterr().out.replace("\n", "")
    assert main(["run", "--engine", "wasmtime", str(target), "use#add", "5"]) == 0
    assert capsys.readouterr().out == "15\n"
    assert main(["fuse", str(component), "-o", str(component)]) == 2
    assert "is COMPONENT itself" in capsys.readouterr().err
    assert main(["fuse", str(target), "-o", str(component)]) == 1
    assert "not a WebAssembly component" in capsys.readouterr().err


def test_wit_stays() -> None:
    """A fused module shows the interface of its component."""
    for text in (JARS, HOSTS, ROUND):
        whole, fused = Component(assemble(text)), made(text, "fused")
        assert fused.wit() == whole.wit() and fused.stub() == whole.stub()


def test_hardened() -> None:
    """Handles of a hardened table are not used again."""
    wasm = fuse(assemble(JARS), hardened=True)
    instance = Component(wasm).instantiate(engine="wasmtime")
    first = instance["shelf"]["fill"](1)
    instance["shelf"]["drop"](first)
    assert instance["shelf"]["fill"](1) != first
    assert outcome(instance["shelf"]["ask"], first) == "ask trapped: unknown handle index"


def test_description_is_a_component() -> None:
    """The description is a component without code that says the same; types are kept, and no code is."""
    fused = fuse(assemble(JARS))
    description = component_in(Module.parse(fused))
    assert description is not None and fused.count(b"hello") == 1 and b"hello" not in description
    wasmtime.component.Component(wasmtime.Engine(), description)
    assert list(Component(description).exports) == ["jars", "shelf", "use"]


def test_resources_of_the_host() -> None:
    """What drops a resource of the host is imported under the library's own name."""
    from test_host_resources import LOGS, Logger

    wasm = fuse(assemble(LOGS))
    imports = {(one.module, one.name) for one in Module.parse(wasm).imports}
    assert ("hiwire", "hiwire_decref") in imports
    assert ("demo:log/log", "[constructor]logger") in imports
    assert len([one for one in Module.parse(wasm).exports if one.kind == MEMORY]) == 1
    instance = Component(wasm).instantiate(
        {"demo:log/log": {"logger": HostResource(Logger)}}, engine="wasmtime"
    )
    assert instance["run"](1) == 1002


# ---- components in C


C = Path(__file__).parent / "c"


@pytest.fixture(scope="session")
def notes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Two components in C, composed."""
    tools, folder, toolchain = wasm_tools(), tmp_path_factory.mktemp("notes"), compiler()

    def run(*command: object) -> None:
        subprocess.run([tools, *map(str, command)], check=True, capture_output=True, text=True)

    for world in ("maker", "user"):
        module, embedded = folder / f"{world}.core.wasm", folder / f"{world}.embedded.wasm"
        toolchain.compile([C / f"notes_{world}.c"], module, options=("-O2", "-Wall", "-Wextra", "-Werror"))
        run("component", "embed", C / "notes.wit", "--world", world, module, "-o", embedded)
        run("component", "new", embedded, "-o", folder / f"{world}.wasm")
    both = folder / "both.wasm"
    run("compose", folder / "user.wasm", "-d", folder / "maker.wasm", "-o", both)
    return both.read_bytes()


def test_c_components(notes: bytes, engine: str) -> None:
    """Composed components of a real toolchain: what they give, and that nothing stays in their tables."""
    for name, one in FORMS.items():
        instance = Component(one(notes)).instantiate(engine="wasmtime" if name == "linked" else engine)
        for _ in range(3):
            assert instance["count"](["a", "bcd", "", "grün"]) == 9
            with pytest.raises(ComponentError) as caught:
                instance["count"](["only one"])
            assert caught.value.payload == "nothing to join"
            assert instance["titles"](["x", "", "größer"]) == ["x", "", "größer"]
            assert instance["scaled"](5) == 5.0
            assert instance["asked"](1000) == 7000


def test_c_module_is_valid(notes: bytes) -> None:
    """The fused module and its description are valid to wasm-tools; the calls through the tables that its
    linker makes are direct ones, so no table is left."""
    tools = wasm_tools()
    for wasm in (notes, *map(assemble, (JARS, STARTS, ROUND, HOSTS))):
        for options in ({}, {"table_in_memory": True}, {"hardened": True}):
            fused = fuse(wasm, **options)
            description = component_in(Module.parse(fused))
            assert description is not None
            for one in (fused, description):
                run = subprocess.run([tools, "validate", "-"], input=one, capture_output=True, check=False)
                assert run.returncode == 0, run.stderr
    module = Module.parse(fuse(notes))
    assert not module.tables and not module.elements
    assert len(module.memories) == 4  # of two components, and their handle tables
