"""The progress of a store in words, for ``plan`` and ``status``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ..errors import counted
from ..reading.overview import Item, Overview
from ..reading.provenance import ranges
from ..reporting.terminal import console, elided
from ..store.record import Status
from .say import say


def show_overview(view: Overview, jobs: int, budget: str = "", by_method: bool = False) -> None:
    """Print how far the cells of a store are, and what is left.

    Args:
        view: the cells.
        jobs: cells at a time, for the time left.
        budget: the time that a suite's author states, for cells unlike any that was timed.
        by_method: whether to print a row per scenario and method.
    """
    from rich.filesize import decimal

    say(f"{view.store.path}: {view.counts.get('done', 0)} of {counted(len(view.items), 'cell', 'is')} done")
    for name, number in view.counts.items():
        say(f"{name:>13}  {number}")
    if by_method:
        _show_methods(view)
    for item in view.items:
        if item.reason:
            say(f"{item.status} {item.name}: {' '.join(item.reason.split())}")
        if item.status == Status.FAILED and (log := view.stored[item.name].folder / "log.txt").exists():
            say(f"  log: {log}")
    if Status.FAILED in view.counts:
        say(f"failed cells run again with `lifegen run ... --out {view.store.path} --retry failed`")
    for line in view.unreadable:
        say(f"unreadable plan: {line}")
    if any(item.left for item in view.items):
        hours = view.hours_left
        unknown = f"unknown before a cell of each method is done; the suite says: {budget}" if budget else ""
        estimate = unknown if hours is None else f"about {duration(hours / jobs)}, {jobs} at a time"
        if hours is not None and any(item.left and view.timings.is_elsewhere(item.work) for item in view.items):
            estimate += ", by the timings of other stores"
        say(f"time left: {estimate or 'unknown before a cell of each method is done'}")
    ending = f", about {decimal(view.bytes_now + round(view.bytes_left))} in the end" if view.bytes_left else ""
    state = f"; an interrupted or running cell adds up to {decimal(view.state_bytes)}" if view.state_bytes else ""
    say(f"on disk: {decimal(view.bytes_now)}{ending}{state}")


def _show_methods(view: Overview) -> None:
    from rich.table import Table
    from rich.text import Text

    terminal = console()
    by_scenario: dict[str, dict[str, list[Item]]] = {}  # seeds vary slowest, so that neighbours needn't belong together
    for item in view.items:
        by_scenario.setdefault(item.work.scenario, {}).setdefault(item.work.method, []).append(item)
    for scenario, by_method in by_scenario.items():
        table = Table(box=None, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
        for head in ("method", "seeds", "done", "to do", "time left"):
            table.add_column(head, justify="left" if head == "method" else "right", no_wrap=True)
        for method, items in by_method.items():
            done = sum(not item.left for item in items)
            hours = view.hours(items[0].work)
            left = sum(item.left for item in items)
            time = "–" if not left else "unknown" if hours is None else duration(left * hours)
            seeds = ranges([item.seed for item in items if item.seed is not None])
            texts = (elided(method, max(20, terminal.width - 42)), seeds, str(done), str(len(items) - done), time)
            table.add_row(*map(Text, texts))
        terminal.print(Text(scenario, "bold"), table, "", sep="\n")


def show_fitting(view: Overview, fitting: Sequence[Item], minutes: float) -> None:
    """Print which of the cells left come to their end in some time.

    Args:
        view: the cells.
        fitting: those that do.
        minutes: the time.
    """
    left = [item for item in view.items if item.left]
    if len(fitting) == len(left):
        say(f"in {minutes:g} minutes: all of them")
        return
    say(f"in {minutes:g} minutes: {len(fitting)} of {len(left)} cells")
    for seed in dict.fromkeys(item.seed for item in left):
        of_seed = [item for item in left if item.seed == seed]
        fit = [item for item in of_seed if item in fitting]
        if len(fit) == len(of_seed):
            say(f"  seed {seed}: all {len(fit)}")
        elif fit:
            without = sorted({item.work.method for item in of_seed if item not in fit})
            say(f"  seed {seed}: {len(fit)} of {len(of_seed)}, without {', '.join(without)}")


def overview_as_json(view: Overview, fitting: Sequence[Item] | None = None) -> str:
    """All details of an overview, and the cells that fit into a time, if one was given."""
    names = ("counts", "hours_left", "bytes_now", "bytes_left", "state_bytes", "unreadable")
    content = {name: getattr(view, name) for name in names} | {"cells": list(map(_flat, view.items))}
    if fitting is not None:
        content["fitting"] = [item.name for item in fitting]
    return json.dumps(content, indent=1)


def _flat(item: Item) -> dict[str, Any]:
    flat = asdict(item)
    work = flat.pop("work")
    return flat | {"scenario": work["scenario"], "method": work["method"]}


def duration(hours: float) -> str:
    """A time in the unit that suits it, such as 40 s, 12 min, 3.4 h or 2.1 days."""
    if hours >= 48:
        return f"{hours / 24:.1f} days"
    return f"{hours:.1f} h" if hours >= 1 else f"{hours * 60:.0f} min" if hours >= 1 / 60 else f"{hours * 3600:.0f} s"
