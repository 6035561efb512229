"""Drawing a store's figures, one by one or into a folder."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import InputError, unknown
from ..reading.current import Current, current_of
from ..reading.labels import label_of
from ..reading.leaderboard import ACROSS
from ..reading.provenance import suites_of
from ..reading.scores import scores_of
from ..store.store import Store
from .figure_kinds import ALL, FIGURE_KINDS, USUAL, FigureKind, figure_name, kind_of
from .figures.drawing import Drawing, Scene, scenes
from .figures.style import Style, style_of
from .file_names import file_name, file_names
from .titles import Titles, of_suite, titles_of

__all__ = ["Drawing", "drawings", "plot"]
_FEW = 10
"""Characters without a glyph that a note names."""


def drawings(
    source: Store | Current,
    kinds: Sequence[str] = (),
    style: str | Style = "screen",
    scenario: str | None = None,
    note: Callable[[str], None] = lambda line: None,
    methods: Collection[str] = (),
    labels: Mapping[str, str] | None = None,
    must: bool = True,
    scenarios: Collection[str] = (),
) -> Iterator[Drawing]:
    """Draw a store's figures, one at a time.

    Args:
        source: the store to draw.
        kinds: names of :data:`~.figure_kinds.FIGURE_KINDS`, or of metrics for their own figure; by default, and for
            "all", every kind that the store has the data for.
        style: the name of a style, as for :func:`.style_of`, or a style.
        scenario: the label of the only one to draw; figures of all scenarios together are then left out.
        note: gets a line for each reason why figures lack a cell's rows or pictures, and one for names that the
            font can't write.
        methods: labels of the only ones to draw.
        labels: titles of scenarios and methods, by label, besides those that the store's suite gives.
        must: whether the data of named kinds must be there.
        scenarios: labels of the only ones to draw, one by one and together.

    Raises:
        InputError: at once, if something doesn't exist; while drawing, if the store lacks the data of a wanted kind.
    """
    all_methods = current_of(source).readable(lambda cell: cell.numbers)
    titles = _titles(all_methods, labels or {})  # a method has one title, whatever is beside it
    current = _only(all_methods, methods, scenarios)
    named = list(dict.fromkeys(figure_name(name, current.metrics) for name in kinds))
    style = style_of(style) if isinstance(style, str) else style
    every = scenes(current, style, titles)
    if not every:
        store = current.store
        raise InputError(f"{store.path} has no finished cell yet; finish it with `lifegen run ... --out {store.path}`")
    if scenario is not None:
        scenario = label_of("scenario", scenario, [scene.scenario for scene in every], "in this store")
    chosen = [scene for scene in every if scenario in (None, scene.scenario)]
    every_kind = FIGURE_KINDS if ALL in named or not named else ()
    named = [name for name in named if name != ALL]
    wanted = {name: kind_of(name) for name in dict.fromkeys([*every_kind, *named])}
    if scenario is not None:
        wanted = {name: kind for name, kind in wanted.items() if kind.draw}
    heading = {ACROSS: f"{len(every)} scenarios"}
    over = Scene(
        ACROSS, current.cells, style, current.metrics, replace(titles, scenarios={**titles.scenarios, **heading})
    )
    return _drawn(current, over, chosen, wanted, set(named) if must else set(), note)


def _titles(current: Current, own: Mapping[str, str]) -> Titles:
    """The titles of a store: those that a user or a suite gives, or made from names.

    Raises:
        InputError: a user names what isn't there.
    """
    scenarios, methods = ({getattr(cell, kind) for cell in current.cells} for kind in ("scenario", "method"))
    known = scenarios | methods
    if known and (missing := [name for name in own if name not in known]):
        raise unknown("scenario or method in this store", missing[0], known)
    given: dict[str, str] = {}
    for suite in reversed(suites_of(current)):
        given |= of_suite(suite, known)
    return titles_of(scenarios, methods, given | dict(own))


def _only(current: Current, methods: Collection[str], scenarios: Collection[str]) -> Current:
    """The state of a store with the cells of some methods and scenarios; of all if none are named.

    Raises:
        InputError: one of them has no finished cell.
    """
    for kind, labels in (("method", methods), ("scenario", scenarios)):
        known = {getattr(cell, kind) for cell in current.cells}
        if labels and known:
            chosen = {label_of(kind, label, known, "in this store") for label in labels}
            current = replace(current, cells=tuple(cell for cell in current.cells if getattr(cell, kind) in chosen))
    return current


def _drawn(
    current: Current,
    over: Scene,
    chosen: Sequence[Scene],
    kinds: dict[str, FigureKind],
    must: Collection[str],
    note: Callable[[str], None],
) -> Iterator[Drawing]:
    """The figures of kinds by name.

    Raises:
        InputError: there is nothing to draw a kind from that must be drawn.
    """
    if lacking := over.style.lacking(_names(chosen)):
        few = " ".join(lacking[:_FEW]) + (" …" if len(lacking) > _FEW else "")
        note(f"the figures' font has no {few} (boxes stand for them); a file of matplotlib's settings with a line "
             '"font.family: NAME" gives another font: --style FILE.mplstyle')  # fmt: skip
    for name, kind in kinds.items():
        is_empty = True
        for drawing in _of_kind(current, over, chosen, kind, name in must):
            is_empty = False
            yield drawing
        if name in must and is_empty:
            reasons = "".join(f"; {line}" for scene in chosen for line in scene.notes)
            raise InputError(f"{current.store.path} has nothing to draw {name!r} from: it needs {kind.needs}{reasons}")
    for scene in chosen:
        for line in scene.notes:
            note(line)


def _names(scenes: Iterable[Scene]) -> Iterator[str]:
    """The names that figures of scenarios show: theirs, their methods' and their distributions'."""
    for scene in scenes:
        yield scene.titles.scenario(scene.scenario)
        for cell in scene.cells:
            yield from (scene.titles.method(cell.method), *cell.distributions)


def _of_kind(current: Current, over: Scene, chosen: Sequence[Scene], kind: FigureKind, must: bool) -> Iterator[Drawing]:
    style = over.style
    if kind.over:
        try:
            yield from _in_style(kind.over(scores_of(current), over), style)
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


def folder_names(current: Current) -> Callable[[str], str]:
    """Return a function that gives the folder of a scenario's figures, or of several scenarios' together: those of
    budgets are called as their scenario is without its steps."""
    names = file_names([ACROSS, *(cell.scenario for cell in current.cells)])
    return lambda scenario: names.get(scenario) or file_name(scenario)


def plot(
    source: Store | Current,
    folder: Path,
    kinds: Sequence[str] = (),
    formats: Sequence[str] = ("png",),
    style: str | Style = "screen",
    note: Callable[[str], None] = lambda line: None,
    methods: Collection[str] = (),
    labels: Mapping[str, str] | None = None,
    scenarios: Collection[str] = (),
) -> list[Path]:
    """Write a store's figures, one folder per scenario, with each figure's numbers beside it as NAME.csv, and its
    caption as NAME.txt.

    Args:
        source: the store to draw.
        folder: the folder to write.
        kinds: as for :func:`drawings`; by default those of the store's suite, or the usual ones.
        formats: of "png", "svg" and "pdf".
        style: as for :func:`drawings`.
        note: as for :func:`drawings`.
        methods: as for :func:`drawings`.
        labels: as for :func:`drawings`.
        scenarios: as for :func:`drawings`.

    Returns:
        the files written.

    Raises:
        InputError: as :func:`drawings` does; or the folder can't be written to.
    """
    files: list[Path] = []
    current = current_of(source).readable(lambda cell: cell.numbers)
    for name, why in current.damaged.items():
        note(f"left out: {name}: {why}")
    chosen = kinds or list(dict.fromkeys(name for suite in suites_of(current) for name in suite.figures)) or USUAL
    folder_of = folder_names(current)
    for drawing in drawings(current, chosen, style, None, note, methods, labels, bool(kinds), scenarios):
        target = folder / folder_of(drawing.scenario)
        try:
            target.mkdir(parents=True, exist_ok=True)
            for form in formats:
                files.append(target / f"{drawing.name}.{form}")
                drawing.save(files[-1], form)
            files += [target / f"{drawing.name}.csv", target / f"{drawing.name}.txt"]
            drawing.data.to_csv(files[-2], index=False)
            files[-1].write_text(f"{drawing.caption}\n", encoding="utf-8")
        except OSError as error:
            raise InputError(f"{target} can't be written to: {error.strerror or error}") from None
    if not files:
        raise InputError(f"{current.store.path} has no data for {', '.join(chosen)}; `lifegen plot "
                         f"{current.store.path} all` draws what it has data for")  # fmt: skip
    return files
