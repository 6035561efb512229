"""Metrics of finished cells, measured from their kept models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lifegen.benchmark.contracts.registry import METRICS, Entry
from lifegen.benchmark.errors import InputError
from lifegen.benchmark.files import digest
from lifegen.benchmark.measuring.evaluator import own_metrics
from lifegen.benchmark.measuring.rows import Row
from lifegen.benchmark.reading.current import current_of
from lifegen.benchmark.reading.leaderboard import leaderboard
from lifegen.benchmark.running import kept_models
from lifegen.benchmark.running.kept_models import MeasuredLater, measure_kept_models
from lifegen.benchmark.store.cell_folder import StoredCell
from lifegen.benchmark.store.cell_writer import write_record
from lifegen.benchmark.store.lock import CellBusyError, locked
from lifegen.benchmark.store.store import Store

from .commands import lifegen

OF_SAMPLES = {entry.name for entry in own_metrics() if entry.facts["of_samples"] and not entry.facts["derived"]}


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose cell has all metrics and its model."""
    store = tmp_path_factory.mktemp("computed") / "store"
    lifegen("run", "-s", "split-digits:steps=3,class_order=[0,1,2]", "-m", "lifelong-vae:width=8", "--seeds", "0",
            "--keep-models", "--out", store)  # fmt: skip
    return store


@pytest.fixture
def store(computed: Path, tmp_path: Path) -> Store:
    return Store(shutil.copytree(computed, tmp_path / "store"))


def only(store: Store) -> StoredCell:
    (cell,) = store.cells()
    return cell


def rows_of(cell: StoredCell) -> list[dict[str, Any]]:
    return list(map(json.loads, cell.content("metrics.jsonl").splitlines()))


def change(store: Store, kept: Any = lambda row: True, **facts: Any) -> None:
    """Change the cell into one of an earlier lifegen. A fact that is None is dropped."""
    cell = only(store)
    lines = [line for line in cell.content("metrics.jsonl").splitlines(True) if kept(json.loads(line))]
    content = b"".join(lines)
    (cell.folder / "metrics.jsonl").write_bytes(content)
    facts = cell.record | facts | {"rows": len(lines), "bytes": len(content), "digest": digest(content)}
    write_record(cell.folder, {key: value for key, value in facts.items() if key != "seal" and value is not None})


def without(metrics: dict[str, int], names: set[str]) -> dict[str, int]:
    return {name: version for name, version in metrics.items() if name not in names}


def measured(store: Store) -> MeasuredLater:
    (one,) = measure_kept_models(store, Path(), "cpu")
    return one


def test_a_cell_of_before_samples_were_measured_gets_what_a_new_one_has(store):
    fresh = Store(shutil.copytree(store.path, store.path.with_name("fresh")))
    new = only(store)
    new_rows, facts, contents = rows_of(new), new.facts, new.record["contents"]
    last = [row for row in new_rows if row["interval"] == 2 and row["metric"] in OF_SAMPLES]
    replayed = {row["metric"] for row in last if row["metric"].endswith("_replayed")}
    assert replayed
    replayed_too = {name for name in OF_SAMPLES if name.endswith("_replayed")}
    numbers = {name: number for name, number in new.record["numbers"].items()
               if name not in OF_SAMPLES | {"coverage_forgetting"}}  # fmt: skip
    change(store, lambda row: row["metric"] not in OF_SAMPLES, samples=None, numbers=numbers,
           metrics=without(facts.metrics, OF_SAMPLES))  # fmt: skip
    old = only(store).content("metrics.jsonl")
    one = measured(store)
    assert set(one.metrics) == {row["metric"] for row in last} - replayed
    cell = only(store)
    content = cell.content("metrics.jsonl")
    assert content.startswith(old)
    assert [json.loads(line) for line in content[len(old) :].splitlines()] == [
        row for row in last if row["metric"] not in replayed
    ]
    assert cell.record["contents"] == contents == {name: digest(cell.kept(name)) for name in contents}
    assert cell.facts.samples.floor == facts.samples.floor
    assert cell.facts.samples.classes == []
    (current,) = current_of(store).cells
    expected = {name: number for name, number in facts.numbers.items() if name not in replayed_too}
    del expected["coverage_forgetting"]  # it needs the coverage after each interval
    assert expected.items() <= current.numbers.items()
    assert current.numbers.get("coverage_forgetting") is None
    assert leaderboard(store).scores.notes == leaderboard(fresh).scores.notes
    assert set(cell.record["measured_later"][0]["metrics"]) == OF_SAMPLES - replayed_too
    assert measured(store) == MeasuredLater(cell.name)


