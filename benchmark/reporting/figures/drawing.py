"""The parts that all figures share: the data they are drawn from, names, looks and captions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure  # without pyplot, so that neither MPLBACKEND nor a notebook matters

from ...errors import InputError
from ...reading.current import Current, CurrentCell
from ...reading.metric_facts import TERM, MetricFacts, installed_metrics
from ...reading.statistics import mean_interval
from ...reading.table import rows_of
from ...store.stored_pictures import stored_pictures
from ..file_names import file_name, file_names
from ..titles import Titles
from .layout import fit, set_title
from .style import DrawnLook, Style, look, looks

_UNDATED = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
_LINE = 24
"""Widths of a letter M that a line of a method's name takes at most."""
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
    heading: str
    """The scenario's title."""
    title: str
    """One line: the scenario, the content, the number of seeds, and the meaning of the band."""
    told: str
    """The options behind the names in the figure, for a caption; empty if all have their defaults."""
    figure: Figure
    data: pd.DataFrame
    """A row per point drawn, with its interval; or a row per row of images, with the cell that they are from."""
    style: Style

    @property
    def caption(self) -> str:
        """The title, and the options behind its names."""
        return f"{self.title}. {self.told}." if self.told else f"{self.title}."

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
    titles: Titles = field(default_factory=Titles)
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

    def named(self, method: str, inches: float | None = None) -> str:
        """A method as figures name it, references with their mark; a long name takes several lines.

        Args:
            method: its label.
            inches: width of a line at most.
        """
        reference = self._references.get(method)
        text = self.titles.method(method) + (REFERENCES[reference] if reference else "")
        size = 0.9 * self.style.font
        longest = _LINE * size / 72
        return fit(text, longest if inches is None else min(inches, longest), size)

    def look(self, method: str) -> DrawnLook:
        """The look of a method of the scene, or of another one."""
        return self._looks.get(method) or look(method)

    @cached_property
    def file_names(self) -> Mapping[str, str]:
        """The methods' labels as parts of file names."""
        return file_names(cell.method for cell in self.cells)

    @cached_property
    def _looks(self) -> Mapping[str, DrawnLook]:
        return looks({cell.method for cell in self.cells}, self._references)

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
        heading = self.titles.scenario(self.scenario)
        head = f"{heading}: {what}"
        if self.style.headed:
            set_title(figure, [part for part in (head if self.style.titled else "", note) if part], self.style)
        methods = {str(method) for column in ("method", "a", "b") if column in data for method in data[column]}
        return Drawing(
            kind or name, self.scenario, file_name(name), heading, f"{head} ({note})",
            self.titles.told({cell.scenario for cell in self.cells}, methods), figure, data.reset_index(drop=True),
            self.style,
        )  # fmt: skip


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


def estimates(rows: pd.DataFrame, by: Sequence[str], value: str = "value") -> pd.DataFrame:
    """The mean over seeds with its 95 % t interval, one row a group: the columns of ``by``, n, mean, low, high."""
    means = [(*key, *mean_interval(list(seeds))) for key, seeds in rows.groupby(list(by), dropna=False)[value]]
    table = pd.DataFrame(means, columns=[*by, "n", "mean", "low", "high"])
    return table.astype({"mean": float, "low": float, "high": float})


def seeds_note(n: Iterable[int], is_cut: bool = False) -> str:
    """The number of seeds behind a figure's estimates, and what its bands are, in words.

    Args:
        n: numbers of seeds.
        is_cut: whether intervals go on beyond a panel, which :func:`.clipped` marks.
    """
    few, many = min(n), max(n)
    if many == 1:
        return "one seed"
    cut = "; arrow heads: it goes on" if is_cut else ""
    return f"mean of {few if few == many else f'{few} to {many}'} seeds, 95 % interval{cut}"


def seeds_in_words(cells: Iterable[CurrentCell]) -> str:
    """The seeds of some cells, as ``seed 0`` or ``seeds 0, 1``."""
    seeds = sorted({cell.seed for cell in cells})
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"


def scenes(current: Current, style: Style, titles: Titles) -> list[Scene]:
    """The scenarios of a store that have a finished cell, by name."""
    by_scenario: dict[str, list[CurrentCell]] = {}
    for cell in current.cells:
        by_scenario.setdefault(cell.scenario, []).append(cell)
    return [Scene(label, by_scenario[label], style, current.metrics, titles) for label in sorted(by_scenario)]
