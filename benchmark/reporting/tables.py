"""Leaderboards as text, CSV, JSON, Markdown, LaTeX and HTML."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.filesize import decimal
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ..discovery.index import shown
from ..errors import counted, one_line, visible
from ..reading.compare import Comparison
from ..reading.current import SeedCount
from ..reading.leaderboard import ACROSS, COLUMNS, Board, Column
from . import terminal
from .folding import folded

_REFERENCE = {"upper": "▲", "lower": "▼"}
_USES = {"past-data": ("●", "keeps real images of the past"), "labels": ("◆", "is told the labels")}
_CUSTOM = "✎"
_NOT_RANKED = "○"
_FAILED = "✗"
_IN_LATEX = {"±": r"$\pm$", "▲": r"$\blacktriangle$", "▼": r"$\blacktriangledown$", "●": r"$\bullet$",
             "◆": r"$\blacklozenge$", "○": r"$\circ$", "✎": r"$\ast$", "✗": r"$\times$", "–": "--",
             "|": r"\textbar{}", "−": "$-$", "↓": r"$\downarrow$", "↑": r"$\uparrow$"}  # fmt: skip
_IN_MARKDOWN = re.compile(r"[\\|*\[\]~$]|(?<![^\W_])_|_(?![^\W_])")
"""Characters that Markdown would take for markup; an underscore within a word isn't."""
_IN_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


@dataclass(frozen=True)
class Line:
    """One method's line of a printed table."""

    method: str
    """its label"""
    name: str
    """as printed, with its marks"""
    kind: str
    """ "upper" or "lower" reference, "custom", "failed", "competitor", "anchor", or "floor" """
    texts: tuple[str, ...]
    """one per column"""
    values: tuple[float | None, ...]
    """the values that columns sort by"""


@dataclass(frozen=True)
class TextTable:
    """One scenario's table, as text."""

    scenario: str
    titles: tuple[str, ...]
    lines: tuple[Line, ...]
    first: str = "method"
    """title of the lines' names"""
    remarks: bool = False
    """whether the last column holds sentences, not numbers"""
    better: tuple[str | None, ...] = ()
    """whether "lower" or "higher" values of a column are better; None where neither is"""


def tables_of(board: Board) -> Iterator[TextTable]:
    """The tables of a leaderboard, one per scenario: means over seeds ± half of their 95 % intervals."""
    usual = {column.metric: column for column in COLUMNS if column.metric}
    for scenario, rows in board.table.groupby("scenario", sort=False):
        metrics = set(rows["metric"])
        ranked = rows[rows["metric"] == board.metrics[0]].set_index("method")
        # Columns without a value are left out; a metric that isn't in the standard table gets a plain column.
        about = [c for c in COLUMNS if not c.metric and (c.what == "n" or ranked[c.what].notna().any())]
        columns = [
            *about,
            *(usual.get(name, Column(name, name.replace("_", "\n"), 3)) for name in board.metrics if name in metrics),
        ]
        lines = []
        for method, group in rows.groupby("method", sort=False):
            by_metric = group.set_index("metric")
            n = int(group["n"].max())
            count = board.seeds(str(scenario), str(method))
            cells = [_cell(by_metric, column, board, n, count) for column in columns]
            name, kind = _named(str(method), board, has_failed=bool(count and count.failed))
            if kind == "competitor" and ranked["rank"].notna().any() and np.isnan(ranked["rank"].get(method, 0)):
                kind = "custom"  # it has too few seeds
            texts, values = tuple(text for text, _ in cells), tuple(value for _, value in cells)
            lines.append(Line(str(method), name, kind, texts, values))
        lines += _floor(board.scores.floors.get(str(scenario), {}), columns)
        better = tuple(
            board.scores.better(column.metric) if column.metric and scenario != ACROSS else None for column in columns
        )
        titles = tuple(
            f"{_in_one_line(column.title)}\n(median)" if board.scores.is_timed(column.metric or "") else column.title
            for column in columns
        )
        yield TextTable(str(scenario), titles, tuple(lines), better=better)


