"""Killed at any moment and run again, a cell has the numbers of one that was never killed, bit for bit."""

from __future__ import annotations

import random
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lifegen.benchmark.cells.cell import Cell
from lifegen.benchmark.discovery.index import describe
from lifegen.benchmark.measuring.pictures import IntervalPictures
from lifegen.benchmark.running.executor import Execution
from lifegen.benchmark.running.local import _event
from lifegen.benchmark.running.rerun import TIMED
from lifegen.benchmark.running.state import read_state
from lifegen.benchmark.running.worker import run_cell
from lifegen.benchmark.store.store import Store
from lifegen.benchmark.training.precision import rounds

from .bad_methods import bad
from .faults import TINY, cell, log, outcome, run_in_store, start
from .tiny_scenarios import chosen, store_images

KILLS = 2
SMALLEST = "split-digits:steps=2,classes_per_interval=2,test_images=10,importance_draws=1,importance_images=1"
METHODS = {
    # its likelihood consistency is costly
    name: (SMALLEST, f"{name}:width=2,batch_size=8") if name == "lgm-2019" else (TINY, f"{name}:width=8")
    for name in sorted(describe("method"))
}
ROTATED = TINY.replace("split-digits", "rotated-digits").replace("classes_per_interval=2", "angles=[0,90],intervals=5")
OTHERS = [
    (ROTATED, "generative-replay:width=8"),  # distributions come back
    (ROTATED, "experts:width=8"),
    (f"{TINY},interval_length=random,extra_steps=3", "ewc:width=8"),
    (f"{TINY},interval_length=early-stopping,patience=2,check_every=1", "lifelong-vae:width=8"),
    (f"{TINY},track=bernoulli-binarised", "exact-replay:width=8"),
    (TINY, "generative-replay:width=8,replay_targets=means,teacher_average=0.9,new_codes=copied"),
    (TINY, "remembered-posteriors:width=8,memory=resampling,remembered=30"),
    (TINY, "remembered-posteriors:width=8,memory_of_past=kept,replay_alignment=1,remembered=30"),
    (SMALLEST, "lifelong-vae:width=2,batch_size=8,architecture=conv,norm=group"),
    (TINY, "naive:width=8,optimizer_state=reset"),
]


def whole(one: Cell, folder: Path, states: str = "all") -> tuple[Store, list[str]]:
    """A cell that ran without interruption, and how it touched its folder."""
    store = Store.create(folder / "whole")
    process = start(run_in_store, one, store.path, folder / "touches", 0, states)
    process.join(200)
    assert process.exitcode == 0, store.cell(one.name).judgement
    touches = (folder / "touches").read_text().splitlines()
    return store, [touch for touch in touches if "state-" not in touch]  # which are of states="all" alone


def killed(one: Cell, store: Store, die_at: int = 0, after: float | None = None) -> bool:
    """Run a cell and kill its process, at a touch or after a time; whether it was faster than that."""
    process = start(run_in_store, one, store.path, None, die_at)
    process.join(200 if after is None else after)
    process.kill()
    process.join()
    assert process.exitcode in (0, -9)
    return process.exitcode == 0


def go_through(one: Cell, folder: Path, kills: int = KILLS) -> Store:
    """Compare a cell that is killed again and again with one that isn't; returns the former's store."""
    rng = random.Random(one.name)
    began = time.monotonic()
    expected, touches = whole(one, folder)
    seconds = time.monotonic() - began
    store = Store.create(folder / "killed")
    # The first time after a boundary, if there are any, so that there is something to go on from; then anywhere.
    boundaries = [i for i, touch in enumerate(touches, 1) if touch == "os.rename /state.safetensors"]
    first = boundaries[0] if boundaries else 0
    assert not killed(one, store, die_at=rng.randint(first + 1, touches.index("os.rename /pictures.npz") + 1))
    done = False
    for _ in range(kills - 1):
        if not done and rng.random() < 0.5:
            done = killed(one, store, die_at=rng.randint(1, len(touches)))
        elif not done:
            done = killed(one, store, after=rng.uniform(0, seconds))
    assert done or killed(one, store)
    assert outcome(store, one) == outcome(expected, one)
    left = {file.name for file in store.cell(one.name).folder.iterdir()}
    assert left - {"state.safetensors"} == {"run.json", "metrics.jsonl", "pictures.npz", "image_values.npz", "log.txt"}
    assert not (store.path / "set-aside").exists()
    return store


@pytest.mark.parametrize("name", METHODS)
def test_every_method_goes_on_as_if_it_had_never_been_killed(name, tmp_path):
    scenario, method = METHODS[name]
    one = cell(method, scenario)
    store = go_through(one, tmp_path, kills=1 if name == "lgm-2019" else KILLS)
    boundaries = len(list((tmp_path / "whole").glob("cells/*/state-*.safetensors")))
    if one.method.facts["restarts"]:
        assert boundaries == 0
        assert "resumed" not in store.cell(one.name).record
    else:
        assert boundaries == len(store.cell(one.name).record["visits"])
        assert store.cell(one.name).record["resumed"]


@pytest.mark.parametrize(("scenario", "method"), OTHERS)
def test_every_kind_of_stream_is_gone_on_with(scenario, method, tmp_path):
    store = go_through(cell(method, scenario), tmp_path, kills=1)
    assert store.cells()[0].record["resumed"]


