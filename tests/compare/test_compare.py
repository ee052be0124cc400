"""`hiwire compare`: its report, its files, and what it says of bad input.

It is long because most of its tests look at parts of one report, which takes a while to make.
"""

from __future__ import annotations

import copy
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from hiwire_py import cache, engines
from hiwire_py.cli import main
from hiwire_py.compare.findings import compare_reports, recommend
from hiwire_py.compare.measure import Settings, Statistic, Times, repeat
from hiwire_py.compare.plots import draw
from hiwire_py.compare.report import markdown, sheets
from hiwire_py.compare.run import compare, find_engines
from hiwire_py.compare.subject import GUEST_OPERATIONS, PYTHON_OPERATIONS
from hiwire_py.compare.variants import DEFAULT_VARIANTS, find_variants
from hiwire_py.sources import shipped

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "compare_variants.py"
SCHEMA = json.loads((ROOT / "docs" / "compare.schema.json").read_text(encoding="utf-8"))
HERE = [info.name for info in engines() if info.available]

Report = dict[str, Any]


def validate(report: Report) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(report)


@pytest.fixture(scope="session")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Path]:
    """The report, the folder and the seconds of one quick run of the script, as a user starts it."""
    folder = tmp_path_factory.mktemp("compare")
    words = [
        "--quick",
        "--sizes",
        "100,20000",
        "--json",
        "r.json",
        "--markdown",
        "r.md",
        "--plots",
        "pictures",
    ]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words], cwd=folder, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    (folder / "stdout").write_text(done.stdout, encoding="utf-8")
    return json.loads((folder / "r.json").read_text(encoding="utf-8")), folder


def row(report: Report, variant: str, engine: str) -> Report:
    (found,) = [r for r in report["rows"] if (r["variant"], r["engine"]) == (variant, engine)]
    assert isinstance(found, dict)
    return found


# ---- a quick run


def test_quick_run_is_valid(quick: tuple[Report, Path]) -> None:
    """The JSON is as its schema says, complete, and has a row for each pair, here or not."""
    report, _ = quick
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    validate(report)
    assert report["complete"]
    pairs = [(r["variant"], r["engine"]) for r in report["rows"]]
    assert pairs == [(v, info.name) for v in DEFAULT_VARIANTS for info in engines()]


