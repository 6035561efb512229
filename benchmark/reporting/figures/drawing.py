"""The parts that all figures share: the data they are drawn from, panels, legend and title."""

from __future__ import annotations

import hashlib
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure  # without pyplot, so that neither MPLBACKEND nor a notebook matters
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import text_to_path
from matplotlib.ticker import LogLocator, NullFormatter

from ...discovery.index import shown
from ...errors import InputError
from ...reading.current import Current, CurrentCell
from ...reading.metric_facts import TERM, MetricFacts, installed_metrics
from ...reading.statistics import mean_interval
from ...reading.table import rows_of
from ...store.stored_pictures import stored_pictures
from ..folding import folded
from .style import Style, look

_UNDATED = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
FEW = 8
"""Methods that may share a panel with strong bands, or a legend below it."""
_LONGEST = 200
"""Bytes of a file name, without its ending."""
REFERENCES = {"upper": " ▲", "lower": " ▼"}


@dataclass(frozen=True)
class Drawing:
    """A figure and the data drawn in it."""

    kind: str
    """One of ``figure_kinds.FIGURE_KINDS``."""
    scenario: str
    """The scenario's label."""
    name: str
    """File name without its ending; unique within the scenario."""
    title: str
    """One line: the content, the number of seeds, and the meaning of the band."""
    figure: Figure
    data: pd.DataFrame
    """A row per point drawn, with its interval; or a row per row of images, with the cell that they are from."""
    style: Style

    def save(self, file: Path | IO[Any], form: str) -> None:
        """Write the figure. Equal data give an equal file.

        Args:
            file: the file to write.
            form: "png", "svg" or "pdf".
        """
        with self.style.context():  # some settings count when a figure is made, others when it is written
            metadata: dict[str, Any] = {"Title": self.title, **_UNDATED.get(form, {})}
            self.figure.savefig(file, format=form, dpi=self.style.dpi, metadata=metadata)


@dataclass(frozen=True)
class Scene:
    """One scenario of a store, to be drawn in one style."""

    scenario: str
    cells: Sequence[CurrentCell]
    """The store's current cells, at least one."""
    style: Style
    metrics: Mapping[str, MetricFacts] = field(default_factory=installed_metrics)
    """Facts about metrics."""
    _pictures: dict[str, dict[str, np.ndarray]] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Pictures of the cells for which a figure has asked, by the cell's name."""
    _lacking: dict[tuple[str, str], list[str]] = field(default_factory=dict, init=False, repr=False, compare=False)
    """The cells that a figure needed and couldn't use, by what it lacks and the reason."""

    @cached_property
    def rows(self) -> pd.DataFrame:
        """Every measurement, a row each: method, seed, cell, interval, distribution, step, metric, value.

        A cell whose rows can't be read has none, which :attr:`notes` then say.
        """
        cells = []
        for cell in self.cells:
            try:
                cell.rows  # noqa: B018  (it reads them)
            except InputError as error:
                self._lacking.setdefault(("rows", str(error)), []).append(cell.name)
            else:
                cells.append(cell)
        columns = ["method", "seed", "cell", "interval", "distribution", "step", "metric", "value"]
        if not cells:
            return pd.DataFrame(columns=columns)
        names = [{"method": cell.method, "seed": cell.seed, "cell": cell.name} for cell in cells]
        return rows_of(cells, names)[columns]

    @cached_property
    def unions(self) -> pd.DataFrame:
        """The rows that belong to no single distribution."""
        return self.rows[self.rows["distribution"].isna()]

    @cached_property
    def several(self) -> pd.DataFrame:
        """The rows of :attr:`unions` from cells with more than one interval."""
        return self.unions[self.unions.groupby("cell")["interval"].transform("max") > 0]

    @cached_property
    def final(self) -> pd.DataFrame:
        """One row per cell: method, reference ("upper", "lower", None), seed, cell and its number of each metric."""
        return pd.DataFrame(
            {
                **cell.numbers,
                "method": cell.method,
                "reference": cell.record["method"].get("reference"),
                "seed": cell.record["seed"],
                "cell": cell.name,
            }
            for cell in self.cells
        )

    @property
    def first_seeds(self) -> list[CurrentCell]:
        """The cell of each method's lowest seed, in the order of methods' names."""
        first = {cell.method: cell for cell in sorted(self.cells, key=lambda cell: -cell.record["seed"])}
        return [first[method] for method in sorted(first)]

    def pictures(self, cell: CurrentCell) -> dict[str, np.ndarray]:
        """A cell's pictures by name, as :func:`.stored_pictures` has them; empty if none can be used,
        which :attr:`notes` then say.
        """
        name = cell.name
        if name not in self._pictures:
            try:
                self._pictures[name] = stored_pictures(cell.stored, len(cell.distributions))
            except InputError as error:
                self._lacking.setdefault(("pictures", str(error)), []).append(name)
                self._pictures[name] = {}
        return self._pictures[name]

    @property
    def notes(self) -> list[str]:
        """The cells that lacked rows or pictures for the figures drawn so far, a line for each reason."""
        return [
            f"{self.scenario}: no {what} of {min(names)}"
            + (f" and {len(names) - 1} more" if len(names) > 1 else "")
            + f": {reason}"
            for (what, reason), names in self._lacking.items()
        ]

    def axis_label(self, metric: str) -> str:
        """A metric's name in words, with its unit."""
        return axis_label(metric, self.metrics)

    def named(self, method: str) -> str:
        """A method as figures name it, references with their mark; one with many options takes several lines."""
        reference = self._references.get(method)
        return folded(shown(method) + (REFERENCES[reference] if reference else ""))

    @cached_property
    def _references(self) -> Mapping[str, str]:
        return {cell.method: reference for cell in self.cells if (reference := cell.record["method"].get("reference"))}

    def drawing(self, name: str, figure: Figure, what: str, note: str, data: pd.DataFrame, kind: str = "") -> Drawing:
        """Give a figure its title, and make it a drawing.

        Args:
            name: the name of its file.
            figure: everything but its title.
            what: content of the figure, in words.
            note: the number of seeds and the meaning of the band, as from :func:`seeds_note`.
            data: the data drawn.
            kind: the kind of figure, where that isn't its name.
        """
        head = f"{self.scenario}: {what}"
        text = head if self.style.titled else ""
        _set_title(figure, [part for part in (text, note) if part], self.style)
        title = f"{head} ({note})"
        return Drawing(
            kind or name, self.scenario, file_name(name), title, figure, data.reset_index(drop=True), self.style
        )


