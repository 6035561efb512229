"""run.json as it is read: the stored examples of both schemas to the letter, and any damage without a traceback."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lifegen.benchmark import load, provenance
from lifegen.benchmark.errors import InputError
from lifegen.benchmark.reading.compare import compare
from lifegen.benchmark.reading.current import current_of
from lifegen.benchmark.reading.leaderboard import leaderboard
from lifegen.benchmark.reading.overview import overview
from lifegen.benchmark.reading.scores import scores_of
from lifegen.benchmark.reading.table import table
from lifegen.benchmark.reporting.publish import publish
from lifegen.benchmark.reporting.report import report
from lifegen.benchmark.reporting.tables import FORMATS, print_board, print_comparison
from lifegen.benchmark.store.plans import asked_for, find_cell, planned
from lifegen.benchmark.store.record import DoneRecord, Status, read_record
from lifegen.benchmark.store.store import Store

from .stores import write
from .test_faults import EXAMPLES, example

# What was stored is read as before


@pytest.mark.parametrize("schema", [1, 2])
def test_an_example_says_to_the_letter_what_it_said_when_it_was_stored(schema, tmp_path, monkeypatch):
    monkeypatch.setattr("lifegen.benchmark.reading.current.installed_versions", dict)  # whatever is raised later
    store = Store.open(example(schema, tmp_path / "s"))
    golden = json.loads((EXAMPLES / f"schema-{schema}-golden.json").read_text())
    current, scores = current_of(store), scores_of(store)
    items = {
        one.name: [one.status, one.reason, one.work.scenario, one.work.method, one.left]
        for one in overview(current).items
    }
    assert items == golden["items"]
    assert {cell.name: cell.numbers for cell in current.cells} == golden["numbers"]
    assert {cell.name: cell.facts.work_seconds for cell in current.cells} == golden["seconds"]
    assert provenance.versions(current) == golden["versions"]
    circumstances = json.loads(provenance.circumstances(current).to_json(orient="records"))
    assert circumstances == golden["circumstances"]
    assert [line.partition(" --out ")[0] for line in provenance.commands(current)] == golden["commands"]
    assert dict(scores.references) == golden["references"]
    assert {method: list(uses) for method, uses in scores.uses.items()} == golden["uses"]
    assert dict(scores.left_out) == golden["left_out"]
    assert load(store.path).to_csv(index=False) == golden["table"]


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*/cells/*/run.json")), ids=lambda file: file.parent.name)
def test_a_typed_record_keeps_every_key(file):
    content = json.loads(file.read_text())
    record = read_record(content)
    assert record.model_dump(by_alias=True, exclude_unset=True) == content
    assert isinstance(record, DoneRecord) == (content["status"] == "done")


def test_every_status_has_a_sentence_and_is_its_own_text():
    assert all(re.fullmatch(r"[A-Z].*\.", status.sentence) for status in Status)
    assert f"{Status.TO_DO}" == "to do"
    assert json.dumps(Status.DONE) == '"done"'


# Damage


NAME = "split-x--naive--0--0123456789ab"
"""A cell's folder, named as a run names it; its record has no hash, so that damage isn't noticed by that alone."""


@cache
def whole() -> dict[str, bytes]:
    """The files of a store of two methods, by their place in it."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(Path(folder, "s"))
        write(store, "naive", 0, 50, reference="lower", name=NAME)
        write(store, "good", 0, 30)
        write(store, "good", 1, 31)
        record = {key: value for key, value in store.cell(NAME).record.items() if key != "seal"}
        (store.cell(NAME).folder / "run.json").write_text(json.dumps(record))
        (store.path / "plans").mkdir()
        (store.path / "plans" / "a.json").write_text(json.dumps({"asked": "2026", "cells": {NAME: record}}))
        files = (file for file in store.path.rglob("*") if file.is_file() and file.name != "lock")
        return {file.relative_to(store.path).as_posix(): file.read_bytes() for file in files}