def test_a_new_version_replaces_rows_of_the_end_and_leaves_those_of_intervals(store):
    facts = only(store).facts
    old = {"prd_f8": 1, "coverage": 0}
    metrics = facts.metrics | old
    newest = {row["metric"]: row["value"] for row in rows_of(only(store)) if row["metric"] == "prd_f8"}
    change(store, metrics=metrics)
    assert measured(store).metrics == ("prd_f8",)
    cell = only(store)
    assert cell.facts.metrics["prd_f8"] == facts.metrics["prd_f8"]
    assert cell.facts.metrics["coverage"] == 0
    assert [row["value"] for row in rows_of(cell) if row["metric"] == "prd_f8"] == list(newest.values())


def test_a_metric_that_needs_the_run_stays_absent(store, monkeypatch):
    facts = dict(METRICS["coverage"].facts) | {"of_samples": False}
    asked = {
        "of_the_optimizer": lambda m: [Row(len(m.strategy.optimizer.state))],
        "of_codes_before": lambda m: [Row(len(m.previous_codes))],
        "of_the_drift": lambda m: [Row(0.0 if m.drift is None else 1.0)],
        "of_the_model": lambda m: [Row(m.bound("test", "1").value), Row(m.interval, "1")],
    }
    extra = [Entry("metric", name, 1, target, None, facts) for name, target in asked.items()]
    monkeypatch.setattr(kept_models, "own_metrics", lambda: [*own_metrics(), *extra])
    values = [row for row in rows_of(only(store)) if (row["metric"], row["distribution"]) == ("negative_elbo", "1")]
    assert measured(store).metrics == ("of_the_model",)
    found = [row for row in rows_of(only(store)) if row["metric"].startswith("of_the_")]
    assert [(row["interval"], row["distribution"], row["value"]) for row in found] == [
        (2, None, values[-1]["value"]),
        (2, "1", 2.0),
    ]


def test_a_cell_of_other_images_stays_as_it_is(store):
    change(store, metrics=without(only(store).facts.metrics, {"prd_f8"}), data="0" * 32)
    before = {file.name: file.read_bytes() for file in only(store).folder.iterdir()}
    assert measured(store).left_out == "the scenario's images aren't those that the cell was computed with"
    assert {file.name: file.read_bytes() for file in only(store).folder.iterdir()} == before


def test_samples_that_another_expert_has_seen_are_not_measured(store):
    samples = only(store).record["samples"] | {"digest": "0" * 32}
    change(store, samples=samples, metrics=without(only(store).facts.metrics, {"prd_f8", "iwae_nll"}))
    change(store, lambda row: row["metric"] not in ("prd_f8", "iwae_nll"))
    assert measured(store).metrics == ("iwae_nll",)


def test_without_a_model_the_command_says_what_keeps_one(store):
    (only(store).folder / "model.safetensors").unlink()
    change(store, metrics=without(only(store).facts.metrics, {"prd_f8"}))
    done = lifegen("measure", store.path)
    assert done.returncode == 1
    assert done.stdout == "0 cells have new metrics or pictures\n"
    assert "left out: 1 cell: it has kept no model; `lifegen run --keep-models` does" in done.stderr


