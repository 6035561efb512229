"""Curves with their names at their ends, in the order of the ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import ConnectionPatch
from matplotlib.transforms import ScaledTranslation, Transform, blended_transform_factory

from .drawing import Scene
from .layout import AROUND, LINE, clipped, text_width
from .panels import FEW, canvas

_HANDLE, _TEXT = (1.4, 3.7), 4.1
"""Where a handle and a name lie to the right of a panel, in sizes of letters."""
_NUMBER = 1.0
"""Where a number lies."""
_SHARE = 0.42
"""Share of a narrow figure that names may take."""


@dataclass(frozen=True)
class Ends:
    """The names, or in figures of several panels the numbers, that curves have at their ends."""

    scene: Scene
    texts: Mapping[str, str]
    """By method."""
    size: float
    """Points of letters."""
    height: float
    """Inches that a panel has at least."""
    numbered: bool

    def curve(
        self, panel: Axes, method: str, at: Sequence[float], table: pd.DataFrame, alpha: float = 0.2,
        every: int | None = 1,
    ) -> bool:  # fmt: skip
        """Draw a method's means as a curve in a band of intervals.

        Args:
            panel: the panel, with its limits.
            method: the method's label.
            at: where each row lies on the horizontal axis.
            table: a table with the columns mean, low and high; a NaN makes a gap.
            alpha: opacity of the band.
            every: every such point has a marker; None: no point has.

        Returns:
            whether an interval goes on beyond the panel.
        """
        own = self.scene.look(method)
        points = {} if every is None else {**own.point, "markevery": every}
        panel.plot(at, table["mean"], **own.line, **points, label=method)
        panel.fill_between(at, table["low"], table["high"], color=own.colour, alpha=alpha, linewidth=0)
        return clipped(panel, "y", at, table["low"], table["high"], own.colour, self.scene.style.marker)

    def label(self, panel: Axes, ends: Mapping[str, tuple[float, float]]) -> None:
        """Write the methods' names beside a panel, as near to the ends of their curves as there is room.

        Args:
            panel: the panel, with its scales and limits.
            ends: the last point of each curve.
        """
        places = panel.transScale + panel.transLimits
        heights = {method: float(places.transform(ends[method])[1]) for method in ends}
        order = sorted(self.texts.keys() & ends, key=lambda method: (heights[method], method))
        lines = np.array([self.texts[method].count("\n") + 1 for method in order])
        room = LINE * self.size / 72 / self.height * lines
        beside = _beside(panel)
        for method, y in zip(order, spread([heights[method] for method in order], room), strict=True):
            own = self.scene.look(method)
            start, x = (0.2, _NUMBER) if self.numbered else (_HANDLE[0], _TEXT)
            start, x = (start * self.size / 72, x * self.size / 72)
            if not self.numbered:
                end = _HANDLE[1] * self.size / 72
                handle = Line2D([start, (start + end) / 2, end], [y, y, y], **own.line, **own.point, markevery=[1],
                                transform=beside, clip_on=False)  # fmt: skip
                panel.add_artist(handle)
            # A leader from a curve that ends early begins there.
            panel.add_artist(ConnectionPatch(
                ends[method], (x - 0.25 * self.size / 72 if self.numbered else start, y), panel.transData, beside,
                color=own.colour, linewidth=0.35 * self.scene.style.line, alpha=0.7,
            )).set_in_layout(False)  # fmt: skip
            panel.text(x, y, self.texts[method], transform=beside, va="center", fontsize=self.size)


def curve_panels(
    scene: Scene, methods: Sequence[str], shape: tuple[int, int] = (1, 1), **options: Any
) -> tuple[Figure, np.ndarray, Ends]:
    """A figure for curves: a single panel has their names at its right; several panels have numbers there, and a legend
    below.

    Args:
        scene: the scenario, whose style decides the sizes.
        methods: the methods, in the order of the legend.
        shape: rows and columns of panels.
        options: as for :func:`canvas`.

    Returns:
        the figure, its panels, (rows, columns), and the labels of the curves' ends.
    """
    style = scene.style
    if shape != (1, 1):
        size = 0.72 * style.font
        named = methods if len(methods) > 1 else ()
        texts = {method: str(number) for number, method in enumerate(named, 1)}
        tall = max(style.height, (LINE * len(methods) * size + AROUND * style.font) / 72)
        figure, panels = canvas(scene, named, shape, height=tall, marks=list(texts.values()), **options)
        return figure, panels, Ends(scene, texts, size, tall - AROUND * style.font / 72, numbered=True)
    size = 0.9 * style.font
    width = style.width if style.beside or len(methods) <= FEW else style.wide
    room = None if style.beside else _SHARE * width - _TEXT * size / 72
    texts = {method: scene.named(method, room) for method in methods}
    if style.beside:
        width += max(text_width(text, size) for text in texts.values()) + _TEXT * size / 72
    lines = sum(text.count("\n") + 1 for text in texts.values())
    tall = max(style.height, (LINE * lines * size + AROUND * style.font) / 72)
    figure = Figure(figsize=(width, tall), layout="constrained")
    panels = figure.subplots(squeeze=False)
    return figure, panels, Ends(scene, texts, size, tall - AROUND * style.font / 72, numbered=False)


def spread(wanted: Sequence[float], room: np.ndarray) -> np.ndarray:
    """Places between 0 and 1 that are nearest to the wanted ones, by least squares, without overlap.

    Args:
        wanted: in rising order.
        room: what each of them takes; 1 together at most.

    Returns:
        their middles, (n,).
    """
    from scipy.optimize import isotonic_regression  # a tenth of a second

    below = np.cumsum(room) - room / 2  # where they lie if they stand on each other from 0 on
    slack = isotonic_regression(np.asarray(wanted) - below).x
    return np.asarray(below + np.clip(slack, 0, max(0.0, 1 - room.sum())))


def _beside(panel: Axes) -> Transform:
    """Coordinates beside a panel: inches from its right end, and its height from 0 to 1."""
    from_right = panel.figure.dpi_scale_trans + ScaledTranslation(1, 0, panel.transAxes)  # type: ignore[arg-type]
    return blended_transform_factory(from_right, panel.transAxes)
