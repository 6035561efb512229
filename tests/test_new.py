"""What ``lifegen new-method`` and its like write, and what ``lifegen check`` says."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from lifegen.benchmark import check
from lifegen.benchmark.authoring.scaffold import new, new_suite
from lifegen.benchmark.cells.cell import product
from lifegen.benchmark.cells.spec import parse_spec
from lifegen.benchmark.cells.suite import Suite, cells_of, suite
from lifegen.benchmark.cli.main import cli
from lifegen.benchmark.errors import InputError
from lifegen.benchmark.reporting.figure_kinds import check_figures
from lifegen.benchmark.running.worker import run_cell
from lifegen.benchmark.store.store import Store

from .commands import lifegen
from .stores import numbers_of

NAMES = {"method": "my-method", "scenario": "my-scenario", "metric": "my_metric"}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("kind", NAMES)
def test_what_is_written_keeps_every_promise_as_it_is(kind, folder):
    (file,) = new(kind, NAMES[kind], folder)
    assert file == folder / f"my_{kind}.py"
    found = list(check(file.name))
    assert len(found) > 5
    assert not [finding for finding in found if finding.status == "broken"]
    for arguments in (["check", "--line-length", "120"], ["format", "--check", "--line-length", "120"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *arguments, "--isolated", file.name], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout


def test_the_method_that_is_written_forgets_less_than_fine_tuning(folder):
    new("method", "my-method", folder)
    store = Store.create(folder / "s")
    scenario = parse_spec("scenario", "split-digits:steps=100,classes_per_interval=5")
    cells = product([scenario], [parse_spec("method", "my_method.py"), parse_spec("method", "naive")], [0])
    for cell in cells:
        assert run_cell(cell, store.path, folder, "cpu") == "done", store.cell(cell.name).record.get("error")
    mine, naive = (numbers_of(store, cell.name) for cell in cells)
    assert mine["forgetting"] < naive["forgetting"] - 1
    assert mine["negative_elbo"] < naive["negative_elbo"]


def test_nothing_is_written_over_and_no_name_is_taken_twice(folder):
    new("method", "my-method", folder)
    new("method", "my-method", folder, package=True)
    for package in (False, True):
        with pytest.raises(InputError, match="exists already and isn't overwritten"):
            new("method", "my-method", folder, package=package)
    with pytest.raises(InputError, match=r"there is a method 'naive' already: lifegen\.methods\.naive\.Naive"):
        new("method", "naive", folder)
    with pytest.raises(InputError, match="'my_method' must match .*such as 'my-method'"):
        new("method", "my_method", folder)
    assert {file.name for file in folder.iterdir()} == {"my_method.py", "lifegen-my-method"}


def test_a_name_that_begins_with_a_digit_makes_a_module_that_can_be_imported(folder):
    (file,) = new("method", "3d-vae", folder)
    assert file.name == "method_3d_vae.py"
    assert parse_spec("method", file.name).label == "3d-vae"


@pytest.mark.parametrize("kind", NAMES)
def test_the_command_says_what_to_type_next(kind, folder, capsys):
    cli([f"new-{kind}", NAMES[kind]], standalone_mode=False)
    said = capsys.readouterr().out
    assert f"wrote my_{kind}.py" in said
    assert f"    lifegen check my_{kind}.py" in said
    assert "    lifegen leaderboard runs/default" in said
    cli([f"new-{kind}", NAMES[kind], "--package"], standalone_mode=False)
    assert f"    pip install --editable lifegen-my-{kind}" in capsys.readouterr().out


def test_a_suite_runs_as_it_is_written(folder):
    said = lifegen("new-suite", "my-suite").stdout
    assert said.startswith("wrote my-suite.toml\n")
    assert "    lifegen run --suite my-suite.toml --smoke\n" in said
    text = (folder / "my-suite.toml").read_text()
    assert [cell.method.label for cell in cells_of("my-suite.toml", seeds=[0])] == [
        "generative-replay",
        "ewc",
        "ewc:strength=100",
        "batch",
        "naive",
    ]
    done = lifegen("run", "--suite", "my-suite.toml", "--smoke", "-m", "naive", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    # Every key that stands there as a comment can be used.
    lines = [line.removeprefix("# ") for line in text.splitlines() if not line.startswith("# tuned")]
    (folder / "all.toml").write_text("\n".join(line for line in lines if re.match(r"\w+ = |[ \]]", line)))
    keys = tomllib.loads((folder / "all.toml").read_text()).keys()
    assert keys == Suite.model_fields.keys() - {"tuned", "anchors", "budget"}
    assert len(cells_of("all.toml")) == 15
    check_figures(suite("all.toml"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my-suite", "my-suite.toml exists already and isn't overwritten"),
        ("my-suite.toml", "my-suite.toml exists already and isn't overwritten"),
        ("quick", "there is a suite 'quick' already: `lifegen list quick` shows it"),
        ("../mine", "has a path separator"),
        ("", "is empty"),
    ],
)
def test_a_suite_that_is_not_written(folder, name, message):
    new_suite("my-suite", folder)
    with pytest.raises(InputError, match=message):
        new_suite(name, folder)
    assert [file.name for file in folder.iterdir()] == ["my-suite.toml"]


NOTHING = '''
from avalanche.core import SupervisedPlugin
from lifegen.benchmark import register_method
from lifegen.methods.models.method import VAEMethod


class Penalty(SupervisedPlugin):
    def before_backwards(self, strategy, **_):
        strategy.loss = strategy.loss + 1


@register_method("nothing", version=1)
class Nothing(VAEMethod):
    """Misspells its hook."""

    def plugins(self, stream, seeds):
        return [*super().plugins(stream, seeds), Penalty()]
'''


def test_the_command_says_what_was_expected_what_was_seen_and_where_to_look(folder, capsys):
    (folder / "nothing.py").write_text(NOTHING)
    assert cli(["check", "nothing.py"], standalone_mode=False) == 1
    said = capsys.readouterr().out
    assert said.startswith("method nothing (nothing.py:Nothing)\n  kept    ")
    broken = said[said.index("BROKEN") :].splitlines()[:4]
    assert broken[0] == "BROKEN  it acts"
    assert broken[1].split() == ["expected:", "other", "weights", "than", "those", "of", "naive"]
    assert "seen:     has the weights of naive after four conflicting intervals" in broken[2]
    assert "look at:  hooks whose name Avalanche doesn't call" in broken[3]
    assert " 1 broken" in said.splitlines()[-1]


def test_a_file_is_checked_with_all_that_it_registers_and_with_options(folder, capsys):
    for kind, name in (("scenario", "other-scenario"), ("metric", "other_metric")):
        (file,) = new(kind, name, folder)
        with (folder / "both.py").open("a") as both:
            both.write(file.read_text())
    assert cli(["check", "both.py"], standalone_mode=False) == 0
    said = capsys.readouterr().out
    assert "scenario other-scenario (both.py:other_scenario)" in said
    assert "metric other_metric (both.py:other_metric)" in said
    assert cli(["check", "both.py:other-scenario:classes=2,steps=5"], standalone_mode=False) == 0
    said = capsys.readouterr().out
    assert "4 intervals" in said
    assert "metric" not in said.splitlines()[0]


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        ("naivee", "unknown name 'naivee'.*mean 'naive'"),
        ("absent.py", "absent.py can't be read"),
        ("empty.py", "registers nothing"),
        ("some.py:Scheme", "unknown thing in some.py: 'Scheme'; there are: my_metric"),
        ("naive:code=1", "unknown option of method 'naive'"),
    ],
)
def test_what_cannot_be_checked(thing, message, folder):
    (folder / "empty.py").write_text("")
    new("metric", "my_metric", folder)[0].rename(folder / "some.py")
    with pytest.raises(InputError, match=message):
        list(check(thing))
