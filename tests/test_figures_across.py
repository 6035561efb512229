"""Figures of several scenarios: mean scores, performance profiles, probabilities of improvement."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from lifegen.benchmark.errors import InputError
from lifegen.benchmark.reading.leaderboard import leaderboard
from lifegen.benchmark.reporting.figures.across import improvement, profile
from lifegen.benchmark.reporting.plots import drawings
from lifegen.benchmark.store.store import Store

from .test_plots import boxes_outside, write

KINDS = ["mean_over_scenarios", "performance_profile", "probability_of_improvement"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.create(tmp_path / "store")
    for place, seed in product(("x", "y"), range(3)):
        far = 10 if place == "y" else 0
        for method, value, reference in (("naive", 60, "lower"), ("batch", 20, "upper"), ("good", 30, None),
                                         ("a-method-with-a-long-name:width=400,codes=10", 50, None)):  # fmt: skip
            write(store, method, seed, value + seed + far, reference=reference, scenario=f"split-{place}")
    write(store, "only-here", 0, 30, scenario="split-x")
    return store


def test_means_are_those_of_the_leaderboard_across(store):
    (drawing,) = drawings(store, ["mean_over_scenarios"])
    table = leaderboard(store, ["negative_elbo"], across=True).table
    expected = table[table["metric"] == "negative_elbo"].set_index("method")[["mean", "low", "high"]]
    assert drawing.data["method"].tolist()[:2] == ["batch", "good"]
    for row in drawing.data.itertuples():
        assert (row.mean, row.low, row.high) == pytest.approx(tuple(expected.loc[row.method]), nan_ok=True)
    assert drawing.data.set_index("method").loc["good", "split-y"] == pytest.approx(0.75)
    assert drawing.title.startswith("2 scenarios: ")
    assert "Scenarios: Split x; Split y" in drawing.caption


def test_profiles_fall_from_one_to_none_and_their_band_holds_them(store):
    (drawing,) = drawings(store, ["performance_profile"])
    for _, table in drawing.data.groupby("method"):
        assert (table["share"].iloc[0], table["share"].iloc[-1]) == (1, 0)
        assert (np.diff(table["share"]) <= 0).all()
        assert ((table["low"] <= table["share"]) & (table["share"] <= table["high"])).all()
    assert "only-here" not in set(drawing.data["method"])


@given(st.lists(st.lists(st.floats(-2, 2), min_size=1, max_size=5), min_size=2, max_size=3), st.floats(-2, 2))
def test_a_profile_is_a_mean_of_shares(groups, level):
    shares = [sum(value > level for value in runs) / len(runs) for runs in groups]
    assert profile([np.array(runs) for runs in groups], np.array([level]))[0] == pytest.approx(
        sum(shares) / len(shares)
    )


def test_improvement_is_mann_whitneys_u_and_the_matrix_has_every_pair(store):
    generator = np.random.default_rng(0)
    a, b = ([generator.integers(0, 5, 4).astype(float) for _ in range(3)] for _ in range(2))
    shares = [mannwhitneyu(other, runs).statistic / 16 for runs, other in zip(a, b, strict=True)]
    assert improvement(a, b) == pytest.approx(np.mean(shares))
    assert improvement(a, b) + improvement(b, a) == pytest.approx(1)
    (drawing,) = drawings(store, ["probability_of_improvement"])
    better = drawing.data.set_index(["a", "b"])["better"]
    assert len(better) == 4 * 3
    assert better["batch", "naive"] == 1
    assert better["naive", "batch"] == 0


@pytest.mark.parametrize("style", ["screen", "icml"])
def test_nothing_is_cut(store, style):
    for drawing in drawings(store, KINDS, style):
        assert not boxes_outside(drawing)


def test_one_scenario_or_references_that_cannot_be_told_apart_are_refused_in_a_line(tmp_path):
    one = Store.create(tmp_path / "one")
    write(one, "naive", 0, 60, reference="lower")
    for kind in KINDS:
        with pytest.raises(InputError, match="two scenarios"):
            list(drawings(one, [kind]))
    write(one, "naive", 0, 60, reference="lower", scenario="split-y")
    with pytest.raises(InputError, match="needs exactly one upper reference"):
        list(drawings(one, ["mean_over_scenarios"]))
    assert not set(KINDS) & {drawing.kind for drawing in drawings(one)}
