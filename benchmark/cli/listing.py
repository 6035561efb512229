"""The commands ``list``, which shows what exists, and ``data``, which fetches data sets."""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import InputError, unknown
from ..files import write_atomically
from ..folders import NOWHERE, data_folder
from ..reporting.terminal import console
from . import completion
from .options import DATA_ROOT
from .say import say

if TYPE_CHECKING:
    from ..contracts.data_sources import Source

_WIDE = 100
"""Columns of a terminal from which options have columns for their defaults and types."""
KINDS = ("methods", "scenarios", "suites", "metrics")


@click.command("list")
@click.argument("what", required=False, metavar="[methods|scenarios|suites|metrics|NAME|FILE]",
                shell_complete=completion.THINGS)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print all details as JSON.")
def list_command(what: str | None, as_json: bool) -> None:
    """List methods, scenarios, suites and metrics.

    A NAME or a Python FILE shows its entries with their options.
    """
    from ..discovery.index import forget_failures

    forget_failures()
    in_detail = what is not None and what not in KINDS
    content = _named(str(what)) if in_detail else {kind: _contents(kind) for kind in ([what] if what else KINDS)}
    if as_json:
        say(json.dumps(content, indent=1))
        return
    terminal = console()
    for kind, entries in content.items():
        terminal.print(_list_table(kind, entries), "")
        options_table = partial(_options_table, is_narrow=terminal.width < _WIDE)
        details = {"suites": _suite_table, "metrics": _metric_table}.get(kind, options_table)
        for entry in entries.values() if in_detail else ():
            terminal.print(details(entry), "")


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME|FILE]...", shell_complete=completion.DATA)
@DATA_ROOT
@click.option("--expert", is_flag=True,
              help="Train an expert for metrics of samples on each NAME, too.")  # fmt: skip
@click.option("--binary", is_flag=True, help="Train the expert on drawn black and white pixels.")
def data(names: tuple[str, ...], data_root: Path | None, expert: bool, binary: bool) -> None:
    """Fetch and verify data sets.

    Without a NAME, fetch all below 100 MB (svhn, cifar10 and celeba are larger).
    """
    from ..discovery.index import describe, resolve

    warnings.simplefilter("ignore")  # of libraries
    root = data_folder(data_root)
    if root.is_relative_to(NOWHERE):
        raise InputError(NOWHERE.name)
    sources = []
    for text in names:
        source, options = resolve("data source", text)
        if options:
            raise InputError(f"data source {source.name!r} has no options, such as {options!r}")
        sources.append(source)
    if expert and not sources:
        raise InputError("--expert needs the NAME of a data set, such as `lifegen data mnist --expert`")
    if binary and not expert:
        raise InputError("--binary is about the expert: `lifegen data mnist --expert --binary`")
    sources = sources or [source for source in describe("data source").values() if source.facts["small"]]
    failures = []
    for source in sources:
        try:
            images = source.entry().target(source.name)
            say(f"{source.name}: {images.fetch(root)}")
            if expert:
                say(f"{source.name}: {_write_expert(images, root, binary)}")
        except InputError as error:
            failures.append(error)
    if failures:
        raise InputError("; ".join(map(str, failures)))


def _write_expert(images: Source, root: Path, draws: bool) -> str:
    """Train an expert on a data set and write it under the data root; returns a few words about it."""
    import torch

    from ..measuring.expert_training import train_expert
    from ..measuring.experts import CHECKSUMS, expert_file, expert_in

    torch.set_num_threads(1)  # sums of several threads are rounded otherwise
    content = train_expert(images.name, images.load(root), draws)
    made = expert_in(content)
    file = expert_file(made.facts.name, root)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, content)
    known = {None: "", made.digest: ", lifegen's own to the bit"}
    note = known.get(CHECKSUMS.get(made.facts.name), ", not lifegen's own, which is used")
    return f"an expert with {made.facts.accuracy:.1%} of test images right, in {file}{note}"


def _named(what: str) -> dict[str, dict[str, Any]]:
    """The entries with a name, or all that a file registers, by kind."""
    from ..discovery.index import describe_all
    from ..discovery.plugin_file import PluginFile, file_in

    if named := file_in(what):
        content: dict[str, dict[str, Any]] = {}
        for entry in describe_all(PluginFile.read(named[0]), named[1]):
            content.setdefault(f"{entry.kind}s", {})[entry.name] = asdict(entry)
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


_OF_A_CELL = {
    "last": "the value after the last interval",
    "mean": "the mean over the intervals that have a value",
    "sum": "the sum over intervals",
    "max": "the largest value",
}


def _metric_table(metric: dict[str, Any]) -> Any:
    from rich.table import Table
    from rich.text import Text

    facts = metric["facts"]
    table = Table(box=None, show_edge=False, show_header=False)
    table.add_row("unit", Text(facts["unit"] or "none"))
    table.add_row("better", f"{facts['better']} values" if facts["better"] else "neither direction; it isn't ranked")
    table.add_row("of a cell", _OF_A_CELL[facts["over_intervals"]])
    if facts["derived"]:
        table.add_row("from", f"the matrix of {facts['of']}, whenever a store is read")
    for line in metric["details"].splitlines():
        head, colon, rest = line.partition(": ")
        is_headed = colon and head == "Formula"
        table.add_row(head.lower() if is_headed else "", Text(rest if is_headed else line))
    return table


def _options_table(entry: dict[str, Any], is_narrow: bool = False) -> Any:
    from rich.table import Table
    from rich.text import Text

    from ..cells.values import expected

    table = Table(box=None, show_edge=False)
    table.add_column("option", no_wrap=True)
    for head in ("meaning",) if is_narrow else ("default", "type", "meaning"):
        table.add_column(head)
    for name, schema in entry.get("options", {}).items():
        default = json.dumps(schema["default"]) if "default" in schema else "must be given"
        meaning, kind = schema.get("description", ""), expected(schema)
        texts = (f"{meaning} Default: {default}; {kind}.",) if is_narrow else (default, kind, meaning)
        table.add_row(name, *map(Text, texts))
    if entry["kind"] == "scenario":
        expert = entry["facts"].get("expert")
        judged = f"Samples are judged by the expert {expert}; on tracks of drawn pixels by binary-{expert}."
        table.caption = Text(judged if expert else "Samples aren't measured: no expert knows these images.")
        table.caption_justify = "left"
    return table


COMMANDS = (list_command, data)
