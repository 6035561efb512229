"""Cells in processes, from the first to the last: run, fail, die, hang, go on; and the command line around them."""

from __future__ import annotations

import importlib.metadata
import json
import os
import pickle
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, TimeoutError
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from pebble import ProcessExpired

from lifegen.benchmark import load, load_model
from lifegen.benchmark.cells.cell import Cell, product
from lifegen.benchmark.cells.spec import parse_spec
from lifegen.benchmark.cli import progress
from lifegen.benchmark.cli.main import cli
from lifegen.benchmark.contracts.registry import METRICS
from lifegen.benchmark.discovery.index import describe
from lifegen.benchmark.errors import InputError
from lifegen.benchmark.running.executor import Event, Execution
from lifegen.benchmark.running.local import _event, _outcome, default_jobs, missing, prepare, run
from lifegen.benchmark.running.rerun import TIMED
from lifegen.benchmark.running.worker import run_cell
from lifegen.benchmark.store.lock import CellUnreadableError
from lifegen.benchmark.store.store import CellBusyError, Store
from lifegen.methods.models.vae import CodeStyleVAE

from .bad_methods import bad
from .commands import LIFEGEN, lifegen, lifegen_elsewhere
from .faults import log
from .held import let_go, write_held
from .stores import numbers_of
from .waiting import HANG, until

TINY = "split-digits:steps=3,classes_per_interval=5"


def tiny_cells(*methods: str, seeds: tuple[int, ...] = (0,)) -> list[Cell]:
    return product([parse_spec("scenario", TINY)], [parse_spec("method", f"{name}:width=8") for name in methods], seeds)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Avalanche's own, in stock plugins
@pytest.mark.parametrize("name", sorted(name for name, one in describe("method").items() if not one.facts["preset"]))
def test_a_cell_of_every_method_has_every_metric_on_real_digits(name, tmp_path):
    store = Store.create(tmp_path)
    (cell,) = tiny_cells(name)
    assert run_cell(cell, store.path, tmp_path, "cpu", keep_model=True) == "done", store.cell(cell.name).record["error"]
    table = load(store.path)
    last = table[(table["interval"] == table["interval"].max()) & table["distribution"].isna() & table["step"].isna()]
    values = last.set_index("metric")["value"]
    bounds = {"negative_elbo", "negative_elbo_valid", "negative_elbo_group", "iwae_nll", "iwae_nll_group"}
    assert bounds | {"real_samples", "synthetic_samples", "stored_parameters", "components"} <= set(values.index)
    if name != "batch":
        assert {"code_drift", "code_leak", "code_core_drift", "code_drift_floor"} <= set(values.index)
    assert values["iwae_nll"] < values["negative_elbo"]
    model = load_model(store.cell(cell.name).folder / "model.safetensors")
    with torch.inference_mode():
        assert model.sample(3).shape == (3, 1, 8, 8)


def numbers(store: Store) -> list[tuple[object, ...]]:
    table = load(store.path)
    table = table[~table["metric"].isin(TIMED)].astype(object).where(table.notna(), None)
    return sorted(map(repr, table.itertuples(index=False)))


def test_cells_run_in_processes_and_land_in_the_store(tmp_path):
    store = Store.create(tmp_path / "s")
    cells = tiny_cells("naive", "generative-replay", "lifelong-vae", "batch")
    events: list[Event] = []
    prepare(cells, tmp_path)
    last = run(cells, store, Execution(tmp_path), jobs=2, show=events.append)
    assert [event.kind for event in last] == ["done"] * 4
    assert {event.kind for event in events} >= {"started", "interval", "done"}
    assert missing(cells, store) == ([], [])
    table = load(store.path)
    assert set(table["method"]) == {
        f"{name}:width=8" for name in ("naive", "generative-replay", "lifelong-vae", "batch")
    }
    assert table.groupby("method")["interval"].max().to_dict()["batch:width=8"] == 0
    assert table["value"].notna().all()
    for cell in store.cells():
        record = cell.record
        assert record["status"] == "done"
        assert record["device"] == "cpu" or torch.cuda.is_available()
        assert record["versions"]["torch"] == importlib.metadata.version("torch")
        assert record["metrics"]["negative_elbo"] == 1
        assert (cell.folder / "pictures.npz").exists()


