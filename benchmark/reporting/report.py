"""One HTML page with all results of a store: findings, tables, figures, tests, cells left out, and provenance.

The page loads nothing, and its own content policy forbids it to. Equal stores give equal pages.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, groupby
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from ..discovery.index import describe, shown
from ..errors import InputError, counted
from ..files import write_atomically
from ..reading.compare import pairs
from ..reading.current import Current, CurrentCell, current_of
from ..reading.findings import findings
from ..reading.leaderboard import Board, leaderboard
from ..reading.metric_facts import MetricFacts
from ..reading.provenance import circumstances, commands, versions
from ..reading.scores import Scores, scores_of
from ..reading.statistics import LEVEL, wilcoxon_needs
from ..store.record import Status
from ..store.store import Store
from . import tables
from .figure_kinds import FIGURE_KINDS
from .figures.drawing import axis_label, in_words
from .page_figures import PageFigure, page_figure
from .plots import Drawing, drawings

_RANKING = "negative_elbo"
_FINAL = "final"
"""The kind of figure that stands beside the findings."""
_STATUSES = tuple(status for status in Status if status != Status.TO_DO)


def report(source: Store | Current, file: Path | None = None) -> Path:
    """Write a store's report: one HTML file that needs nothing else.

    Args:
        source: the store to report.
        file: the file to write; ``report.html`` in the store by default.

    Returns:
        the file.

    Raises:
        InputError: the store has no finished cell that can be read, or the file can't be written.
    """
    current = current_of(source).readable(lambda cell: cell.rows)
    file = Path(file or current.store.path / "report.html")
    scores = scores_of(current)
    _check_writable(file)  # before the minutes that the figures take
    environment = Environment(
        loader=PackageLoader("lifegen.benchmark.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    page = environment.get_template("report.html.j2").render(_content(current, scores))
    try:
        write_atomically(file, page)
    except OSError as error:
        raise _unwritable(file, error) from None
    return file


def _check_writable(file: Path) -> None:
    if file.is_dir():
        raise InputError(f"{file} is a folder; a report is a file, such as {file / 'report.html'}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=file.parent):
            pass
    except OSError as error:
        raise _unwritable(file, error) from None


def _unwritable(file: Path, error: OSError) -> InputError:
    return InputError(f"{file} can't be written: {error.strerror or error}")


def _content(current: Current, scores: Scores) -> dict[str, Any]:
    """The variables of the template."""
    board = leaderboard(scores)
    boards = [_table(table, f"board-{number}") for number, table in enumerate(tables.tables_of(board), 1)]
    if published := tables.anchor_table(board):
        boards.append(_table(published, "published", tables.ANCHORS))
    across, across_notes = _across(scores) if len(scores.scenarios) > 1 else (None, ())
    cells = _Cells.of(current)
    scenes = list(_scenes(current, scores))
    tests = list(_tests(scores, board))
    general = [("conclusions", "What can be concluded")]
    found = [{"anchor": f"findings-{place}", "label": label, "sentences": findings(board, label),
              "final": next((scene["final"] for scene in scenes if scene["label"] == label), [])}
             for place, label in enumerate(scores.scenarios, 1)]  # fmt: skip
    contents = [
        ("findings", "Findings", _parts(found)),
        ("what", "What was run", []),
        ("leaderboard", "Leaderboard", _parts(boards) + ([("across", "Across scenarios")] if across_notes else [])),
        ("figures", "Figures", _parts(scenes if len(scenes) > 1 else scenes[0]["kinds"])),
        ("tests", "Tests", _parts(tests) + general),
        ("left-out", "Cells left out", []),
        ("provenance", "Provenance", [("versions", "Versions"), ("glossary", "Metrics")]),
    ]
    return {
        "name": current.store.path.resolve().name,
        "contents": [{"anchor": anchor, "title": title, "parts": parts} for anchor, title, parts in contents],
        "findings": found,
        "scenarios": list(cells.scenarios()),
        "counts": cells.counts(),
        "methods": cells.methods(scores),
        "commands": commands(current),
        "boards": boards,
        "legend": tables.legend(board),
        "notes": board.notes,
        "across": across,
        "across_notes": across_notes,
        "scenes": scenes,
        "ranking": in_words(_RANKING),
        "unit": scores.metrics[_RANKING].unit,
        "tests": tests,
        "conclusions": _conclusions(scores),
        "left_out": cells.left_out,
        "statuses": [(status, status.sentence) for status in Status if status in cells.statuses],
        "custom": sorted(scores.custom),
        "circumstances": _circumstances(circumstances(current)),
        "versions": _versions(versions(current)),
        "glossary": _glossary(scores),
    }


def _parts(sections: Iterable[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(section["anchor"], section["label"]) for section in sections]


def _breakable(label: str) -> Markup:
    """A label that may be broken into lines between its options."""
    return Markup(re.sub("([:,])", r"\1<wbr>", str(escape(label))))


def _span(numbers: Iterable[float]) -> str:
    numbers = list(numbers)
    low, high = _rounded(min(numbers)), _rounded(max(numbers))
    return low if low == high else f"{low} to {high}"


def _rounded(number: float) -> str:
    """Two digits, but no powers of ten for large numbers."""
    return f"{number:.2g}" if abs(number) < 10 else f"{number:.0f}"


def _seeds(numbers: pd.Series) -> str:
    return f"{_span(numbers)} {'seed' if numbers.max() == 1 else 'seeds'}"


# Cells run, and cells left out


@dataclass(frozen=True)
class _Cells:
    """The store's cells, by scenario and status."""

    shown: Sequence[CurrentCell]
    left_out: list[dict[str, str]] = field(default_factory=list)
    by_scenario: dict[str, Counter[Status]] = field(default_factory=dict)

    @staticmethod
    def of(current: Current) -> _Cells:
        cells = _Cells(current.cells)
        for cell in current.cells:
            cells._count(cell.scenario, Status.DONE)
        labels = {cell.name: cell.facts.scenario.label if cell.facts else "" for cell in current.stored}
        for name, (status, reason) in current.left_out.items():
            cells._count(labels[name] or "(can’t be read)", status)
            cells.left_out.append({"name": name, "status": status, "reason": reason})
        return cells

    def _count(self, label: str, status: Status) -> None:
        self.by_scenario.setdefault(label, Counter())[status] += 1

    @property
    def statuses(self) -> set[Status]:
        """The statuses of the cells that aren't shown."""
        return {status for numbers in self.by_scenario.values() for status in numbers} - {Status.DONE}

    def counts(self, label: str | None = None) -> dict[str, int]:
        """How many cells of a scenario, or of all, have each status that occurs; "done" and "failed" always."""
        total: Counter[Status] = sum(self.by_scenario.values(), Counter())
        number = total if label is None else self.by_scenario[label]
        return {str(status): number[status] for status in _STATUSES
                if total[status] or status in (Status.DONE, Status.FAILED)}  # fmt: skip

    def scenarios(self) -> Iterator[dict[str, Any]]:
        index = describe("scenario")
        for label in sorted(self.by_scenario):
            cells = [cell for cell in self.shown if cell.scenario == label]
            scenario = cells[0].facts.scenario if cells else None
            yield {
                "label": label,
                "summary": index[scenario.name].summary if scenario and scenario.name in index else "",
                "track": scenario.track if scenario else "–",
                "intervals": max((len(cell.facts.visits) for cell in cells), default="–"),
                "methods": len({cell.method for cell in cells}),
                "seeds": ", ".join(map(str, sorted({cell.seed for cell in cells}))) or "–",
                "counts": self.counts(label),
            }

    def methods(self, scores: Scores) -> list[dict[str, Any]]:
        index = describe("method")
        rows = {}
        for cell in self.shown:
            method = cell.facts.method
            rows[cell.method] = {
                "name": shown(cell.method),
                "summary": index[method.name].summary if method.name in index else "",
                "uses": ", ".join(scores.uses[cell.method]).replace("-", " ") or "–",
                "version": method.version,
            }
        return [rows[method] for method in sorted(rows)]


