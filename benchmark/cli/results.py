"""The commands that show results: tables, comparisons, figures, a report, and a folder to publish."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import click

from . import completion
from .options import STORE
from .say import say

_SCENARIOS = click.option("-s", "--scenario", "scenarios", multiple=True, metavar="LABEL",
                          shell_complete=completion.SCENARIO_LABELS,
                          help="A scenario's label, as tables show it. May be repeated.  [default: all]")  # fmt: skip
_METHODS = click.option("-m", "--method", "methods", multiple=True, metavar="LABEL",
                        shell_complete=completion.METHOD_LABELS,
                        help="A method's label, as tables show it. May be repeated.  [default: all]")  # fmt: skip


@click.command()
@STORE
@click.argument("a", shell_complete=completion.METHOD_LABELS)
@click.argument("b", shell_complete=completion.METHOD_LABELS)
@click.option(
    "--metric",
    shell_complete=completion.METRICS,
    default="negative_elbo",
    show_default=True,
    help="The metric to compare.",
)
@_SCENARIOS
@click.option("--format", "form", type=click.Choice(["text", "csv", "json"]), default="text", show_default=True)
def compare(store: Path, a: str, b: str, metric: str, scenarios: tuple[str, ...], form: str) -> None:
    """Compare methods A and B of a store, paired by seed.

    Show their differences at the end, per interval and per distribution, and say in words what may be concluded.
    """
    from ..reading.compare import compare as make
    from ..reporting import tables

    comparison = make(store, a, b, metric, scenarios)
    if form == "csv":
        say(comparison.table.to_csv(index=False), end=False)
    elif form == "json":
        rows = json.loads(comparison.table.to_json(orient="records", double_precision=15))
        say(json.dumps({"rows": rows, "words": comparison.words}, indent=1))
    else:
        tables.print_comparison(comparison)


@click.command()
@click.argument("stores", nargs=-1, required=True, metavar="STORE...", type=click.Path(path_type=Path))
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    shell_complete=completion.METRICS,
    help="A metric to show. May be repeated; the first one ranks.",
)
@_SCENARIOS
@_METHODS
@click.option(
    "--sort",
    metavar="METRIC",
    shell_complete=completion.METRICS,
    help="Sort by this metric.  [default: ranks, framed by the references]",
)
@click.option("--wide", is_flag=True, help="Show all columns, however narrow the terminal is.")
@click.option("--across", is_flag=True,
              help="Combine scenarios on one scale: 0 is the lower reference, 1 the upper.")  # fmt: skip
@click.option("--rank-custom", is_flag=True, help="Rank methods with options of your own, too.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "csv", "json", "markdown", "latex", "html"]),
    default="text",
    show_default=True,
)
def leaderboard(
    stores: tuple[Path, ...], metrics: tuple[str, ...], scenarios: tuple[str, ...], methods: tuple[str, ...],
    sort: str | None, wide: bool, across: bool, rank_custom: bool, form: str,
) -> None:  # fmt: skip
    """Print the leaderboard of a store or published folder.

    It shows means over seeds and ranks, with 95 % intervals. Of several stores, cells are ranked together.
    Ranks are those among all methods, also with -m.
    """
    from ..reading.agreement import union_of
    from ..reading.leaderboard import leaderboard as make
    from ..reading.scores import scores_of
    from ..reporting import tables

    source = stores[0] if len(stores) == 1 else union_of(stores)
    board = make(scores_of(source), metrics or None, scenarios, across, rank_custom, methods, sort)
    if form == "text":
        tables.print_board(board, wide)
        return
    say(tables.FORMATS[form](board), end=False)
    if form == "csv":  # the format has no place for footnotes
        for line in tables.footnotes(board):
            say(line, error=True)


class _ListsFigures(click.Command):
    """A command whose help lists the kinds of figures, which are imported only for that."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from ..reporting.figure_kinds import FIGURE_KINDS

        with formatter.section("Kinds"):
            formatter.write_dl([(name, kind.summary) for name, kind in FIGURE_KINDS.items()])