def axis_label(metric: str, metrics: Mapping[str, MetricFacts]) -> str:
    """A metric's name in words, with its unit.

    Args:
        metric: its name.
        metrics: facts about metrics.
    """
    facts = metrics.get(metric) or (metrics.get("loss") if metric.startswith(TERM) else None)
    unit = facts.unit if facts else ""
    return f"{in_words(metric)} ({unit})" if unit and unit != metric else in_words(metric)


def in_words(metric: str) -> str:
    """A metric's name as it is read aloud."""
    return metric.replace("_", " ").replace("elbo", "ELBO").replace("nll", "NLL").replace("iwae", "IWAE")


def file_name(label: str) -> str:
    """A label with options as a file name, which stays in its folder."""
    name = "".join(c if c.isalnum() or c in "-_.=" else "_" for c in label).lstrip(".") or "_"
    if len(name.encode()) <= _LONGEST:
        return name
    return f"{name[: _LONGEST // 4]}-{hashlib.sha256(label.encode()).hexdigest()[:12]}"


def estimates(rows: pd.DataFrame, by: Sequence[str], value: str = "value") -> pd.DataFrame:
    """The mean over seeds with its 95 % t interval, one row a group: the columns of ``by``, n, mean, low, high."""
    means = [(*key, *mean_interval(list(seeds))) for key, seeds in rows.groupby(list(by), dropna=False)[value]]
    table = pd.DataFrame(means, columns=[*by, "n", "mean", "low", "high"])
    return table.astype({"mean": float, "low": float, "high": float})


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


def seeds_note(n: Iterable[int]) -> str:
    """The number of seeds behind a figure's estimates, and what its bands are, in words."""
    few, many = min(n), max(n)
    if many == 1:
        return "one seed"
    return f"mean of {few if few == many else f'{few} to {many}'} seeds, 95 % interval"


def seeds_in_words(cells: Iterable[CurrentCell]) -> str:
    """The seeds of some cells, as ``seed 0`` or ``seeds 0, 1``."""
    seeds = sorted({cell.seed for cell in cells})
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"