# Leaderboards


def _table(table: tables.TextTable, anchor: str, title: str = "") -> dict[str, Any]:
    """A table in blocks, within which its lines are sorted."""
    blocks = [(kind, list(lines)) for kind, lines in groupby(table.lines, key=lambda line: line.kind)]
    return {
        "anchor": anchor,
        "label": table.scenario,
        "title": title or tables.title(table.scenario),
        "titles": (table.first, *table.titles),
        "blocks": blocks,
        "remarks": table.remarks,
    }


def _across(scores: Scores) -> tuple[dict[str, Any] | None, Sequence[str]]:
    """The table across scenarios with its notes; or None and the reason."""
    try:
        board = leaderboard(scores, across=True)
    except InputError as error:
        return None, (f"There is no table across scenarios: {error}",)
    (table,) = tables.tables_of(board)
    return _table(table, "across"), board.notes


# Figures


def _scenes(current: Current, scores: Scores) -> Iterator[dict[str, Any]]:
    """The figures by scenario and kind, then those over scenarios or the reasons why there are none. The final figures
    stand apart, and have the first numbers."""
    numbers = count(1 + len(scores.scenarios))
    for place, label in enumerate(scores.scenarios, 1):
        notes: list[str] = []
        by_kind = groupby(drawings(current, scenario=label, note=notes.append), key=lambda drawing: drawing.kind)
        final: list[PageFigure] = []
        kinds = []
        for kind, group in by_kind:
            if kind == _FINAL:
                final = [page_figure(drawing, place, as_image=False) for drawing in group]
            else:
                kinds.append(_kind(f"figures-{place}", kind, group, numbers, scores.metrics))
        yield {"anchor": f"figures-{place}", "label": label, "final": final, "kinds": kinds, "reasons": notes}
    if len(scores.scenarios) > 1:
        kinds, reasons = [], []
        for kind in (name for name, kind in FIGURE_KINDS.items() if kind.over):
            try:
                kinds.append(_kind("figures-across", kind, drawings(current, [kind]), numbers, scores.metrics))
            except InputError as refused:
                reasons.append(f"{in_words(kind).capitalize()}: {refused}.")
        yield {"anchor": "figures-across", "label": "Across scenarios", "final": [], "kinds": kinds, "reasons": reasons}


