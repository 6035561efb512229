"""The store: what was computed is never lost, what is broken is never read."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lifegen.benchmark.measuring.evaluator  # noqa: F401  (registers the metrics whose numbers a record has)
from lifegen.benchmark import load
from lifegen.benchmark.cells.cell import Cell, product
from lifegen.benchmark.cells.spec import parse_spec
from lifegen.benchmark.contracts.registry import METRICS, register_metric
from lifegen.benchmark.discovery.index import describe
from lifegen.benchmark.errors import InputError
from lifegen.benchmark.reading.leaderboard import leaderboard
from lifegen.benchmark.reading.metric_facts import installed_metrics
from lifegen.benchmark.reading.scores import scores_of
from lifegen.benchmark.reading.summary import registered_summary, summarise
from lifegen.benchmark.reading.table import COLUMNS
from lifegen.benchmark.store.lock import CellUnreadableError
from lifegen.benchmark.store.store import CellBusyError, CellDoneError, Store, write_atomically

from .faults import start
from .stores import numbers_of, shown, version_of
from .waiting import HANG


def record(
    seed: int = 0, method: str = "naive", version: int = 1, protocol: int = 1, metric: int = 1
) -> dict[str, object]:
    return {
        "scenario": {"name": "s", "label": "s", "version": 1, "config": {}, "track": "t"},
        "method": {
            "name": method,
            "label": method,
            "version": version_of(method, version),
            "config": {},
            "reference": None,
        },
        "seed": seed,
        "visits": [["a"], ["b"]],
        "protocol": protocol,
        "metrics": {"negative_elbo": metric},
        "precision": "float32",
        "device": "cpu",
    }


def rows(interval: int, value: float = 1.0) -> list[dict[str, object]]:
    def row(distribution: str | None, value: float) -> dict[str, object]:
        return {"interval": interval, "distribution": distribution, "step": None, "metric": "negative_elbo",
                "value": value}  # fmt: skip

    return [row(None, value), row("a", value + interval), row("b", value - interval)]


EXPECTED = {"negative_elbo": 1.0, "forgetting": 1.0, "backward_transfer": -1.0, "forward_transfer": 0.0}
"""The numbers of two intervals of such rows."""


def fill(store: Store, name: str, **facts: object) -> None:
    with store.writing(name, record(**facts)) as writer:
        for interval in range(2):
            writer.append(rows(interval))
        writer.finish(registered_summary(writer.rows, [["a"], ["b"]])[0])


def test_what_is_written_is_read(tmp_path):
    store = Store.create(tmp_path / "s")
    fill(store, "one", seed=3)
    table = load(tmp_path / "s")
    assert list(table.columns) == COLUMNS
    measured = table[table["metric"] == "negative_elbo"]
    assert len(measured) == 6
    assert set(table["seed"]) == {3}
    assert table["value"][table["distribution"].eq("a") & table["interval"].eq(1)].tolist() == [2.0]
    assert table["value"][table["metric"].eq("forgetting")].tolist() == [1.0]


def test_an_empty_store_is_an_empty_table(tmp_path):
    Store.create(tmp_path / "s")
    assert load(tmp_path / "s").empty


def test_only_finished_cells_reach_the_table(tmp_path):
    store = Store.create(tmp_path / "s")
    fill(store, "done")
    with store.writing("cut-off", record(seed=1)) as writer:
        writer.append(rows(0))
    with store.writing("failed", record(seed=2)) as writer:
        writer.fail("ValueError: x")
    (tmp_path / "s" / "cells" / "foreign").mkdir()
    assert {cell.name: cell.status for cell in store.cells()} == {
        "done": "done", "cut-off": "interrupted", "failed": "failed", "foreign": "foreign",
    }  # fmt: skip
    assert set(load(store.path)["cell"]) == {"done"}
    assert store.cell("cut-off").intervals_done() == 1


def test_starting_a_cell_again_drops_its_old_rows(tmp_path):
    store = Store.create(tmp_path / "s")
    with store.writing("cell", record()) as writer:
        writer.append(rows(0, value=99.0))
    fill(store, "cell")
    assert load(store.path)["value"].max() < 99


def test_a_finished_cell_is_never_started_again(tmp_path):
    store = Store.create(tmp_path / "s")
    fill(store, "cell")
    before = (store.path / "cells" / "cell" / "metrics.jsonl").read_bytes()
    with pytest.raises(CellDoneError), store.writing("cell", record()):
        pass
    store.fail("cell", record(), "too late")
    assert store.cell("cell").status == "done"
    assert (store.path / "cells" / "cell" / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize("newer", ["version", "protocol", "metric"])
def test_cells_of_different_versions_are_never_mixed(tmp_path, newer):
    store = Store.create(tmp_path / "s")
    fill(store, "old", seed=0)
    fill(store, "new", seed=1, **{newer: 2})
    cells, left_out = shown(store)
    assert [cell.name for cell in cells] == ["new"]
    assert "stale" in left_out["old"]
    assert set(load(store.path)["cell"]) == {"new"}


def test_versions_of_different_methods_are_independent(tmp_path):
    store = Store.create(tmp_path / "s")
    fill(store, "one", method="naive", version=1)
    fill(store, "two", method="batch", version=2)
    assert len(shown(store)[0]) == 2


def test_a_store_that_lost_its_empty_folder_is_empty(tmp_path):
    store = Store.create(tmp_path / "s")
    (store.path / "cells").rmdir()
    assert load(store.path).empty


def test_a_cell_that_says_it_is_done_but_has_lost_rows_is_never_read(tmp_path):
    store = Store.create(tmp_path / "s")
    fill(store, "cell")
    file = tmp_path / "s" / "cells" / "cell" / "metrics.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    for damage in ("".join(lines[:-1]), "".join(lines)[:-9]):
        file.write_text(damage)
        assert store.cell("cell").status == "damaged"
        assert "bytes where" in shown(store)[1]["cell"]
        with pytest.warns(UserWarning, match="1 cell is left out .*damaged: .*bytes where"):
            assert load(store.path).empty
    file.write_text("".join(lines).replace("2.0", "3.0"))  # of the same length: no status tells
    with pytest.warns(UserWarning, match="cells/cell.*has changed since it was written"):
        assert load(store.path).empty


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_progress_can_be_read_from_a_file_cut_anywhere(tmp_path_factory, data):
    store = Store.create(tmp_path_factory.mktemp("s"))
    with store.writing("cell", record()) as writer:
        for interval in range(3):
            writer.append(rows(interval))
    file = writer.folder / "metrics.jsonl"
    whole = file.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    file.write_bytes(whole[:cut])
    complete = whole[:cut].count(b"\n")
    with mock.patch("lifegen.benchmark.store.cell_folder._TAIL", data.draw(st.sampled_from([2**14, 250]))):
        done = store.cell("cell").intervals_done()
    assert done in {-(-complete // 3), -(-(complete + 1) // 3)}  # a last line may be whole without its end of line


def _hold(path: Path, ready, go) -> None:
    with Store(path).writing("cell", record()):
        ready.set()
        go.wait(HANG)


def test_two_processes_never_write_the_same_cell(tmp_path):
    store = Store.create(tmp_path / "s")
    context = multiprocessing.get_context("forkserver")
    ready, go = context.Event(), context.Event()
    other = start(_hold, store.path, ready, go)
    assert ready.wait(HANG)
    with pytest.raises(CellBusyError), store.writing("cell", record()):
        pass
    os.kill(other.pid, 9)  # a dead owner's lock is free
    other.join()
    fill(store, "cell")
    assert store.cell("cell").status == "done"


def test_a_record_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    file = tmp_path / "run.json"
    write_atomically(file, "old")

    def crash(descriptor):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(file, "new")
    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_values_that_are_not_numbers_cannot_be_written(tmp_path):
    store = Store.create(tmp_path / "s")
    with store.writing("cell", record()) as writer, pytest.raises(ValueError, match="JSON compliant"):
        writer.append([{"interval": 0, "metric": "m", "value": float("nan")}])


def test_merging_stores_is_copying_folders(tmp_path):
    import shutil

    one, two = Store.create(tmp_path / "one"), Store.create(tmp_path / "two")
    fill(one, "cell-0", seed=0)
    fill(two, "cell-1", seed=1)
    shutil.copytree(two.path / "cells" / "cell-1", one.path / "cells" / "cell-1")
    assert set(load(one.path)["seed"]) == {0, 1}


def test_what_is_not_a_store_is_refused(tmp_path):
    with pytest.raises(InputError, match="doesn't exist; `lifegen run --out .*` makes a store"):
        Store.open(tmp_path / "nothing")
    with pytest.raises(InputError, match="isn't a lifegen store$"):
        Store.open(tmp_path)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("")
    with pytest.raises(InputError, match="holds something other"):
        Store.create(tmp_path / "thesis")
    with pytest.raises(InputError, match="is a file"):
        Store.create(tmp_path / "thesis" / "chapter.tex")
    (tmp_path / "newer").mkdir()
    (tmp_path / "newer" / "lifegen.json").write_text(json.dumps({"schema": 99}))
    with pytest.raises(InputError, match="schema 99"):
        Store.open(tmp_path / "newer")


def test_a_folder_that_cannot_be_written_to_is_refused():
    with pytest.raises(InputError, match="can't be written to"):
        Store.create("/proc/lifegen")


def cell(seed: int = 0, **config: object) -> Cell:
    options = ",".join(f"{key}={value}" for key, value in config.items())
    return Cell(
        parse_spec("scenario", "split-digits"), parse_spec("method", f"naive:{options}" if options else "naive"), seed
    )


def test_a_cells_name_depends_on_all_that_its_numbers_depend_on():
    names = {cell().name, cell(1).name, cell(codes=3).name, cell(codes=3, style=2).name}
    assert len(names) == 4
    assert cell(codes=3, style=2).name == cell(style=2, codes=3).name
    assert cell(codes="null").name == cell().name  # the default, said aloud
    assert len({cell(codes=spelt).name for spelt in ("2", "2.0", "2e0")}) == 1
    assert len({cell(learning_rate=spelt).name for spelt in ("1", "1.0", "1e0")}) == 1
    assert len({cell(learning_rate=spelt).method.label for spelt in ("1", "1.0", "1e0")}) == 1
    assert cell().name.startswith("split-digits--naive--0--")


def test_a_plan_has_every_combination_once():
    scenario = parse_spec("scenario", "split-digits")
    methods = [parse_spec("method", text) for text in ("naive", "batch", "naive:codes=null")]
    cells = product([scenario], methods, [0, 1])
    assert [(one.seed, one.method.name) for one in cells] == [(0, "naive"), (0, "batch"), (1, "naive"), (1, "batch")]


def test_the_numbers_in_a_record_are_those_of_its_rows_and_are_made_anew_where_they_may_not_be(tmp_path):
    store = Store.create(tmp_path / "s")
    fill(store, "cell")
    derived = {name: one.version for name, one in describe("metric").items() if one.facts["derived"]}
    file = tmp_path / "s" / "cells" / "cell" / "run.json"
    kept = {key: value for key, value in json.loads(file.read_text()).items() if key != "seal"}
    assert kept["numbers"] == EXPECTED == numbers_of(store, "cell")

    def numbers_after(**changed: object) -> dict[str, float | None]:
        file.write_text(json.dumps(kept | {"numbers": {"negative_elbo": 7.0}} | changed))
        return numbers_of(store, "cell")

    assert numbers_after(metrics=derived) == {"negative_elbo": 7.0}
    assert numbers_after(metrics={}) == EXPECTED  # from before a derived metric existed
    assert numbers_after(metrics=derived | {"forgetting": 0}) == EXPECTED  # from before it changed
    file.write_text(json.dumps({key: value for key, value in kept.items() if key not in ("numbers", "bytes")}))
    assert numbers_of(store, "cell") == EXPECTED


@pytest.fixture
def derived_metric(monkeypatch: pytest.MonkeyPatch) -> Callable[[object], None]:
    """Registers a derived metric that returns what it is given, or raises it, for as long as a test lasts."""
    monkeypatch.setattr(METRICS, "_entries", dict(METRICS._entries))

    def register(answer: object) -> None:
        def odd_one(R, first, T):  # noqa: N803
            if isinstance(answer, BaseException):
                raise answer
            R.clear()  # which costs no other metric its matrix
            return answer

        register_metric("odd_one", version=1, derived=True)(odd_one)

    return register


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (ZeroDivisionError("division\nby zero"), "it raises ZeroDivisionError: division by zero"),
        (SystemExit(3), "it raises SystemExit: 3"),
        (float("nan"), "its value is nan: return None where it is undefined"),
        (-float("inf"), "its value is -inf"),
        (10**400, "its value is 1000"),
        ("1.5", "its value is of type str, '1.5': float"),
        (True, "its value is of type bool"),
        (np.float32(1.5), "its value is of type float32"),
        (np.array([1.0, 2.0]), "its value is of type ndarray"),
        (type("Mute", (), {"__repr__": lambda self: 1 / 0})(), "it raises ZeroDivisionError"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_a_derived_metric_that_fails_costs_its_own_number_and_says_why(tmp_path, derived_metric, answer, reason):
    store = Store.create(tmp_path / "s")
    derived_metric(answer)
    fill(store, "cell")
    assert store.cell("cell").status == "done"
    assert "numbers" not in store.cell("cell").record  # they are made on reading, where a note has its place
    assert numbers_of(store, "cell") == EXPECTED
    board = leaderboard(store)
    assert any(note.startswith(f"odd_one has no number in 1 cell: {reason}") for note in board.notes), board.notes
    assert all(note.isprintable() for note in board.notes)
    with pytest.warns(UserWarning, match="odd_one has no number in 1 cell"):
        assert set(load(store.path)["metric"]) == {"negative_elbo", *EXPECTED}


def test_a_derived_metric_may_return_a_float_of_numpy_or_nothing(tmp_path, derived_metric):
    store = Store.create(tmp_path / "s")
    derived_metric(np.float64(1.5))
    fill(store, "cell")
    assert store.cell("cell").record["numbers"] == EXPECTED | {"odd_one": 1.5}
    derived_metric(None)
    fill(store, "other", seed=1)
    assert store.cell("other").record["numbers"] == EXPECTED


@pytest.mark.parametrize("version", [1, 2])
def test_numbers_of_a_derived_metric_that_is_gone_are_those_of_its_newest_version(tmp_path, version):
    """They can't be made anew here, and those of two versions mustn't meet."""
    store = Store.create(tmp_path / "s")
    derived = {name: one.version for name, one in describe("metric").items() if one.facts["derived"]}
    facts = {"unit": "nats", "better": "higher", "over_intervals": "last", "derived": True, "most": None}
    about = {"plug-in metrics": {"gone": {"name": "a-package", "version": "1", "facts": facts}}}
    for seed in (0, 1):
        fill(store, f"cell-{seed}", seed=seed)
        file = store.cell(f"cell-{seed}").folder / "run.json"
        kept = {key: value for key, value in json.loads(file.read_text()).items() if key != "seal"}
        kept |= about | {"metrics": derived | {"gone": 2 if seed else version}, "numbers": EXPECTED | {"gone": 7.0}}
        if seed:  # its other numbers are to be made anew
            kept["metrics"]["forgetting"] = 0
        file.write_text(json.dumps(kept))
    cells, left_out = shown(store)
    assert not left_out  # a derived metric makes nothing stale
    assert [cell.numbers.get("gone") for cell in cells] == [7.0 if version == 2 else None, 7.0]
    assert scores_of(store).better("gone") == "higher"


def test_a_worker_writes_no_number_of_a_metric_that_it_does_not_know(tmp_path):
    store = Store.create(tmp_path / "s")
    with store.writing("cell", record()) as writer:
        unknown = {"interval": 0, "distribution": None, "step": None, "metric": "of_a_plug_in", "value": 2.0}
        writer.append([*rows(0), *rows(1), unknown | {"interval": 1}])
        assert registered_summary(writer.rows, [["a"], ["b"]])[0] is None
        writer.finish(None)
    assert "numbers" not in store.cell("cell").record
    assert numbers_of(store, "cell")["of_a_plug_in"] == 2.0


def test_numbers_are_the_last_the_mean_the_sum_or_the_most_over_intervals():
    def row(interval: int, metric: str, value: float, **more: object) -> dict[str, object]:
        return {"interval": interval, "metric": metric, "value": value, "distribution": None, "step": None} | more

    rows = [
        *(row(i, name, float(3 - i)) for i in range(3) for name in ("real_samples", "peak_memory_mb", "divergence")),
        row(0, "code_retention", 0.5),
        row(0, "posterior_consistency_mean", 0.5),
        row(1, "posterior_consistency_mean", 0.75),
        row(2, "gradient_norm", 1.0, step=4),
        row(2, "negative_elbo", 9.0, distribution="a"),
    ]
    assert summarise(rows, {name: facts.over_intervals for name, facts in installed_metrics().items()}) == {
        "real_samples": 6.0, "peak_memory_mb": 3.0, "divergence": 1.0, "code_retention": None,
        "posterior_consistency_mean": 0.625,
    }  # fmt: skip


def test_an_unfinished_cell_that_this_user_cannot_write_to_is_left_as_it_is(tmp_path):
    store = Store.create(tmp_path / "s")
    with store.writing("cell", {}):
        pass
    before = [file.name for file in (store.path / "cells").iterdir()]
    with (
        mock.patch("os.access", return_value=False),
        pytest.raises(CellUnreadableError, match="another user's, and this one can't write to it"),
        store.writing("cell", {}),
    ):
        pass
    assert [file.name for file in (store.path / "cells").iterdir()] == before
