"""The commands as functions."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from lifegen.benchmark import InputError, compare, findings, leaderboard, load, plot, run

from .commands import lifegen


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("functions") / "store"
    methods = ["naive:width=8", "batch:width=8", "exact-replay:width=8"]
    assert run(["split-digits:class_order=[0,1]"], methods, seeds=[0, 1], steps=3, out=out, device="cpu") == out
    return out


def test_a_run_is_the_commands_and_goes_on(store, capsys):
    done = lifegen("status", store)
    assert "6" in done.stdout
    assert "done" in done.stdout
    before = load(store)
    capsys.readouterr()
    run(["split-digits:class_order=[0,1],steps=3"], ["naive:width=8"], seeds=[0], out=store)
    assert capsys.readouterr().out == ""
    assert load(store).equals(before)
    again = lifegen("run", "-s", "split-digits:class_order=[0,1],steps=3", "-m", "naive:width=8", "--seeds", "0,1",
                    "--out", store)  # fmt: skip
    assert "2 cells, all done" in again.stdout


def test_tables_are_the_commands(store):
    table = leaderboard(store, ["negative_elbo", "forgetting"])
    rows = list(csv.DictReader(io.StringIO(lifegen("leaderboard", store, "--metric", "negative_elbo", "--metric",
                                                   "forgetting", "--format", "csv").stdout)))  # fmt: skip
    assert table["method"].tolist() == [row["method"] for row in rows]
    assert table["mean"].tolist() == [float(row["mean"]) for row in rows]
    assert set(leaderboard(store, methods=["naive:width=8"])["method"]) == {"naive:width=8"}
    words = compare(store, "naive:width=8", "batch:width=8").words
    assert list(words) == ["split-digits:steps=3,class_order=[0,1]"]


def test_findings_are_sentences_of_one_store_or_several(store):
    assert "batch:width=8 ▲" in findings(store)[0]
    assert findings([store, store]) == findings(store)


def test_a_figure_is_matplotlibs(store):
    figure = plot(store, "final")
    assert isinstance(figure, Figure)
    assert figure._repr_png_().startswith(b"\x89PNG")  # how a notebook shows it
    with pytest.raises(InputError, match="'samples' is 3 figures .*name the scenario, or one method"):
        plot(store, "samples")
    assert isinstance(plot(store, "samples", methods=["naive:width=8"]), Figure)


def test_failures_are_raised_when_everything_else_is_done(tmp_path):
    (tmp_path / "broken.py").write_text(
        "from lifegen.benchmark import register_method\n"
        "from lifegen.methods.models.method import VAEMethod\n"
        '@register_method("broken", version=1)\n'
        "class Broken(VAEMethod):\n"
        '    """Breaks."""\n'
        "    def plugins(self, stream, seeds):\n"
        '        raise RuntimeError("boom")\n'
    )
    out = tmp_path / "store"
    with pytest.raises(RuntimeError, match="1 of 2 cells not done, the first, .*broken.*RuntimeError: boom"):
        run(["split-digits:steps=1,class_order=[0]"], [f"{tmp_path}/broken.py", "naive:width=8"], seeds=[0], out=out)
    assert set(load(out)["method"]) == {"naive:width=8"}


def test_what_does_not_exist_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(InputError, match="'naiv'.*mean 'naive'"):
        run(["split-digits"], ["naiv"], out=tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_an_unknown_device_is_refused_before_anything_is_made(tmp_path):
    with pytest.raises(InputError, match="device 'gpu' isn't auto, cpu, cuda or cuda:N"):
        run(["split-digits"], ["naive"], out=tmp_path / "s", device="gpu")
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("seeds", ["0-2", [0.5], ["0"]])
def test_seeds_that_are_no_numbers_are_refused(tmp_path, seeds):
    with pytest.raises(InputError, match="isn't a list of numbers"):
        run("split-digits", "naive", seeds=seeds, out=tmp_path / "s")
    with pytest.raises(InputError, match="3 isn't a name"):
        run("split-digits", [3], out=tmp_path / "s")


def test_one_name_may_stand_for_a_list(store):
    one = leaderboard(store, metrics="negative_elbo", methods="naive:width=8")
    assert set(one["metric"]) == {"negative_elbo"}
    assert set(one["method"]) == {"naive:width=8"}