def _kind(
    anchor: str, kind: str, drawn: Iterable[Drawing], numbers: Iterator[int], metrics: Mapping[str, MetricFacts]
) -> dict[str, Any]:
    """The figures of one kind, by layout; the curve of the metric that ranks is always open."""
    layout = FIGURE_KINDS[kind].layout
    ranking_first = sorted(drawn, key=lambda drawing: drawing.name != _RANKING)
    figures = [page_figure(drawing, next(numbers), layout == "gallery") for drawing in ranking_first]
    by_layout: dict[str, list[PageFigure]] = {"open": [], "folded": [], "gallery": []}
    for figure in figures:
        by_layout["open" if figure.name == _RANKING else layout].append(figure)
    return {
        "anchor": f"{anchor}-{kind}",
        "label": in_words(kind).capitalize(),
        "summary": FIGURE_KINDS[kind].summary,
        "open": by_layout["open"],
        "folded": [
            (axis_label(figure.name.removeprefix(f"{kind}-"), metrics), figure) for figure in by_layout["folded"]
        ],
        "gallery": by_layout["gallery"],
    }


# Tests


def _tests(scores: Scores, board: Board) -> Iterator[dict[str, Any]]:
    """Each scenario's pairs of methods, in words, as a grid and as a table."""
    unit = scores.metrics[_RANKING].unit
    for place, (label, table) in enumerate(pairs(scores, _RANKING).groupby("scenario"), 1):
        of_scenario = board.table[board.table["scenario"] == label]
        methods = [name for name in of_scenario["method"].unique() if name in {*table["a"], *table["b"]}]
        yield {
            "anchor": f"tests-{place}",
            "label": label,
            "words": list(_verdict(table, unit)),
            "grid": list(_grid(table, methods)),
            "titles": _TITLES,
            "rows": [_row(pair) for pair in table.itertuples()],
        }


def _verdict(table: pd.DataFrame, unit: str) -> Iterator[str]:
    seeds = _seeds(table["n"])
    if table["n"].max() == 1:
        yield "There is only one seed, so the spread of seeds is unknown, and there are no intervals and no tests."
        return
    decided = int((table["p_holm"] <= 1 - LEVEL).sum())
    yield f"{decided} of {counted(len(table), 'pair')} differ at 5 % after correction, with {seeds}."
    if single := int((table["n"] == 1).sum()):
        yield f"{counted(single, 'pair', 'has')} one seed in common and can’t be tested."
    if equal := int(((table["difference"] == 0) & table["p"].isna() & (table["n"] > 1)).sum()):
        yield f"{counted(equal, 'pair', 'has')} equal values in every seed."
    resolvable = table["resolvable"].dropna()
    resolvable = resolvable[resolvable > 0]
    if len(resolvable):
        yield (
            f"Smallest resolvable difference, by pair: {_span(resolvable)} {unit}, median "
            f"{_rounded(resolvable.median())}. This is before correction; with the correction it is larger."
        )