def limits(values: Iterable[float], log: bool = False) -> tuple[float, float]:
    """The ends of an axis that shows every seed's value. The interval of two seeds may reach far beyond, and is cut."""
    array = np.log10([value for value in values if value > 0]) if log else np.array(list(values))
    low, high = array.min(), array.max()
    margin = 0.12 * (high - low) or (0.1 if log else 0.5 * abs(high) or 1)
    ends = low - margin, high + margin
    return (10 ** ends[0], 10 ** ends[1]) if log else ends


def line_handle(method: str) -> Line2D:
    """The handle of a method in a legend of curves: dash and marker."""
    return Line2D([], [], **look(method).line, **look(method).point)


def point_handle(method: str) -> Line2D:
    """The handle of a method in a legend of points: its marker alone."""
    return Line2D([], [], linestyle="none", **look(method).point)


def canvas(
    scene: Scene, methods: Sequence[str] = (), shape: tuple[int, int] = (1, 1), *, wide: bool = False,
    height: float | None = None, sharex: bool = False, sharey: bool = False,
    handle: Callable[[str], Line2D] = line_handle,
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

    Returns:
        the figure, and its panels, (rows, columns).
    """
    style = scene.style
    width = style.wide if wide else style.width
    tall = shape[0] * style.height if height is None else height
    labels = [scene.named(method) for method in methods]
    size = 0.9 * style.font
    below: dict[str, Any] = {}
    if methods and not wide and (style.beside or len(methods) > FEW):
        width = width + _entry_width(labels, size) if style.beside else style.wide
        tall = max(tall, 1.45 * len(methods) * size / 72 + 0.6)
    elif methods:
        labels, columns, size = _in_columns(labels, width - 0.1, size)
        lines = -(-len(labels) // columns)
        tall += (1.45 * lines + 1) * size / 72
        below = {"loc": "outside lower center", "ncols": -(-len(labels) // lines)}  # as even as the lines allow
    figure = Figure(figsize=(width, tall), layout="constrained")
    panels = figure.subplots(*shape, squeeze=False, sharex=sharex, sharey=sharey)
    handles = [handle(method) for method in methods]
    if below:
        figure.legend(handles, labels, fontsize=size, **below)
    elif methods:
        panels[0, 0].legend(handles, labels, fontsize=size, loc="upper left", bbox_to_anchor=(1.02, 1), borderaxespad=0)
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


def _entry_width(labels: Iterable[str], size: float) -> float:
    """Inches of the widest label of a legend, with its handle and the gap to the next column."""
    return max(text_width(label, size) for label in labels) + 3.7 * size / 72


def panel_title(panel: Axes, text: str, width: float, style: Style) -> None:
    """Write a title over a panel of this width in inches; a long one in two lines, or in smaller letters."""
    size = 0.9 * style.font
    if text_width(text, size) > width:
        text = textwrap.fill(text.replace(":", ": ").replace(",", ", "), max(18, int(width * 72 / (0.6 * size))))
    panel.set_title(text, fontsize=size * min(1, width / text_width(text, size)))


def _set_title(figure: Figure, parts: Sequence[str], style: Style) -> None:
    """Write a title in one line if that fits, otherwise in a line for each part, in smaller letters if need be."""
    available = figure.get_figwidth() - 0.2
    joined = parts[0] + "".join(f" ({part})" for part in parts[1:])
    lines = [joined] if text_width(joined, style.font) <= available else list(parts)
    widest = max(text_width(line, style.font) for line in lines)
    figure.suptitle("\n".join(lines), fontsize=style.font * min(1, available / widest))


def text_width(text: str, size: float) -> float:
    """Inches that the longest line of a text takes in letters of this size in points."""
    return max(map(_width_of_100, text.split("\n"))) * size / 7200


@cache
def _width_of_100(text: str) -> float:
    """Points that a line of text takes in letters of 100 points."""
    return float(text_to_path.get_text_width_height_descent(text, FontProperties(size=100), ismath=False)[0])


def scenes(current: Current, style: Style) -> list[Scene]:
    """The scenarios of a store that have a finished cell, by name."""
    by_scenario: dict[str, list[CurrentCell]] = {}
    for cell in current.cells:
        by_scenario.setdefault(cell.scenario, []).append(cell)
    return [Scene(label, by_scenario[label], style, current.metrics) for label in sorted(by_scenario)]
