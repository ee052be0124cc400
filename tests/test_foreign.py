"""Modules of others, made by wasm-bindgen and driven from Python: `make test-foreign` fetches them from npm.

None of them is part of this repository. What wasm-bindgen writes in JavaScript beside a module, its imports
and the passing of arrays, is written in Python here.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hiwire_py import Guest, Hiwire

pytestmark = pytest.mark.skipif(
    not os.environ.get("HIWIRE_TEST_FOREIGN"),
    reason="it fetches modules of others: make test-foreign, or HIWIRE_TEST_FOREIGN=1",
)

FETCHED = Path(__file__).resolve().parent.parent / "build" / "foreign"
WIDTH, HEIGHT = 37, 23
PIXELS = bytes((x * 5 + y * 3 + c * 60) % 256 for y in range(HEIGHT) for x in range(WIDTH) for c in range(4))


def fetch(name: str, version: str, member: str) -> bytes:
    """A file of a package of npm, which checks what it fetches; kept in build/foreign."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.fail("npm is needed to fetch modules; on Debian: apt-get install npm")
    file = f"{name.replace('@', '').replace('/', '-')}-{version}.tgz"
    FETCHED.mkdir(parents=True, exist_ok=True)
    if not (FETCHED / file).exists():
        command = [npm, "pack", "--silent", f"{name}@{version}"]
        subprocess.run(command, cwd=FETCHED, check=True, timeout=120, capture_output=True)
    with tarfile.open(FETCHED / file) as archive:
        found = archive.extractfile(f"package/{member}")
        assert found is not None
        return found.read()