def _floor(values: Mapping[str, float], columns: Sequence[Column]) -> Iterator[Line]:
    """The line of real training images in place of samples, if a column has such a value."""
    found = [values.get(column.metric) if column.metric else None for column in columns]
    if any(value is not None for value in found):
        texts = ("–" if value is None else f"{value:.{column.digits}f}"
                 for value, column in zip(found, columns, strict=True))  # fmt: skip
        yield Line(FLOOR, FLOOR, "floor", tuple(texts), tuple(found))


FLOOR = "real images"
"""The name of the line whose samples are training images."""


def anchor_table(board: Board) -> TextTable | None:
    """Published numbers, ours and what differs; None if there are none of these scenarios."""
    if not board.anchors:
        return None
    lines = []
    for line in board.anchors:
        anchor, ours, difference = line.anchor, line.ours, line.difference
        published = "–" if anchor.published is None else _with_half(anchor.published, anchor.deviation or 0.0)
        half = 0.0 if ours.low is None or ours.high is None else (ours.high - ours.low) / 2
        texts = (
            published,
            _with_half(ours.mean, half),
            "–" if difference is None else f"{difference:+.1f}",
            anchor.differs,
        )
        lines.append(Line(anchor.method, anchor.row, "anchor", texts, (anchor.published, ours.mean, difference, None)))
    titles = "published", "ours", "ours −\npublished", "what differs"
    return TextTable("published", titles, tuple(lines), first="published row", remarks=True)


ANCHORS = "Published numbers, nats a test image; ours: mean over seeds ± half of its 95 % interval"
"""The title of :func:`anchor_table`."""


def legend(board: Board) -> list[str]:
    """The meanings of the marks that occur in the tables."""
    methods = set(map(str, board.table["method"]))
    scores = board.scores
    lines = []
    if methods & set(scores.references):
        lines.append("▲ upper and ▼ lower reference: they frame the table and don't compete")
    for use, (mark, meaning) in _USES.items():
        if any(use in scores.uses[method] for method in methods - set(scores.references)):
            lines.append(f"{mark} {meaning}")
    if methods & scores.custom:
        text = f"{_CUSTOM} options of the user's own"
        if board.table.loc[board.table["method"].isin(scores.custom), "rank"].isna().all():
            text += ": not ranked (--rank-custom ranks them), since no suite says that they were fixed before"
        lines.append(text)
    if any(set(scores.floors.get(scenario, {})) & set(board.metrics) for scenario in board.table["scenario"].unique()):
        lines.append(f"{FLOOR}: training images in place of samples; a perfect model reaches about these values")
    for method in sorted(methods & set(scores.not_ranked)):
        lines.append(f"{_NOT_RANKED} {shown(method)}: not ranked: {scores.not_ranked[method]}")
    lines.append(_on_options(scores.tuned, methods))
    lines_of = set(zip(map(str, board.table["scenario"]), map(str, board.table["method"]), strict=True))
    if any((count := board.seeds(*line)) and count.failed for line in lines_of):
        lines.append(f"{_FAILED} some of its seeds failed: not ranked, since those that are left may be the easy ones")
    return lines


def _on_options(tuned: Mapping[str, int], methods: Set[str]) -> str:
    """Where the methods' options come from."""
    by_number: dict[int, list[str]] = {}
    for method in sorted(methods & tuned.keys()):
        by_number.setdefault(tuned[method], []).append(method)
    parts = [f"tuned by {counted(number, 'trial')}: {', '.join(names)}" for number, names in sorted(by_number.items())]
    others = "all others defaults, or named by a suite" if parts else "defaults, or named by a suite; none was tuned"
    return f"options: {'; '.join([*parts, others])}"


def left_out_lines(board: Board) -> list[str]:
    """The cells left out of the leaderboard, each with the reason."""
    return [one_line(f"{name}: {' '.join(reason.split())}") for name, reason in board.scores.left_out.items()]


def footnotes(board: Board) -> list[str]:
    """All lines below the tables."""
    left_out = (f"left out: {text}" for text in left_out_lines(board))
    return [*legend(board), *map(one_line, board.notes), *left_out]