def test_equal_seeds_give_equal_numbers_in_any_process(tmp_path):
    cells = tiny_cells("lifelong-vae", seeds=(0, 1))
    one, two = Store.create(tmp_path / "one"), Store.create(tmp_path / "two")
    run(cells, one, Execution(tmp_path, device="cpu"), jobs=2)
    for cell in cells:
        assert run_cell(cell, two.path, tmp_path, "cpu") == "done"
    assert numbers(one) == numbers(two)
    seeds = load(one.path).query("metric == 'negative_elbo' and interval == 1 and distribution.isna()")
    assert seeds["value"].nunique() == 2


def test_the_seed_is_the_only_source_of_chance_whatever_ran_before(tmp_path):
    torch.rand(17)
    cells = tiny_cells("generative-replay")
    stores = [Store.create(tmp_path / name) for name in ("one", "two")]
    for store in stores:
        run_cell(cells[0], store.path, tmp_path, "cpu")
        torch.rand(5)
    assert numbers(stores[0]) == numbers(stores[1])


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("raise", "RuntimeError: this method is broken"),
        ("end", "the worker process ended Python with exit code 0 before its work was done"),
        ("die", "the worker process was killed by signal 9 (SIGKILL; most likely the machine's memory was used up)"),
        ("diverge", "DivergedError: the loss is nan at step 0 of interval 1"),
        ("exit", "SystemExit: 7"),
    ],
)
def test_a_cell_that_goes_wrong_ends_alone(tmp_path, kind, reason):
    store = Store.create(tmp_path / "s")
    broken = Cell(parse_spec("scenario", TINY), bad(kind), 0)
    fine = tiny_cells("naive")
    last = run([broken, *fine], store, Execution(tmp_path), jobs=2)
    assert {event.cell.method.name: event.kind for event in last} == {"bad": "failed", "naive": "done"}
    stored = store.cell(broken.name)
    assert stored.status == "failed"
    assert stored.record["error"].startswith(reason)
    assert "about to go wrong" in (stored.folder / "log.txt").read_text()
    assert stored.intervals_done() == 1
    assert missing([broken, *fine], store) == ([], [broken])
    assert missing([broken, *fine], store, retry_failed=True) == ([broken], [])


def test_a_cell_that_hangs_is_stopped_at_the_time_limit(tmp_path):
    """The limit is the shortest at which this machine comes to where the one hangs and to the end of the other."""
    store = Store.create(tmp_path / "s")
    broken, fine = Cell(parse_spec("scenario", TINY), bad("hang"), 0), *tiny_cells("naive")
    limit, kinds = 1.0, {}
    while kinds.get("naive") != "done" or "about to go wrong" not in log(store, broken):
        limit *= 2
        assert limit < HANG
        last = run([broken, fine], store, Execution(tmp_path, time_limit=limit), jobs=2)
        kinds = {event.cell.method.name: event.kind for event in last}
        assert kinds["bad"] == "failed"
    stored = store.cell(broken.name)
    assert (stored.status, stored.reason) == ("failed", f"stopped at the time limit of {limit:g} s")
    assert stored.intervals_done() == 1
    assert missing([broken, fine], store) == ([], [broken])


def test_a_cell_that_its_worker_could_not_read_stays_as_it_is(tmp_path):
    """It is readable again when the command asks."""
    store = Store.create(tmp_path / "s")
    (cell,) = tiny_cells("naive")
    with store.writing(cell.name, cell.record()):
        pass
    before = (store.cell(cell.name).folder / "run.json").read_bytes()
    future: Future[str] = Future()
    future.set_exception(pickle.loads(pickle.dumps(CellUnreadableError("it can't be read now"))))
    event = _outcome(cell, future, store, Execution(tmp_path), 2.0)
    assert (event.kind, event.error) == ("failed", "it can't be read now")
    assert (store.cell(cell.name).folder / "run.json").read_bytes() == before
    assert store.cell(cell.name).status == "interrupted"