@pytest.mark.skipif(not rounds("bfloat16", torch.device("cpu")), reason="this processor doesn't multiply in bfloat16")
def test_a_cell_of_lower_precision_goes_on(tmp_path):
    assert go_through(cell("ewc:width=8", precision="bfloat16"), tmp_path).cells()[0].record["resumed"]


@pytest.mark.parametrize("name", [name for name, one in describe("method").items() if one.facts["restarts"]])
def test_a_method_that_says_that_it_restarts_holds_what_cannot_be_stated(name, tmp_path):
    one = cell(f"{name}:width=8")
    description = replace(one.method.description, facts=dict(one.method.facts) | {"restarts": ""})
    silent = replace(one, method=replace(one.method, description=description))
    store, touches = whole(silent, tmp_path)
    assert not [touch for touch in touches if "state" in touch]
    assert re.match(r"interrupted, this cell begins anew: plugin \d\.\S+ is a ", log(store, one))


def test_states_are_kept_as_asked(tmp_path):
    one = cell("ewc:width=8", SMALLEST)
    kept = {"resume": [], "last": [""], "all": ["", *(f"-{i}" for i in range(1, 6))]}
    for states, names in kept.items():
        store, _ = whole(one, tmp_path / states, states)
        folder = store.cell(one.name).folder
        assert sorted(file.name for file in folder.glob("*.safetensors")) == sorted(
            f"state{name}.safetensors" for name in names
        )
    assert read_state(folder / "state-2.safetensors").facts["intervals"] == 2


def interrupted(one: Cell, done: Store, folder: Path, torn: bytes = b"") -> Store:
    """A store with a finished cell as it was after its third interval: record, rows and kept state.

    Args:
        torn: what was written of the rows after them.
    """
    there = done.cell(one.name).folder
    store = Store.create(folder)
    with store.writing(one.name, one.record()):
        pass
    here = store.cell(one.name).folder
    size = read_state(there / "state-3.safetensors").facts["bytes"]
    (here / "state.safetensors").write_bytes((there / "state-3.safetensors").read_bytes())
    (here / "metrics.jsonl").write_bytes((there / "metrics.jsonl").read_bytes()[:size] + torn)
    return store


def test_a_kept_state_is_a_place_to_go_on_from(tmp_path):
    """The record and rows of a boundary with its state are an interrupted cell."""
    one = cell("generative-replay:width=8")
    expected, _ = whole(one, tmp_path)
    store = interrupted(one, expected, tmp_path / "again", torn=b'{"interval": 3, "dis')
    assert killed(one, store)
    assert outcome(store, one) == outcome(expected, one)
    assert [again["after"] for again in store.cell(one.name).record["resumed"]] == [2]


def test_a_state_from_before_pictures_of_replay_is_a_place_to_go_on_from(tmp_path, monkeypatch):
    """Intervals from before it are black."""
    one = cell("generative-replay:width=8")
    with monkeypatch.context() as older:
        older.setattr(IntervalPictures, "_asdict", lambda self: {"samples": self.samples})
        before = Store.create(tmp_path / "before")
        assert run_cell(one, before.path, tmp_path, "cpu", states="all") == "done"
    store = interrupted(one, before, tmp_path / "again")
    assert run_cell(one, store.path, tmp_path, "cpu") == "done"
    assert "begun_anew" not in store.cell(one.name).record
    first, again = (np.load(of.cell(one.name).folder / "pictures.npz") for of in (before, store))
    assert np.array_equal(first["samples_over_intervals"], again["samples_over_intervals"])
    assert not again["replayed_over_intervals"][:3].any()
    assert np.array_equal(first["replayed_over_intervals"][3:], again["replayed_over_intervals"][3:])


def test_a_cell_whose_data_have_changed_begins_anew(tmp_path, capsys):
    """It fails after its first interval, whose state and rows are there."""
    one = Cell(chosen("stored"), bad("raise"), 0)
    stores = {name: Store.create(tmp_path / name) for name in ("again", "changed", "fresh")}

    def first_rows(name: str) -> tuple[list[str], dict[str, Any]]:
        """After one more run: what was measured in interval 0, and the record."""
        assert run_cell(one, stores[name].path, tmp_path, "cpu") == "failed"
        stored = stores[name].cell(one.name)
        lines = (stored.folder / "metrics.jsonl").read_text().splitlines()
        return [line for line in lines if not any(metric in line for metric in TIMED)], stored.record

    store_images(tmp_path, seed=0)
    before = {name: first_rows(name)[0] for name in ("again", "changed")}
    rows, record = first_rows("again")
    assert rows == before["again"]
    assert record["resumed"]
    store_images(tmp_path, seed=1)
    rows, record = first_rows("changed")
    assert rows != before["changed"]
    assert rows == first_rows("fresh")[0]
    assert record["data"] == stores["fresh"].cell(one.name).record["data"]
    assert "resumed" not in record
    assert record["begun_anew"] == "the scenario's images aren't those that the cell was begun with"
    assert f"{record['begun_anew']}; the cell begins anew" in capsys.readouterr().out
    event = _event(one, "failed", stores["changed"], Execution(tmp_path))
    assert event.notes == (f"begun anew: {record['begun_anew']}",)
