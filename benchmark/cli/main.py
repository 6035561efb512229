"""The command line: a thin skin on public functions. Importing it imports neither torch nor Avalanche."""

from __future__ import annotations

import json
import shlex
import sys
import warnings
from dataclasses import asdict
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import click

from ..environment import adopt_own_environment
from ..errors import InputError, unknown
from ..folders import NOWHERE, data_folder
from . import authoring as cli_plugins
from . import running as cli_run

KINDS = ("methods", "scenarios", "suites", "metrics")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="lifegen")
def cli() -> None:
    """Compare lifelong generative methods: the same streams, the same valid bounds, with seeds and intervals."""


for command in (*cli_run.COMMANDS, *cli_plugins.COMMANDS):
    cli.add_command(command)


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 some cells failed, 2 bad usage or input, 130 interrupted."""
    adopt_own_environment()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal or file of few characters gets a question mark for a "±"
            stream.reconfigure(errors="replace")
    try:
        code = cli(standalone_mode=False)
    except InputError as error:
        print(f"lifegen: {error}", file=sys.stderr)
        code = 2
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message())
        code = 0
    except click.ClickException as error:
        print(f"lifegen: {error.format_message()}", file=sys.stderr)
        code = 2
    except (click.Abort, KeyboardInterrupt):
        line = shlex.join(["lifegen", *sys.argv[1:]])
        print(f"lifegen: interrupted; the same command goes on from here: {line}", file=sys.stderr)
        code = 130
    sys.exit(code)


@cli.command("list")
@click.argument("what", required=False, metavar="[methods|scenarios|suites|metrics|NAME|FILE]")
@click.option("--json", "as_json", is_flag=True, help="Everything that is known, as JSON.")
def list_command(what: str | None, as_json: bool) -> None:
    """Show what there is: methods, scenarios, suites, metrics, or one of them with its options."""
    from ..discovery.index import forget_failures

    forget_failures()
    in_detail = what is not None and what not in KINDS
    content = _named(str(what)) if in_detail else {kind: _contents(kind) for kind in ([what] if what else KINDS)}
    if as_json:
        click.echo(json.dumps(content, indent=1))
        return
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 120)
    for kind, entries in content.items():
        console.print(_list_table(kind, entries), "")
        details = _suite_table if kind == "suites" else _options_table
        for entry in entries.values() if in_detail else ():
            console.print(details(entry), "")


@cli.command()
@click.argument("names", nargs=-1, metavar="[NAME|FILE]...")
@click.option("--data-root", type=click.Path(path_type=Path), help="Where data sets are (else LIFEGEN_DATA).")
def data(names: tuple[str, ...], data_root: Path | None) -> None:
    """Fetch and verify data sets; without a name those below 100 MB (the others: svhn, cifar10, celeba)."""
    from ..discovery.index import describe, find

    warnings.simplefilter("ignore")  # of libraries
    root = data_folder(data_root)
    if root.is_relative_to(NOWHERE):
        raise InputError(NOWHERE.name)
    sources = []
    for text in names:
        source, options = find("data source", text)
        if options:
            raise InputError(f"data source {source.name!r} has no options, such as {options!r}")
        sources.append(source)
    sources = sources or [source for source in describe("data source").values() if source.facts["small"]]
    failures = []
    for source in sources:
        try:
            click.echo(f"{source.name}: {source.entry().target(source.name).fetch(root)}")
        except InputError as error:
            failures.append(error)
    if failures:
        raise InputError("; ".join(map(str, failures)))


@cli.command()
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


@cli.command()
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


@cli.command(cls=_ListsFigures)
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


@cli.command()
@click.argument("store", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="The file to write.  [default: STORE/report.html]")
def report(store: Path, out: Path | None) -> None:
    """Write one HTML page of everything that a store says, and print its path. It takes a minute or two."""
    from ..reporting.report import report as write
    from ..store.store import Store

    click.echo(write(Store.open(store), out))


@cli.command()
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


def _named(what: str) -> dict[str, dict[str, Any]]:
    """All that has a name, or that a file registers, by kind."""
    from ..discovery.index import describe_all, file_in
    from ..discovery.plugin_file import PluginFile

    if named := file_in(what):
        content: dict[str, dict[str, Any]] = {}
        for one in describe_all(PluginFile.read(named[0]), named[1]):
            content.setdefault(f"{one.kind}s", {})[one.name] = asdict(one)
        return content
    everything = {kind: _contents(kind) for kind in KINDS}
    content = {kind: {what: entries[what]} for kind, entries in everything.items() if what in entries}
    if not content:
        raise unknown("name", what, [*KINDS, *(name for entries in everything.values() for name in entries)])
    return content


def _contents(kind: str) -> dict[str, dict[str, Any]]:
    if kind == "suites":
        from ..cells.suite import suites

        return {name: suite.model_dump() for name, suite in suites().items()}
    from ..discovery.index import describe

    return {name: asdict(entry) for name, entry in describe(kind.removesuffix("s")).items()}


def _list_table(kind: str, entries: dict[str, dict[str, Any]]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=kind, title_justify="left", title_style="bold", show_edge=False, box=None, show_header=False)
    table.add_column(no_wrap=True, style="cyan")
    table.add_column(no_wrap=True)
    table.add_column()
    for name, entry in entries.items():
        broken = entry.get("error")
        text = f"can't be used: {broken}" if broken else entry["summary"]
        if (provider := entry.get("provider", "lifegen")) != "lifegen":
            text += f" [{provider} {entry['provider_version']}]"
        if restarts := entry.get("facts", {}).get("restarts"):
            text += f" An interrupted cell begins anew: {restarts}."
        version = f"v{entry['version']}" if "version" in entry else ""
        table.add_row(Text(name), version, Text(text), style="red" if broken else None)
    return table


def _suite_table(suite: dict[str, Any]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_edge=False, show_header=False)
    for key in ("budget", "scenarios", "methods", "seeds", "figures"):
        value = suite[key]
        table.add_row(key, Text(value if isinstance(value, str) else "\n".join(map(str, value))))
    return table


def _options_table(entry: dict[str, Any]) -> Any:
    from rich.table import Table
    from rich.text import Text

    from ..cells.values import expected

    table = Table("option", "default", "type", "meaning", box=None, show_edge=False)
    for name, schema in entry.get("options", {}).items():
        default = json.dumps(schema["default"]) if "default" in schema else "must be given"
        table.add_row(name, *map(Text, (default, expected(schema), schema.get("description", ""))))
    return table
