"""Findings in sentences: what they say is what the numbers allow."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifegen.benchmark.reading.current import SeedCount
from lifegen.benchmark.reading.findings import findings
from lifegen.benchmark.reading.leaderboard import leaderboard
from lifegen.benchmark.reading.ranking import ranks
from lifegen.benchmark.reading.scores import Scores

REFERENCES = {"top": "upper", "bottom": "lower"}


def scores(values: Mapping[str, Sequence[float]], scenario: str = "s", metric: str = "negative_elbo") -> Scores:
    rows = [
        (scenario, method, seed, metric, value) for method, runs in values.items() for seed, value in enumerate(runs)
    ]
    return Scores(
        "made up",
        pd.DataFrame(rows, columns=["scenario", "method", "seed", "metric", "value"]),
        {method: which for method, which in REFERENCES.items() if method in values},
        dict.fromkeys(values, ()),
    )


def said(*values: Mapping[str, Sequence[float]], metric: str = "negative_elbo") -> list[str]:
    return findings(leaderboard(scores(*values, metric=metric)))


def around(mean: float, *offsets: float) -> list[float]:
    return [mean + offset for offset in offsets]


CLEAR = {
    "top": around(20, -0.1, 0, 0.1),
    "a": around(25, -0.1, 0, 0.1),
    "b": around(25.1, 0.2, -0.2, 0),
    "c": around(30, 0.1, -0.1, 0),
    "d": around(40, 0, 0.1, -0.1),
    "bottom": around(40.1, -0.2, 0, 0.2),
}


def test_it_says_best_ties_references_and_differences():
    first, ties, references, beside, difference = said(CLEAR)
    assert first == "a is first by negative ELBO, 25.0 ± 0.2 nats; these seeds don't tell it apart from b."
    assert ties == "5 of 6 pairs of ranked methods are told apart."
    assert references.startswith("top ▲ is at 20.0 ± 0.2 nats, bottom ▼ at 40.1 ± 0.5 nats; ")
    assert "a closes 75 % (" in references
    assert "d, the last, 0 % (−" in references
    assert beside == "Not told apart from bottom: d."
    assert "with 3 seeds" in difference


def test_a_clear_best_method_is_said_to_be_better():
    first, *_ = said({method: runs for method, runs in CLEAR.items() if method != "b"})
    assert first.endswith("and shown to be better than each of the 2 others that are ranked.")
    _, _, _, beside, _ = said(CLEAR | {"e": around(15, 0, 0.1, -0.1)})
    assert beside == "Better than top is shown for e. Not told apart from bottom: d."


def test_what_is_worse_than_the_lower_reference_is_said():
    (*_, beside, _) = said(CLEAR | {"e": around(60, 0, 0.1, -0.1)})
    assert beside == "Not told apart from bottom: d. Worse than bottom is shown for e."


def test_methods_with_failed_seeds_are_named():
    board = scores(CLEAR)
    _, ties, failing, *_ = findings(leaderboard(replace(board, seeds={("s", "a"): SeedCount(4, 1)})))
    assert ties.startswith("3 of 3 pairs")
    assert failing == "Not ranked, since some of their seeds failed: a."


def test_groups_are_named_once():
    wide = (1, -1, 0, 0.5)
    board = {"a": around(10, 0, 0.1, 0, 0.1)} | {name: around(20 + i / 4, *wide) for i, name in enumerate("bcd")}
    _, ties, _ = said(board)
    assert ties == "3 of 6 pairs of ranked methods are told apart. Not told apart among themselves: b, c and d."


def test_equal_methods_are_first_together():
    first, ties, _ = said({"a": [10, 11, 12], "copy": [10, 11, 12], "c": [30, 31, 30]})
    assert first == "a and copy are first by negative ELBO, 11.0 ± 2.5 nats, and shown to be better than c."
    assert ties.startswith("2 of 3 pairs")


def test_one_seed_shows_nothing():
    assert said({"top": [20], "a": [25], "b": [26], "bottom": [40]}) == [
        "a is first by negative ELBO, 25.0 nats; most methods have one seed, which shows no order.",
        "top ▲ is at 20.0 nats, bottom ▼ at 40.0 nats, without an interval.",
    ]


def test_references_that_overlap_are_no_scale():
    (*_, text, _) = said(CLEAR | {"bottom": around(21, -5, 0, 5)})
    assert text.endswith("these seeds don't show that the references differ as they should.")


def test_what_is_missing_is_not_said():
    assert said({"a": [25.0]}) == ["a is first by negative ELBO, 25.0 nats."]
    assert said({"top": [25.0]}) == []
    assert said(CLEAR, metric="real_samples") == []  # neither is better


def test_higher_may_be_better():
    first, *_ = said({"a": around(0.2, 0, 0.01), "b": around(0.9, 0, 0.01)}, metric="coverage")
    assert first == "b is first by coverage, 0.91 ± 0.06, and shown to be better than a."


def test_samples_beside_likelihood():
    likelihood = {name: around(10 * i, 0, 0.1) for i, name in enumerate("abcde", 1)}
    samples = {name: around(10 * i, 0) for i, name in enumerate("edcba", 1)}
    numbers = [scores(likelihood).numbers, scores(samples, metric="frechet_distance").numbers]
    both = Scores("made up", pd.concat(numbers), {}, dict.fromkeys(likelihood, ()))
    assert findings(leaderboard(both))[-1] == (
        "The orders by negative ELBO and by Fréchet distance of samples differ: rank correlation -1.00 (Kendall's τ of "
        "5 methods, samples of one seed); by samples e comes first."
    )


def test_scenarios_are_named_where_there_are_several():
    numbers = pd.concat([scores(CLEAR, "s").numbers, scores(CLEAR, "t").numbers])
    board = leaderboard(Scores("made up", numbers, REFERENCES, dict.fromkeys(CLEAR, ())))
    one, every = findings(board, "t"), findings(board)
    assert every == [f"s: {text}" for text in one] + [f"t: {text}" for text in one]
    assert findings(leaderboard(board.scores, across=True)) == []


@settings(max_examples=25)
@given(st.lists(st.tuples(st.floats(10, 50), st.floats(0.01, 5)), min_size=2, max_size=8), st.integers(2, 4))
def test_the_methods_beside_the_best_are_its_ties(board, seeds):
    generator = np.random.default_rng(0)
    values = {f"m{i}": mean + spread * generator.standard_normal(seeds) for i, (mean, spread) in enumerate(board)}
    first, *others = said(values)
    best, rank = next(iter(ranks({method: [runs] for method, runs in values.items()}).items()))
    assert re.match(rf"{best} is first by negative ELBO, ", first)
    _, apart, named = first.partition("tell it apart from ")
    assert set(re.findall(r"m\d", named)) <= set(rank.ties)
    assert bool(apart) == bool(rank.ties)
    assert ("better" in first) == (not rank.ties)
    assert len(others) <= 5


@pytest.mark.parametrize("methods", [3, 6])
def test_equal_methods_are_seldom_said_to_differ(methods):
    """A table says anything wrong in 5 % of cases at most: of 60, eight or more are too many (p = 0.01)."""
    generator = np.random.default_rng(1)
    wrong = 0
    for _ in range(60):
        first, ties, *_ = said({f"m{i}": 50 + generator.standard_normal(3) for i in range(methods)})
        wrong += "better" in first or not ties.startswith("0 of")
    assert wrong < 8
