"""Cells for other tools: what they read is what the store has."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifegen.benchmark.cells.cell import Cell
from lifegen.benchmark.cells.spec import parse_spec
from lifegen.benchmark.cli.exporting import logged
from lifegen.benchmark.reading.table import load
from lifegen.benchmark.reporting.export import tensorboard, wandb
from lifegen.benchmark.reporting.export.points import Point, folders_of, options_of, points
from lifegen.benchmark.running.executor import Event
from lifegen.benchmark.running.rerun import TIMED
from lifegen.benchmark.store.record import Record
from lifegen.benchmark.store.store import Store

from .commands import LIFEGEN, lifegen
from .stores import write


def rows_of(*intervals):
    """Rows of intervals of some steps each, whose values are negative ELBOs; a trace has their double."""
    for i, (steps, value) in enumerate(intervals):
        yield {"interval": i, "distribution": None, "step": steps - 1, "metric": "loss", "value": 2 * value}
        yield {"interval": i, "distribution": None, "step": None, "metric": "negative_elbo", "value": value}
        yield {"interval": i, "distribution": "0", "step": None, "metric": "negative_elbo", "value": value + 1}
        yield {"interval": i, "distribution": None, "step": None, "metric": "optimizer_steps", "value": steps}
        yield {"interval": i, "distribution": None, "step": None, "metric": "eval_seconds", "value": 1.0}


@pytest.fixture
def store(tmp_path):
    store = Store.create(tmp_path / "s")
    write(store, "good", 0, 30.0)
    write(store, "good", 1, 31.0, options="lines=[1,2],rate=1e-3")
    write(store, "bad", 0, 40.0, status="failed")
    return store


def scalars(folder):
    """Curves of a run of TensorBoard as {curve: [(at, value)]}, and its hyperparameters."""
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = accumulators.EventAccumulator(str(folder), size_guidance={"scalars": 0})
    found.Reload()
    curves = {name: [(event.step, event.value) for event in found.Scalars(name)] for name in found.Tags()["scalars"]}
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    content = found.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    info = HParamsPluginData.FromString(content).session_start_info.hparams
    return curves, {name: value.string_value or value.number_value for name, value in info.items()}


def test_a_traces_steps_count_on_through_the_intervals():
    assert list(points(rows_of((3, 9.0), (5, 8.0)), since=1)) == [
        Point("training/loss", 3 + 4, 16.0),
        Point("negative_elbo", 1, 8.0),
        Point("negative_elbo/0", 1, 9.0),
        Point("optimizer_steps", 1, 5),
        Point("eval_seconds", 1, 1.0),
    ]


@given(st.text(min_size=1).filter(str.isprintable), st.text(min_size=1).filter(str.isprintable))
def test_a_runs_folder_has_three_parts_without_odd_characters(scenario, method):
    facts = Record.model_validate(
        {
            "scenario": {"name": "s", "label": scenario, "version": 1, "config": {}, "track": "t"},
            "method": {"name": "m", "label": method, "version": 1, "config": {"a": [1], "b": None, "c": 2}},
            "seed": 3, "protocol": 1, "precision": "float32", "status": "running",
        }
    )  # fmt: skip
    parts = folders_of([facts])[0].parts
    assert len(parts) == 3
    assert parts[2] == "seed-3"
    assert not set("/=,: ") & set("".join(parts))
    assert ".." not in parts
    options = options_of(facts)
    assert (options["method.a"], options["method.b"], options["method.c"]) == ("[1]", "null", 2)


def test_tensorboard_gets_a_run_per_finished_cell(store, tmp_path):
    pytest.importorskip("tensorboard")
    for _ in range(2):  # a second export replaces the first
        done = lifegen("export", store.path, "--tensorboard", tmp_path / "tb")
    folders = [tmp_path / "tb" / "split-x" / name for name in ("good/seed-0", "good_lines-_1_2__rate-1e-3/seed-1")]
    assert sorted(done.stdout.splitlines()) == sorted(map(str, folders))
    for folder, seed, final in zip(folders, (0, 1), (30.0, 31.0), strict=True):
        curves, options = scalars(folder)
        assert curves["negative_elbo"] == [(0, final + 20), (1, final + 10), (2, final)]
        assert curves["negative_elbo/2"] == [(0, final + 20), (1, final + 9), (2, final - 2)]
        assert [value for _, value in curves["training/gradient_norm"]] == [1.0] * 3
        assert (options["scenario"], options["seed"]) == ("split-x", seed)
        assert len(list(folder.iterdir())) == 1


def test_labels_with_equal_file_names_get_files_of_their_own(store, tmp_path):
    for seed, options in enumerate(("lines=a+b", "lines=a_b")):
        write(store, "good", seed, 30.0, options=options)
    done = lifegen("export", store.path, "--csv", tmp_path)
    files = done.stdout.splitlines()
    assert len(set(files)) == len(files) == 4
    labels = [set(pd.read_csv(file)["method"]) for file in files]
    assert {label for (label,) in labels} == set(load(store.path)["method"])


def test_csv_is_the_tidy_table_in_one_file_or_one_per_cell(store, tmp_path):
    expected = load(store.path)
    done = lifegen("export", store.path, "--csv", tmp_path / "new" / "all.csv.gz")
    assert done.stdout.splitlines() == [str(tmp_path / "new" / "all.csv.gz")]
    one = pd.read_csv(tmp_path / "new" / "all.csv.gz", dtype={"distribution": str, "step": float})
    done = lifegen("export", store.path, "--csv", tmp_path / "each")
    files = done.stdout.splitlines()
    assert len(files) == 2
    every = pd.concat([pd.read_csv(file, dtype={"distribution": str, "step": float}) for file in files])
    for found in (one, every):
        order = ["method", "seed", "interval", "metric", "distribution", "step"]
        pd.testing.assert_frame_equal(
            found.sort_values(order, ignore_index=True),
            expected.astype({"step": float}).sort_values(order, ignore_index=True),
            check_dtype=False,
        )


def test_weights_and_biases_gets_offline_runs(store, tmp_path):
    pytest.importorskip("wandb")
    quiet = {key: value for key, value in os.environ.items() if not key.startswith("WANDB")}
    for _ in range(2):  # a second export replaces the first
        done = subprocess.run(
            [*LIFEGEN, "export", store.path, "--wandb", tmp_path / "w"], env=quiet, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    folders = [Path(line) for line in done.stdout.splitlines()]
    assert set(folders) == set((tmp_path / "w" / "wandb").glob("offline-run-*"))
    for folder, name in zip(folders, (b"split-x good seed-0", b"rate-1e-3 seed-1"), strict=True):
        (file,) = folder.glob("run-*.wandb")
        assert name in (content := file.read_bytes())
        assert b"negative_elbo/2" in content


@pytest.mark.parametrize("library", ["tensorboard", "wandb"])
def test_a_library_that_is_missing_is_named_with_what_to_type(library, store, tmp_path, monkeypatch):
    for module in (tensorboard, wandb):
        monkeypatch.setattr(module, "find_spec", lambda _: None)
    commands = [("export", store.path, f"--{library}", tmp_path / "out")]
    if library == "tensorboard":
        commands.append(("run", "--suite", "quick", "--log", "tensorboard", "--out", tmp_path / "out"))
    for command in commands:
        done = lifegen(*command)
        assert done.returncode == 2
        assert f"pip install 'lifegen[{library}]'" in done.stderr
        assert not (tmp_path / "out").exists()


def test_an_export_without_a_target_or_a_cell_says_so(store, tmp_path):
    assert "give --tensorboard DIR" in lifegen("export", store.path).stderr
    write(empty := Store.create(tmp_path / "e"), "good", 0, 30.0, status="failed")
    assert "no finished cell yet" in lifegen("export", empty.path, "--csv", tmp_path / "c").stderr
    (tmp_path / "file").touch()
    assert "can't be written" in lifegen("export", store.path, "--csv", tmp_path / "file" / "c.csv").stderr


def test_a_running_cells_intervals_are_logged_once_each_and_anew_where_it_begins_anew(tmp_path):
    pytest.importorskip("tensorboard")
    store = Store.create(tmp_path / "s")
    cell = Cell(parse_spec("scenario", "split-digits"), parse_spec("method", "naive"), 0)
    seen: list[Event] = []
    show = logged(seen.append, store, "tensorboard")
    folder = tmp_path / "s" / "tensorboard" / "split-digits" / "naive" / "seed-0"

    def run(*intervals):
        every = list(rows_of(*intervals))
        with store.writing(cell.name, cell.record()) as writer:
            writer.note(visits=[["0"]] * 3, device="cpu")
            show(Event(cell, "started"))
            for done in range(1, len(intervals) + 1):
                writer.append([row for row in every if row["interval"] == done - 1])
                for _ in range(2):
                    show(Event(cell, "interval", done, 3))
                curves, options = scalars(folder)
                assert curves["negative_elbo"] == [(i, value) for i, (_, value) in enumerate(intervals[:done])]
            assert options["method"] == "naive"

    run((3, 9.0), (5, 8.0))
    run((3, 7.0))  # interrupted, and begun anew
    run((3, 7.0), (5, 6.0), (2, 5.0))
    show(Event(cell, "done", 3, 3))
    curves, _ = scalars(folder)
    assert curves["training/loss"] == [(2, 14.0), (7, 12.0), (9, 10.0)]
    assert len(seen) == 3 + 2 * 6 + 1
    assert logged(seen.append, store, None) == seen.append


def test_a_run_that_is_logged_has_the_numbers_of_one_that_is_not(tmp_path):
    pytest.importorskip("tensorboard")
    asked = ["run", "-s", "split-digits:steps=3,importance_draws=2", "-m", "naive:width=8", "--seeds", "0"]
    rows = {}
    for name, more in (("plain", []), ("logged", ["--log", "tensorboard"])):
        assert lifegen(*asked, *more, "--out", tmp_path / name).returncode == 0
        (file,) = (tmp_path / name / "cells").glob("*/metrics.jsonl")
        rows[name] = [row for row in map(json.loads, file.read_text().splitlines()) if row["metric"] not in TIMED]
    assert rows["plain"] == rows["logged"]
    assert not (tmp_path / "plain" / "tensorboard").exists()
    (folder,) = (tmp_path / "logged" / "tensorboard").glob("*/*/seed-0")
    curves, _ = scalars(folder)
    bounds = [row["value"] for row in rows["logged"] if row["metric"] == "negative_elbo" and not row["distribution"]]
    assert [value for _, value in curves["negative_elbo"]] == pytest.approx(bounds)
    assert [at for at, _ in curves["training/loss"]] == list(range(30))
