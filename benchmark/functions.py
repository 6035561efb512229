"""The commands as functions, for notebooks and scripts: they return tables and figures, and print nothing."""

from __future__ import annotations

import io
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import InputError, counted
from .folders import data_folder

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from .reading.current import Current
    from .reporting.plots import Drawing


def run(
    scenarios: Sequence[str] = (),
    methods: Sequence[str] = (),
    *,
    suite: str | None = None,
    seeds: Sequence[int] | None = None,
    steps: int | None = None,
    out: Path | str | None = None,
    jobs: int | None = None,
    device: str = "auto",
    data_root: Path | str | None = None,
    keep_models: bool = False,
) -> Path:
    """Run the missing cells of scenarios × methods × seeds, as ``lifegen run`` does, and print nothing.

    A script calls it below ``if __name__ == "__main__":``, since the processes of cells import the script.

    Args:
        scenarios: ``NAME`` or ``NAME:option=value,...`` each, or Python files; in place of the suite's.
        methods: likewise; "all" is every method that isn't a preset.
        suite: a suite's name, or its TOML file.
        seeds: numbers; by default the suite's, or 0, 1 and 2.
        steps: optimiser steps an interval; by default the scenario's.
        out: folder of the store; by default ``runs/SUITE``, or ``runs/default``.
        jobs: cells at a time; by default one per core.
        device: "auto", "cpu", "cuda" or "cuda:N".
        data_root: folder of the data sets; by default as for the commands.
        keep_models: whether the store keeps final models.

    Returns:
        the store's folder, for :func:`leaderboard` and the others.

    Raises:
        InputError: something doesn't exist, or can't be used; before anything runs.
        RuntimeError: some cells failed; the others are done.
    """
    from .cells.suite import cells_of
    from .cells.suite import suite as read_suite
    from .running.devices import check_device
    from .running.executor import Execution
    from .running.local import Local, default_jobs, missing
    from .store.known_texts import with_known_texts
    from .store.plans import save_plan
    from .store.store import Store

    check_device(device)
    scenarios, methods = _listed(scenarios), _listed(methods)
    seeds = [seeds] if isinstance(seeds, int) else seeds
    if isinstance(seeds, str) or not all(isinstance(seed, int) for seed in seeds or ()):
        raise InputError(f"seeds={seeds!r} isn't a list of numbers, such as [0, 1, 2] or range(5)")
    path = Path(out or Path("runs", Path(suite or "default").stem))
    cells = with_known_texts(cells_of(suite, scenarios, methods, seeds, steps), Store(path))
    keeps = keep_models or bool(suite and read_suite(suite).keep_models)
    execution = Execution(data_folder(Path(data_root) if data_root else None), device, keep_models=keeps)
    Store.check(path)
    todo, left = missing(cells, Store(path))
    executor = Local(jobs or default_jobs(device))
    if todo:
        executor.prepare(todo, execution)
    store = Store.create(path)
    save_plan(store, cells, _command(suite, scenarios, methods, seeds, steps, path), keeps)
    events = executor.run(todo, store, execution)
    failed = [f"{event.cell}: {event.error or event.kind}" for event in events if event.kind != "done"]
    failed += [str(cell) for cell in left]
    if failed:
        raise RuntimeError(f"{len(failed)} of {counted(len(cells), 'cell')} not done, the first, {failed[0]}")
    return path


def _listed(names: Sequence[str]) -> list[str]:
    """Names of a list, or one name."""
    listed = [names] if isinstance(names, str) else list(names)
    for name in listed:
        if not isinstance(name, str):
            raise InputError(f"{name!r} isn't a name, such as 'naive'")
    return listed