def title(scenario: str) -> str:
    """A table's title."""
    if scenario == ACROSS:
        return f"{scenario}: mean of the scenarios' scores, with its 95 % interval"
    return f"{scenario}: mean over seeds ± half of its 95 % interval"


_STYLES = {"competitor": "", "anchor": "", "failed": "red"}
"""Styles of lines on a terminal; others are dim."""


def _text(text: str, style: str = "") -> Text:
    return Text(visible(text), style=style)


def print_board(board: Board, is_wide: bool = False, console: Console | None = None) -> None:
    """Print one table per scenario.

    Args:
        board: the leaderboard.
        is_wide: whether a terminal shows all columns, however narrow it is; a file always gets them.
        console: the place to print; standard output by default.
    """
    console = console or terminal.console()
    width = None if is_wide or not console.is_terminal else console.width
    left_out: dict[str, None] = {}
    for text_table in tables_of(board):
        table, columns = _fitted(console, text_table, width)
        left_out |= dict.fromkeys(map(_in_one_line, text_table.titles[columns:]))
        console.print(_text(title(text_table.scenario), "bold"))
        _print_whole(console, table)
        console.print()
    if anchors := anchor_table(board):
        console.print(_text(ANCHORS, "bold"))
        _print_whole(console, _for_terminal(anchors))
        console.print()
        for line in anchors.lines:
            console.print(_text(f"{line.name}: {line.texts[-1]}"))
        console.print()
    if left_out:
        console.print(_text(f"not shown, to fit this terminal: {', '.join(left_out)}; --wide shows all columns"))
    for text in footnotes(board):
        console.print(_text(text, "yellow" if text.startswith("left out: ") else ""))


def _in_one_line(title: str) -> str:
    """A column's title in one line."""
    return title.replace("-\n", "-").replace("\n", " ")


_FEWEST = 3
"""Columns that are shown on any terminal: rank, seeds, and the metric that ranks."""


def _fitted(console: Console, text_table: TextTable, width: int | None) -> tuple[Table, int]:
    """A table with as many of its first columns as fit a width; and their number."""
    columns = len(text_table.titles)
    table = _for_terminal(text_table)
    while width and columns > _FEWEST and _natural_width(console, table) > width:
        columns -= 1
        table = _for_terminal(text_table, columns)
    return table, columns


def _for_terminal(text_table: TextTable, columns: int | None = None) -> Table:
    """A table of the first columns, without its remarks, which are too long for a column of a terminal."""
    columns = len(text_table.titles) - text_table.remarks if columns is None else columns
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column(text_table.first, no_wrap=True)
    for head in text_table.titles[:columns]:
        table.add_column(_text(head), justify="right", no_wrap=True)
    for line in text_table.lines:
        if line.kind == "floor" and set(line.texts[:columns]) == {"–"}:
            continue
        is_best = text_table.titles[0] == "rank" and line.values[0] == 1  # noqa: PD011  (it isn't of pandas)
        style = "bold" if is_best else _STYLES.get(line.kind, "dim")
        table.add_row(*map(_text, (folded(line.name), *line.texts[:columns])), style=style)
    return table


def print_scored(title: str, lines: Iterable[tuple[str, float, float | None]]) -> None:
    """Print metrics of samples beside those of real images.

    Args:
        title: the table's title.
        lines: a metric's name, value and floor each.
    """
    console = terminal.console()
    texts = ((name, (f"{value:.4g}", "–" if floor is None else f"{floor:.4g}")) for name, value, floor in lines)
    rows = tuple(Line(name, name, "competitor", numbers, (None, None)) for name, numbers in texts)
    console.print(_text(title, "bold"))
    _print_whole(console, _for_terminal(TextTable(title, ("samples", FLOOR), rows, first="metric")))