@pytest.mark.parametrize("how", [ProcessExpired("died", -11), TimeoutError()])
def test_a_process_that_ends_badly_after_its_cell_was_done_costs_nothing(tmp_path, how):
    store = Store.create(tmp_path / "s")
    (cell,) = tiny_cells("naive")
    assert run_cell(cell, store.path, tmp_path, "cpu") == "done"
    future: Future[str] = Future()
    future.set_exception(how)
    event = _outcome(cell, future, store, Execution(tmp_path, time_limit=1), 2.0)
    assert (event.kind, event.error, store.cell(cell.name).status) == ("done", "", "done")


def test_neither_this_process_nor_the_server_touches_cuda():
    """Even ``is_available()`` would poison the workers that are forked afterwards."""
    code = """
import sys, lifegen.benchmark.cli.main, lifegen.benchmark.running.local
assert "torch" not in sys.modules
import torch
def forbidden(*_, **__): raise AssertionError("CUDA was touched")
for name in ("is_available", "device_count", "init", "_lazy_init", "current_device"):
    setattr(torch.cuda, name, forbidden)
import lifegen.benchmark.running.preload
assert not torch.cuda.is_initialized()
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_jobs_default_to_the_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))
    assert default_jobs("cpu") == 6
    for gpu, expected in ((True, 4), (False, 6)):
        monkeypatch.setattr(Path, "exists", lambda _, there=gpu: there)
        assert default_jobs("auto") == expected


@pytest.mark.parametrize(
    ("scenario", "method", "device", "message"),
    [
        ("split-digits:classes_per_interval=3", "naive", "cpu", "can't be split into intervals of 3"),
        ("split-digits", "naive:temperature_start=0.3", "cpu", "temperature_floor lies above temperature_start"),
        ("split-digits", "naive", "cuda:99", "CUDA devices here"),
    ],
)
def test_preparing_finds_what_only_a_worker_can_know(tmp_path, scenario, method, device, message):
    cells = product([parse_spec("scenario", scenario)], [parse_spec("method", method)], [0])
    with pytest.raises(InputError, match=message):
        prepare(cells, tmp_path, device)


# The command line


def test_run_leaderboard_plot(tmp_path):
    out = tmp_path / "s"
    arguments = ("run", "-s", TINY, "-m", "naive:width=8", "-m", "lifelong-vae:width=8", "--seeds", "0-1", "--out", out)
    first = lifegen(*arguments)
    assert (first.returncode, first.stderr) == (0, "")
    assert "4 cells, 0 done, 4 to run" in first.stdout
    assert "[4/4] " in first.stdout
    again = lifegen(*arguments)
    assert again.returncode == 0
    assert "4 cells, all done" in again.stdout
    board = lifegen("leaderboard", out)
    assert board.returncode == 0
    assert "lifelong-vae:width=8" in board.stdout
    rows = json.loads(lifegen("leaderboard", out, "--metric", "negative_elbo", "--format", "json").stdout)["rows"]
    assert {row["metric"] for row in rows} == {"negative_elbo"}
    assert [row["n"] for row in rows] == [2, 2]
    figures = lifegen("plot", out)
    assert figures.returncode == 0, figures.stderr
    assert all(Path(path).exists() for path in figures.stdout.split())
    assert any("negative_elbo.png" in path for path in figures.stdout.split())


def hear_interrupts() -> None:
    """Of a shell that began these tests in the background, commands inherit that they ignore interrupts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def begun(tmp_path, monkeypatch) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Begins ``lifegen run`` on three seeds of a method, in a session of its own, and waits until one cell is held in
    its second interval."""
    monkeypatch.chdir(tmp_path)
    started: list[subprocess.Popen[str]] = []

    def begin(seed: int) -> subprocess.Popen[str]:
        write_held(tmp_path, seed)
        process = subprocess.Popen([*LIFEGEN, *HELD], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   start_new_session=True, preexec_fn=hear_interrupts)  # fmt: skip
        started.append(process)
        until((tmp_path / f"held-{seed}").exists, lambda: process.poll() is None)
        return process

    yield begin
    let_go(tmp_path)
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


HELD = ["run", "-s", TINY, "-m", "held.py:width=8", "--seeds", "0-2", "--jobs", "1", "--device", "cpu", "--out", "s"]


def test_a_killed_run_goes_on_where_it_was(tmp_path, begun):
    """kill -9 to the command and all its workers, in the second interval of the second cell; the same command then does
    only what is missing."""
    process = begun(seed=1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    let_go(tmp_path)
    store = Store(tmp_path / "s")
    cells = product([parse_spec("scenario", TINY)], [parse_spec("method", "held.py:width=8")], range(3))
    until(lambda: [store.cell(cell.name).status for cell in cells[:2]] == ["done", "interrupted"])
    folder = store.cell(cells[0].name).folder
    kept = {file: file.stat().st_mtime_ns for file in folder.iterdir() if file.name != "lock"}
    second = lifegen_elsewhere(*HELD)
    assert second.returncode == 0, second.stderr
    assert "3 cells, 1 done, 2 to run" in second.stdout
    assert all(file.stat().st_mtime_ns == time_ns for file, time_ns in kept.items())
    assert [again["after"] for again in store.cell(cells[1].name).record["resumed"]] == [0]
    assert len(load(store.path)["cell"].unique()) == 3
    fresh = Store.create(tmp_path / "fresh")
    for cell in cells:
        run_cell(cell, fresh.path, tmp_path, "cpu")
    assert numbers(store) == numbers(fresh)


def test_a_store_that_is_moved_meanwhile_is_not_made_again_and_goes_on_where_it_is(tmp_path, begun):
    process = begun(seed=1)
    (tmp_path / "s").rename(tmp_path / "moved")
    let_go(tmp_path)
    said, error = process.communicate()
    assert (process.returncode, error) == (1, "")
    assert said.count("s was moved or deleted meanwhile; the same command goes on with the store at its new place") == 2
    assert not (tmp_path / "s").exists()
    store = Store(tmp_path / "moved")
    assert sorted(cell.status for cell in store.cells()) == ["done", "interrupted"]
    again = lifegen_elsewhere(*HELD[:-1], "moved")
    assert again.returncode == 0, again.stdout
    assert [part["after"] for cell in store.cells() for part in Store(store.path).cell(cell.name).record.get(
        "resumed", ())] == [0]  # fmt: skip
    assert not (tmp_path / "s").exists()


def test_workers_end_with_a_killed_command(tmp_path, begun):
    """Else they would hold their cells against the next command."""
    process = begun(seed=0)
    process.kill()  # the command alone
    process.wait()
    (cell,) = Store(tmp_path / "s").cells()

    def is_free() -> bool:
        try:
            with Store(tmp_path / "s").writing(cell.name, {}):
                return True
        except CellBusyError:
            return False

    until(is_free)


def test_a_cell_that_was_finished_in_the_meantime_is_kept(tmp_path):
    store = Store.create(tmp_path / "s")
    (cell,) = tiny_cells("naive")
    assert run_cell(cell, store.path, tmp_path, "cpu") == "done"
    written = (store.path / "cells" / cell.name / "metrics.jsonl").stat().st_mtime_ns
    assert run_cell(cell, store.path, tmp_path, "cpu") == "done"
    assert (store.path / "cells" / cell.name / "metrics.jsonl").stat().st_mtime_ns == written
    assert run([], store, Execution(tmp_path), jobs=1) == []


@pytest.mark.parametrize("value", ["raise", float("nan"), "text"])
def test_a_derived_metric_that_cannot_be_had_costs_no_cell(tmp_path, monkeypatch, capsys, value):
    def odd(R, first, T):  # noqa: N803
        """Isn't defined."""
        if value == "raise":
            raise ZeroDivisionError("no reason")
        return value

    monkeypatch.setattr(METRICS, "_entries", dict(METRICS._entries))
    METRICS.add("odd", 1, odd, None, derived=True, of="negative_elbo", unit="", better=None, over_intervals="last",
                most=None)  # fmt: skip
    store = Store.create(tmp_path / "s")
    (cell,) = tiny_cells("naive")
    assert run_cell(cell, store.path, tmp_path, "cpu") == "done"
    stored = store.cell(cell.name)
    assert (stored.status, stored.intervals_done()) == ("done", 2)
    assert "error" not in stored.record
    assert "numbers" not in stored.record
    told = "".join(capsys.readouterr())
    assert "the cell is done without a number of odd: " in told
    assert ("ZeroDivisionError: no reason" in told) == (value == "raise")
    monkeypatch.undo()
    assert numbers_of(store, cell.name)["negative_elbo"] > 0


