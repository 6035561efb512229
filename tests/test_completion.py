"""Completion in a shell, by the protocol that its script speaks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lifegen.benchmark.cells.cell import product
from lifegen.benchmark.cells.spec import parse_spec
from lifegen.benchmark.cells.suite import suites
from lifegen.benchmark.discovery.index import describe
from lifegen.benchmark.reporting.figure_kinds import FIGURE_KINDS
from lifegen.benchmark.reporting.figures.style import STYLES
from lifegen.benchmark.store.plans import save_plan
from lifegen.benchmark.store.store import Store

from .commands import LIFEGEN
from .stores import write
from .tiny_scenarios import chosen

HEAVY = "torch avalanche pandas matplotlib"


def completed(line: str, cwd: Path, **variables: str) -> list[str]:
    """What the shell is told about the last word of a line; nothing heavy is imported and nothing else is said."""
    words = line.split(" ")
    environment = {"_LIFEGEN_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    code = f"""
import sys
from lifegen.benchmark.cli import main
sys.argv = ["lifegen"]
try:
    main()
finally:
    assert not sys.modules.keys() & set({HEAVY!r}.split()), sorted(sys.modules.keys() & set({HEAVY!r}.split()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd,
                          env={**os.environ, **environment, **variables}, check=False)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with a store."""
    store = Store.create(tmp_path / "s")
    write(store, "good", 0, 30)
    write(store, "ewc", 0, 30, options="strength=1")
    return tmp_path


def plain(names) -> list[str]:
    return [f"plain,{name}" for name in sorted(names)]


def test_methods_and_files_are_completed(folder):
    describe("method")  # as any command does
    names = {name for name, entry in describe("method").items() if not entry.error} | {"all"}
    assert set(completed("lifegen run -m ", folder)) == {"file,", *plain(names)}
    assert completed("lifegen run -m gener", folder) == ["file,", "plain,generative-replay"]
    # The one that is there already isn't offered again.
    assert completed("lifegen run -m ewc -m ew", folder) == ["file,"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("lifegen run -s split-d", ["file,", "plain,split-digits"]),
        ("lifegen tune --suite ewc", ["file,", "plain,ewc-grid"]),
        ("lifegen leaderboard s --metric forg", ["plain,forgetting"]),
        ("lifegen leaderboard s -m ", ["plain,ewc:strength=1", "plain,good"]),
        ("lifegen leaderboard s -s ", ["plain,split-x"]),
        ("lifegen compare s go", ["plain,good"]),
        ("lifegen compare absent go", []),
        ("lifegen plot s --style ", ["file,", *(f"plain,{name}" for name in sorted(STYLES))]),
        ("lifegen plot s --label ", ["plain,ewc:strength=1=", "plain,good=", "plain,split-x="]),
        ("lifegen rerun s split-x-g", ["plain,split-x-good-1-0"]),
        ("lifegen rerun absent split", []),
        ("lifegen data fashion", ["file,", "plain,fashion-mnist"]),
        ("lifegen list metr", ["file,", "plain,metrics"]),
        ("lifegen new-su", ["plain,new-suite"]),
        ("lifegen run --executor r", ["plain,ray"]),
    ],
)
def test_names_are_completed(folder, line, expected):
    assert completed(line, folder) == expected


def test_every_suite_and_kind_of_figure_is_completed(folder):
    assert completed("lifegen plan --suite ", folder) == ["file,", *plain(suites())]
    metrics = {name for name, entry in describe("metric").items() if not entry.error}
    assert completed("lifegen plot s ", folder) == [*dict.fromkeys([*plain(FIGURE_KINDS), *plain(metrics)])]


def test_planned_cells_are_completed_too(folder):
    planned = product([chosen()], [parse_spec("method", "naive")], [0])
    save_plan(Store(folder / "s"), planned, "lifegen plan")
    assert completed("lifegen worker s --cell tiny", folder) == [f"plain,{planned[0].name}"]


def test_a_damaged_cell_or_cache_is_passed_over_in_silence(folder):
    (folder / "s" / "cells" / "split-x-good-1-0" / "run.json").write_text("[")
    assert completed("lifegen leaderboard s -m ", folder) == ["plain,ewc:strength=1"]
    # An empty cache: no names, and no ten seconds to find them.
    assert completed("lifegen run -m ew", folder, XDG_CACHE_HOME=str(folder / "cache")) == ["file,"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_documented_line_makes_a_script(shell):
    done = subprocess.run(LIFEGEN, capture_output=True, text=True, check=False,
                          env={**os.environ, "_LIFEGEN_COMPLETE": f"{shell}_source"})  # fmt: skip
    assert done.returncode == 0
    assert f"_LIFEGEN_COMPLETE={shell}_complete" in done.stdout
