"""The commands for authors of methods, scenarios and metrics. Only ``check`` imports torch."""

from __future__ import annotations

import shlex
import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click

from . import completion
from .options import DATA_ROOT
from .say import say

if TYPE_CHECKING:
    from ..authoring.checks import Finding
    from ..authoring.scaffold import Kind

_PACKAGE = click.option("--package", is_flag=True, help="Write an installable package with an entry point and a test.")
_NEXT = {
    "method": ["lifegen run -s split-digits -m {spec} -m naive -m batch", "lifegen leaderboard runs/default"],
    "scenario": ["lifegen run -s {spec} -m naive -m lifelong-vae -m batch", "lifegen leaderboard runs/default"],
    "metric": [
        "lifegen run -s split-digits -m naive -m lifelong-vae{option}",
        "lifegen leaderboard runs/default --metric {name}",
    ],
}


@click.command("new-method")
@click.argument("name")
@_PACKAGE
def new_method(name: str, package: bool) -> None:
    """Write NAME.py, a method that runs as it is."""
    _new("method", name, package)


@click.command("new-scenario")
@click.argument("name")
@_PACKAGE
def new_scenario(name: str, package: bool) -> None:
    """Write NAME.py, a scenario that runs as it is."""
    _new("scenario", name, package)


@click.command("new-metric")
@click.argument("name")
@_PACKAGE
def new_metric(name: str, package: bool) -> None:
    """Write NAME.py, a metric that works as it is."""
    _new("metric", name, package)


@click.command("new-suite")
@click.argument("name")
def new_suite(name: str) -> None:
    """Write NAME.toml, a suite that runs as it is."""
    from ..authoring.scaffold import new_suite as new

    file = new(name, Path())
    named = shlex.quote(str(file))
    lines = [
        f"lifegen run --suite {named} --smoke",
        f"lifegen run --suite {named}",
        f"lifegen leaderboard {shlex.quote(f'runs/{file.stem}')}",
    ]
    say(f"wrote {file}\n\nEdit it, then run:\n" + "\n".join(f"    {line}" for line in lines))


def _new(kind: Kind, name: str, package: bool) -> None:
    from ..authoring.scaffold import new

    first, *others = new(kind, name, Path(), package)
    spec = name if package else str(first)
    say(f"wrote {first}" + "".join(f"\n  {file.relative_to(first)}" for file in others))
    lines = [f"lifegen check {spec}", *_NEXT[kind]]
    if package:
        lines.insert(0, f"pip install --editable {first}")
    option = "" if package else f" --metric {spec}"
    say(
        "\nEdit it, then run:\n"
        + "\n".join(f"    {line.format(spec=spec, name=name, option=option)}" for line in lines)
    )


@click.command()
@click.argument("thing", metavar="NAME|FILE[:CLASS]|FOLDER", shell_complete=completion.CHECKED)
@DATA_ROOT
def check(thing: str, data_root: Path | None) -> int:
    """Check that a method, scenario or metric keeps its promises, or results do.

    Name an installed extension, or a file: file.py checks everything that the file registers, file.py:Class one class.
    Options follow as for `run`. The folder of a store or of published results is read, and nothing is computed again.
    """
    from ..authoring.checks.check import findings, targets
    from ..authoring.checks.targets import check_known
    from ..environment import home_for_avalanche
    from ..processes import use_one_thread
    from ..store.store import MARK

    folder = Path(thing)
    is_folder = (folder / MARK).exists() or (folder.is_dir() and len(folder.parts) > 1)
    if not is_folder:
        check_known(thing)
    use_one_thread()
    warnings.simplefilter("ignore")  # from libraries, also while they are imported
    with home_for_avalanche():
        import avalanche.benchmarks  # noqa: F401  (later imports then find it loaded)

        from ..authoring.checks.results import check_results
    began = perf_counter()
    counts: Counter[str] = Counter()

    def show(found: Iterable[Finding]) -> None:
        for finding in found:
            counts[finding.status] += 1
            say(_lines(finding))

    if is_folder:
        say(f"results in {folder}")
        show(check_results(folder, data_root))
    else:
        for description, options in targets(thing):
            say(f"{description.kind} {description.name} ({description.origin})")
            show(findings(description, options, data_root))
    words = ", ".join(
        f"{counts[status]} {status}" for status in ("kept", "broken", "note", "skipped") if counts[status]
    )
    say(f"{words}; {perf_counter() - began:.0f} s")
    return 1 if counts["broken"] else 0


def _lines(finding: Finding) -> str:
    if finding.status != "broken":
        return f"  {finding.status:8}{finding.promise}{f': {finding.seen}' if finding.seen else ''}"
    facts = {"expected": finding.expected, "seen": finding.seen, "look at": finding.look}
    lines = [f"{name + ':':10}{text}" for name, text in facts.items() if text]
    return "\n".join([f"  BROKEN  {finding.promise}", *(f"          {line}" for line in lines)])


COMMANDS: list[Any] = [new_method, new_scenario, new_metric, new_suite, check]