def test_a_model_that_cannot_be_kept_is_named_before_training_and_never_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(CodeStyleVAE, "recipe", lambda self: None)
    store = Store.create(tmp_path / "s")
    cells = tiny_cells("naive", seeds=(0, 1))
    for cell, keep_model in zip(cells, (True, False), strict=True):
        assert run_cell(cell, store.path, tmp_path, "cpu", keep_model=keep_model) == "done"
        assert store.cell(cell.name).record["no_model"] == "CodeStyleVAE.recipe() returns None"
        assert ("no model will be kept: CodeStyleVAE" in capsys.readouterr().out) == keep_model
    events = [_event(cells[0], "done", store, Execution(tmp_path, keep_models=keep)) for keep in (True, False)]
    note = "no model is kept: CodeStyleVAE.recipe() returns None"
    assert [event.notes for event in events] == [(note,), ()]
    with progress.shown(cells, store.path) as show:
        for _ in range(2):
            show(events[0])
    assert capsys.readouterr().out.count(f"{cells[0]}: {note}\n") == 1
    asked = ["run", "-s", TINY, "-m", "naive:width=8", "--seeds", "0-1", "--out", str(store.path), "--keep-models"]
    assert cli(asked, standalone_mode=False) == 0
    assert "kept no model" not in capsys.readouterr().out


