"""Drawing a store's figures, one by one or into a folder."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import InputError, unknown
from ..reading.current import Current, current_of
from ..reading.scores import scores_of
from ..store.store import Store
from .figure_kinds import FIGURE_KINDS, FigureKind, figure_name
from .figures.drawing import Drawing, Scene, file_name, scenes
from .figures.style import Style, style_of

__all__ = ["Drawing", "drawings", "plot"]


def drawings(
    source: Store | Current,
    kinds: Sequence[str] = (),
    style: str = "screen",
    scenario: str | None = None,
    note: Callable[[str], None] = lambda line: None,
    methods: Collection[str] = (),
) -> Iterator[Drawing]:
    """Draw a store's figures, one at a time.

    Args:
        source: the store to draw.
        kinds: names of :data:`~.figure_kinds.FIGURE_KINDS`, or of metrics for one curve each; by default every kind
            that the store has the data for.
        style: one of ``style.STYLES``.
        scenario: the label of the only one to draw; figures of all scenarios together are then left out.
        note: gets a line for each reason why figures lack a cell's rows or pictures.
        methods: labels of the only ones to draw.

    Raises:
        InputError: at once, if something doesn't exist; while drawing, if the store lacks the data of a wanted kind.
    """
    current = _only(current_of(source).readable(lambda cell: cell.numbers), methods)
    names = list(dict.fromkeys(figure_name(name, current.metrics) for name in kinds))
    every = scenes(current, style_of(style))
    if not every:
        store = current.store
        raise InputError(f"{store.path} has no finished cell yet; finish it with `lifegen run ... --out {store.path}`")
    if scenario is not None and scenario not in (labels := [scene.scenario for scene in every]):
        raise unknown("scenario in this store", scenario, labels)
    chosen = [scene for scene in every if scenario in (None, scene.scenario)]
    wanted = {name: FIGURE_KINDS.get(name, FIGURE_KINDS["curves"]) for name in names or FIGURE_KINDS}
    if scenario is not None:
        wanted = {name: kind for name, kind in wanted.items() if kind.draw}
    return _drawn(current, chosen, wanted, bool(kinds), note)


def _only(current: Current, methods: Collection[str]) -> Current:
    """The state of a store with the cells of some methods; of all if none are named.

    Raises:
        InputError: one of them has no finished cell.
    """
    known = {cell.method for cell in current.cells}
    if known and (missing := [method for method in methods if method not in known]):
        raise unknown("method in this store", missing[0], sorted(known))
    return replace(current, cells=tuple(cell for cell in current.cells if not methods or cell.method in methods))


def _drawn(
    current: Current, chosen: Sequence[Scene], kinds: dict[str, FigureKind], must: bool, note: Callable[[str], None]
) -> Iterator[Drawing]:
    """The figures of kinds by name; a metric's name stands for those curves that have it.

    Raises:
        InputError: there is nothing to draw a kind from, and it must be drawn.
    """
    for name, kind in kinds.items():
        is_empty = True
        for drawing in _of_kind(current, chosen, kind, must):
            if name in (drawing.kind, drawing.name):
                is_empty = False
                yield drawing
        if must and is_empty:
            reasons = "".join(f"; {line}" for scene in chosen for line in scene.notes)
            raise InputError(f"{current.store.path} has nothing to draw {name!r} from: it needs {kind.needs}{reasons}")
    for scene in chosen:
        for line in scene.notes:
            note(line)


def _of_kind(current: Current, chosen: Sequence[Scene], kind: FigureKind, must: bool) -> Iterator[Drawing]:
    style = chosen[0].style
    if kind.over:
        try:
            yield from _in_style(kind.over(scores_of(current), style), style)
        except InputError:
            if must:
                raise
    if kind.draw:
        for scene in chosen:
            yield from _in_style(kind.draw(scene), style)


def _in_style(drawings: Iterator[Drawing], style: Style) -> Iterator[Drawing]:
    """Draw each in its style, and leave matplotlib's settings alone between them."""
    while True:
        with style.context():
            drawing = next(drawings, None)
        if drawing is None:
            return
        yield drawing


def plot(
    store: Store,
    folder: Path,
    kinds: Sequence[str] = (),
    formats: Sequence[str] = ("png",),
    style: str = "screen",
    note: Callable[[str], None] = lambda line: None,
    methods: Collection[str] = (),
) -> list[Path]:
    """Write a store's figures, one folder per scenario, with each figure's numbers beside it as NAME.csv.

    Args:
        store: the store to draw.
        folder: the folder to write.
        kinds: as for :func:`drawings`.
        formats: of "png", "svg" and "pdf".
        style: as for :func:`drawings`.
        note: as for :func:`drawings`.
        methods: as for :func:`drawings`.

    Returns:
        the files written.

    Raises:
        InputError: as :func:`drawings` does; or the folder can't be written to.
    """
    files: list[Path] = []
    current = current_of(store).readable(lambda cell: cell.numbers)
    for name, why in current.damaged.items():
        note(f"left out: {name}: {why}")
    for drawing in drawings(current, kinds, style, note=note, methods=methods):
        target = folder / file_name(drawing.scenario)
        try:
            target.mkdir(parents=True, exist_ok=True)
            for form in formats:
                files.append(target / f"{drawing.name}.{form}")
                drawing.save(files[-1], form)
            files.append(target / f"{drawing.name}.csv")
            drawing.data.to_csv(files[-1], index=False)
        except OSError as error:
            raise InputError(f"{target} can't be written to: {error.strerror or error}") from None
    return files
