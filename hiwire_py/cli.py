"""The command `hiwire`: see ``hiwire --help``.

Each command returns its exit code. What goes wrong comes to `run` as an exception and leaves it as one line
on the standard error.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from . import __version__, cache
from .compare.build import COMPILERS
from .compare.variants import DEFAULT_VARIANTS
from .cycles import OBJECTS, ROUNDS, plot, run_cycles
from .demo import choose_sources, count_words
from .describe import describe
from .display import console, counting, show_cycles, show_demo, show_description, show_examination
from .doctor import examine
from .engines import ENGINE_NAMES, engines
from .engines.native.compile import compile_native
from .errors import HiwireError
from .passes import lower, needs_lowering
from .runner import ArgumentError, run_export, show_value
from .sources import VARIANTS
from .toolchain import TOOLCHAINS, build

__all__ = ["command", "run"]

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130

_EXISTING = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)
_engine = click.option(
    "--engine", type=click.Choice(ENGINE_NAMES), help="Run on this engine, not on the default one."
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def run(args: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        args: its words; None: those of this process.

    Returns:
        The exit code: 0 when all went well, 1 when what was asked could not be done, 2 when it was asked
            wrongly, 130
        after Ctrl-C.
    """
    try:
        code = command.main(args, prog_name="hiwire", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else OK
    except click.UsageError as error:
        place = error.ctx.command_path if error.ctx is not None else "hiwire"
        return _complain(f"{error.format_message()} (see {place} --help)", USAGE)
    except click.ClickException as error:
        return _complain(error.format_message(), error.exit_code)
    except ArgumentError as error:
        return _complain(str(error), USAGE)
    except BrokenPipeError:
        # Whoever read the output has seen enough. Python must not try to flush the rest at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _complain(f"{where}{error.strerror or error}", USAGE)
    except (HiwireError, MemoryError) as error:
        return _complain(str(error) or type(error).__name__, FAILED)
    except (click.Abort, KeyboardInterrupt):
        return _complain("interrupted", INTERRUPTED)


def _complain(message: str, code: int) -> int:
    print(f"hiwire: error: {message}", file=sys.stderr)
    return code


class _Commands(click.Group):
    """Takes ``demo cycles`` for one name, beside ``demo [FILE]...``; a file of that name is ./cycles."""

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if " ".join(args[:2]) in self.commands:
            args = [" ".join(args[:2]), *args[2:]]
        return super().resolve_command(context, args)


@click.group(
    cls=_Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, message="hiwire_py %(version)s")
@click.pass_context
def command(context: click.Context) -> None:
    """C code, compiled to WebAssembly, holds Python objects.

    \b
    Examples:
        hiwire doctor                what works on this machine
        hiwire demo                  count the words of real text in C
        hiwire demo cycles           collect cycles through a guest's memory
        hiwire COMMAND --help        examples for each command

    \b
    Exit codes:
        0    all went well
        1    what was asked could not be done, or came out wrong
        2    wrong usage: an unknown option, a bad argument, an unreadable file
        130  interrupted
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@command.command("doctor")
@_json
def doctor_command(as_json: bool) -> int:
    """Show what is here, what is missing, and how to get it.

    The exit code is 0 if at least one engine works and the modules of the package are whole, else 1.
    Toolchains may be missing: only hiwire build needs one.

    \b
    Examples:
        hiwire doctor
        hiwire doctor --json
    """
    report = examine()
    if as_json:
        _print_json(report.as_json())
    else:
        show_examination(report)
    return OK if report.ok else FAILED


@command.command("demo")
@click.argument("files", nargs=-1, type=_EXISTING, metavar="[FILE]...")
@_engine
@click.option("--variant", type=click.Choice(VARIANTS), default="extern_realloc", show_default=True,
              help="The variant of hiwire; static_pages has room for 65,535 handles.")  # fmt: skip
@click.option(
    "--top", type=click.IntRange(min=0), default=20, show_default=True, help="Show this many words."
)
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), default=10.0, show_default=True,
              help="Without FILE: take as much text as that lasts, if there is so much.")  # fmt: skip
@click.option("--all-engines", is_flag=True, help="On every engine that is here, one after the other.")
@_json
def demo_command(
    files: tuple[Path, ...],
    engine: str | None,
    variant: str,
    top: int,
    seconds: float,
    all_engines: bool,
    as_json: bool,
) -> int:
    """Count the words of text files in C; the words are Python strings.

    Without FILE it reads the sources of the running Python's standard library. Files are taken for UTF-8;
    what is not becomes U+FFFD. The counts are compared with collections.Counter: on any difference the exit
    code is 1.

    \b
    Examples:
        hiwire demo
        hiwire demo --engine wasmtime --seconds 3
        hiwire demo --all-engines --seconds 2
        hiwire demo --top 5 README.md CHANGELOG.md
        hiwire demo --json | python -m json.tool
    """
    if all_engines and engine is not None:
        raise click.UsageError("--engine and --all-engines exclude each other")
    names = [info.name for info in engines() if info.available] if all_engines else [engine]
    results = []
    for name in names:
        with counting("counting words" + (f" on {name}" if all_engines else "")) as progress:
            chosen = files or choose_sources(seconds, engine=name, variant=variant)
            results.append(count_words(chosen, engine=name, variant=variant, top=top, progress=progress))
    if as_json:
        found = [result.as_json() for result in results]
        _print_json({"runs": found} if all_engines else found[0])
    else:
        show_demo(results)
    return OK if all(result.ok for result in results) else FAILED


@command.command("demo cycles")
@_engine
@click.option(
    "--rounds", type=click.IntRange(min=1), default=ROUNDS, show_default=True, help="How many rounds."
)
@click.option(
    "--objects", type=click.IntRange(min=1), default=OBJECTS, show_default=True, help="Objects in each round."
)
@click.option(
    "--png", type=click.Path(dir_okay=False, path_type=Path), help="Draw the plot into this file too."
)
@_json
def cycles_command(engine: str | None, rounds: int, objects: int, png: Path | None, as_json: bool) -> int:
    """Collect cycles that pass through a guest's memory, beside the same without collection.

    The guest has ten pages of memory. In each round objects are made in it whose callbacks capture their own
    wrappers, and dropped. The exit code is 1 if the memory was full although cycles were collected.

    \b
    Examples:
        hiwire demo cycles
        hiwire demo cycles --engine wasmtime --rounds 20
        hiwire demo cycles --png cycles.png
    """
    result = run_cycles(engine=engine, rounds=rounds, objects=objects)
    if as_json:
        _print_json(result.as_json())
    else:
        show_cycles(result)
    if png is not None:
        try:
            plot(result, png)
        except ImportError:
            raise click.UsageError("--png needs matplotlib: pip install 'hiwire_py[plots]'") from None
    return OK if result.ok else FAILED


@command.command("build")
@click.option("--out", type=_FOLDER, default=Path("build/wasm"), show_default=True, help="Where files go.")
@click.option("--toolchain", type=click.Choice(TOOLCHAINS), help="Use this one or none.")
@click.option("--static-pages", type=click.IntRange(1, 32768), default=64, show_default=True,
              help="Room of the variant static_pages, in pages of 1,024 handles.")  # fmt: skip
@click.option("--source", type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="The checkout with the C sources; default: the one this package is in.")  # fmt: skip
@click.option("--verbose", "-v", is_flag=True, help="Show what the toolchain writes.")
def build_command(
    out: Path, toolchain: str | None, static_pages: int, source: Path | None, verbose: bool
) -> int:
    """Build the WebAssembly modules from their C sources.

    It takes the first toolchain that works: docker, podman, buildah, clang, zig; and says why not those
    before it. A container gives the bytes that the package brings; a compiler of this machine gives modules
    that do the same.

    \b
    Examples:
        hiwire build
        hiwire build --toolchain zig --out /tmp/wasm
        hiwire build --static-pages 128
    """

    def log(line: str) -> None:
        if verbose:
            click.echo(line)

    screen = console()
    if screen.is_terminal and not verbose:
        with screen.status("building"):
            report = build(out, toolchain=toolchain, static_pages=static_pages, source=source, log=log)
    else:
        report = build(out, toolchain=toolchain, static_pages=static_pages, source=source, log=log)
    click.echo(report.describe())
    return OK


def _words(context: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """Words with commas between them."""
    if value is None:
        return None
    words = tuple(word.strip() for word in value.split(","))
    if not all(words):
        raise click.BadParameter("a list of words with commas between them is wanted", context, param)
    return words


def _sizes(context: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """Numbers of handles, ascending."""
    words = _words(context, param, value)
    for word in words or ():
        if not re.fullmatch("[0-9]{1,8}", word) or not 1 <= int(word) <= 10_000_000:
            raise click.BadParameter(f"{word!r} is no number from 1 to 10000000", context, param)
    return None if words is None else tuple(sorted(set(map(int, words))))


@command.command("compare")
@click.option("--engines", callback=_words, metavar="NAME,...", help="Only these.  [default: all]")
@click.option(
    "--variants",
    callback=_words,
    metavar="NAME,...",
    default=",".join(DEFAULT_VARIANTS),
    show_default=True,
    help="Also static_pages:N for any N, and the path of any module built with hiwire.",
)
@click.option(
    "--sizes",
    callback=_sizes,
    metavar="N,...",
    help="Of the growth curve, in refs.  [default: 10^2 to 10^7, or 10^5]",
)
@click.option("--quick", is_flag=True, help="Half a minute at most, with wider ranges.")
@click.option(
    "--json", "json_file", type=_FILE, help="Write the report there, as docs/compare.schema.json says."
)
@click.option("--markdown", "markdown_file", type=_FILE, help="Write it there for people.")
@click.option("--plots", type=_FOLDER, help="Draw pictures into this folder (needs the extra plots).")
@click.option("--toolchain", type=click.Choice(COMPILERS),
              help="Build all variants with it; none: build nothing.")  # fmt: skip
@click.option("--baseline", type=_FILE, help="Mark what changed since this report of --json.")
def compare_command(
    engines: tuple[str, ...] | None,
    variants: tuple[str, ...],
    sizes: tuple[int, ...] | None,
    quick: bool,
    json_file: Path | None,
    markdown_file: Path | None,
    plots: Path | None,
    toolchain: str | None,
    baseline: Path | None,
) -> int:
    """Measure the variants of hiwire on the engines: size, speed, growth, room, start.

    Ctrl-C ends the measuring: what was measured until then is shown and written, and the exit code is 130.

    \b
    Examples:
        hiwire compare --quick
        hiwire compare --engines wasmtime --variants static_pages:8,extern_realloc
        hiwire compare --json report.json --markdown report.md --plots pictures
        hiwire compare --baseline report.json
    """
    from . import compare
    from .compare.table import progress_bar, show

    outputs = compare.Outputs(json_file, markdown_file, plots)
    settings = compare.Settings.quick() if quick else compare.Settings()
    if sizes is not None:
        settings = replace(settings, sizes=sizes)
    earlier = None if baseline is None else compare.read_report(baseline)
    compare.find_engines(engines)
    outputs.check()
    screen = console()
    wanted = compare.request(variants, engines, settings, toolchain)
    with progress_bar(screen) as progress:
        report = compare.compare(wanted, progress)
    if earlier is not None:
        report["baseline"] = compare.compare_reports(earlier, report)
    written = outputs.write(report)
    show(report, screen)
    for path in written:
        click.echo(f"written: {path}")
    if not report["complete"]:
        return _complain("interrupted; what was measured until then is above", INTERRUPTED)
    return OK if any(row["status"] == "measured" for row in report["rows"]) else FAILED


@command.command("run", context_settings={"ignore_unknown_options": True})
@click.argument("module", type=_EXISTING)
@click.argument("export")
@click.argument("args", nargs=-1, metavar="[ARG]...", type=click.UNPROCESSED)
@_engine
@click.option("--variant", type=click.Choice(VARIANTS), default="extern_realloc", show_default=True,
              help="Of the handle table, if the module imports one.")  # fmt: skip
def run_command(module: Path, export: str, args: tuple[str, ...], engine: str | None, variant: str) -> int:
    """Call one exported function of MODULE and print its results.

    Each ARG is read as its parameter's type says: an integer, a number, or for externref a Python literal.
    Text that is no literal stands for itself; null is the null externref. Results are printed one a line in
    the same form.

    \b
    Examples:
        hiwire run add.wasm add 1 -2
        hiwire run echo.wasm echo "{'a': [1, 2]}"
        hiwire run --engine wasmtime hiwire-static_pages.wasm hiwire_new hello
    """
    for value in run_export(module.read_bytes(), export, args, engine=engine, variant=variant):
        click.echo(show_value(value))
    return OK


@command.command("inspect")
@click.argument("module", type=_EXISTING)
@_json
def inspect_command(module: Path, as_json: bool) -> int:
    """Show what MODULE imports and exports, and whether it must be lowered for engines without externref.

    \b
    Examples:
        hiwire inspect guest.wasm
        hiwire inspect --json guest.wasm
    """
    found = describe(module.read_bytes())
    if as_json:
        _print_json(found.as_json())
    else:
        show_description(str(module), found)
    return OK


@command.command("compile")
@click.argument("module", type=_EXISTING)
@click.option("--output", "-o", type=click.Path(file_okay=False, path_type=Path), metavar="DIRECTORY",
              help="Put the library there, not into the cache; see HIWIRE_NATIVE_PATH.")  # fmt: skip
def compile_command(module: Path, output: Path | None) -> int:
    """Compile MODULE for the engine native, and print the path of its library.

    Nothing is done if the cache has it. Guests are also compiled when they are first used; this does it
    ahead. HIWIRE_NATIVE_PATH names directories with libraries for machines without a compiler. It takes a C
    compiler and wasm2c: see hiwire doctor.

    \b
    Examples:
        hiwire compile guest.wasm
        hiwire compile guest.wasm --output libraries
    """
    click.echo(compile_native(module, output))
    return OK


@command.command("cache")
@click.argument("action", type=click.Choice(["clear"]), required=False)
def cache_command(action: str | None) -> int:
    """Show where compiled modules are kept and how many; with clear, remove them.

    Programs that run go on. Modules are compiled again when they are needed. HIWIRE_CACHE is how many MiB may
    be kept, 1024 if it is not set; with 0 nothing is kept and nothing that was is used.

    \b
    Examples:
        hiwire cache
        hiwire cache clear
        HIWIRE_CACHE=0 hiwire run guest.wasm main
    """
    if action is None:
        click.echo(cache.describe())
    else:
        gone = cache.clear()
        click.echo(
            f"{cache.root()}: {gone.files:,} compiled modules removed, {gone.size / (1 << 20):,.1f} MiB"
        )
    return OK


@command.command("lower")
@click.argument("source", metavar="IN", type=_EXISTING)
@click.argument("target", metavar="OUT", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--in-place", is_flag=True, help="Allow OUT to be the same file as IN.")
def lower_command(source: Path, target: Path, in_place: bool) -> int:
    """Write the lowered form of the module IN to OUT: externrefs become 32-bit ids.

    Guests are lowered by themselves where an engine needs it; this shows what the engine gets. A module that
    does not need it is copied.

    \b
    Examples:
        hiwire lower guest.wasm guest-lowered.wasm
        hiwire lower --in-place guest.wasm guest.wasm
    """
    if target.exists() and target.samefile(source) and not in_place:
        raise click.UsageError(f"{target} is IN itself; to replace it, add --in-place")
    wasm = source.read_bytes()
    wanted = needs_lowering(wasm)
    lowered = lower(wasm)
    target.write_bytes(lowered)
    note = f"{len(wasm):,} -> {len(lowered):,} bytes" if wanted else "copied: it does not need lowering"
    click.echo(f"{target}: {note}")
    return OK


def _print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