@click.command(cls=_ListsFigures)
@STORE
@click.argument("kinds", nargs=-1, metavar="[KIND]...", shell_complete=completion.FIGURES)
@click.option("--style", default="screen", show_default=True, metavar="NAME|FILE.mplstyle",
              shell_complete=completion.STYLES,
              help="Sizes for a screen or slides, a paper of two columns (paper, icml) or of one (neurips); or a style "
                   "file of matplotlib.")  # fmt: skip
@click.option("--width", type=float, metavar="INCHES", help="Width of every figure.  [default: the style's]")
@click.option("--font", type=float, metavar="POINTS", help="Size of letters.  [default: the style's]")
@click.option("--no-title", is_flag=True, help="Leave titles to the captions, which lie beside the figures.")
@click.option("--label", "labels", multiple=True, metavar="LABEL=TITLE", shell_complete=completion.TITLES,
              help="A scenario's or method's name in figures, in place of its own. May be repeated.")  # fmt: skip
@click.option("--format", "formats", multiple=True, type=click.Choice(["png", "svg", "pdf"]), default=["png"],
              show_default=True, help="May be repeated.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), help="Where to write.  [default: STORE/figures]")
@_SCENARIOS
@_METHODS
def plot(
    store: Path,
    kinds: tuple[str, ...],
    style: str,
    width: float | None,
    font: float | None,
    no_title: bool,
    labels: tuple[str, ...],
    formats: tuple[str, ...],
    out: Path | None,
    scenarios: tuple[str, ...],
    methods: tuple[str, ...],
) -> None:
    """Draw figures of a store or published folder, and print their paths.

    Without a KIND, draw those that its suite names, or the five that matter; with `all`, every figure that there is
    data for. A metric's name is a kind, too. NAME.csv beside each figure has its numbers, and NAME.txt its caption.
    """
    from ..reading.current import current_of
    from ..reporting.figures.style import style_of
    from ..reporting.plots import plot as draw
    from ..reporting.titles import read_labels
    from ..store.store import Store

    current = current_of(Store.open(store))
    own = read_labels(labels, {label for cell in current.cells for label in (cell.scenario, cell.method)})
    note = partial(say, error=True)
    sizes = style_of(style, width, font, not no_title)
    for file in draw(current, out or store / "figures", kinds, formats, sizes, note, methods, own, scenarios):
        if file.suffix not in (".csv", ".txt"):
            say(file)


@click.command()
@STORE
@click.option("--out", type=click.Path(path_type=Path), help="The file to write.  [default: STORE/report.html]")
def report(store: Path, out: Path | None) -> None:
    """Write one HTML page with all results of a store.

    Print its path. It takes a minute or two.
    """
    from ..reporting.report import report as write
    from ..store.store import Store

    say(write(Store.open(store), out))


@click.command()
@STORE
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The folder to write.  [default: STORE if it is published, else results/SUITE, else results/STORE]",
)
def publish(store: Path, out: Path | None) -> None:
    """Write a store's results into a folder for others, beside those that it has.

    It holds the finished cells, compressed, the leaderboard, figures and the commands that made them, and is small
    enough for git. It is a store itself: `run` goes on from one, and other stores are published into it.
    """
    from ..reading.current import current_of
    from ..reading.provenance import suite_of
    from ..reporting.publish import publish as write
    from ..store.store import PUBLISHED

    current = current_of(store).readable(lambda cell: cell.rows)
    own = store if (store / PUBLISHED).exists() else Path("results", suite_of(current) or store.resolve().name)
    for file in write(current, out or own):
        say(file)
    for name, why in current.left_out.items():
        if why.status != "failed":
            say(f"left out: {name}: {why}", error=True)


COMMANDS = (compare, leaderboard, plot, report, publish)
