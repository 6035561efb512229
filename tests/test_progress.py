"""The display of running cells: rows that fit, the time left, plain lines, and words about the work at the moment."""

from __future__ import annotations

import re
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from lifegen.benchmark.cells.cell import Cell, product
from lifegen.benchmark.cells.spec import parse_spec
from lifegen.benchmark.cli import progress
from lifegen.benchmark.cli.time_left import TimeLeft
from lifegen.benchmark.reading.expected import Timings, Work
from lifegen.benchmark.reporting.terminal import elided
from lifegen.benchmark.running.doing import Doing, Now, told
from lifegen.benchmark.running.executor import Event, Execution
from lifegen.benchmark.running.local import run
from lifegen.benchmark.store.store import Store

from .test_run import TINY, tiny_cells


def test_the_live_display_shows_texts_with_brackets(tmp_path, capsys):
    cell = Cell(parse_spec("scenario", "split-digits:class_order=[1,0]"), parse_spec("method", "naive"), 0)
    with progress.Display([cell], Timings(tmp_path / "s")) as live:
        live.show(Event(cell, "started"))
        live.show(Event(cell, "interval", 1, 2))
        live.show(Event(cell, "failed", 1, 2, error="RuntimeError: [enforce fail] in [/tmp/x]"))
    shown = capsys.readouterr().out
    assert "[enforce fail] in [/tmp/x]" in " ".join(shown.split())


LONG = ("lifelong-vae:consistency_weight=0,mutual_information=none", "naive", "batch:width=123", "ewc:strength=7000")
SCENARIOS = ("split-digits:class_order=[9,8,7,6,5,4,3,2,1,0],steps=12345", "split-mnist")


@pytest.mark.parametrize("width", [60, 80, 100, 200])
@pytest.mark.parametrize("height", [6, 40])
@pytest.mark.parametrize("seeds", [[0], [3, 12345]])
def test_the_live_display_keeps_its_columns_at_any_width(width, height, seeds, tmp_path):
    console = Console(width=width, height=height, file=StringIO(), force_terminal=True, color_system=None,
                      highlight=False)  # fmt: skip
    scenarios, methods = ([parse_spec(kind, text) for text in texts] for kind, texts in
                          (("scenario", SCENARIOS), ("method", LONG)))  # fmt: skip
    cells = product(scenarios, methods, seeds)
    display = progress.Display(cells, Timings(tmp_path / "s"), console)
    for i, cell in enumerate(cells):
        display.show(Event(cell, "interval", 9 * i % 71, 70, doing="step 12,345 of 99,999", share=0.5))
    console.print(display.rows())
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) <= console.height
    counts = [match.end() for line in lines if (match := re.search(r" \d+/\d+ ", line))]
    assert len(counts) > 2
    assert len(set(counts)) == 1  # they stand in one column
    rows = [line for line in lines if "/70" in line]
    assert all(re.search(r"seed \d+ ", line) for line in rows)  # the end of a label is never lost


def test_the_time_left_follows_from_progress_and_from_similar_cells(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # away from published stores, whose timings would help
    now = 0.0
    cells = product([parse_spec("scenario", TINY)], [parse_spec("method", "naive")], range(4))
    left = TimeLeft(cells, Timings(tmp_path / "s"), clock=lambda: now)
    left.see(Event(cells[0], "started"))
    assert left.of_all() is None
    left.see(Event(cells[0], "interval", 0, 10))
    now = 10.0
    left.see(Event(cells[0], "interval", 1, 10, share=0.0))
    assert left.of_cell(cells[0].name) == pytest.approx(90)
    assert left.of_all() == pytest.approx(90 + 3 * 100)
    left.see(Event(cells[0], "interval", 1, 10, share=0.5))
    assert left.of_cell(cells[0].name) == pytest.approx(10 * 0.85 / 0.15)
    now = 60.0
    left.see(Event(cells[0], "done", 10, 10))
    left.see(Event(cells[1], "started"))
    left.see(Event(cells[2], "started"))
    assert left.of_cell(cells[1].name) == pytest.approx(60)
    assert left.of_all() == pytest.approx(3 * 60 / 2)  # three cells, two at a time
    # A cell that an earlier process began tells nothing about whole cells, but its own speed counts.
    left.see(Event(cells[1], "interval", 8, 10))
    now = 70.0
    left.see(Event(cells[1], "interval", 9, 10))
    assert left.of_cell(cells[1].name) == pytest.approx(10)


def test_without_a_terminal_each_interval_and_cell_has_a_line_with_its_time_and_in_a_notebook_each_cell(
    tmp_path, capsys, monkeypatch
):
    (cell,) = tiny_cells("naive")
    events = [Event(cell, "interval", 1, 2, negative_elbo=3.5)] * 2 + [Event(cell, "done", 2, 2, seconds=9)]
    for notebook in (False, True):
        if notebook:
            monkeypatch.setenv("JPY_PARENT_PID", "1")
        with progress.shown([cell], tmp_path / "s") as show:
            for event in events:
                show(event)
        lines = capsys.readouterr().out.splitlines()
        told = [re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", "", line) for line in lines]
        intervals = [f"{cell}: interval 1 of 2, negative ELBO 3.50", f"{cell}: interval 2 of 2"]
        assert told == ([] if notebook else intervals) + [f"[1/1] {cell}: done in 9 s"]
        assert all(len(line) == len(rest) + 20 for line, rest in zip(lines, told, strict=True))


@given(text=st.text(max_size=60), width=st.integers(1, 60))
def test_a_long_text_loses_its_middle(text, width):
    short = elided(text, width)
    assert len(short) <= max(width, 1)
    if len(text) <= width:
        assert short == text
    else:
        before, _, _ = short.partition("…")
        assert text.startswith(before)
        assert text.endswith(short[len(before) + 1 :])
        assert abs(len(before) - (len(short) - len(before) - 1)) <= 1


def test_a_worker_says_what_it_does(tmp_path):
    doing = Doing()
    assert doing.at_present == Now("starting")
    doing.now("building the stream")
    assert doing.at_present == Now("building the stream")
    doing.now("measuring", share=1.0)
    assert doing.at_present == Now("measuring", 1.0)
    doing.now("training", lambda: 1500, 2000)
    assert doing.at_present == Now("step 1,500 of 2,000", 0.75)
    doing.now("training", lambda: 1500)  # passes, whose steps aren't known before
    assert doing.at_present == Now("step 1,500")
    for content in ("", "[", "[1]", "null", '["a", "b"]'):  # being written, or another program's
        (tmp_path / "x.json").write_text(content)
        assert told(tmp_path / "x.json") == Now()
    assert told(tmp_path / "absent.json") == told(None) == Now()


def test_a_run_shows_what_its_workers_do(tmp_path):
    (cell,) = product([parse_spec("scenario", "split-digits:steps=400")], [parse_spec("method", "naive")], [0])
    events: list[Event] = []
    run([cell], Store.create(tmp_path / "s"), Execution(tmp_path), show=events.append)
    words = {re.sub(r"step [\d,]+", "step n", event.doing) for event in events}
    assert "measuring" in words
    assert "step n of 400" in words or "building the stream" in words
    assert all(0 <= event.share <= 1 for event in events)


def test_a_neighbour_that_cannot_be_read_is_no_matter_of_a_store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Store.create(tmp_path / "beside")
    (tmp_path / "beside" / "cells").rmdir()
    (tmp_path / "beside" / "cells").write_text("no folder")
    (cell,) = tiny_cells("naive")
    assert Timings.of(tmp_path / "s").seconds(Work.of(cell)) is None