def test_variants_of_readme(quick: tuple[Report, Path]) -> None:
    """Every variant that README names in its section is compared, and the other way round."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.split("\n## Variants\n")[1].split("\n## ")[0]
    named = set(
        re.findall(r"`(?:Hiwire\(\")?(static_pages(?::\d+)?|\w+_realloc|linked_allocator)(?:\"\))?`", section)
    )
    report, _ = quick
    assert named >= {"static_pages", "extern_realloc", "libc_realloc", "linked_allocator"}
    assert {v["name"].partition(":")[0] for v in report["variants"]} == {n.partition(":")[0] for n in named}


@pytest.mark.parametrize("engine", HERE)
@pytest.mark.parametrize("variant", ["static_pages", "extern_realloc"])
def test_everything_is_measured(quick: tuple[Report, Path], variant: str, engine: str) -> None:
    """Every measurement that the issue of a comparison asks for is there, with its number of runs."""
    report, _ = quick
    found = row(report, variant, engine)
    assert (found["status"], found["problems"]) == ("measured", {})
    names = {f"python.{n}" for n in PYTHON_OPERATIONS} | {f"guest.{n}" for n in GUEST_OPERATIONS}
    names |= {f"fragmentation.{n}" for n in ("in_order", "at_random", "refill")}
    names |= {"growth.100", "growth.20000"}
    names |= {f"startup.{step}" for step in ("load", "lower", "compile", "instantiate")}
    assert set(found["statistics"]) == names
    rounds = report["command"]["settings"]["rounds"]
    for name, value in found["statistics"].items():
        assert 0 < value["low"] <= value["median"] <= value["high"]
        # A step of growth that would take too long in a round, on a busy machine, is left out there.
        assert value["runs"] == rounds or (name.startswith("growth.") and value["runs"] < rounds)
    assert found["pages"]["before"] == {"static_pages": 5, "extern_realloc": 1}[variant]
    assert found["bytes_per_ref"]["20000"] == found["pages"]["20000"] * 65536 / 20000


def test_capacity(quick: tuple[Report, Path]) -> None:
    """A table of fixed size is filled to its end, and what happens there is told; others are not filled."""
    report, _ = quick
    for engine in HERE:
        fixed, growing = (row(report, v, engine)["capacity"] for v in ("static_pages", "extern_realloc"))
        assert fixed["full"] and fixed["refs"] == 65535
        assert "TableFullError" in fixed["then"] and "after one decref the next new succeeds" in fixed["then"]
        assert not growing["full"] and growing["refs"] > 65535


def test_deduplication(quick: tuple[Report, Path]) -> None:
    """How much slower it is than new, and that calls of the host are why."""
    report, _ = quick
    guest = [r for r in report["deduplicate"] if r["from"] == "guest" and r["key"] == "new"]
    assert [r["engine"] for r in guest] == HERE
    for r in guest:
        assert r["low"] <= r["ratio"] <= r["high"]
        assert r["ratio"] > 2 and r["explained"] > 0.3


def test_engine_that_is_not_here(quick: tuple[Report, Path]) -> None:
    """It has rows, with the reason and the remedy."""
    report, _ = quick
    for info in engines():
        if not info.available:
            found = row(report, "static_pages", info.name)
            assert found["status"] == "impossible"
            assert info.reason in found["reason"]


def test_files_of_quick_run(quick: tuple[Report, Path]) -> None:
    """Markdown shows every table and picture, the terminal every title."""
    report, folder = quick
    text, screen = (
        (folder / "r.md").read_text(encoding="utf-8"),
        (folder / "stdout").read_text(encoding="utf-8"),
    )
    for sheet in sheets(report):
        assert f"## {sheet.title}\n" in text
        assert sheet.title in screen
    assert all(" | ".join(advice.values()) in text for advice in report["recommendation"])
    pictures = re.findall(r"^!\[.+\]\((.+)\)$", text, re.MULTILINE)
    assert [Path(p).name for p in pictures] == ["growth.png", "operations.png", "room.png", "deduplicate.png"]
    for picture in pictures:
        data = (folder / picture).read_bytes()
        assert data.startswith(b"\x89PNG")
        assert int.from_bytes(data[16:20], "big") == 800, "as wide as a column of README"
        assert len(data) < 60_000


def test_full_settings_ask_for_the_promised_curve() -> None:
    """Without options the curve goes from 10^2 to 10^7."""
    assert Settings().sizes == tuple(10**n for n in range(2, 8))


# ---- variants


def test_without_a_compiler() -> None:
    """Variants that must be built have a row with the reason; the others are measured."""
    report = measure("static_pages", "libc_realloc", toolchain="none")
    validate(report)
    assert row(report, "static_pages", HERE[0])["status"] == "measured"
    assert "--toolchain none" in row(report, "libc_realloc", HERE[0])["reason"]
    assert "not built" in markdown(report)


def test_build_flags() -> None:
    """A variant built here exports what the package's exports, and imports what its options say."""
    from c_support import compiler

    compiler()  # says what is missing, and fails in CI
    found = find_variants(["static_pages:3", "extern_realloc", "linked_allocator"], None)
    small, shipped_one, linked = (v.facts() for v in found)
    assert sorted(small["exports"]) == sorted(shipped_one["exports"])
    assert set(shipped_one["imports"]) - set(linked["imports"]) == {"env.hiwire_realloc"}
    assert found[0].most_refs == 3 * 1024 - 1


def test_builds_are_kept(cache_home: Path) -> None:
    """What was built once is read from the cache, until `hiwire cache clear` removes it."""
    from c_support import compiler

    compiler()
    (built,) = find_variants(["static_pages:2"], None)
    (kept,) = cache.names(cache.VARIANTS)
    cache.store(cache.VARIANTS, kept, b"kept")
    assert find_variants(["static_pages:2"], None) == [replace(built, wasm=b"kept")]
    cache.clear()
    assert find_variants(["static_pages:2"], None) == [built]


def test_each_variant_and_engine_once() -> None:
    """What is named twice, in one spelling or two, is compared once, where it was named first."""
    found = find_variants(["static_pages:64", "extern_realloc", "static_pages", "static_pages:064"], "none")
    assert [variant.name for variant in found] == ["static_pages", "extern_realloc"]
    assert [info.name for info in find_engines(["wasmtime", "native", "wasmtime"])] == ["wasmtime", "native"]


def measure(
    *variants: str, toolchain: str | None = None, progress: Any = None, sizes: tuple[int, ...] = (50,)
) -> Report:
    """A comparison that measures next to nothing."""
    settings = Settings(2, 0.0005, sizes, 20, 50, 50, 60.0, 100, 0.1)
    silent = lambda done, total, what: None  # noqa: E731
    return compare(
        find_variants(variants, toolchain), find_engines(HERE[:1]), settings, toolchain, progress or silent
    )


def test_table_of_one_page() -> None:
    """A table smaller than the sizes asked for gives what fits, and where it ended."""
    from c_support import compiler

    compiler()
    report = measure("static_pages:1", sizes=(100, 5000))
    validate(report)
    found = row(report, "static_pages:1", HERE[0])
    assert found["problems"] == {}
    assert found["growth_stopped"] == "full at 1,023 refs"
    assert set(found["pages"]) == {"before", "100", "1023"}