@pytest.fixture
def store(tmp_path) -> Store:
    for name, content in whole().items():
        file = tmp_path / "s" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return Store(tmp_path / "s")


def read_all(store: Store, folder: Path | None = None) -> list[str]:
    """Read a store in every way that a command does; returns the refusals. Anything but a result or an InputError of
    one line is raised.

    Args:
        store: which.
        folder: gets a report and a published folder, which take seconds; None for neither.
    """

    def each() -> Iterator[Callable[[], object]]:
        yield lambda: Store.open(store.path)
        yield lambda: [(cell.judgement, cell.intervals_done(), cell.last_negative_elbo()) for cell in store.cells()]
        yield lambda: (view := overview(store), view.counts, view.hours_left, view.bytes_now, view.bytes_left)
        yield lambda: [leaderboard(store), print_board(leaderboard(store))]
        yield lambda: [make(leaderboard(store)) for make in FORMATS.values()]
        yield lambda: leaderboard(store, across=True)
        yield lambda: print_comparison(compare(store.path, "naive", "good"))
        yield lambda: load(store.path)
        yield lambda: (planned(store), asked_for(store))
        yield lambda: find_cell(store, "split-x")
        yield lambda: (provenance.suite_of(store), provenance.commands(store), provenance.files(store))
        yield lambda: (provenance.circumstances(store), provenance.versions(store))
        if folder:
            yield lambda: report(store, folder / "report.html")
            yield lambda: publish(store, folder / "published")

    return [text for read in each() if (text := refusal(read))]


def refusal(read: Callable[[], object]) -> str:
    """The text of the InputError that is raised, or nothing."""
    try:
        with warnings.catch_warnings(action="ignore"), redirect_stdout(io.StringIO()):
            read()
    except InputError as refused:
        text = str(refused)
    else:
        text = ""
    assert text.isprintable()
    return text


def others_are_read(store: Store) -> None:
    """The cells that aren't damaged have the numbers that they had."""
    with warnings.catch_warnings(action="ignore"):
        numbers = scores_of(store).numbers
    values = numbers[(numbers["metric"] == "negative_elbo") & (numbers["method"] == "good")]["value"]
    assert values.tolist() == [30, 31]


ODD_VALUES: tuple[Any, ...] = (None, True, -1, 1.5, "x\n", [], {}, 10**30)


def changed(part: Any) -> Iterator[tuple[str, Any]]:
    """Copies of a record in which one value, at any depth, is gone or another, each with its place."""
    if isinstance(part, dict):
        for key, value in part.items():
            rest = {other: one for other, one in part.items() if other != key}
            yield key, rest
            for odd in ODD_VALUES:
                yield key, rest | {key: odd}
            for place, other in changed(value):
                yield f"{key}.{place}", rest | {key: other}
    elif isinstance(part, list) and part:
        for odd in ODD_VALUES:
            yield "0", [odd, *part[1:]]
        for place, other in changed(part[0]):
            yield f"0.{place}", [other, *part[1:]]


READS = (overview, scores_of, table, provenance.versions, provenance.circumstances, provenance.commands)


def test_no_value_of_a_record_breaks_a_reader(store, tmp_path):
    """Each value of a finished cell's run.json in turn is gone or another one."""
    file = store.path / "cells" / NAME / "run.json"
    record = json.loads(file.read_text())
    record |= {"suite": "mine", "plug-in metrics": {"m": {"name": "p", "version": "1", "facts": {"better": "lower"}}}}
    record |= {"machine": {"cores": 2}, "versions": {"torch": "2"}, "metric_files": {}, "files": {}}
    variants = list(changed(record))
    assert len(variants) > 300
    for place, other in variants:
        file.write_text(json.dumps(other))
        status = store.cell(NAME).status
        assert status in ("done", "damaged", "incompatible", "failed"), place
        reads = READS if status == "done" else READS[:2]  # it is left out of the others by that
        texts = list(filter(None, (refusal(partial(read, current_of(store))) for read in reads)))
        assert not texts or (status == "done" and all("metrics.jsonl can't be read" in text for text in texts)), place
    others_are_read(store)


