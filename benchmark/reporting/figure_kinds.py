"""The kinds of figures, in one table: what each shows and needs, how a page shows it, and whether it is published."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from ..cells.suite import Suite
from ..discovery.index import describe
from ..errors import InputError, unknown
from ..reading.metric_facts import TERM
from ..reading.scores import Scores
from .figures import across, budget, classes, comparisons, curves, grids, matrix, sweeps
from .figures.critical_difference import critical_difference
from .figures.drawing import Drawing, Scene
from .titles import check_labels


@dataclass(frozen=True)
class FigureKind:
    """A kind of figure."""

    summary: str
    """One sentence."""
    needs: str
    """The data that a store must have, as the end of a sentence that begins with "it needs"."""
    draw: Callable[[Scene], Iterator[Drawing]] | None = None
    """Draws the figures of this kind for one scenario; none if something needed is missing."""
    over: Callable[[Scores, Scene], Iterator[Drawing]] | None = None
    """Draws the figures of all scenarios together; raises InputError if there are too few."""
    layout: Literal["open", "folded", "gallery"] = "open"
    """How a page shows it: open, folded away one by one, or folded away together, as images side by side."""
    is_published: bool = False
    """Whether ``publish`` draws it for every store, besides the figures that a suite names."""


_SEVERAL = "a method with several intervals"
_SCALES = "two scenarios or more with an upper and a lower reference, of two seeds or more each"
FIGURE_KINDS = {
    "final": FigureKind(
        "Negative ELBO and forgetting after the last interval, a row per method, best first.",
        "negative_elbo after the last interval",
        comparisons.final,
        is_published=True,
    ),
    "curves": FigureKind("Every metric against the interval.", _SEVERAL, curves.curves, layout="folded"),
    "matrix": FigureKind(
        "Negative ELBO on each distribution after each interval, a heat map per method.",
        _SEVERAL,
        matrix.matrix,
        is_published=True,
    ),
    "forgetting": FigureKind(
        "Rise of each distribution's negative ELBO from its best to its last value.",
        _SEVERAL,
        comparisons.forgetting,
        is_published=True,
    ),
    "consistency": FigureKind(
        "Posterior consistency, code retention and code perplexity side by side.",
        f"{_SEVERAL} and with codes",
        curves.consistency,
        is_published=True,
    ),
    "components": FigureKind(
        "Components of the model against the interval.",
        "a method with several intervals, and one with more than one component",
        curves.components,
        is_published=True,
    ),
    "memory": FigureKind(
        "Negative ELBO at the end against the megabytes kept, with the Pareto front.",
        "stored_parameters and stored_samples, and pictures where images are stored",
        comparisons.memory,
        is_published=True,
    ),
    "compute": FigureKind(
        "Negative ELBO at the end against the seconds of training, with the Pareto front.",
        "train_seconds",
        comparisons.compute,
        is_published=True,
    ),
    "precision_recall": FigureKind(
        "Precision of samples against their recall after the last interval, with lines of equal F1.",
        "precision and recall of samples, which are measured where an expert knows the images",
        comparisons.precision_recall,
        is_published=True,
    ),
    "classes": FigureKind(
        "Classes of samples after each interval, a heat map per method.",
        "a method with several intervals whose samples were measured, by a lifegen that counts classes",
        classes.classes,
        is_published=True,
    ),
    "critical_difference": FigureKind(
        "Mean ranks over scenarios with groups that don't differ, and the p-value of every pair.",
        "enough scenarios for Wilcoxon's test",
        over=critical_difference,
    ),
    "mean_over_scenarios": FigureKind(
        "Mean score over scenarios with its interval, a row per method, best first.",
        _SCALES,
        over=across.mean_over_scenarios,
    ),
    "performance_profile": FigureKind(
        "Share of runs above a score, against the score, over scenarios.", _SCALES, over=across.performance_profile
    ),
    "probability_of_improvement": FigureKind(
        "Probability that a run of one method is better than a run of another, over scenarios.",
        "two methods in every one of two scenarios or more",
        over=across.probability_of_improvement,
    ),
    "budget": FigureKind(
        "Negative ELBO at the end against the steps of an interval.",
        "scenarios that differ in their steps alone, such as NAME:steps=100 and NAME:steps=1000",
        over=budget.budget,
        is_published=True,
    ),
    "samples_needed": FigureKind(
        "Real and synthetic images that each interval took (paper, figure 7).", _SEVERAL, curves.samples_needed
    ),
    "gradient_norm_steps": FigureKind(
        "Gradient norm against the step, a panel per method, a curve per interval (paper, figure 4c).",
        f"{_SEVERAL} and a trace of gradient_norm",
        curves.gradient_norm_steps,
        layout="folded",
    ),
    "options": FigureKind(
        "Components and negative ELBO at the end against each numeric option in which variants of a method differ.",
        "two variants of a method that differ in a number, such as NAME:option=1 and NAME:option=2",
        sweeps.options,
        layout="folded",
    ),
    "samples_by_method": FigureKind(
        "Samples of every method after the last interval, from equal noise, a row per method.",
        "cells that kept samples after each interval (older ones didn't)",
        grids.samples_by_method,
        is_published=True,
    ),
    "replayed_by_method": FigureKind(
        "What replay showed every method's student in the last interval as the past, a row per method.",
        "cells of methods that replay, with pictures of it (older ones have none)",
        grids.replayed_by_method,
    ),
    "samples": FigureKind(
        "Samples of the final model, a row per code.", "cells with pictures", grids.samples, layout="gallery"
    ),
    "samples_over_intervals": FigureKind(
        "Samples after each interval, a row per interval.",
        "cells that kept samples after each interval (older ones didn't)",
        grids.samples_over_intervals,
        layout="gallery",
    ),
    "replayed_over_intervals": FigureKind(
        "What replay showed a method's student as the past, a row per interval.",
        "cells of methods that replay, with pictures of it (older ones have none)",
        grids.replayed_over_intervals,
        layout="gallery",
    ),
    "reconstructions": FigureKind(
        "Test images, reconstructions, and their deviation over draws, a row per distribution.",
        "cells with pictures",
        grids.reconstructions,
        layout="gallery",
    ),
    "style_grid": FigureKind(
        "Images of each code over a grid of styles (paper, section 5.3).",
        "a method whose style has two dimensions",
        grids.style_grid,
        layout="gallery",
    ),
}
"""Every kind of figure by name, in the order of drawing. A new kind is a new entry."""
ALL = "all"
"""The name that stands for every kind."""
USUAL = ("final", "negative_elbo", "matrix", "memory", "samples_by_method")
"""The figures that matter: outcome, course, forgetting, cost, and what the models draw."""
_EARLIER_NAMES = {"thresholds": "options"}
"""Old names that suites and commands may still use, with the new ones."""


def figure_name(name: str, metrics: Iterable[str]) -> str:
    """The name of a kind of figure, or of a metric whose figure is wanted. An old name of a kind gives the new one.

    Args:
        name: the name as a user wrote it.
        metrics: names of the existing metrics.

    Raises:
        InputError: neither a kind nor a metric has this name.
    """
    name = _EARLIER_NAMES.get(name, name)
    if name not in {ALL, *FIGURE_KINDS} and name not in (metrics := set(metrics)) and not name.startswith(TERM):
        raise unknown("kind of figure, or metric,", name, {ALL, *FIGURE_KINDS, *metrics})
    return name


def kind_of(name: str) -> FigureKind:
    """A kind of figure by name, or that of a metric's own figure."""

    def draw(scene: Scene) -> Iterator[Drawing]:
        yield from list(curves.curve(scene, name)) or comparisons.last_values(scene, name)

    needs = f"a value of {name}, which no cell has"
    return FIGURE_KINDS.get(name) or FigureKind(f"{name} against the interval.", needs, draw)


def check_figures(suite: Suite) -> None:
    """Check that the figures that a suite names exist, and what it gives titles to.

    Raises:
        InputError: one doesn't exist; the text has the suite's file and the key.
    """
    check_labels(suite)
    for i, name in enumerate(suite.figures):
        with suite.at("figures", i):
            if figure_name(name, describe("metric")) == "curves":
                raise InputError("'curves' is a figure of each metric: name the metrics to look at")