def test_a_module_by_its_path(tmp_path: Path) -> None:
    """Any module built with hiwire can be compared."""
    path = tmp_path / "mine.wasm"
    path.write_bytes(shipped("static_pages"))
    report = measure(str(path))
    validate(report)
    assert row(report, str(path), HERE[0])["status"] == "measured"
    assert all(all(advice.values()) for advice in recommend(report))


def test_progress_never_goes_back() -> None:
    """The work done grows and stays below the work to do."""
    seen: list[tuple[float, float]] = []
    measure("static_pages", progress=lambda done, total, what: seen.append((done, total)))
    assert len(seen) > 10
    assert seen == sorted(seen)
    assert all(done < total for done, total in seen)


def test_interrupted_between_measurements() -> None:
    """Ctrl-C leaves what was measured: fewer runs, valid, and said in the recommendation."""
    calls = 0

    def stop(done: float, total: float, what: str) -> None:
        nonlocal calls
        calls += 1
        if calls == 8:
            raise KeyboardInterrupt

    report = measure("static_pages", progress=stop)
    validate(report)
    assert not report["complete"]
    assert row(report, "static_pages", HERE[0])["statistics"]["python.new"]["runs"] == 1
    assert "the run was interrupted" in markdown(report)


def interrupted_run(folder: Path, seconds: float) -> Any:
    """The report of a long run that SIGINT ends ``seconds`` after its beginning."""
    words = ["--variants", "static_pages,extern_realloc", "--sizes", "1000", "--json", "r.json"]
    (folder / "tmp").mkdir(parents=True)
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), *words],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder / "tmp")},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # shells ignore it in the background
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    # The modules are in files once the run has begun.
    until = time.monotonic() + 60
    while len(list(folder.glob("tmp/hiwire-compare-*/*/*.wasm"))) < 2 and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err == "hiwire: error: interrupted; what was measured until then is above\n"
    assert "written: r.json" in out
    return json.loads((folder / "r.json").read_text(encoding="utf-8"))


def test_ctrl_c(tmp_path: Path) -> None:
    """SIGINT in the middle of a long run: files are written, the exit code is 130, and no traceback is
    shown. On a busy machine it takes longer until something is measured."""
    for seconds in (1, 5, 25):
        report = interrupted_run(tmp_path / str(seconds), seconds)
        validate(report)
        assert not report["complete"]
        if any(r["status"] == "measured" for r in report["rows"]):
            return
    pytest.fail("nothing was measured")


# ---- numbers


