"""The commands that show results: tables, comparisons, figures, a report, a folder to publish."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import click


@click.command()
@click.argument("store", type=click.Path(path_type=Path))
@click.argument("a")
@click.argument("b")
@click.option("--metric", default="negative_elbo", show_default=True)
@click.option("-s", "--scenario", "scenarios", multiple=True, metavar="LABEL", help="May be repeated.  [default: all]")
@click.option("--format", "form", type=click.Choice(["text", "csv", "json"]), default="text", show_default=True)
def compare(store: Path, a: str, b: str, metric: str, scenarios: tuple[str, ...], form: str) -> None:
    """Compare methods A and B of a store, paired by seed: at the end, per interval, per distribution, and in words."""
    from ..reading.compare import compare as make
    from ..reporting import tables

    comparison = make(store, a, b, metric, scenarios)
    if form == "csv":
        click.echo(comparison.table.to_csv(index=False), nl=False)
    elif form == "json":
        rows = json.loads(comparison.table.to_json(orient="records", double_precision=15))
        click.echo(json.dumps({"rows": rows, "words": comparison.words}, indent=1, ensure_ascii=False))
    else:
        tables.print_comparison(comparison)


@click.command()
@click.argument("store", type=click.Path(path_type=Path))
@click.option("--metric", "metrics", multiple=True, help="May be repeated; the first ranks.")
@click.option("-s", "--scenario", "scenarios", multiple=True, metavar="LABEL", help="May be repeated.  [default: all]")
@click.option("--across", is_flag=True, help="Put scenarios together, from the lower reference (0) to the upper (1).")
@click.option("--rank-custom", is_flag=True, help="Rank methods with options of your own, too.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "csv", "json", "markdown", "latex", "html"]),
    default="text",
    show_default=True,
)
def leaderboard(
    store: Path, metrics: tuple[str, ...], scenarios: tuple[str, ...], across: bool, rank_custom: bool, form: str
) -> None:
    """Print the leaderboard of a store, or of a published folder: means over seeds and ranks, with 95 % intervals."""
    from ..reading.leaderboard import leaderboard as make
    from ..reading.scores import scores_of
    from ..reporting import tables

    board = make(scores_of(store), metrics or None, scenarios, across, rank_custom)
    if form == "text":
        tables.print_board(board)
        return
    click.echo(tables.FORMATS[form](board), nl=False)
    if form == "csv":  # it has no place for them
        for line in tables.footnotes(board):
            click.echo(line, err=True)


class _ListsFigures(click.Command):
    """Its help says which kinds of figure there are; they are imported for that alone."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from ..reporting.figure_kinds import FIGURE_KINDS

        with formatter.section("Kinds"):
            formatter.write_dl([(name, kind.summary) for name, kind in FIGURE_KINDS.items()])


@click.command(cls=_ListsFigures)
@click.argument("store", type=click.Path(path_type=Path))
@click.argument("kinds", nargs=-1, metavar="[KIND]...")
@click.option("--style", default="screen", show_default=True, metavar="screen|slides|paper",
              help="paper: for a column, or the width of a two-column page.")  # fmt: skip
@click.option("--format", "formats", multiple=True, type=click.Choice(["png", "svg", "pdf"]), default=["png"],
              show_default=True, help="May be repeated.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), help="Where to write.  [default: STORE/figures]")
def plot(store: Path, kinds: tuple[str, ...], style: str, formats: tuple[str, ...], out: Path | None) -> None:
    """Draw a store's figures and print their paths; what was drawn is beside each, as NAME.csv.

    Without a KIND every figure that the store has the data for.
    """
    from ..reporting.plots import plot as draw
    from ..store.store import Store

    note = partial(click.echo, err=True)
    for file in draw(Store.open(store), out or store / "figures", kinds, formats, style, note):
        if file.suffix != ".csv":
            click.echo(file)


@click.command()
@click.argument("store", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="The file to write.  [default: STORE/report.html]")
def report(store: Path, out: Path | None) -> None:
    """Write one HTML page of everything that a store says, and print its path. It takes a minute or two."""
    from ..reporting.report import report as write
    from ..store.store import Store

    click.echo(write(Store.open(store), out))


@click.command()
@click.argument("store", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="The folder to write.  [default: results/SUITE or /STORE]")
def publish(store: Path, out: Path | None) -> None:
    """Write a store's tables, figures, report and the commands that made it into a folder, small enough for git."""
    from ..reading.current import current_of
    from ..reading.provenance import suite_of
    from ..reporting.publish import publish as write

    current = current_of(store)
    for file in write(current, out or Path("results", suite_of(current) or store.resolve().name)):
        click.echo(file)


COMMANDS = (compare, leaderboard, plot, report, publish)