CONTENTS = [b"", b"{}", b"[]", b"3", b"null", b'"x"', b"{", b"\xff\xfe", b"\0", b"[" * 100_000,
            b'{"status": "done"}', b'{"scenario": null, "method": null, "seed": null}',
            b'{"scenario": [], "method": 3, "seed": "x"}']  # fmt: skip


@pytest.mark.parametrize("content", CONTENTS, ids=lambda content: content[:20].decode("latin-1"))
@pytest.mark.parametrize("name", ["run.json", "plans"])
def test_what_is_no_record_at_all_breaks_no_reader(store, tmp_path, name, content):
    file = store.path / "plans" / "a.json" if name == "plans" else store.path / "cells" / NAME / "run.json"
    file.write_bytes(content)
    read_all(store)
    others_are_read(store)
    if name == "run.json":
        assert store.cell(NAME).status == "damaged"
    else:
        assert len(overview(store).unreadable) == 1


def pickled(file: Path) -> None:
    np.savez(file, samples=np.array([{"a": 1}], dtype=object), allow_pickle=True)


def pipe(file: Path) -> None:
    """Put a named pipe in a file's place: to open it waits until somebody writes, which is never."""
    file.unlink()
    os.mkfifo(file)


@pytest.mark.parametrize(
    ("damage", "status"),
    [
        (lambda cell: (cell / "run.json").unlink(), "interrupted"),  # killed between mkdir and the record
        (lambda cell: [file.unlink() for file in cell.iterdir()], "interrupted"),  # a live cell in its first moment
        (lambda cell: ((cell / "run.json").unlink(), (cell / "run.json").mkdir()), "damaged"),
        (lambda cell: pipe(cell / "run.json"), "damaged"),
        (lambda cell: pipe(cell / "metrics.jsonl"), "damaged"),
        (lambda cell: pipe(cell / "pictures.npz"), "done"),
        (lambda cell: (cell / "metrics.jsonl").unlink(), "damaged"),
        (lambda cell: (cell / "metrics.jsonl").write_bytes(b""), "damaged"),
        (lambda cell: (cell / "metrics.jsonl").write_bytes((cell / "metrics.jsonl").read_bytes()[:-9]), "damaged"),
        (lambda cell: ((cell / "metrics.jsonl").unlink(), (cell / "metrics.jsonl").mkdir()), "damaged"),
        (lambda cell: (cell / "pictures.npz").unlink(), "done"),
        (lambda cell: (cell / "pictures.npz").write_bytes((cell / "pictures.npz").read_bytes()[:-900]), "done"),
        (lambda cell: (cell / "pictures.npz").write_bytes(b""), "done"),
        (lambda cell: (cell / "pictures.npz").write_bytes(b"not an npz" * 99), "done"),
        (lambda cell: (cell / "pictures.npz").write_bytes(pickle.dumps({"a": 1})), "done"),
        (lambda cell: pickled(cell / "pictures.npz"), "done"),
        (lambda cell: ((cell / "pictures.npz").unlink(), (cell / "pictures.npz").mkdir()), "done"),
        (lambda cell: (shutil.rmtree(cell), cell.write_text("a file")), None),
        (lambda cell: (shutil.rmtree(cell), cell.symlink_to("nowhere")), None),
        (lambda cell: cell.rename(cell.with_name("notes")), "interrupted"),
    ],
)  # fmt: skip
def test_damaged_files_break_no_command(store, tmp_path, damage, status):
    damage(store.path / "cells" / NAME)
    assert {cell.name: cell.status for cell in store.cells()}.get(NAME, status) == status
    read_all(store)
    others_are_read(store)


