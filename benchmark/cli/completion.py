"""Completion of names in a shell: fast, and silent whatever goes wrong. Neither torch nor Avalanche is imported.

Click writes the shell's side: ``_LIFEGEN_COMPLETE=bash_source lifegen``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from importlib.resources import files
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from ..store.store import Store

Names = Callable[[click.Context], Iterable[str]]
Completion = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]
_FILES = [CompletionItem("", type="file")]
"""Asks the shell for files."""


def _completing(*sources: Names, or_file: bool = False) -> Completion:
    """Make the completion of an argument by names, and by files if it may be one."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        taken = context.params.get(str(parameter.name)) if parameter.nargs == -1 or parameter.multiple else ()
        names: dict[str, None] = {}
        for source in sources:
            try:
                names |= dict.fromkeys(sorted(source(context)))
            except Exception:  # a damaged store or cache, which a completion mustn't talk about
                continue
        found = [CompletionItem(name) for name in names if name.startswith(incomplete) and name not in (taken or ())]
        return (_FILES if or_file else []) + found

    return complete


def _registered(*kinds: str) -> Names:
    def names(_: click.Context) -> Iterable[str]:
        from ..discovery.index import known_names

        return (name for kind in kinds for name in known_names(kind))

    return names


def _literally(*names: str) -> Names:
    return lambda _: names


def _suites(_: click.Context) -> Iterable[str]:
    from ..cells.suite import suite_names

    return suite_names()


def _in_source(file: str, pattern: str) -> Names:
    """Names as they stand in the source of reporting: importing it takes a second."""

    def names(_: click.Context) -> Iterable[str]:
        source = (files("lifegen.benchmark.reporting") / file).read_text(encoding="utf-8")
        return re.findall(pattern, source, re.MULTILINE)

    return names


def _labels(part: str, end: str = "") -> Names:
    """The labels of a store's methods or scenarios, each with something at its end."""
    return lambda context: {cell.record[part]["label"] + end for cell in _store(context).cells() if cell.record}


def _cells(context: click.Context) -> Iterable[str]:
    from ..store.plans import planned

    store = _store(context)
    return {cell.name for cell in store.cells()} | planned(store)[0].keys()


def _store(context: click.Context) -> Store:
    """The store that the line names before; a line that ends in an option without a value isn't parsed."""
    from ..store.store import Store

    given = context.params.get("store") or next(iter(context.params.get("stores") or context.args))
    return Store(given)


METHODS = _completing(_registered("method"), _literally("all"), or_file=True)
SCENARIOS = _completing(_registered("scenario"), or_file=True)
SUITES = _completing(_suites, or_file=True)
METRICS = _completing(_registered("metric"))
FIGURES = _completing(_in_source("figure_kinds.py", r'^    "(\w+)": FigureKind\('), _registered("metric"))
STYLES = _completing(_in_source("figures/style.py", r'^ +Style\("(\w+)"'), or_file=True)
TITLES = _completing(_labels("method", "="), _labels("scenario", "="))
METHOD_LABELS = _completing(_labels("method"))
SCENARIO_LABELS = _completing(_labels("scenario"))
CELLS = _completing(_cells)
DATA = _completing(_registered("data source"), or_file=True)
THINGS = _completing(
    _literally("methods", "scenarios", "suites", "metrics"), _registered("method", "scenario", "metric"), _suites,
    or_file=True,
)  # fmt: skip
CHECKED = _completing(_registered("method", "scenario", "metric"), or_file=True)
FILES: Completion = lambda *_: _FILES  # noqa: E731