def print_comparison(comparison: Comparison) -> None:
    """Print the conclusions and the differences per interval and distribution, one scenario after another."""
    console = terminal.console()
    a, b = comparison.a, comparison.b
    for scenario, lines in comparison.words.items():
        rows = comparison.table[comparison.table["scenario"] == scenario]
        table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
        for head in ("", a, b, "difference", "95 % interval", "p (Holm)"):
            table.add_column(_text(head), justify="right" if head else "left", no_wrap=True)
        for row in rows.to_dict("records"):
            where = "end" if row["what"] == "end" else f"{row['what']} {_place(row)}"
            interval = "–" if pd.isna(row["low"]) else f"{row['low']:.4g} to {row['high']:.4g}"
            p_value = "–" if pd.isna(row["p_holm"]) else f"{row['p_holm']:.3f}"
            numbers = (f"{row[key]:.4g}" for key in ("mean_a", "mean_b", "difference"))
            table.add_row(*map(_text, (where, *numbers, interval, p_value)))
        console.print(_text(f"{scenario}: {comparison.metric} of {a} and {b}", "bold"))
        for text in lines:
            console.print(_text(text))
        console.print()
        if table.row_count:
            _print_whole(console, table)
            console.print()


def _print_whole(console: Console, table: Table) -> None:
    """Print a table in its own width: a terminal's own wrapping is easier to read than cut numbers."""
    width = console.width
    console.width = max(width, _natural_width(console, table))
    console.print(table)
    console.width = width


def _natural_width(console: Console, table: Table) -> int:
    return Measurement.get(console, console.options.update(max_width=1000), table).maximum


def _place(row: Mapping[Hashable, Any]) -> str:
    return str(row["distribution"]) if row["what"] == "distribution" else f"{row['interval']:.0f}"


def in_bytes(number: int) -> str:
    """A number of bytes, such as 2.6 MB."""
    return decimal(number)


def to_csv(board: Board) -> str:
    """The board's table with numbers in full; a missing interval or rank is empty. If seeds are missing, the columns
    ``asked`` and ``failed`` say how many each method was run with, and how many of these failed.
    """
    return str(_with_seeds(board).to_csv(index=False))


def to_json(board: Board) -> str:
    """An object: ``rows``, as in :func:`to_csv`; ``references``; ``uses``; ``custom``; ``metrics``, the facts about
    metrics of extensions; ``left_out``; ``notes``; ``not_ranked``, methods with the
    reason; ``floors``, metrics of real images in place of samples; ``anchors``, where numbers are published; and
    ``seeds``, where a method lacks some.
    """
    scores = board.scores
    content: dict[str, Any] = {
        "rows": json.loads(_with_seeds(board).to_json(orient="records", double_precision=15)),
        "references": dict(scores.references),
        "uses": dict(scores.uses),
        "custom": sorted(scores.custom),
        "tuned": dict(scores.tuned),
        "metrics": {name: metric.model_dump() for name, metric in scores.extensions.items()},
        "left_out": dict(scores.left_out),
        "notes": list(board.notes),
    }
    if scores.not_ranked:
        content["not_ranked"] = dict(scores.not_ranked)
    if scores.floors:
        content["floors"] = {scenario: dict(values) for scenario, values in scores.floors.items()}
    if board.anchors:
        content["anchors"] = [anchor.model_dump() | ours._asdict() for anchor, ours in board.anchors]
    if scores.seeds:
        content["seeds"] = [
            {"scenario": scenario, "method": method, "asked": count.asked, "failed": count.failed}
            for (scenario, method), count in scores.seeds.items()
        ]
    return json.dumps(content, indent=1)


def _with_seeds(board: Board) -> pd.DataFrame:
    """The board's table, with the numbers of planned and failed seeds if any are missing."""
    table = board.table
    lines = zip(table["scenario"], table["method"], table["n"], strict=True)
    counts = [(board.seeds(scenario, method), n) for scenario, method, n in lines]
    if not any(count for count, _ in counts):
        return table
    return table.assign(
        asked=[count.asked if count else int(n) for count, n in counts],
        failed=[count.failed if count else 0 for count, _ in counts],
    )


