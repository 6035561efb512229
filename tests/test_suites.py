"""Suites: what comes with lifegen can be run, at both sizes."""

from __future__ import annotations

import json

import pytest

from lifegen.benchmark.cells.spec import parse_spec
from lifegen.benchmark.cells.suite import cells_of, suites
from lifegen.benchmark.errors import InputError
from lifegen.benchmark.reading.table import load
from lifegen.benchmark.reporting.figure_kinds import check_figures
from lifegen.benchmark.running.worker import run_cell
from lifegen.benchmark.store.store import Store

from .commands import lifegen
from .small_data import small_data

__all__ = ["small_data"]
PAPER = {"fashion", "mnist", "rotated", "svhn-to-mnist", "kl-direction", "sample-need", "ablation", "permuted",
         "celeba", "motivation", "fashion-random"}  # fmt: skip


def test_every_experiment_of_the_paper_is_a_suite():
    assert set(suites()) >= PAPER


@pytest.mark.parametrize("name", sorted(suites()))
def test_a_suites_cells_exist_and_its_figures_too(name):
    suite = suites()[name]
    cells = cells_of(name)
    methods = {cell.method.label for cell in cells}
    assert len(cells) == (len(suite.anchors) or len(suite.scenarios) * len(methods)) * len(suite.seeds)
    assert methods >= {parse_spec("method", one).label for one in suite.methods if one != "all"}
    small = cells_of(name, smoke=True)
    assert {cell.seed for cell in small} == {suite.seeds[0]}
    # Scenarios that differ in what the small size sets, such as their steps, are one there.
    scenarios = [parse_spec("scenario", one) for one in suite.scenarios]
    left = {json.dumps({"": one.name, **one.config, **suite.smoke.scenario}) for one in scenarios}
    assert len(small) == (len(suite.anchors) or len(left) * len(methods))
    for before, after in zip(cells, small, strict=False):
        for key, value in suite.smoke.scenario.items():
            assert after.scenario.config[key] == value != before.scenario.config[key]
        assert after.method.name == before.method.name
    check_figures(suite)
    assert suite.budget


def test_the_arms_of_the_paper_share_their_model():
    """With and without differ in the terms of the loss alone: each arm without has one with."""
    for name in PAPER:
        arms = [(cell.method.name, cell.method.config) for cell in cells_of(name, seeds=[0])]
        full = [config for method, config in arms if method == "lifelong-vae"]
        without = [config for method, config in arms if method == "generative-replay"]
        assert without
        for shared in without:
            assert any({key: config[key] for key in shared} == shared for config in full)


def test_every_experiment_of_the_paper_runs_its_preset_beside_our_conventions():
    for name in PAPER - {"ablation"}:
        methods = {cell.method.name for cell in cells_of(name)}
        assert {"lifelong-vae", "generative-replay"} < methods
        assert methods & {"lgm-iclr", "lgm-2019"}


def test_the_information_terms_weights_are_tried_with_and_without_consistency():
    arms = {tuple(cell.method.config.get(key, 0) for key in ("mutual_information_weight", "consistency_weight"))
            for cell in cells_of("information")}  # fmt: skip
    assert arms == {(weight, gamma) for weight in (0, 0.1, 0.3, 1) for gamma in (0, 1)}


def test_the_papers_patience_meets_no_limit_of_steps_that_it_could_reach_soon():
    lengths = [(c.scenario.config["patience"], c.scenario.config["stopping_on"], c.scenario.config["steps"])
               for c in cells_of("sample-need", seeds=[0])]  # fmt: skip
    assert {(50, "current", 20_000), (50, "seen", 20_000)} < set(lengths)


def test_the_small_size_runs_and_leaves_the_suites_store_alone(tmp_path):
    done = lifegen("run", "--suite", "quick", "--smoke", "--device", "cpu", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    table = load(tmp_path / "runs" / "quick-smoke")
    assert set(table["seed"]) == {0}
    assert set(table.loc[table["metric"] == "optimizer_steps", "value"]) == {10, 100}
    assert not (tmp_path / "runs" / "quick").exists()


@pytest.mark.parametrize("name", sorted(set(suites()) - {"quick"}))
def test_the_small_size_of_every_suite_runs(name, small_data, tmp_path, monkeypatch):
    """On files in torchvision's real layouts, with fewer draws."""
    for constant in ("DRAWS", "FLOOR_IMAGES"):
        monkeypatch.setattr(f"lifegen.benchmark.measuring.measurement.{constant}", 2)
    store = Store.create(tmp_path / "store")
    cell = cells_of(name, smoke=True, steps=None if suites()[name].anchors else 2)[0]
    assert run_cell(cell, store.path, small_data, "cpu") == "done", store.cell(cell.name).record.get("error")
    assert set(load(store.path)["method"]) == {cell.method.label}


def test_steps_replace_those_of_a_suite_but_not_those_of_a_given_scenario():
    assert {cell.scenario.config["steps"] for cell in cells_of("fashion", steps=50)} == {50}
    given = cells_of("fashion", ["split-mnist:steps=7", "split-digits"], steps=50)
    assert {cell.scenario.config["steps"] for cell in given} == {7, 50}


def test_the_small_size_leaves_out_what_a_given_scenario_does_not_have():
    (cell,) = cells_of("rotated", ["split-digits"], ["naive"], smoke=True)
    assert cell.scenario.config["steps"] == 5


def test_all_stands_for_every_method_but_presets():
    names = [cell.method.label for cell in cells_of("quick", methods=["naive:width=9", "all"], seeds=[0])]
    assert names[0] == "naive:width=9"
    assert {"naive", "ewc", "growing-mixture", "avalanche-gem"} < set(names)
    assert not {"lgm-iclr", "lgm-2019", "all"} & set(names)
    assert sorted(names[1:]) == names[1:]


def test_the_small_size_is_a_suites():
    with pytest.raises(InputError, match="--suite"):
        cells_of(None, ["split-digits"], ["naive"], smoke=True)


def test_a_suite_is_shown_with_its_budget():
    shown = lifegen("list", "ablation")
    assert "two cores" in shown.stdout
    assert "weight_transfer=false" in shown.stdout


def test_methods_chosen_from_a_suite_are_of_it_and_others_are_not():
    cells = cells_of("quick", methods=["naive", "naive:learning_rate=0.5", "ewc"], seeds=[7])
    assert {cell.method.label: cell.suite for cell in cells} == {
        "naive": "quick",
        "naive:learning_rate=0.5": None,
        "ewc": None,
    }
