"""Panels, legends and titles that fit: letters are measured before a figure's size is chosen."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont
from matplotlib.lines import Line2D
from matplotlib.textpath import text_to_path
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from .style import Style

if TYPE_CHECKING:
    from .drawing import Scene

FEW = 8
"""Methods that may share a panel with strong bands, or a legend below it."""
LINE = 1.3
"""Height of a line of text, in sizes of its letters."""
_HANDLE = 3.7
"""Width of a legend's handle and of the gap to the next column, in sizes of letters."""
AROUND = 7.0
"""Height of a title of two lines, an axis label, tick labels and gaps, in sizes of letters."""


def log_axis(axes: Axes, which: Literal["x", "y"], span: float) -> None:
    """Make an axis logarithmic, with plain numbers at its ticks.

    Args:
        axes: the panel.
        which: which of its two axes.
        span: the largest value divided by the smallest.
    """
    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if 3 < span < 100 else (1,) if span >= 100 else range(1, 10)))
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(NullFormatter())


def whole_numbers(axes: Axes, width: float, style: Style) -> None:
    """Put ticks at whole numbers of the horizontal axis, as many as a panel of this width in inches has room for."""
    axes.xaxis.set_major_locator(MaxNLocator(min(9, max(1, int(width * 72 / (2.2 * style.font)))), integer=True))


def limits(values: Iterable[float], log: bool = False) -> tuple[float, float]:
    """The ends of an axis that shows every seed's value. The interval of two seeds may reach far beyond, and is cut."""
    array = np.log10([value for value in values if value > 0]) if log else np.array(list(values))
    low, high = array.min(), array.max()
    margin = 0.12 * (high - low) or (0.1 if log else 0.5 * abs(high) or 1)
    ends = low - margin, high + margin
    return (10 ** ends[0], 10 ** ends[1]) if log else ends


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


def panel_title(panel: Axes, text: str, width: float, style: Style) -> None:
    """Write a title over a panel of this width in inches; a long one in two lines, or in smaller letters."""
    size = 0.9 * style.font
    text = " ".join(text.split())
    if text_width(text, size) > width:
        text = textwrap.fill(text, max(18, int(width * 72 / (0.6 * size))))
    panel.set_title(text, fontsize=size * min(1, width / text_width(text, size)))


def set_title(figure: Figure, parts: Sequence[str], style: Style) -> None:
    """Write a title in one line if that fits, otherwise in lines for each part, in smaller letters if need be."""
    available = 0.98 * (figure.get_figwidth() - 0.2)
    text, size = parts[0] + "".join(f" ({part})" for part in parts[1:]), style.font
    if text_width(text, size) > available:
        text = "\n".join(fit(part, available, 0.85 * size) for part in parts)
        size *= min(1, available / text_width(text, size))
    figure.suptitle(text, fontsize=size)
    lines = text.count("\n") + 1
    if figure.get_layout_engine() is None:
        _heighten(figure, (LINE * lines + 0.8) * size / 72)
    elif lines > 2:  # of which there is room for two
        figure.set_figheight(figure.get_figheight() + (lines - 2) * LINE * size / 72)


def _heighten(figure: Figure, inches: float) -> None:
    """Make a figure higher at its top; its panels stay where they are."""
    before = figure.get_figheight()
    figure.set_figheight(before + inches)
    for axes in figure.axes:
        x, y, width, height = axes.get_position(original=True).bounds
        share = before / (before + inches)
        axes.set_position((x, y * share, width, height * share))


def fit(text: str, inches: float, size: float) -> str:
    """Fold a text into lines of at most so many inches in letters of this size in points; a longer word is broken."""
    text = folded = " ".join(text.split())
    characters = len(text)
    while text_width(folded, size) > inches and characters > 4:
        characters -= 1
        folded = textwrap.fill(text, characters)
    return folded


def text_width(text: str, size: float) -> float:
    """Inches that the longest line of a text takes in letters of this size in points."""
    font = findfont(FontProperties())
    return max(_width_of_100(line, font) for line in text.split("\n")) * size / 7200


@cache
def _width_of_100(text: str, font: str) -> float:
    """Points that a line of text takes in letters of 100 points of a font, which is the one that is set now."""
    return float(text_to_path.get_text_width_height_descent(text, FontProperties(size=100), ismath=False)[0])


def clipped(axes: Axes, which: Literal["x", "y"], at: Iterable[float], low: Iterable[float], high: Iterable[float],
            colour: str, size: float) -> bool:  # fmt: skip
    """Mark intervals that go on beyond the ends of an axis by arrow heads at its ends.

    Args:
        axes: the panel, with its limits.
        which: the axis that the intervals lie along.
        at: their places on the other axis.
        low: their lower ends; a NaN has none.
        high: their upper ends.
        colour: the colour of the heads.
        size: points of a head.

    Returns:
        whether there are any.
    """
    first, last = axes.get_xlim() if which == "x" else axes.get_ylim()
    found = False
    for place, start, end in zip(at, low, high, strict=True):
        beyond = [(first, "<" if which == "x" else "v")] if start < first else []
        beyond += [(last, ">" if which == "x" else "^")] if end > last else []
        for edge, marker in beyond:
            point = ([edge], [place]) if which == "x" else ([place], [edge])
            axes.plot(*point, marker, color=colour, markersize=size, markeredgewidth=0, clip_on=False, zorder=4)
            found = True
    return found