def to_markdown(board: Board) -> str:
    """Tables, with marks, notes and the cells left out below."""
    tables = [
        f"**{in_markdown(title(table.scenario))}**\n\n{_tabulated(table, 'pipe', in_markdown)}\n"
        for table in tables_of(board)
    ]
    if anchors := anchor_table(board):
        tables.append(f"**{in_markdown(ANCHORS)}**\n\n{_tabulated(anchors, 'pipe', in_markdown)}\n")
    return "\n".join([*tables, *(f"- {in_markdown(text, with_code=True)}" for text in footnotes(board))]) + "\n"


def in_markdown(text: str, with_code: bool = False) -> str:
    """A text as Markdown that shows it as it is.

    Args:
        text: one line.
        with_code: whether text between backticks is shown as code.
    """
    for character, entity in _IN_HTML.items():
        text = text.replace(character, entity)
    text = _IN_MARKDOWN.sub(r"\\\g<0>", text)
    return text if with_code else text.replace("`", r"\`")


def to_latex(board: Board) -> str:
    r"""Floating tables for ``\input``, at most as wide as a line: arrows say which values are better, and the best
    competitor of a column is bold.
    """
    tables = [_in_latex(_with_best(table), title(table.scenario), table.scenario) for table in tables_of(board)]
    if anchors := anchor_table(board):
        tables.append(_in_latex(anchors, ANCHORS, "published"))
    return (
        "% needs \\usepackage{adjustbox,amssymb,booktabs}\n"
        + "\n".join([*tables, *(f"% {text}" for text in footnotes(board))])
        + "\n"
    )


def _in_latex(table: TextTable, caption: str, label: str) -> str:
    """A table as a float with caption and label."""
    from tabulate import LATEX_ESCAPE_RULES

    def marked(text: str) -> str:
        for mark, command in _IN_LATEX.items():
            text = text.replace(mark, command)
        return text

    escaped = "".join(LATEX_ESCAPE_RULES.get(character, character) for character in caption)
    body = re.sub(f"{_BEST[0]}(.*?){_BEST[1]}", r"\\textbf{\1}", _tabulated(table, "latex_booktabs"))
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{marked(escaped)}}}",
        rf"\label{{tab:{re.sub('[^A-Za-z0-9]+', '-', label).strip('-')}}}",
        r"\begin{adjustbox}{max width=\linewidth}",
        marked(body),
        r"\end{adjustbox}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


_BEST = "\ue000", "\ue001"
"""What surrounds the best value of a column, until LaTeX's escapes are made. No font has these characters."""


def _with_best(table: TextTable) -> TextTable:
    """The table with arrows beside titles whose values have a better direction, and the best competitors marked."""
    titles, columns = [], []
    for i, (head, better) in enumerate(zip(table.titles, table.better, strict=True)):
        found = {line.method: line.values[i] for line in table.lines if line.kind == "competitor"}  # noqa: PD011
        numbers = [value for value in found.values() if value is not None]
        best = {None: None, "lower": min(numbers, default=None), "higher": max(numbers, default=None)}[better]
        is_best = [best is not None and found.get(line.method) == best for line in table.lines]
        texts = [line.texts[i] for line in table.lines]
        titles.append(head + {None: "", "lower": " ↓", "higher": " ↑"}[better])
        columns.append(
            [f"{_BEST[0]}{text}{_BEST[1]}" if marked else text for text, marked in zip(texts, is_best, strict=True)]
        )
    rows = zip(*columns, strict=True)
    lines = (replace(line, texts=cells) for line, cells in zip(table.lines, rows, strict=True))
    return replace(table, titles=tuple(titles), lines=tuple(lines))


def to_html(board: Board) -> str:
    """Plain tables, without a page around them; ``lifegen report`` makes a page."""
    from html import escape

    tables = [f"<h3>{escape(title(table.scenario))}</h3>\n{_tabulated(table, 'html')}\n" for table in tables_of(board)]
    if anchors := anchor_table(board):
        tables.append(f"<h3>{ANCHORS}</h3>\n{_tabulated(anchors, 'html')}\n")
    return "\n".join([*tables, "<ul>", *(f"<li>{escape(text)}</li>" for text in footnotes(board)), "</ul>"]) + "\n"


FORMATS = {
    "csv": to_csv,
    "json": to_json,
    "markdown": to_markdown,
    "latex": to_latex,
    "html": to_html,
}
"""Formats besides text."""