def _command(
    suite: str | None,
    scenarios: Sequence[str],
    methods: Sequence[str],
    seeds: Sequence[int] | None,
    steps: int | None,
    out: Path,
) -> str:
    """The command that runs the same cells, for the store's plan."""
    words = [*(["--suite", suite] if suite else ()), *(word for text in scenarios for word in ("-s", text))]
    words += [word for text in methods for word in ("-m", text)]
    words += ["--seeds", ",".join(map(str, seeds))] if seeds is not None else []
    words += ["--steps", str(steps)] if steps else []
    return shlex.join(["lifegen", "run", *words, "--out", str(out)])


def leaderboard(
    store: Path | str | Sequence[Path | str],
    metrics: Sequence[str] | None = None,
    scenarios: Sequence[str] = (),
    methods: Sequence[str] = (),
    across: bool = False,
    rank_custom: bool = False,
) -> pd.DataFrame:
    """Return the leaderboard of a store or published folder, as ``lifegen leaderboard`` prints it.

    Args:
        store: the folder, or several, whose cells are ranked together.
        metrics: names; the first one ranks; by default those of the printed table.
        scenarios: labels; all by default.
        methods: labels of the methods to show; all by default. Ranks are those among all.
        across: whether to combine scenarios on one scale, from the lower reference (0) to the upper (1).
        rank_custom: whether to rank methods with options of your own, too.

    Returns:
        a row for each scenario, method and metric: n, mean, low, high, rank, rank_low, rank_high, ties.

    Raises:
        InputError: there is nothing to show, or a name doesn't exist.
    """
    from .reading.leaderboard import leaderboard as make
    from .reading.scores import scores_of

    metrics = None if metrics is None else _listed(metrics)
    return make(scores_of(_source(store)), metrics, _listed(scenarios), across, rank_custom, _listed(methods)).table


def _source(store: Path | str | Sequence[Path | str]) -> Path | str | Current:
    from .reading.agreement import union_of

    return store if isinstance(store, Path | str) else union_of(store)


def findings(store: Path | str | Sequence[Path | str]) -> list[str]:
    """Return the sentences that a leaderboard's numbers allow, as ``lifegen report`` begins with them.

    Args:
        store: the folder, or several, whose cells are ranked together.

    Raises:
        InputError: there is nothing to show.
    """
    from .reading.findings import findings as found
    from .reading.leaderboard import leaderboard as make
    from .reading.scores import scores_of

    return found(make(scores_of(_source(store))))


def plot(
    store: Path | str,
    kind: str,
    scenario: str | None = None,
    methods: Sequence[str] = (),
    style: str = "screen",
    labels: Mapping[str, str] | None = None,
    width: float | None = None,
    font: float | None = None,
    title: bool = True,
) -> Figure:
    """Return a figure of a store or published folder, as ``lifegen plot`` draws it.

    Args:
        store: the folder.
        kind: a kind of figure with one figure a scenario, or a metric for its own figure.
        scenario: the scenario's label, if there are several.
        methods: labels of the methods to draw; all by default.
        style: "screen", "slides", "paper", "neurips", "icml", or the path of a file that ends in .mplstyle.
        labels: names of scenarios and methods in the figure, by label.
        width: inches; by default the style's.
        font: points of letters; by default the style's.
        title: whether the figure has a title.

    Raises:
        InputError: there is nothing to draw, or more than one figure.
    """
    from .reporting.figures.style import style_of
    from .reporting.plots import drawings
    from .store.store import Store

    sizes = style_of(style, width, font, title)
    drawn = list(drawings(Store.open(store), [kind], sizes, scenario, methods=methods, labels=labels))
    if len(drawn) > 1:
        names = ", ".join(f"{one.name} of {one.scenario}" for one in drawn[:3])
        raise InputError(f"{kind!r} is {len(drawn)} figures ({names}, ...): name the scenario, or one method")
    figure = drawn[0].figure
    # Notebooks show figures of pyplot, which this one isn't.
    figure.__dict__["_repr_png_"] = lambda: _png(drawn[0])
    return figure


def _png(drawing: Drawing) -> bytes:
    buffer = io.BytesIO()
    drawing.save(buffer, "png")
    return buffer.getvalue()