def png(pixels: bytes, width: int, height: int) -> bytes:
    """A PNG file of 8 bits RGBA (specification, sections 5 and 9)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + pixels[y * width * 4 : (y + 1) * width * 4] for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


class Bindings:
    """What all modules of wasm-bindgen need: arrays of bytes go in and come out, errors are raised."""

    def __init__(
        self, wasm: bytes, module: str, functions: dict[str, Callable[..., Any]], engine: str
    ) -> None:
        """``functions`` are named as in the module, but without the hash that follows."""
        from hiwire_py.wasm.module import Module

        wanted = [i.name for i in Module.parse(wasm).imports]
        functions = {"__wbindgen_throw": self.throw, "__wbg___wbindgen_throw": self.throw, **functions}
        given = {name: f for name in wanted for start, f in functions.items() if _same(name, start)}
        assert sorted(given) == sorted(wanted)
        self.guest = Guest(wasm, {module: given}, engine=engine)
        self.exports = self.guest.exports

    def throw(self, address: int, size: int) -> None:
        raise ValueError(self.text(address, size))

    def text(self, address: int, size: int) -> str:
        return self.guest.memory.read(address & 0xFFFFFFFF, size).decode()

    def put(self, data: bytes) -> tuple[int, int]:
        address = self.exports["__wbindgen_malloc"](len(data), 1) & 0xFFFFFFFF
        self.guest.memory.write(address, data)
        return address, len(data)

    def take(self, address: int, size: int) -> bytes:
        data = self.guest.memory.read(address & 0xFFFFFFFF, size)
        self.exports["__wbindgen_free"](address, size, 1)
        return data


def _same(name: str, start: str) -> bool:
    rest = name.removeprefix(start)
    return not rest or (rest != name and rest[0] == "_" and len(rest) == 17)


def test_externrefs_of_wasm_bindgen(engine: str) -> None:
    """A module whose values are externrefs, and which has its host grow and fill its exported table while it
    starts."""
    wasm = fetch("@cf-wasm/png", "0.4.0", "dist/lib/png_bg.wasm")

    def start() -> None:
        table = made.exports["__wbindgen_externrefs"]
        first = table.grow(4, None)
        for i, value in enumerate((None, None, True, False)):
            table[first + i] = value

    def append(array: list[Any], index: int, value: object) -> None:
        assert index == len(array)
        array.append(value)

    made = Bindings(
        wasm,
        "./png_bg.js",
        {
            "__wbg_new_da52cf8fe3429cb2": dict,
            "__wbg_new_32b398fb48b6d94a": list,
            "__wbg_set_8a16b38e4805b298": append,
            "__wbg_set_d1cb61e9f39c870f": dict.__setitem__,
            "__wbindgen_cast_0000000000000001": lambda number: number,
            "__wbindgen_cast_0000000000000002": lambda address, size: made.text(address, size),
            "__wbindgen_init_externref_table": start,
        },
        engine,
    )
    e = made.exports
    e["__wbindgen_start"]()
    held = []

    def external(index: int) -> Any:
        value = e["__wbindgen_externrefs"][index]
        e["__externref_table_dealloc"](index)
        return value

    for _ in range(3):
        unset = 0xFFFFFF
        address, size, _error, failed = e.encode(
            *made.put(PIXELS), WIDTH, HEIGHT, 0, 0, 0, 0, 6, 8, unset, unset
        )
        assert not failed
        file = made.take(address, size)
        for data in (file, png(PIXELS, WIDTH, HEIGHT)):
            result, _error, failed = e.decode(*made.put(data))
            assert not failed
            image = external(result)
            assert bytes(map(int, image["image"])) == PIXELS
            assert (image["width"], image["height"]) == (WIDTH, HEIGHT)
        _result, error, failed = e.decode(*made.put(b"no picture"))
        assert failed and isinstance(external(error), str)
        del image
        made.guest.collect()
        held.append(len(made.guest.instance.space.objects))
    assert held == [held[0]] * 3  # the module keeps some, and always as many
    assert isinstance(e["__instance_terminated"].value, int)


def test_handles_of_wasm_bindgen(engine: str) -> None:
    """An older module, whose values are numbers: the handles of a table do."""
    wasm = fetch("@jsquash/png", "3.1.1", "codec/pkg/squoosh_png_bg.wasm")
    table = Hiwire("extern_realloc", engine=engine)

    def image(address: int, size: int, width: int, height: int) -> int:
        return table.new((made.take(address, size), width, height))

    made = Bindings(
        wasm,
        "wbg",
        {
            "__wbindgen_memory": lambda: table.new(made.guest.memory),
            "__wbg_buffer": lambda ref: table.new(table.get(ref)),
            "__wbg_newwithbyteoffsetandlength": lambda ref, start, count: table.new(
                table.get(ref).read(start & 0xFFFFFFFF, 2 * count)
            ),
            "__wbindgen_object_drop_ref": table.decref,
            "__wbg_newwithownedu8clampedarrayandsh": image,
        },
        engine,
    )
    e = made.exports
    for _ in range(3):
        out = e["__wbindgen_add_to_stack_pointer"](-16)
        e.encode(out, *made.put(PIXELS), WIDTH, HEIGHT, 8)
        address, size = struct.unpack("<ii", made.guest.memory.read(out & 0xFFFFFFFF, 8))
        e["__wbindgen_add_to_stack_pointer"](16)
        file = made.take(address, size)
        for data in (file, png(PIXELS, WIDTH, HEIGHT)):
            assert table.pop(e["decode"](*made.put(data))) == (PIXELS, WIDTH, HEIGHT)
        deep = e.decode_rgba16(*made.put(file))
        assert (e.imagedatargba16_width(deep), e.imagedatargba16_height(deep)) == (WIDTH, HEIGHT)
        words = table.pop(e.imagedatargba16_data(deep))
        assert bytes(words[1::2]) == PIXELS
        e["__wbg_imagedatargba16_free"](deep)
        assert list(map(table.get, table)) == [made.guest.memory]  # the module keeps that
    assert {"__wbindgen_malloc", "__wbindgen_free", "memory"} <= set(e) and e.memory is made.guest.memory