def test_repeat_divides_by_what_was_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run is the time divided by the operations of all batches but the first, which warms up."""
    batches: list[int] = []
    now = 0

    def cycle(count: int) -> Any:
        nonlocal now
        batches.append(count)
        now += 10_000 * count
        yield "name", 1000 * count

    monkeypatch.setattr("hiwire_py.compare.measure.clock", lambda: now)
    times = Times(list)
    repeat(cycle, 50, 0.002, times)
    assert times == {"name": [1000.0]}
    assert batches == [20, 50, 50, 50, 50]


def test_statistics() -> None:
    """Median, range and number of runs; ranges that touch overlap."""
    one = Statistic.of([3.0, 1.0, 2.0])
    assert one == Statistic(2.0, 1.0, 3.0, 3)
    assert one.overlaps(Statistic(4.0, 3.0, 5.0, 2))
    assert not one.overlaps(Statistic(4.0, 3.1, 5.0, 2))
    assert one.overlaps(Statistic(4.0, 3.5, 5.0, 2), margin=0.1)
    assert not one.overlaps(Statistic(4.0, 3.7, 5.0, 2), margin=0.1)


def test_baseline(quick: tuple[Report, Path]) -> None:
    """A number that changed beyond noise is marked, one within its range or nearly so is not."""
    now = copy.deepcopy(quick[0])

    def statistic(report: Report, name: str) -> dict[str, float]:
        found: dict[str, float] = row(report, "static_pages", HERE[0])["statistics"][name]
        return found

    statistic(now, "python.new").update(median=100.0, low=90.0, high=110.0)
    before = copy.deepcopy(now)
    assert compare_reports(before, now)["changes"] == []
    statistic(before, "python.new").update(median=1000.0, low=900.0, high=1100.0)
    near = statistic(before, "python.get")
    near["low"] = near["median"] = near["high"] = near["high"] * 1.01
    before["variants"][1]["module_bytes"] += 1
    found = compare_reports(before, now)
    assert {(c["variant"], c["name"]) for c in found["changes"]} >= {
        ("static_pages", "module_bytes"),
        ("static_pages", "python.new"),
    }
    assert not [c for c in found["changes"] if c["name"] == "python.get"]
    assert found["apart"] == 2
    (change,) = [c["change"] for c in found["changes"] if c["name"] == "python.new"]
    assert change == pytest.approx(-0.9)
    now = {**now, "baseline": found}
    validate(now)
    assert "Changed beyond noise" in markdown(now)


def test_recommendation_is_computed(quick: tuple[Report, Path]) -> None:
    """Other numbers, another text: it names the faster engine and the sizes of the modules measured."""
    report = copy.deepcopy(quick[0])
    fixed, growing = (len(shipped(name)) for name in ("static_pages", "extern_realloc"))
    advice = {a["for"]: a for a in report["recommendation"]}
    assert {"up to 65,535 refs", "calls from Python", "objects known to be new"} <= advice.keys()
    assert advice["up to 65,535 refs"]["take"] == "static_pages"
    assert f"is {fixed:,} bytes long, against {growing:,}" in advice["up to 65,535 refs"]["because"]
    for r in report["rows"]:
        for name, statistic in r["statistics"].items():
            if name.startswith("growth.") and r["variant"] == "static_pages":
                statistic.update(median=1.0, low=1.0, high=1.0)
    (variant,) = [v for v in report["variants"] if v["name"] == "static_pages"]
    variant["module_bytes"] -= 1000
    (text,) = [a["because"] for a in recommend(report) if a["take"] == "static_pages"]
    assert f"is {fixed - 1000:,} bytes long, against {growing:,}" in text
    assert re.search(r"growing to [\d,]+ refs takes 1 against \d+ ns on", text)


def test_pictures_of_a_report_without_numbers(tmp_path: Path, quick: tuple[Report, Path]) -> None:
    """Nothing was measured: no picture, no error."""
    report = copy.deepcopy(quick[0])
    for r in report["rows"]:
        r.update(status="impossible", reason="for a test", statistics={}, pages={}, capacity={})
    report["deduplicate"] = []
    assert draw(report, tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


# ---- bad input


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--engines", "wasmtime,v8"], "unknown engine 'v8'"),
        (["--engines", ","], "list"),
        (["--variants", "static_pages,nonsense"], "unknown variant 'nonsense'"),
        (["--variants", "static_pages:0"], "from 1 to 32768 pages"),
        (["--variants", "static_pages:32769"], "from 1 to 32768 pages"),
        (["--variants", "missing.wasm"], "missing.wasm"),
        (["--variants", "no.wasm"], "no.wasm is no hiwire module"),
        (
            ["--variants", "companion.wasm"],
            "companion.wasm is no hiwire module: it does not export hiwire_new",
        ),
        (["--sizes", "100,many"], "'many' is not a valid integer"),
        (["--sizes", "0"], "0 is not in the range 1<=x<=10000000"),
        (["--sizes", "10000001"], "10000001 is not in the range 1<=x<=10000000"),
        (["--toolchain", "gcc"], "gcc"),
        (["--json", "nowhere/r.json"], "nowhere: no file can be written there"),
        (["--markdown", "."], "directory"),
        (["--plots", "no.wasm"], "no.wasm"),
        (["--baseline", "missing.json"], "missing.json"),
        (["--baseline", "no.wasm"], "no.wasm is no report"),
        (["--baseline", "list.json"], "list.json is no report"),
        (["--baseline", "other.json"], "format 99"),
        (["--baseline", "poor.json"], "poor.json is no report"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else None,
)
def test_bad_input(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An error in one line, exit code 2, and nothing is measured or written."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "no.wasm").write_bytes(b"no module")
    (tmp_path / "companion.wasm").write_bytes(shipped("guest-lru"))
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "other.json").write_text('{"format": 99, "rows": []}')
    (tmp_path / "poor.json").write_text('{"format": 2, "rows": []}')
    before = sorted(tmp_path.iterdir())
    assert main(["compare", "--quick", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("hiwire: error: ") and err.count("\n") == 1
    assert said in err
    assert sorted(tmp_path.iterdir()) == before


def test_engines_are_those_of_the_package() -> None:
    """Nothing is named here that `engines` does not name."""
    assert [info.name for info in find_engines(None)] == [info.name for info in engines()]


# ---- docs/variants.md


def test_docs_show_a_run_of_the_script() -> None:
    """docs/variants.md is what the script made of docs/variants.json, with pictures; README leads there."""
    report = json.loads((ROOT / "docs" / "variants.json").read_text(encoding="utf-8"))
    validate(report)
    assert report["complete"]
    assert report["command"]["settings"]["sizes"] == list(Settings().sizes)
    text = (ROOT / "docs" / "variants.md").read_text(encoding="utf-8")
    pictures = dict(re.findall(r"^!\[(.+)\]\((.+)\)$", text, re.MULTILINE))
    assert len(pictures) == 4
    assert all((ROOT / "docs" / path).is_file() for path in pictures.values())
    assert text == markdown(report, pictures)
    assert "](docs/variants.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
