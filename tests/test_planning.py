"""Plans, how far a store is, workers that share the work, computing a cell again, and what a bug report needs."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lifegen.benchmark import load_model
from lifegen.benchmark.cells.cell import Cell, cell_of
from lifegen.benchmark.cells.spec import parse_spec
from lifegen.benchmark.cells.suite import cells_of
from lifegen.benchmark.errors import InputError
from lifegen.benchmark.reading.leaderboard import leaderboard
from lifegen.benchmark.reading.overview import overview
from lifegen.benchmark.reading.scores import scores_of
from lifegen.benchmark.running.devices import chosen_gpus
from lifegen.benchmark.running.executor import Execution
from lifegen.benchmark.running.local import missing, run
from lifegen.benchmark.running.rerun import compare_cells
from lifegen.benchmark.running.sharing import Sharing
from lifegen.benchmark.running.worker import run_cell
from lifegen.benchmark.store.cell_folder import StoredCell
from lifegen.benchmark.store.cell_writer import write_record
from lifegen.benchmark.store.lock import CellDoneError, CellUnreadableError
from lifegen.benchmark.store.plans import asked_for, find_cell, kept_models, planned, save_plan
from lifegen.benchmark.store.store import Store

from .bad_methods import bad
from .commands import LIFEGEN, lifegen
from .test_run import TINY, tiny_cells
from .waiting import HANG


def of(store: Store) -> dict[str, str]:
    return {item.name: item.status for item in overview(store).items}


def finished(store: Store, cell: Cell, seconds: float) -> StoredCell:
    """A cell that says it took so long."""
    with store.writing(cell.name, cell.record()) as writer:
        writer.note(visits=[["a"]], device="cpu", metrics={})
        row = {"interval": 0, "distribution": None, "step": None, "metric": "negative_elbo", "value": 1.0}
        writer.append([row])
        writer.spent(seconds)
        writer.finish()
    return store.cell(cell.name)


def test_a_record_says_which_cell_it_is_of():
    for cell in tiny_cells("naive", "growing-mixture", "ewc", seeds=(0, 3)):
        again = cell_of(json.loads(json.dumps(cell.record())))
        assert (again.name, again.record()) == (cell.name, cell.record())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hash": "0" * 12}, "it can't be computed here"),
        ({"protocol": 7, "hash": "0" * 12}, "made with the protocol 7, .*; the protocol 1, .* are installed"),
        ({"seed": None}, "isn't a cell's"),
        ({"method": {"name": "gone", "config": {}, "version": 1}}, "unknown method 'gone'"),
        ({"method": {"name": "naive", "config": {"x": 1}, "version": 1}}, "unknown option"),
        ({"method": 3}, "isn't a cell's"),
    ],
)
def test_a_record_of_what_is_not_installed_is_refused(change, message):
    (cell,) = tiny_cells("naive")
    with pytest.raises(InputError, match=message):
        cell_of(cell.record() | change)


def test_what_was_asked_for_is_known_to_every_process(tmp_path):
    store = Store.create(tmp_path / "s")
    cells = tiny_cells("naive", "batch", seeds=(0, 1))
    save_plan(store, cells[:3], "lifegen run ...")
    save_plan(store, cells[2:], "lifegen run ...")
    save_plan(store, cells[2:], "lifegen run ...")
    assert len(list((store.path / "plans").iterdir())) == 2
    assert {cell.name for cell in asked_for(store)} == {cell.name for cell in cells}
    assert of(store) == {cell.name: "to do" for cell in cells}
    (store.path / "plans" / "torn.json").write_text('{"cells": {"a"')
    asked, unreadable = planned(store)
    assert len(asked) == 4
    assert len(unreadable) == 1
    assert "torn.json" in unreadable[0]
    with pytest.raises(InputError, match="has no plan"):
        asked_for(Store.create(tmp_path / "empty"))


SUITE = f"""
summary = "Mine"
budget = "seconds"
scenarios = ["{TINY}"]
methods = ["lifelong-vae:width=8", "ewc:width=8"]
seeds = [0, 1]
smoke = {{}}
"""


@pytest.mark.parametrize("order", ["suite hand", "hand suite", "hand suite hand", "suite", "hand", "planned hand"])
def test_a_variant_is_ranked_if_a_suite_names_it_whichever_command_came_first(tmp_path, order):
    (tmp_path / "mine.toml").write_text(SUITE)
    store = Store.create(tmp_path / "s")
    by_suite = cells_of(str(tmp_path / "mine.toml"))
    by_hand = cells_of(scenarios=[TINY], methods=["lifelong-vae:width=8", "ewc:width=8"], seeds=[0, 1])
    assert {cell.name for cell in by_suite} == {cell.name for cell in by_hand}
    for which in order.split():
        cells = by_hand if which == "hand" else by_suite
        save_plan(store, cells, f"lifegen run ({which})")
        for cell in [] if which == "planned" else missing(cells, store)[0]:
            finished(store, cell, 1)
    scores = scores_of(store)
    assert scores.custom == (set() if order != "hand" else {"lifelong-vae:width=8", "ewc:width=8"})
    assert leaderboard(scores).table["rank"].notna().any() == (order != "hand")


def record(label: str, precision: str, suite: str | None) -> dict[str, object]:
    part = {"name": "x", "label": label, "version": 1, "config": {}, "track": "t"}
    return {"scenario": part | {"label": "s"}, "method": part, "seed": 0, "visits": [["a"]], "protocol": 1,
            "metrics": {}, "precision": precision, "device": "cpu", "suite": suite}  # fmt: skip


def test_a_methods_label_alone_decides_whether_a_suite_names_it(tmp_path):
    """Not how a table writes it: with a precision, or with a space in an option."""
    store = Store.create(tmp_path / "s")
    for precision, suite in (("float32", "mine.toml"), ("tf32", None)):
        with store.writing(precision, record("x:note=a b", precision, suite)) as writer:
            row = {"interval": 0, "distribution": None, "step": None, "metric": "negative_elbo", "value": 1.0}
            writer.append([row])
            writer.finish()
    scores = scores_of(store)
    assert set(scores.numbers["method"]) == {"x:note=a b", "x:note=a b (tf32)"}
    assert not scores.custom


def test_models_are_kept_of_the_cells_for_which_a_plan_asks(tmp_path):
    store = Store.create(tmp_path / "s")
    first, second, third = tiny_cells("naive", seeds=(0, 1, 2))
    save_plan(store, [first, second], "", keep_models=True)
    save_plan(store, [second, third], "")
    assert kept_models(store) == {first.name, second.name}
    some = Execution(tmp_path, keep_models=kept_models(store))
    assert [some.keeps_model_of(cell) for cell in (first, second, third)] == [True, True, False]
    assert [some.of(cell).keep_models for cell in (first, third)] == [True, False]
    assert [Execution(tmp_path, keep_models=every).keeps_model_of(third) for every in (True, False)] == [True, False]


def test_cells_are_found_by_any_part_that_tells_them_apart(tmp_path):
    store = Store.create(tmp_path / "s")
    cells = tiny_cells("naive", "batch", seeds=(0, 1))
    save_plan(store, cells, "")
    for cell in cells:
        name = cell.name.rpartition("--")[2]
        for key in (cell.name, name, name[:8], cell.name[:-6]):
            assert find_cell(store, key).name == cell.name
    with pytest.raises(InputError, match="matches 2 cells"):
        find_cell(store, "split-digits--naive")
    with pytest.raises(InputError, match="unknown cell"):
        find_cell(store, "split-fish")


def test_every_status_is_told_with_its_reason(tmp_path):
    store = Store.create(tmp_path / "s")
    cells = tiny_cells("naive", seeds=range(7))
    save_plan(store, cells, "")
    done, failed, interrupted, damaged, newer, running, todo = cells
    finished(store, done, 5)
    with store.writing(failed.name, failed.record()) as writer:
        writer.fail("ValueError: no")
    with store.writing(interrupted.name, interrupted.record()) as writer:
        writer.note(visits=[["a"], ["b"]])
    finished(store, damaged, 5)
    (store.cell(damaged.name).folder / "metrics.jsonl").write_text("torn")
    finished(store, newer, 5)
    file = store.cell(newer.name).folder / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"schema": 99}))
    (store.path / "cells" / "notes").mkdir()
    with store.writing(running.name, running.record()) as writer:
        writer.note(visits=[["a"], ["b"]])
        found = {item.name: item for item in overview(store).items}
    status = {name: item.status for name, item in found.items()}
    assert status == {
        done.name: "done", failed.name: "failed", interrupted.name: "interrupted", damaged.name: "damaged",
        newer.name: "incompatible", running.name: "running", todo.name: "to do", "notes": "foreign",
    }  # fmt: skip
    assert found[failed.name].reason == "ValueError: no"
    assert "0 of 2 intervals" in found[interrupted.name].reason
    assert f"process {os.getpid()}" in found[running.name].reason
    assert "newer lifegen" in found[newer.name].reason


def test_cells_of_older_versions_are_stale(tmp_path, monkeypatch):
    store = Store.create(tmp_path / "s")
    (cell,) = tiny_cells("naive")
    finished(store, cell, 5)
    monkeypatch.setattr("lifegen.benchmark.reading.current.installed_versions", lambda: {"method naive": 9})
    (item,) = overview(store).items
    assert item.status == "stale"
    assert f"method naive is version {cell.method.version}, not 9" in item.reason


def measured_by(store: Store, cell: Cell, **versions: int) -> None:
    """Let a stored cell be one that such versions of metrics have measured."""
    stored = store.cell(cell.name)
    write_record(stored.folder, stored.record | {"metrics": versions})


def test_a_cell_of_an_older_metric_is_set_aside_and_computed_anew_under_its_name(tmp_path):
    store = Store.create(tmp_path / "s")
    old, new = tiny_cells("naive", seeds=(0, 1))
    for cell in (old, new):
        finished(store, cell, 3600)
    measured_by(store, old, negative_elbo=0, iwae_nll=1)
    assert missing([old, new], store) == ([old], [])
    view = overview(store, [old, new])
    assert view.counts == {"done": 1, "stale": 1}
    why = "its metric negative_elbo is version 0, not 1"
    assert view.items[0].reason == f"{why}; the command that made it makes it anew"
    assert view.hours_left == pytest.approx(1, rel=1e-3)
    before = (store.cell(old.name).folder / "metrics.jsonl").read_bytes()
    finished(store, old, 3600)
    assert of(store) == {old.name: "done", new.name: "done"}
    assert missing([old, new], store) == ([], [])
    (place,) = (store.path / "set-aside").iterdir()
    assert (place / "why.txt").read_text() == f"stale: {why}\n"
    aside = place / old.name
    assert (aside / "metrics.jsonl").read_bytes() == before
    assert json.loads((aside / "run.json").read_text())["metrics"] == {"negative_elbo": 0, "iwae_nll": 1}


@pytest.mark.parametrize(
    "versions",
    [
        {"negative_elbo": 2},  # a newer lifegen's
        {"forgetting": 0},  # derived: made anew on reading
        {"gone": 1},  # of a package that isn't installed any more
        {},  # a metric is installed that wasn't then
    ],
)
def test_other_differences_of_metrics_make_no_cell_anew(tmp_path, versions):
    store = Store.create(tmp_path / "s")
    (cell,) = tiny_cells("naive")
    finished(store, cell, 5)
    measured_by(store, cell, **versions)
    assert missing([cell], store) == ([], [])
    assert of(store) == {cell.name: "done"}
    with pytest.raises(CellDoneError), store.writing(cell.name, cell.record()):
        pass


def test_a_cell_is_stale_beside_one_that_a_newer_lifegen_has_measured_and_nothing_here_makes_it_anew(tmp_path):
    store = Store.create(tmp_path / "s")
    cells = tiny_cells("naive", seeds=(0, 1))
    for version, cell in enumerate(cells, 1):
        finished(store, cell, 5)
        measured_by(store, cell, negative_elbo=version)
    assert missing(cells, store) == ([], [])
    item, _ = overview(store).items
    assert (item.status, item.left) == ("stale", 0)
    assert "version 1, not 2; that version isn't installed here" in item.reason


def test_rows_of_an_older_metric_are_not_gone_on_with(tmp_path):
    store = Store.create(tmp_path / "s")
    (cell,) = tiny_cells("naive")
    row = {"interval": 0, "distribution": None, "step": None, "metric": "negative_elbo", "value": 1.0}
    for version, kept in ((1, 1), (0, 0)):
        with store.writing(cell.name, cell.record()) as writer:
            writer.note(visits=[["a"], ["b"]], metrics={"negative_elbo": version})
            writer.append([row])
        size = store.cell(cell.name).size()
        with store.writing(cell.name, cell.record(), lambda folder, size=size: size) as writer:
            assert len(writer.rows) == kept


MANY = 1000
"""Hours beside which those that writing the records takes are nothing."""


def test_time_left_is_that_of_the_cells_that_are_most_alike(tmp_path):
    store = Store.create(tmp_path / "s")
    naive, batch, ewc = (tiny_cells(name, seeds=(0, 1, 2)) for name in ("naive", "batch", "ewc"))
    assert overview(store, naive).hours_left is None
    finished(store, naive[0], 3600 * MANY)
    finished(store, batch[0], 3 * 3600 * MANY)
    with store.writing(batch[1].name, batch[1].record()) as writer:
        writer.note(visits=[["a"], ["b"]])
        writer.append([{"interval": 0, "distribution": None, "step": None, "metric": "negative_elbo", "value": 1.0}])
    expected = (1 + 1 + 1.5 + 3 + 3 * 2) * MANY  # ewc at the mean of all that are done
    assert overview(store, naive + batch + ewc).hours_left == pytest.approx(expected, rel=1e-3)
    assert overview(store, naive[:1]).hours_left == 0


def test_interrupted_time_does_not_count(tmp_path):
    store = Store.create(tmp_path / "s")
    (cell,) = tiny_cells("naive")
    began = time.monotonic()
    stored = finished(store, cell, 10)
    assert 10 <= stored.facts.work_seconds <= 10.001 + time.monotonic() - began
    old = {**stored.record, "started": "2026-01-01T00:00:00+00:00", "finished": "2026-01-01T00:01:00+00:00"}
    del old["seconds"]  # as schema 1 has it
    (stored.folder / "run.json").write_text(json.dumps(old))
    assert store.cell(cell.name).facts.work_seconds == 60


def test_plan_status_worker_and_rerun_on_the_command_line(tmp_path):
    out = tmp_path / "s"
    asked = ["-s", TINY, "-m", "naive:width=8", "-m", "batch:width=8", "--seeds", "0-1", "--out", str(out)]
    keys = lifegen("plan", *asked, "--save", "--keys").stdout.split()
    assert len(keys) == 4
    one = lifegen("worker", out, "--cell", keys[2])
    assert (one.returncode, one.stderr) == (0, "")
    told = lifegen("status", out).stdout
    assert "1 of 4 cells are done" in told
    assert "time left: about" in told
    workers = [subprocess.Popen([*LIFEGEN, "worker", str(out)], stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [worker.wait(HANG) for worker in workers] == [0, 0]
    assert json.loads(lifegen("status", out, "--json").stdout)["counts"] == {"done": 4}
    again = lifegen("rerun", out, keys[0])
    assert again.returncode == 0, again.stderr
    assert "numbers are equal" in again.stdout
    assert "otherwise" not in again.stdout
    record = json.loads((out / "cells" / keys[0] / "run.json").read_text())
    assert record["data"]
    assert record["machine"]["processor"]
    missing = lifegen("rerun", out, "nothing")
    assert missing.returncode == 2
    assert "unknown cell 'nothing'" in missing.stderr


@pytest.mark.parametrize("name", ["run.json", "metrics.jsonl"])
@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE])
def test_a_finished_cell_that_cannot_be_read_now_is_left_alone(tmp_path, monkeypatch, name, number):
    out = tmp_path / "s"
    asked = ["-s", TINY, "-m", "naive:width=8", "--seeds", "0", "--out", out]
    assert lifegen("run", *asked).returncode == 0
    (cell,) = Store(out).cells()
    before = {file.name: file.read_bytes() for file in cell.folder.iterdir()}
    failing = str(cell.folder / name)

    def broken(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *arguments: Any, **options: Any) -> Any:
            if str(path) == failing:
                raise OSError(number, os.strerror(number), failing)
            return function(path, *arguments, **options)

        return call

    with monkeypatch.context() as patched:
        patched.setattr("os.open", broken(os.open))
        patched.setattr(Path, "stat", broken(Path.stat))
        again = lifegen("run", *asked)
        told = lifegen("status", out)
        with pytest.raises(CellUnreadableError, match="can't be read now"), Store(out).holding(cell.name):
            pass
        Store(out).fail(cell.name, {}, "its worker is gone")
    assert again.returncode == 1
    assert f"1 of 1 cell can't be read now:\n  {TINY} naive:width=8 seed 0: {name} can't be read now" in again.stdout
    assert "unreadable  1" in told.stdout
    assert {file.name: file.read_bytes() for file in cell.folder.iterdir()} == before
    assert lifegen("run", *asked).stdout.startswith(f"1 cell, all done: {out}\n")


def test_pictures_that_cannot_be_compared_are_said_and_models_that_have_changed_refused(tmp_path):
    out = tmp_path / "s"
    assert (
        lifegen("run", "-s", TINY, "-m", "naive:width=8", "--seeds", "0", "--keep-models", "--out", out).returncode == 0
    )
    (cell,) = Store(out).cells()
    load_model(cell.folder / "model.safetensors")
    for name in ("pictures.npz", "model.safetensors"):
        content = bytearray((cell.folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (cell.folder / name).write_bytes(content)
    with pytest.raises(InputError, match="it has changed since it was written"):
        load_model(cell.folder / "model.safetensors")
    again = lifegen("rerun", out, cell.name)
    assert again.returncode == 1
    assert "pictures can't be compared: pictures.npz can't be read: it has changed since it was written" in again.stdout
    assert "numbers are equal" in again.stdout


def test_what_differs_between_two_runs_is_named(tmp_path):
    cells = tiny_cells("naive", seeds=(0, 1))
    store = Store.create(tmp_path / "s")
    for cell in cells:
        assert run_cell(cell, store.path, tmp_path, "cpu") == "done"
    first, second = (store.cell(cell.name) for cell in cells)
    same, other = compare_cells(first, first), compare_cells(first, second)
    assert same.equal
    assert not same.differing
    assert not other.equal
    assert other.pictures_differ
    assert {"negative_elbo", "iwae_nll"} <= other.differing.keys()
    assert not {"train_seconds", "optimizer_steps"} & other.differing.keys()
    file = second.folder / "run.json"
    file.write_text(json.dumps(second.record | {"versions": second.record["versions"] | {"torch": "1.0"}}))
    changed = compare_cells(first, StoredCell(second.folder)).circumstances
    assert ("versions torch", first.record["versions"]["torch"], "1.0") in changed


def test_the_doctor_says_what_a_bug_report_needs(tmp_path):
    found = json.loads(lifegen("doctor", "--json", "--data-root", tmp_path).stdout)
    assert found["libraries"]["torch"]
    assert found["torch"]["data: digits"] == "1,797 images"
    assert "`lifegen data mnist`" in found["torch"]["data: mnist"]
    assert found["lifegen"]["python"] == ".".join(map(str, sys.version_info[:3]))


def test_failed_cells_are_left_until_they_are_to_be_tried_again(tmp_path):
    out = tmp_path / "s"
    asked = ["-s", TINY, "-m", "naive:width=8", "--seeds", "0-1", "--out", str(out)]
    store = Store.create(out)
    cell, _ = tiny_cells("naive", seeds=(0, 1))
    with store.writing(cell.name, cell.record()) as writer:
        writer.fail("OSError: the disk was full")
    first = lifegen("run", *asked)
    assert first.returncode == 1
    assert "1 of 2 cells failed; --retry failed" in first.stdout
    assert "the disk was full" in first.stdout
    assert of(store)[cell.name] == "failed"
    (log := store.cell(cell.name).folder / "log.txt").write_text("its words")
    told = lifegen("status", out).stdout.splitlines()
    at = told.index(f"failed {cell.name}: OSError: the disk was full")
    assert told[at + 1 : at + 3] == [
        f"  log: {log}", f"failed cells run again with `lifegen run ... --out {out} --retry failed`",
    ]  # fmt: skip
    again = lifegen("run", *asked, "--retry", "failed")
    assert again.returncode == 0
    assert set(of(store).values()) == {"done"}
    assert "error" not in store.cell(cell.name).record
    before = store.cell(cell.name).record
    measured_by(store, cell, **before["metrics"] | {"negative_elbo": 0})
    why = "metric negative_elbo is version 0, not 1"
    planned = lifegen("plan", *asked)
    assert f"stale {cell.name}: its {why}" in planned.stdout
    assert lifegen("plan", *asked, "--keys").stdout.split() == [cell.name]
    anew = lifegen("run", *asked)
    assert anew.returncode == 0, anew.stderr
    assert f"1 finished cell is stale ({why}): set aside in {out / 'set-aside'}, and computed anew" in anew.stdout
    assert "2 cells, 1 done, 1 to run" in anew.stdout
    assert store.cell(cell.name).record["metrics"] == before["metrics"]


def test_the_first_failure_stops_all_if_it_is_to(tmp_path):
    """The others would never end. One of them runs, and has measured an interval, when the failure comes."""
    store = Store.create(tmp_path / "s")
    endless = [Cell(parse_spec("scenario", TINY), bad("hang"), seed) for seed in range(3)]
    begun = store.path / "cells" / f"{endless[0].name}*" / "metrics.jsonl"
    broken = Cell(parse_spec("scenario", TINY), bad("raise", after=begun), 0)
    last = run([endless[0], broken, *endless[1:]], store, Execution(tmp_path, fail_fast=True), jobs=2)
    assert [event.kind for event in last] == ["failed"]
    assert of(store)[endless[0].name] == "interrupted"


@pytest.mark.parametrize(
    ("visible", "gpus", "expected"),
    [
        (None, "0", ["0"]),
        (None, "0,3", ["0", "3"]),
        ("4, 6", "1", ["6"]),
        ("GPU-aa,GPU-bb", "0,1", ["GPU-aa", "GPU-bb"]),
        (None, "GPU-cc", ["GPU-cc"]),
    ],
)
def test_gpus_are_those_among_the_visible_ones(monkeypatch, visible, gpus, expected):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert chosen_gpus(gpus) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gpus", "x"], "'x' isn't a number or UUID"),
        (["--gpus", "0,0"], "names a device twice"),
        (["--gpus", "0", "--jobs", "2"], "--slots-per-gpu sets the cells at a time"),
        (["--gpus", "0", "--device", "cpu"], "--slots-per-gpu sets the cells at a time"),
        (["--slots-per-gpu", "2"], "--slots-per-gpu needs --gpus"),
        (["--no-mps"], "--mps needs --gpus"),
        (["--gpus", "0", "--slots-per-gpu", "some"], "'some' isn't auto or a number from 1 on"),
        (["--gpus", "99"], "CUDA shows no device 99"),
        (["--share", "ray"], "are for --executor ray"),
        (["--device", "3"], "isn't auto, cpu, cuda or cuda:N"),
    ],
)
def test_devices_that_cannot_be_are_refused_before_anything_runs(tmp_path, arguments, message):
    done = lifegen("run", "-s", TINY, "-m", "naive", *arguments, "--out", tmp_path / "s")
    assert done.returncode == 2
    assert message in done.stderr
    assert not (tmp_path / "s").exists()


def test_each_cell_sees_its_slot_and_no_other_process_touches_cuda(tmp_path):
    """The visible device is set before a cell's code runs; whoever asks CUDA before that fails the cell."""
    store = Store.create(tmp_path / "s")
    cells = [Cell(parse_spec("scenario", TINY), bad("visible"), seed) for seed in range(4)]
    kept = os.environ.get("CUDA_VISIBLE_DEVICES")
    last = run(
        cells, store, Execution(tmp_path, device="cpu"), jobs=1, sharing=Sharing(["7", "GPU-x"], {"PIPES": "here"})
    )
    assert [event.kind for event in last] == ["done"] * 4
    logs = [Path(store.cell(cell.name).folder, "log.txt").read_text() for cell in cells]
    assert {line for log in logs for line in log.splitlines() if line.startswith("visible")} == {
        "visible 7 here, CUDA initialised: False", "visible GPU-x here, CUDA initialised: False",
    }  # fmt: skip
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == kept