def test_a_model_of_another_track_is_refused(tmp_path):
    store = Store.create(tmp_path / "s")
    (cell,) = product([parse_spec("scenario", TINY)], [bad("other-track")], [0])
    assert run_cell(cell, store.path, tmp_path, "cpu") == "failed"
    assert "track another, the scenario is of track bernoulli-grey" in store.cell(cell.name).record["error"]


def test_an_interrupted_run_ends_cleanly(begun):
    process = begun(seed=0)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=HANG)
    assert process.returncode == 130
    assert "the same command continues from here" in errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-s", "split-digits", "-m", "nave"], "unknown method 'nave'.*Did you mean 'naive'"),
        (["-s", "split-digit", "-m", "naive"], "unknown scenario 'split-digit'.*Did you mean 'split-digits'"),
        (["-s", "split-digits", "-m", "naive:codes=none"], "option 'codes'"),
        (["-s", "split-digits", "-m", "naive", "--seeds", "one"], "'one' isn't a number"),
        (["-s", "split-digits", "-m", "naive", "--seeds", "4-2"], "names no seed"),
        (["-s", "split-digits", "-m", "naive", "--steps", "-5"], "--steps"),
        (["-s", "split-digits", "-m", "naive", "--stepps", "5"], "No such option.*--steps"),
        (["-s", "split-digits", "-m", "naive", "--device", "tpu"], "--device 'tpu'"),
        (["--suite", "quik"], "unknown suite 'quik'.*Did you mean 'quick'"),
        (["-s", "split-digits", "-m", "naive:batch_size=1"], "'batch_size'.*at least 2"),
        (["-m", "naive"], "say what to run"),
        (["-s", "split-mnist", "-m", "naive", "--data-root", "/proc"], "mnist"),
    ],
)
def test_bad_input_is_one_line_and_touches_nothing(tmp_path, arguments, message):
    out = tmp_path / "s"
    done = lifegen("run", *arguments, "--out", out)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert re.search(message, done.stderr), done.stderr
    assert not out.exists()


