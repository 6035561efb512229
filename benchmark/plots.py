"""Figures, drawn from a store alone: the kinds there are, drawn one by one or written into a folder. No torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .current import Current, current_of
from .errors import InputError, unknown
from .figures import comparisons, curves, grids, matrix
from .figures.critical_difference import critical_difference
from .figures.drawing import Drawing, Scene, file_name, scenes
from .figures.style import Style, style_of
from .scores import Scores, scores_of
from .store import Store

__all__ = ["KINDS", "PICTURES", "Drawing", "Kind", "drawings", "plot"]


@dataclass(frozen=True)
class Kind:
    """A kind of figure."""

    summary: str
    """One sentence."""
    needs: str
    """What a scenario must have, as in: it needs this."""
    draw: Callable[[Scene], Iterator[Drawing]] | None = None
    """Every figure of this kind of one scenario; none if it lacks what is needed."""
    over: Callable[[Scores, Style], Iterator[Drawing]] | None = None
    """The same of all scenarios together; raises InputError if there is not enough."""


_SEVERAL = "a method with several intervals"
KINDS = {
    "final": Kind(
        "Negative ELBO and forgetting after the last interval, a row per method, best first.",
        "negative_elbo after the last interval",
        comparisons.final,
    ),
    "curves": Kind("Every metric against the interval.", _SEVERAL, curves.curves),
    "matrix": Kind(
        "Negative ELBO on each distribution after each interval, a heat map per method.", _SEVERAL, matrix.matrix
    ),
    "forgetting": Kind(
        "How far each distribution's last negative ELBO lies above its best.", _SEVERAL, comparisons.forgetting
    ),
    "consistency": Kind(
        "Posterior consistency, code retention and code perplexity side by side.",
        f"{_SEVERAL} and with codes",
        curves.consistency,
    ),
    "components": Kind(
        "Components of the model against the interval.",
        "a method with several intervals, and one with more than one component",
        curves.components,
    ),
    "memory": Kind(
        "Negative ELBO at the end against the megabytes kept, with the Pareto front.",
        "stored_parameters and stored_samples, and pictures where images are stored",
        comparisons.memory,
    ),
    "compute": Kind(
        "Negative ELBO at the end against the seconds of training, with the Pareto front.",
        "train_seconds",
        comparisons.compute,
    ),
    "critical_difference": Kind(
        "Mean ranks over scenarios with groups that don't differ, and the p-value of every pair.",
        "enough scenarios for Wilcoxon's test",
        over=critical_difference,
    ),
    "samples_needed": Kind(
        "Real and synthetic images that each interval took (paper, figure 7).", _SEVERAL, curves.samples_needed
    ),
    "gradient_norm_steps": Kind(
        "Gradient norm against the step, a panel per method, a curve per interval (paper, figure 4c).",
        f"{_SEVERAL} and a trace of gradient_norm",
        curves.gradient_norm_steps,
    ),
    "thresholds": Kind(
        "Components and negative ELBO against a growing mixture's threshold.",
        "one method with two thresholds",
        comparisons.thresholds,
    ),
    "samples": Kind("Samples of the final model, a row per code.", "cells with pictures", grids.samples),
    "samples_over_intervals": Kind(
        "Samples after each interval, a row per interval.",
        "cells that kept samples after each interval (older ones didn't)",
        grids.samples_over_intervals,
    ),
    "reconstructions": Kind(
        "Test images beside their reconstructions, a row per distribution.",
        "cells with pictures",
        grids.reconstructions,
    ),
    "style_grid": Kind(
        "Images of each code over a grid of styles (paper, section 5.3).",
        "a method whose style has two dimensions",
        grids.style_grid,
    ),
}
"""Every kind of figure, by name. A new one is one entry more."""
PICTURES = tuple(name for name in KINDS if name != "curves")
"""Figures beside the curves of metrics."""


def drawings(
    source: Store | Current, kinds: Sequence[str] = (), style: str = "screen", scenario: str | None = None
) -> Iterator[Drawing]:
    """Draw a store's figures, one at a time.

    Args:
        source: the store that has the cells.
        kinds: names of :data:`KINDS`, or of metrics for one curve each; without one, every kind that the store has the
            data for.
        style: one of ``style.STYLES``.
        scenario: the label of the only one to draw; then without what is drawn of all together.

    Raises:
        InputError: at once, if something doesn't exist; while drawing, if the store lacks what a kind that was asked
            for needs.
    """
    current = current_of(source)
    for kind in kinds:
        if kind not in KINDS and kind not in current.metrics:
            raise unknown("kind of figure, or metric,", kind, {*KINDS, *current.metrics})
    found = scenes(current, style_of(style))
    if not found:
        store = current.store
        raise InputError(f"{store.path} has no finished cell yet; `lifegen run --out {store.path}` goes on with it")
    if scenario is not None and scenario not in (labels := [scene.scenario for scene in found]):
        raise unknown("scenario in this store", scenario, labels)
    chosen = [scene for scene in found if scenario in (None, scene.scenario)]
    wanted = [kind for kind in kinds or KINDS if kind not in KINDS or scenario is None or KINDS[kind].draw]
    return _drawn(current, chosen, wanted, must=bool(kinds))


def _drawn(current: Current, chosen: Sequence[Scene], kinds: Sequence[str], must: bool) -> Iterator[Drawing]:
    for kind in dict.fromkeys(kinds):
        is_empty = True
        found = KINDS.get(kind, KINDS["curves"])
        for drawing in _of_kind(current, chosen, found, must):
            if kind in (drawing.kind, drawing.name):
                is_empty = False
                yield drawing
        if must and is_empty:
            raise InputError(f"{current.store.path} has nothing to draw {kind!r} from: it needs {found.needs}")


def _of_kind(current: Current, chosen: Sequence[Scene], kind: Kind, must: bool) -> Iterator[Drawing]:
    style = chosen[0].style
    if kind.over:
        try:
            yield from _in_style(kind.over(scores_of(current), style), style)
        except InputError:
            if must:
                raise
    if kind.draw:
        for scene in chosen:
            yield from _in_style(kind.draw(scene), style)


def _in_style(drawings: Iterator[Drawing], style: Style) -> Iterator[Drawing]:
    """Draw each in its style, and leave matplotlib's settings alone between them."""
    while True:
        with style.context():
            drawing = next(drawings, None)
        if drawing is None:
            return
        yield drawing


def plot(
    store: Store, folder: Path, kinds: Sequence[str] = (), formats: Sequence[str] = ("png",), style: str = "screen"
) -> list[Path]:
    """Write a store's figures, one folder per scenario, and beside each what was drawn, as NAME.csv.

    Args:
        store: where the cells are.
        folder: where figures go.
        kinds: as for :func:`drawings`.
        formats: of "png", "svg" and "pdf".
        style: as for :func:`drawings`.

    Returns:
        the files written.

    Raises:
        InputError: as :func:`drawings` does; or the folder can't be written to.
    """
    files: list[Path] = []
    for drawing in drawings(store, kinds, style):
        target = folder / file_name(drawing.scenario)
        try:
            target.mkdir(parents=True, exist_ok=True)
            for form in formats:
                files.append(target / f"{drawing.name}.{form}")
                drawing.save(files[-1], form)
            files.append(target / f"{drawing.name}.csv")
            drawing.data.to_csv(files[-1], index=False)
        except OSError as error:
            raise InputError(f"{target} can't be written to: {error.strerror or error}") from None
    return files