def test_a_plan_says_what_fits_into_some_minutes(tmp_path):
    """Cells begin in order wherever a place is free; the first seed comes first, of every method."""
    stored = Store.create(tmp_path / "timed")
    cells = [Cell(parse_spec("scenario", TINY), parse_spec("method", name), 0) for name in ("naive", "batch")]
    for cell, seconds in zip(cells, (60.0, 150.0), strict=True):
        finished(stored, cell, seconds)
    asked = ["-s", TINY, "-m", "naive", "-m", "batch", "--seeds", "5-7", "--device", "cpu", "--out", tmp_path / "s"]
    told = lifegen("plan", *asked, "--minutes", "4", "--jobs", "2").stdout
    assert "in 4 minutes: 4 of 6 cells\n  seed 5: all 2\n  seed 6: 1 of 2, without batch\n" in told
    assert "seed 7: 1 of 2, without batch" in told
    keys = lifegen("plan", *asked, "--minutes", "4", "--jobs", "2", "--keys").stdout.split()
    content = json.loads(lifegen("plan", *asked, "--minutes", "4", "--jobs", "2", "--json").stdout)
    assert keys == content["fitting"]
    fit = [(cell["method"], cell["seed"]) for cell in content["cells"] if cell["name"] in keys]
    assert fit == [("naive", 5), ("batch", 5), ("naive", 6), ("naive", 7)]
    assert "in 60 minutes: all of them" in lifegen("plan", *asked, "--minutes", "60").stdout
    other = lifegen("plan", *asked[:-4], "--device", "cuda", "--out", tmp_path / "s", "--minutes", "4")
    assert other.returncode == 2
    assert "no time is known of 'batch, naive'" in other.stderr


def test_a_plan_has_one_table_a_scenario_and_one_row_a_method(tmp_path):
    scenarios = ("split-digits:steps=2", "split-digits:steps=3")
    asked = [word for name in scenarios for word in ("-s", name)]
    told = lifegen("plan", *asked, "-m", "naive", "-m", "batch", "--seeds", "0-2", "--out", tmp_path / "s").stdout
    lines = [line.split() for line in told.splitlines()]
    assert [line[0] for line in lines if line and line[0] in scenarios] == list(scenarios)
    rows = [line[:4] for line in lines if line and line[0] in ("naive", "batch")]
    assert rows == [["naive", "0-2", "0", "3"], ["batch", "0-2", "0", "3"]] * 2
