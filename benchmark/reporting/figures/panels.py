"""Panels, and legends that fit beside or below them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .drawing import Scene
from .layout import text_width

FEW = 8
"""Methods that may share a panel with strong bands, or a legend below it."""
_HANDLE = 3.7
"""Width of a legend's handle and of the gap to the next column, in sizes of letters."""


def line_handle(scene: Scene, method: str) -> Line2D:
    """The handle of a method in a legend of curves: dash and marker."""
    own = scene.look(method)
    return Line2D([], [], **own.line, **own.point)


def point_handle(scene: Scene, method: str) -> Line2D:
    """The handle of a method in a legend of points: its marker alone."""
    return Line2D([], [], linestyle="none", **scene.look(method).point)


def canvas(
    scene: Scene, methods: Sequence[str] = (), shape: tuple[int, int] = (1, 1), *, wide: bool = False,
    height: float | None = None, sharex: bool = False, sharey: bool = False,
    handle: Callable[[Scene, str], Line2D] = line_handle, marks: Sequence[str] = (), bold: Sequence[str] = (),
    first: Line2D | None = None,
) -> tuple[Figure, np.ndarray]:  # fmt: skip
    """A figure with its panels, and with a legend of methods outside of them.

    Args:
        scene: the scenario, whose style decides the sizes.
        methods: the methods in the legend; without any there is no legend.
        shape: rows and columns of panels.
        wide: whether the figure takes the width of a page.
        height: inches of all panels together; by default the style's height for each row of panels.
        sharex: whether the panels have one horizontal axis.
        sharey: whether the panels have one vertical axis.
        handle: makes what stands for a method in the legend.
        marks: texts before the methods' names.
        bold: methods whose names are bold.
        first: the handle of an entry before the methods, with its label.

    Returns:
        the figure, and its panels, (rows, columns).
    """
    style = scene.style
    width = style.wide if wide else style.width
    tall = shape[0] * style.height if height is None else height
    size = 0.9 * style.font
    beside = bool(methods) and not wide and (style.beside or len(methods) > FEW)
    if beside and not style.beside:
        width = style.wide
    # Bold letters are wider than those that are measured.
    room = (0.5 * width if beside and not style.beside else width - 0.1) - _HANDLE * size / 72
    names = [scene.named(method, room / 1.15) for method in methods]
    labels = [f"{mark} {name}" for mark, name in zip(marks, names, strict=True)] if marks else names
    labels = [str(first.get_label()), *labels] if first else labels
    below: dict[str, Any] = {}
    if beside:
        width += _entry_width(labels, size) if style.beside else 0
        tall = max(tall, _legend_height([labels], size) + 0.6)
    elif methods:
        labels, columns, size = _in_columns(labels, width - 0.1, size)
        lines = -(-len(labels) // columns)
        columns = -(-len(labels) // lines)  # as even as the lines allow
        tall += _legend_height([list(part) for part in np.array_split(labels, columns)], size) + size / 72
        below = {"loc": "outside lower center", "ncols": columns}
    figure = Figure(figsize=(width, tall), layout="constrained")
    panels = figure.subplots(*shape, squeeze=False, sharex=sharex, sharey=sharey)
    handles = [*([first] if first else []), *(handle(scene, method) for method in methods)]
    if below:
        legend = figure.legend(handles, labels, fontsize=size, **below)
    elif methods:
        legend = panels[0, 0].legend(
            handles, labels, fontsize=size, loc="upper left", bbox_to_anchor=(1.02, 1), borderaxespad=0
        )
    for text, method in zip(legend.texts[-len(methods) :] if methods else (), methods, strict=True):
        if method in bold:
            text.set_fontweight("bold")
    return figure, panels


def _in_columns(labels: list[str], width: float, size: float) -> tuple[list[str], int, float]:
    """Labels, number of columns and size of letters of a legend of this width in inches. For one more column letters
    may be smaller, or a label may take two lines.
    """
    folded = [label.replace(" (reconstruction)", "\n(reconstruction)") for label in labels]
    chosen = (labels, 1, size)
    for texts, letters in ((labels, size), (labels, 0.86 * size), (folded, size), (folded, 0.86 * size)):
        columns = min(len(labels), int(width / _entry_width(texts, letters)))
        if columns > chosen[1]:
            chosen = texts, columns, letters
    return chosen


def _legend_height(columns: Sequence[Sequence[str]], size: float) -> float:
    """Inches of a legend with these columns of labels."""
    return max(sum(1.5 + 1.3 * label.count("\n") for label in labels) for labels in columns) * size / 72


def _entry_width(labels: Iterable[str], size: float) -> float:
    """Inches of the widest label of a legend, with its handle and the gap to the next column."""
    return max(text_width(label, size) for label in labels) + _HANDLE * size / 72