def test_a_cell_without_a_record_or_with_a_damaged_one_leaves_report_and_publish_whole(store, tmp_path, few_figures):
    """And all else that writes or draws: one store with every kind of damage."""
    for i, content in enumerate(CONTENTS):
        cell = store.path / "cells" / NAME.replace("--0--", f"--{i + 10}--")
        cell.mkdir()
        (cell / "run.json").write_bytes(content)
    (store.path / "cells" / NAME.replace("--0--", "--5--")).mkdir()
    (store.path / "cells" / "foreign").mkdir()
    (store.path / "cells" / "file").write_text("")
    (store.path / "cells" / NAME / "pictures.npz").write_bytes(b"torn")
    refusals = read_all(store, tmp_path)
    assert len(refusals) == 3, refusals  # across scenarios; and the cell isn't one of methods that are installed
    assert "upper reference" in refusals[0]
    assert len(list((tmp_path / "published" / "cells").iterdir())) == 3  # the whole ones
    text = (tmp_path / "report.html").read_text()
    assert "(can’t be read)" in text
    others_are_read(store)


@pytest.mark.parametrize("what", ["cells", "plans", "run.json", "lifegen.json", "folder"])
def test_what_may_not_be_read_is_named(store, tmp_path, monkeypatch, what):
    """Permissions, as another user's store has them. Root may read everything, so the answers are made up here."""
    places = {"plans": "plans/a.json", "run.json": f"cells/{NAME}/run.json", "folder": f"cells/{NAME}"}
    place = places.get(what, what)
    forbidden = str(store.path / place)

    def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *arguments: Any, **options: Any) -> Any:
            name = str(path)
            if name.startswith(f"{forbidden}/") if what == "folder" else name == forbidden:
                raise PermissionError(13, "Permission denied", name)
            return function(path, *arguments, **options)

        return call

    monkeypatch.setattr("os.scandir", guarded(os.scandir))
    monkeypatch.setattr("os.open", guarded(os.open))
    for method in ("stat", "iterdir"):
        monkeypatch.setattr(Path, method, guarded(getattr(Path, method)))
    refusals = read_all(store)
    if what in ("cells", "lifegen.json"):
        assert any("can't be read: Permission denied" in text for text in refusals)
    else:
        others_are_read(store)
    if what in ("run.json", "folder"):
        assert store.cell(NAME).judgement == ("unreadable", "run.json can't be read now: Permission denied")


@pytest.mark.parametrize("change", [shutil.rmtree, lambda cells: (shutil.rmtree(cells), cells.write_text("x"))])
def test_a_store_without_its_folder_of_cells_is_empty_or_says_so(store, tmp_path, change):
    change(store.path / "cells")
    refusals = read_all(store, tmp_path)
    assert any("has no finished cell" in text or "cells can't be read" in text for text in refusals)


def test_rows_that_no_worker_has_written_are_named(store, tmp_path):
    """The record says that they are whole."""
    cell = store.path / "cells" / NAME
    record = json.loads((cell / "run.json").read_text())
    rows = [json.loads(line) for line in (cell / "metrics.jsonl").read_text().splitlines()]
    for place, other in changed(rows):
        content = "".join(json.dumps(row) + "\n" for row in other)
        (cell / "metrics.jsonl").write_text(content)
        made = {"bytes": len(content), "rows": len(other), "metrics": {"forgetting": 0}}  # its numbers are made anew
        (cell / "run.json").write_text(json.dumps({k: v for k, v in record.items() if k != "digest"} | made))
        text = refusal(lambda: (leaderboard(scores_of(store)), load(store.path)))
        assert not text or re.search(r"metrics.jsonl can't be read .*; delete .* and run the command again", text), (
            place
        )
    (cell / "metrics.jsonl").write_text("null\n")
    (cell / "run.json").write_text(json.dumps(record | {"bytes": 5, "rows": 1, "digest": None, "numbers": None}))
    read_all(store)
