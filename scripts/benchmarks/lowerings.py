"""What lowering costs beside compiling: on a module made for it, and on modules that others made."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hiwire_py import lower, needs_lowering
from hiwire_py.errors import UnsupportedModuleError
from hiwire_py.passes.externref import lower_module
from hiwire_py.wasm.module import Module

from .foreign import NotMeasured, fetch
from .rows import Row, compile_c, of_pairs, seconds

# Name and version of a package of npm, and the module in it: 10 to 32 MB, by four compilers.
FOREIGN = (
    ("pyodide", "314.0.7", "pyodide.asm.wasm"),
    ("esbuild-wasm", "0.28.2", "esbuild.wasm"),
    ("onnxruntime-web", "1.30.0", "dist/ort-wasm-simd-threaded.wasm"),
    ("@ffmpeg/core", "0.12.10", "dist/esm/ffmpeg-core.wasm"),
)


def lowering() -> Iterator[Row]:
    """Lowering, against Cranelift's compile time, on a module made to have tables and calls of externrefs."""
    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory, "large.c")
        source.write_text(large_program(800))
        wasm = compile_c([source], "-O2", "-Wno-everything")
    size = len(wasm) / 1024
    engine = one_core()
    import wasmtime

    pairs = [
        (
            seconds(lambda: lower(wasm)) / size * 1e6,
            seconds(lambda: wasmtime.Module(engine, wasm)) / size * 1e6,
        )
        for _ in range(5)
    ]
    name = f"lowering / compiling with Cranelift on one core, a made module of {size:,.0f} KB"
    yield of_pairs(name, "0.1", pairs, "us per KB")


def foreign_modules() -> Iterator[Row]:
    """Lowering, against Cranelift's compile time, on large modules of others, whether they need it or not."""
    for package, version, member in FOREIGN:
        name = f"lowering / compiling with Cranelift on one core, {package} {version}"
        try:
            yield against_compiling(name, fetch(package, version, member).read_bytes())
        except (NotMeasured, UnsupportedModuleError) as e:
            yield Row(name, "0.1", note=str(e))


def against_compiling(name: str, wasm: bytes) -> Row:
    """One row; the module is lowered three times, and compiled once, which takes a minute for some."""
    import wasmtime

    def lowered() -> float:
        return seconds(lambda: lower_module(Module.parse(wasm)))

    lowered()
    engine = one_core()
    try:
        compiled = seconds(lambda: wasmtime.Module(engine, wasm))
    except wasmtime.WasmtimeError as e:
        raise NotMeasured(f"wasmtime does not take it: {str(e).splitlines()[0]}") from None
    row = of_pairs(name, "0.1", [(lowered(), compiled) for _ in range(3)], "s")
    needs = "needs it" if needs_lowering(wasm) else "does not need it"
    row.note = f"{len(wasm) / 1e6:.1f} MB, which {needs}"
    return row


def one_core() -> Any:
    """An engine of the plain wasmtime package that compiles on one core, as lowering does."""
    import wasmtime

    config = wasmtime.Config()
    config.parallel_compilation = False
    return wasmtime.Engine(config)


def large_program(functions: int, seed: int = 1) -> str:
    """C code with loops, switches, calls and arithmetic; in every twentieth function a table and host
    functions."""
    r = random.Random(seed)
    out = [
        "typedef __externref_t ref; static ref things[0]; typedef double (*function)(double, int);",
        "extern function functions[8]; int numbers[4096]; double values[4096];",
        "ref make(int); int use(ref);",
    ]
    out += [f"double f{i}(double, int);" for i in range(functions)]
    for i in range(functions):
        a, b = r.randrange(functions), r.randrange(functions)
        k = [r.randrange(1, 9999) for _ in range(6)]
        kinds = (
            f"sum += values[v & {k[0]}];",
            f"sum *= 1.{k[1]}; numbers[i & 4095] ^= {k[2]};",
            f"sum -= f{a}(sum, v);",
            "numbers[v & 4095] += (int)sum;",
            "sum += functions[v & 7](sum, i);",
        )
        cases = "".join(f"case {n}: {r.choice(kinds)} break;" for n in range(5))
        refs = "__builtin_wasm_table_set(things, n, make(n));"
        refs += " sum += use(__builtin_wasm_table_get(things, n + 1));"
        out.append(
            f'__attribute__((export_name("f{i}"))) double f{i}(double x, int n) {{ double sum = x * {k[3]}.5;'
            f" for (int i = 0; i < n; i++) {{ int v = numbers[(i * {k[4]}) & 4095];"
            f" switch (v % 7) {{ {cases} default: sum /= 3.0 + v; }}"
            f" unsigned long long q = (unsigned long long)v * {k[5]}ull; q ^= q >> {r.randrange(1, 60)};"
            f" values[q & 4095] = sum; if (q & {k[0]}) sum += f{b}(sum * 0.5, v - 1); }}"
            f" {refs if i % 20 == 0 else ''} return sum; }}"
        )
    out.append(f"function functions[8] = {{{', '.join(f'f{r.randrange(functions)}' for _ in range(8))}}};")
    return "\n".join(out)