def _grid(table: pd.DataFrame, methods: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Each method against each: the row's mean minus the column's."""
    signed = {(pair.a, pair.b): (pair.difference, pair.p_holm) for pair in table.itertuples()}
    signed |= {(b, a): (-difference, p) for (a, b), (difference, p) in signed.items()}
    for row in methods:
        cells = []
        for column in methods:
            difference, p = signed.get((row, column), (None, None))
            form = ".1f" if difference is None or abs(difference) < 9.95 else ".0f"
            text = "" if row == column else "–" if difference is None else _signed(difference, form)
            is_decided = difference is not None and p <= 1 - LEVEL
            cells.append({"text": text, "verdict": ("lower" if difference < 0 else "higher") if is_decided else ""})
        yield {"method": shown(row), "cells": cells}


_TITLES = ("a", "b", "seeds", "difference", "95 %\ninterval", "p", "p\ncorrected", "effect", "P(a < b)",
           "correlation", "resolvable")  # fmt: skip


def _row(pair: Any) -> dict[str, Any]:
    """One pair's texts, each with the value that it sorts by; None where undefined."""
    interval = None if pd.isna(pair.low) else f"{_signed(pair.low)} to {_signed(pair.high)}"
    cells = [
        (str(pair.n), pair.n),
        (_signed(pair.difference), pair.difference),
        (interval, pair.low),
        *((None if pd.isna(p) else "< 0.001" if p < 0.001 else f"{p:.3f}", p) for p in (pair.p, pair.p_holm)),
        (_signed(pair.effect), pair.effect),
        (f"{pair.probability:.2f}", pair.probability),
        (_signed(pair.correlation), pair.correlation),
        (f"{pair.resolvable:.2f}", pair.resolvable),
    ]
    texts = [("–", None) if pd.isna(value) else (text, value) for text, value in cells]
    return {"a": pair.a, "b": pair.b, "cells": texts}


def _signed(value: float, form: str = ".2f") -> str:
    text = format(value, form)
    return text.replace("-", "−") if float(text) else text.lstrip("-")


def _conclusions(scores: Scores) -> list[str]:
    seeds = scores.numbers.groupby(["scenario", "method"])["seed"].nunique()
    lines = [
        "Can: which of two methods has the better value on this stream, with these options and this budget, where the "
        "corrected p is below 0.05.",
        "Can’t: that two methods are equal. A large p says only that these seeds don’t tell them apart; a true "
        "difference below the resolvable one would mostly go unnoticed.",
        "Can’t: anything about other data, budgets, architectures or options. Seeds vary initialisation, the order of "
        "the data and random interval lengths; images, their split and the order of classes stay as the scenario has "
        "them.",
        "Rank intervals in the leaderboard and p-values are corrected for the number of comparisons.",
    ]
    if seeds.max() < (needed := wilcoxon_needs()):
        lines.append(
            "Intervals and tests assume that values of seeds are about normal, which can’t be checked with "
            f"{_seeds(seeds)}. A rank test, which assumes less, can’t find a difference below {needed} seeds."
        )
    return lines


# Provenance


def _circumstances(table: pd.DataFrame) -> dict[str, Any]:
    """Machines and software, one column each, with the total hours and dates."""
    texts = {"hours": table["hours"].map("{:.2f}".format)}
    text = table.assign(**texts).astype(object).where(table.notna(), "–").map(str)
    return {
        "rows": [(name, list(text[name])) for name in text.columns],
        "cells": int(table["cells"].sum()),
        "hours": f"{table['hours'].sum():.1f}" if table["hours"].sum() >= 1 else f"{table['hours'].sum():.2f}",
        "first": table["first"].min(),
        "last": table["last"].max(),
    }


def _versions(numbers: dict[str, int]) -> list[tuple[str, str]]:
    """The names of each version, by kind."""
    names_of: dict[str, dict[int, list[str]]] = {}
    for part, number in sorted(numbers.items()):
        kind, _, name = part.rpartition(" ")
        kind = "protocol" if name == "protocol" else f"{kind}s"
        names_of.setdefault(kind, {}).setdefault(number, []).append("" if kind == "protocol" else name)
    order = ("protocol", "scenarios", "methods", "metrics")
    return [
        (
            kind,
            "; ".join(
                f"version {number}: {', '.join(names)}".removesuffix(": ") for number, names in names_of[kind].items()
            ),
        )
        for kind in sorted(names_of, key=order.index)
    ]


def _glossary(scores: Scores) -> list[dict[str, str]]:
    there = set(scores.numbers["metric"])
    return [
        {"name": name, "summary": facts.summary, "unit": facts.unit or "–", "better": facts.better or "–"}
        for name, facts in scores.metrics.items()
        if name in there
    ]