def test_a_store_is_not_touched_by_bad_input(tmp_path):
    out = tmp_path / "s"
    Store.create(out)
    before = sorted(out.rglob("*"))
    assert lifegen("run", "-s", "split-digits", "-m", "nave", "--out", out).returncode == 2
    assert sorted(out.rglob("*")) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["leaderboard", "nothing"],
        ["plot", "nothing"],
        ["list", "nothing"],
        ["data", "nothing"],
        ["run", "--out", "/proc/x", "--suite", "quick"],
        ["rnu"],
    ],
)
def test_other_bad_input(arguments, tmp_path):
    done = lifegen(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_list():
    everything = lifegen("list")
    assert everything.returncode == 0
    for word in ("lifelong-vae", "split-fashion-mnist", "quick", "posterior_consistency"):
        assert word in everything.stdout
    assert "begins anew: its plugin holds a live iterator" in " ".join(everything.stdout.split())
    methods = json.loads(lifegen("list", "methods", "--json").stdout)
    assert list(methods) == ["methods"]
    assert methods["methods"]["naive"]["facts"]["reference"] == "lower"
    one = lifegen("list", "lifelong-vae")
    assert "consistency_weight" in one.stdout
    assert "weight of the consistency term" in one.stdout


def test_list_says_of_a_metric_how_it_is_made_and_when_it_misleads():
    shown = " ".join(lifegen("list", "iwae_nll").stdout.split())
    for words in ("unit nats", "better lower values", "of a cell the value after the last interval",
                  "formula −LSE_k (log π_k", "It misleads where it lies far below negative_elbo"):  # fmt: skip
        assert words in shown
    silent = {name for name, entry in describe("metric").items() if "misleads" not in entry.details}
    assert silent == {f"kernel_distance_error{ending}" for ending in ("", "_seen", "_replayed", "_10k")} | {
        "code_drift_floor", "code_retention_floor", "stored_samples"}  # fmt: skip


def test_a_run_ends_with_its_own_leaderboard_and_what_to_type_next(tmp_path):
    out = tmp_path / "s"
    small = ("run", "-s", TINY, "--seeds", "0", "--out", out)
    assert lifegen(*small, "-m", "batch:width=8").returncode == 0
    done = lifegen(*small, "-m", "naive:width=8", "-m", "ewc:width=8")
    assert done.returncode == 0, done.stderr
    _, heading, rest = done.stdout.partition("mean over seeds")
    assert heading
    assert "naive" in rest
    assert "batch" not in rest.partition("Shown are 2 of 3 methods")[0]
    commands = [line.split("    ")[0].strip() for line in rest.partition("Next:\n")[2].splitlines()]
    assert [command.split()[1] for command in commands] == ["plot", "report", "compare"]
    for command in commands[::2]:
        assert lifegen(*shlex.split(command)[1:]).returncode == 0


def test_data_says_what_is_there(tmp_path):
    done = lifegen_elsewhere("data", "digits", "--data-root", tmp_path)
    assert (done.returncode, done.stdout) == (0, "digits: 1,797 images, embedded\n")
    assert done.stderr == ""  # Avalanche would warn when imported: it isn't needed here, and costs seconds


def test_no_arguments_show_the_help():
    done = lifegen()
    assert done.returncode == 0
    assert "leaderboard" in done.stdout