def _tabulated(table: TextTable, form: str, escaped: Callable[[str], str] = str) -> str:
    from tabulate import tabulate

    heads = [table.first, *(escaped(_in_one_line(head)) for head in table.titles)]
    numbers = len(table.titles) - table.remarks
    rows = [[escaped(line.name), *line.texts[:numbers], *map(escaped, line.texts[numbers:])] for line in table.lines]
    align = ["left", *["right"] * numbers, *["left"] * table.remarks]
    return str(tabulate(rows, heads, tablefmt=form, disable_numparse=True, colalign=align))


def _named(method: str, board: Board, has_failed: bool) -> tuple[str, str]:
    """A method's printed name, and the kind of its line."""
    failed = [_FAILED] if has_failed else []
    if reference := board.scores.references.get(method):
        return " ".join([shown(method), _REFERENCE[reference], *failed]), reference
    marks = [mark for use, (mark, _) in _USES.items() if use in board.scores.uses[method]]
    custom = [_CUSTOM] if method in board.scores.custom else []
    unranked = [_NOT_RANKED] if method in board.scores.not_ranked else []
    kind = "failed" if failed else "custom" if custom or unranked else "competitor"
    return " ".join([shown(method), *marks, *custom, *unranked, *failed]), kind


def _cell(
    by_metric: pd.DataFrame, column: Column, board: Board, n: int, count: SeedCount | None
) -> tuple[str, float | None]:
    """A column's text, and the value that it sorts by.

    Args:
        by_metric: the method's rows of the board.
        column: the column.
        board: the leaderboard.
        n: seeds that the method has.
        count: the planned and failed seeds, if some aren't done.
    """
    if column.what == "n":
        is_across = (by_metric["scenario"] == ACROSS).all()
        return _seeds(n, count, is_across), n
    metric = column.metric or board.metrics[0]
    if metric not in by_metric.index:
        return "–", None
    row = by_metric.loc[metric]
    if column.what == "estimate":
        text = _score(row) if row["scenario"] == ACROSS else _number(row, column, n)
        return text, float(row["mean"])
    if pd.isna(row[column.what]):
        return "–", None
    value = float(row[column.what])
    text = f"{value:.0f}"
    if column.what == "rank" and not pd.isna(row["rank_low"]):
        text += f" [{row['rank_low']:.0f}–{row['rank_high']:.0f}]"
    return text, value


def _seeds(n: int, count: SeedCount | None, is_across: bool) -> str:
    """A line's numbers of finished, planned and failed seeds, in words. Across scenarios the first is the fewest in one
    scenario, and the others count all scenarios."""
    if count is None:
        return str(n)
    if is_across:
        return f"{n} ({count.failed} of {count.asked} failed)" if count.failed else f"{n} (of {count.asked} in all)"
    return f"{n} of {count.asked}" + (f" ({count.failed} failed)" if count.failed else "")


def _score(row: pd.Series) -> str:
    """A score with its interval, which may be asymmetric."""
    mean, low, high = (f"{round(row[key], 2) + 0.0:.2f}" for key in ("mean", "low", "high"))  # never −0
    return mean if pd.isna(row["low"]) else f"{mean} [{low}, {high}]"


def _number(row: pd.Series, column: Column, seeds: int) -> str:
    mean, half = row["mean"], (row["high"] - row["low"]) / 2
    unit = ""
    if column.thousands:
        unit, size = ("M", 1e6) if mean >= 1e6 else ("k", 1e3) if mean >= 1e3 else ("", 1)
        mean, half = mean / size, half / size
    digits = 1 if unit else column.digits
    text = _with_half(mean, half, digits, unit)
    return text if row["n"] == seeds else f"{text} (n = {row['n']})"


def _with_half(mean: float, half: float, digits: int = 1, unit: str = "") -> str:
    """A number, with half of its interval unless there is one seed or all seeds are equal."""
    return f"{mean:.{digits}f}{unit}" + (f" ± {half:.{digits}f}{unit}" if half > 0 else "")
