"""The commands, machines and versions behind a store."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace

import pytest

from lifegen.benchmark.cells.cell import Cell
from lifegen.benchmark.cells.spec import parse_spec
from lifegen.benchmark.cells.suite import cells_of, named_variants
from lifegen.benchmark.discovery.index import describe
from lifegen.benchmark.reading.provenance import circumstances, commands, suite_of, versions
from lifegen.benchmark.store.store import Store

from .stores import shown


def put(store: Store, cells: list[Cell], **facts: object) -> None:
    """Finished cells without measurements."""
    for cell in cells:
        record = cell.record() | {"metrics": {}, "visits": [["0"]], "device": "cpu", **facts}
        with store.writing(cell.name, record) as writer:
            writer.finish()


@pytest.fixture
def store(tmp_path) -> Store:
    return Store.create(tmp_path / "mine")


def again(command: str) -> set[str]:
    """The cells that a command line makes."""
    words = shlex.split(command)
    assert words[:2] == ["lifegen", "run"]
    options: dict[str, list[str]] = {}
    for name, value in zip(words[2::2], words[3::2], strict=True):
        options.setdefault(name, []).append(value)
    assert options.pop("--out") == ["runs/mine"]
    seeds = []
    for part in options.get("--seeds", [""])[0].split(","):
        first, _, last = part.partition("-")
        seeds += range(int(first), int(last or first) + 1) if first else []
    found = cells_of(options.get("--suite", [None])[0], options.get("-s", ()), options.get("-m", ()), seeds or None)
    return {cell.name for cell in found}


def test_a_whole_suite_is_one_command(store):
    put(store, cells_of("quick"))
    assert suite_of(store) == "quick"
    assert commands(store) == ["lifegen run --suite quick --out runs/mine"]


def test_the_commands_make_exactly_the_cells(store):
    extra = [
        *cells_of(scenarios=["split-digits:steps=20"], methods=["naive", "ewc:strength=3"], seeds=[0, 1, 2, 5]),
        *cells_of(scenarios=["split-digits:steps=20"], methods=["batch"], seeds=[4]),
    ]
    put(store, cells_of("quick"))
    put(store, extra)
    assert suite_of(store) is None
    lines = commands(store)
    assert lines[0] == "lifegen run --suite quick --out runs/mine"
    made = [again(line) for line in lines]
    assert set.union(*made) == {cell.name for cell in store.cells()}
    assert sum(map(len, made)) == len(store.cells())
    assert "--seeds 0-2,5" in " ".join(lines)


def test_precision_is_in_the_command(store):
    cell = Cell(parse_spec("scenario", "split-digits"), parse_spec("method", "naive"), 0, "bfloat16")
    put(store, [cell])
    assert "--precision bfloat16" in commands(store)[0]


def test_a_merged_store_has_a_row_per_machine(store):
    first, second, third = cells_of("quick", seeds=[0])[:3]
    put(store, [first, second], machine={"cores": 2}, versions={"torch": "2.11"})
    put(store, [third], machine={"cores": 64}, versions={"torch": "2.15"})
    found = circumstances(store).set_index("cores")
    assert list(found["cells"]) == [2, 1]
    assert list(found["torch"]) == ["2.11", "2.15"]
    assert (found["hours"] >= 0).all()


def test_versions_are_those_of_the_numbers(store):
    cells = cells_of("quick", seeds=[0])
    put(store, cells)
    found = versions(store)
    assert found["method lifelong-vae"] == next(
        one.method.version for one in cells if one.method.name == "lifelong-vae"
    )
    assert found["the protocol"] == 1


def test_a_suites_variants_are_known_and_recorded(store):
    assert "lifelong-vae:mutual_information=none" in named_variants()
    (cell, *_) = cells_of("ewc-grid")
    put(store, [cell])
    assert json.loads((store.cell(cell.name).folder / "run.json").read_text())["suite"] == "ewc-grid"
    (by_hand, *_) = cells_of(scenarios=["split-digits"], methods=["ewc:strength=1"], seeds=[0])
    assert by_hand.name == cell.name  # where it comes from doesn't change what it is
    assert by_hand.suite is None


def test_a_record_that_lost_its_facts_is_damaged_and_nothing_breaks(store):
    put(store, cells_of("quick", seeds=[0]))
    broken = store.cells()[0]
    (broken.folder / "run.json").write_text('{"status": "done"}')
    store = Store(store.path)
    assert store.cell(broken.name).status == "damaged"
    assert broken.name in shown(store)[1]
    assert len(commands(store)) == 1
    assert circumstances(store)["cells"].sum() == 3


def test_a_method_that_can_not_be_imported_stops_nobody_else(store, monkeypatch):
    known = describe("method")
    broken = replace(known["ewc"], facts={}, error="ImportError: no such thing")
    monkeypatch.setattr("lifegen.benchmark.cells.suite.describe", lambda kind: known | {"ewc": broken})
    named_variants.cache_clear()
    put(store, cells_of("quick"))
    assert commands(store) == ["lifegen run --suite quick --out runs/mine"]
    assert "lifelong-vae:mutual_information=none" in named_variants()
    assert not any(label.startswith("ewc") for label in named_variants())
    assert "ewc" not in {cell.method.name for cell in cells_of("split-mnist", seeds=[0])}
    named_variants.cache_clear()