def test_the_command_names_what_it_has_measured(store):
    change(store, metrics=without(only(store).facts.metrics, {"prd_f8"}))
    done = lifegen("measure", store.path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{only(store).name}: prd_f8\n1 cell has new metrics or pictures\n"


@pytest.mark.parametrize("damaged", [False, True])
def test_pictures_that_an_earlier_lifegen_did_not_draw_are_drawn(store, damaged):
    file = only(store).folder / "pictures.npz"
    whole = dict(np.load(file))
    without_some = {name: images for name, images in whole.items() if name != "deviations"}
    assert len(without_some) == len(whole) - 1
    np.savez_compressed(file, **without_some)
    change(store, pictures=None, contents=only(store).record["contents"] | {file.name: digest(file.read_bytes())})
    if damaged:
        file.write_bytes(file.read_bytes()[:100])
    rows = rows_of(only(store))
    done = lifegen("measure", store.path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{only(store).name}: pictures\n1 cell has new metrics or pictures\n"
    drawn = dict(np.load(only(store).folder / "pictures.npz"))
    # of models that weren't kept
    lost = {"samples_over_intervals", "replayed_over_intervals"} if damaged else set()
    assert drawn.keys() == whole.keys() - lost
    assert all(np.array_equal(images, whole[name]) for name, images in drawn.items())
    assert rows_of(only(store)) == rows
    assert only(store).kept(file.name)  # its seal fits
    assert lifegen("measure", store.path).stdout == "0 cells have new metrics or pictures\n"


def test_a_cell_that_somebody_writes_is_left_alone(store):
    cell = only(store)
    rows = rows_of(cell)
    with locked(store.path / "cells" / f"{cell.name}.lock"), pytest.raises(CellBusyError):
        store.amend(cell, [], {})
    with pytest.raises(InputError, match="isn't a finished cell"):
        store.amend(StoredCell(cell.found.with_name(cell.name.replace("--0--", "--1--"))), [], {})
    assert cell.record
    change(store, noted="meanwhile")  # as if it had been computed anew
    with pytest.raises(CellBusyError):
        store.amend(cell, [], {})
    assert rows_of(only(store)) == rows
    assert [entry.name for entry in (store.path / "cells").iterdir() if entry.is_dir()] == [cell.name]


def test_a_copy_that_was_never_finished_is_removed_by_the_next_one(store):
    cell = only(store)
    rows = rows_of(cell)
    left = Path(shutil.copytree(cell.folder, f"{cell.folder}.0123456789abcdef"))
    (left / "run.json").unlink()
    store.amend(cell, rows, {})
    assert [entry.name for entry in (store.path / "cells").iterdir() if entry.is_dir()] == [cell.name]
    # Killed between its two renames: the copy is the only one.
    only(store).folder.rename(left)
    assert only(store).status == "done"
    store.amend(only(store), rows, {"noted": True})
    assert (only(store).found.name, only(store).record["noted"]) == (cell.name, True)


def test_a_newer_version_is_never_replaced_by_an_older_one(store):
    change(store, metrics=only(store).facts.metrics | {"prd_f8": 99})
    assert measured(store) == MeasuredLater(only(store).name)
    assert only(store).facts.metrics["prd_f8"] == 99


def test_cells_whose_samples_cannot_be_measured_lack_nothing(tmp_path):
    lifegen("run", "-s", "split-digits:steps=2,class_order=[0,1],sample_images=none", "-m", "naive:width=8",
            "--seeds", "0", "--out", tmp_path / "store")  # fmt: skip
    done = lifegen("measure", tmp_path / "store")
    assert (done.returncode, done.stdout, done.stderr) == (0, "0 cells have new metrics or pictures\n", "")


def test_whatever_a_metric_raises_costs_one_cell_its_new_metrics(store, monkeypatch):
    def broken(m: Any) -> list[Row]:
        raise OSError("boom")

    extra = Entry("metric", "broken", 1, broken, None, dict(METRICS["coverage"].facts))
    monkeypatch.setattr(kept_models, "own_metrics", lambda: [*own_metrics(), extra])
    before = only(store).record
    assert measured(store).left_out == "OSError: boom"
    assert only(store).record == before


def test_a_device_that_does_not_exist_is_one_line(store):
    done = lifegen("measure", store.path, "--device", "gpu")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "lifegen: --device 'gpu' isn't auto, cpu, cuda or cuda:N\n"
