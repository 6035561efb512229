"""The current state of a store: made once from its files, and passed to everything that shows numbers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from ..discovery.index import describe
from ..errors import InputError, UnreadableError, counted
from ..measuring.derived import Derived, derive, matrices
from ..store.cell_folder import StoredCell
from ..store.measured import of_matrices, of_unions
from ..store.plans import Plans, plans_of
from ..store.record import Asked, DoneRecord, ExtensionMetric, Numbers, Status
from ..store.staleness import installed_versions, older
from ..store.store import Store
from .metric_facts import MetricFacts, installed_metrics, metric_facts
from .summary import summarise


class LeftOut(NamedTuple):
    """The reason why a cell isn't shown."""

    status: Status
    reason: str

    def __str__(self) -> str:
        return f"{self.status}: {self.reason}"


class SeedCount(NamedTuple):
    """Seeds of one method in one scenario, if some aren't done."""

    asked: int
    """all planned seeds"""
    failed: int


@dataclass(frozen=True)
class CurrentCell:
    """A finished cell that is shown, with its numbers. Its files are read at the first use, once."""

    stored: StoredCell
    facts: DoneRecord
    making: _NumberMaking
    hidden: frozenset[str] = frozenset()
    """Metrics that aren't shown: those of samples that another expert has seen than the other cells' samples."""

    @property
    def name(self) -> str:
        """The cell's name."""
        return self.stored.name

    @property
    def folder(self) -> Path:
        """The cell's folder."""
        return self.stored.folder

    @property
    def record(self) -> dict[str, Any]:
        """The content of run.json."""
        return self.stored.record

    @property
    def method(self) -> str:
        """The method's name in tables and figures."""
        return self.facts.method_label

    @property
    def scenario(self) -> str:
        """The scenario's label."""
        return self.facts.scenario.label

    @property
    def seed(self) -> int:
        return self.facts.seed

    @property
    def distributions(self) -> list[str]:
        """The distributions, in the order of their first visits."""
        return self.facts.distributions

    @property
    def numbers(self) -> Numbers:
        """One number per metric, derived ones included.

        Raises:
            InputError: its rows are needed and can't be read.
        """
        numbers = self._kept_numbers if self._kept_numbers is not None else self.made_numbers
        return {name: value for name, value in numbers.items() if name not in self.hidden}

    @cached_property
    def rows(self) -> pa.Table:
        """All of its rows, with those of derived metrics; columns as ``measured`` has them.

        Raises:
            InputError: the rows can't be read.
        """
        rows = pa.concat_tables([self._measured, pa.Table.from_pylist(self._derived.rows, self._measured.schema)])
        return (
            rows.filter(pc.invert(pc.is_in(rows["metric"], pa.array(self.hidden, pa.string()))))
            if self.hidden
            else rows
        )

    @property
    def has_kept_numbers(self) -> bool:
        """Whether its record has its numbers, so that the rows needn't be read."""
        return self._kept_numbers is not None

    @property
    def problems(self) -> Mapping[str, str]:
        """Reasons for missing numbers of derived metrics, by metric; reads the rows.

        Raises:
            InputError: the rows can't be read.
        """
        return {**_load_derived_metrics(), **self._derived.problems}

    @cached_property
    def _kept_numbers(self) -> Numbers | None:
        """The numbers in its record, if they fit its rows and the installed derived metrics."""
        kept = self.facts.numbers
        is_whole = kept is not None and self.facts.bytes == self.stored.size()
        if kept is None or not is_whole or not self.making.is_current(self.facts.metrics):
            return None
        others = self.making.not_derivable(self.facts.metrics)
        return {name: value for name, value in kept.items() if others.get(name, True)}

    @cached_property
    def _measured(self) -> pa.Table:
        return self.stored.measured()

    @cached_property
    def _derived(self) -> Derived:
        _load_derived_metrics()
        return derive(of_matrices(self._measured, matrices()), self.facts.visits)

    @cached_property
    def made_numbers(self) -> Numbers:
        """The numbers that follow from its rows.

        Raises:
            InputError: the rows can't be read.
        """
        kept = self.facts.numbers or {}
        others = self.making.not_derivable(self.facts.metrics)
        return summarise([*of_unions(self._measured), *self._derived.rows], self.making.over_intervals) | {
            name: kept[name] for name, is_newest in others.items() if is_newest and name in kept
        }


def derived_problems(cells: Iterable[CurrentCell]) -> list[str]:
    """Write a line for each derived metric with missing numbers."""
    reasons: dict[str, list[str]] = {}
    for cell in cells:
        for metric, reason in cell.problems.items():
            reasons.setdefault(metric, []).append(" ".join(reason.split()))
    return [
        f"{metric} has no number in {counted(len(of_cells), 'cell')}: {of_cells[0]}"
        for metric, of_cells in reasons.items()
    ]


@dataclass(frozen=True)
class _NumberMaking:
    """The facts for making numbers from rows, or for trusting those in a record."""

    metrics: Mapping[str, MetricFacts]
    derivable: Mapping[str, int]
    """versions of the derived metrics that can be computed here"""
    newest: Mapping[str, int]
    """newest versions of the other derived metrics, whose numbers are taken from records"""

    @cached_property
    def over_intervals(self) -> dict[str, str]:
        return {name: facts.over_intervals for name, facts in self.metrics.items()}

    def is_current(self, metrics: Mapping[str, int]) -> bool:
        """Whether numbers made with these versions fit every installed derived metric."""
        return all(metrics.get(name) == version for name, version in self.derivable.items())

    def not_derivable(self, metrics: Mapping[str, int]) -> dict[str, bool]:
        """List the derived metrics that can't be computed here, and whether a cell has the newest version of each."""
        return {name: metrics.get(name) == version for name, version in self.newest.items()}


@dataclass(frozen=True)
class Current:
    """A store's state at one time."""

    store: Store
    stored: tuple[StoredCell, ...]
    """all cells, by name"""
    cells: tuple[CurrentCell, ...]
    """finished cells of the newest versions, which are shown"""
    left_out: Mapping[str, LeftOut]
    """all other cells, by name"""
    plans: Plans
    newest: Mapping[str, int]
    """the newest version of protocol, scenarios, methods and measured metrics"""
    texts: Mapping[str, str | None]
    """the digest of the shown code of each scenario, method and metric; None for installed ones"""
    extensions: Mapping[str, ExtensionMetric]
    """extension metrics in the records"""
    metrics: Mapping[str, MetricFacts]
    """metrics that are installed or in the records"""

    @property
    def damaged(self) -> dict[str, LeftOut]:
        """The cells that are left out because their files are damaged, or can't be read now."""
        unusable = (Status.DAMAGED, Status.UNREADABLE)
        return {name: why for name, why in self.left_out.items() if why.status in unusable}

    @cached_property
    def named_by_suites(self) -> frozenset[str]:
        """Labels of the methods that were ever run or planned through a suite."""
        stored = (cell.facts for cell in self.stored if cell.facts)
        planned = (cell.facts for cell in self.plans.cells)
        return frozenset(facts.method.label for facts in (*stored, *planned) if facts.suite)

    @cached_property
    def seeds(self) -> dict[tuple[str, str], SeedCount]:
        """Planned and failed seeds, by scenario and method, if not all of them are done.

        Cells of older versions or texts don't count, since newer ones replace them.
        """
        done: dict[tuple[str, str], set[int]] = {}
        for cell in self.cells:
            done.setdefault((cell.scenario, cell.method), set()).add(cell.seed)
        asked = {key: set(seeds) for key, seeds in done.items()}
        failed: dict[tuple[str, str], set[int]] = {}
        begun = ((cell.facts, cell.status) for cell in self.stored if cell.facts)
        planned = ((cell.facts, Status.TO_DO) for cell in self.plans.cells)
        for facts, status in (*begun, *planned):
            key = facts.scenario.label, facts.method_label
            if key not in done or not self._is_newest(facts):
                continue
            asked[key].add(facts.seed)
            if status == Status.FAILED and facts.seed not in done[key]:
                failed.setdefault(key, set()).add(facts.seed)
        return {key: SeedCount(len(seeds), len(failed.get(key, ())))
                for key, seeds in asked.items() if seeds != done[key]}  # fmt: skip

    def readable(self, read: Callable[[CurrentCell], object]) -> Current:
        """Return this state without the cells that can't be read in a way, such as ``lambda cell: cell.rows``."""
        kept, left_out = [], dict(self.left_out)
        for cell in self.cells:
            try:
                read(cell)
            except InputError as error:
                passes = isinstance(error, UnreadableError)
                left_out[cell.name] = LeftOut(Status.UNREADABLE if passes else Status.DAMAGED, str(error))
            else:
                kept.append(cell)
        return replace(self, cells=tuple(kept), left_out=left_out) if len(kept) < len(self.cells) else self

    def _is_newest(self, facts: Asked) -> bool:
        """Whether a cell has the shown versions and texts."""
        has_version = all(number == self.newest.get(part, number) for part, number in facts.versions.items())
        return has_version and not _other_texts(facts, self.texts)


def current_of(source: Current | Store | Path | str) -> Current:
    """Read the current state of a store.

    Cells of different versions of the protocol, a scenario, a method or a metric are never shown together, nor are
    those of different texts of a file. Cells that are older than the installed versions aren't shown.

    Args:
        source: the store; a state that is already read is returned unchanged.

    Raises:
        InputError: there is no store at this path, or it can't be read.
    """
    if isinstance(source, Current):
        return source
    store = source if isinstance(source, Store) else Store.open(source)
    return current_from(store, store.cells(), plans_of(store))


def current_from(store: Store, stored: Sequence[StoredCell], plans: Plans) -> Current:
    """Return the state of a store, as :func:`current_of`, from its cells and plans."""
    done = [(cell, cell.facts) for cell in stored if cell.status == Status.DONE and isinstance(cell.facts, DoneRecord)]
    # A text without a finished cell, such as a first try that failed, doesn't replace another one.
    texts = _newest_texts([facts for _, facts in done], plans)
    left_out: dict[str, LeftOut] = {}
    shown: list[tuple[StoredCell, DoneRecord]] = []
    for cell in stored:
        if cell.facts and (old := _other_texts(cell.facts, texts)):
            left_out[cell.name] = LeftOut(Status.STALE, f"its {' and '.join(old)} is of another text of its file")
        elif cell.status == Status.DONE and isinstance(cell.facts, DoneRecord):
            shown.append((cell, cell.facts))
        else:
            left_out[cell.name] = LeftOut(*cell.judgement)
    extensions, metrics = _metrics([facts for _, facts in shown])
    shown, newest = _of_newest_versions(shown, metrics, left_out)
    shown = _fullest(shown, left_out)
    making = _making(metrics, [facts for _, facts in shown])
    of_samples = frozenset(name for name, facts in metrics.items() if facts.of_samples)
    experts = _experts([facts for _, facts in shown])
    cells = tuple(
        CurrentCell(cell, facts, making, of_samples if _is_seen_otherwise(facts, experts) else frozenset())
        for cell, facts in shown
    )
    return Current(store, tuple(stored), cells, left_out, plans, newest, texts, extensions, metrics)


def _experts(records: Iterable[DoneRecord]) -> dict[str, str]:
    """Choose the expert, by its digest, whose view of samples is shown in each scenario: the one of the most cells, and
    of these the one of the latest cell."""
    cells: dict[str, dict[str, tuple[int, str]]] = {}
    for facts in records:
        if facts.samples:
            of_scenario = cells.setdefault(facts.scenario.label, {})
            number, latest = of_scenario.get(facts.samples.digest, (0, ""))
            of_scenario[facts.samples.digest] = number + 1, max(latest, facts.started)
    return {label: max(experts, key=experts.__getitem__) for label, experts in cells.items()}


def _is_seen_otherwise(facts: DoneRecord, experts: Mapping[str, str]) -> bool:
    """Whether another expert has seen a cell's samples than the one that is shown."""
    return facts.samples is not None and facts.samples.digest != experts[facts.scenario.label]


_Shown = list[tuple[StoredCell, DoneRecord]]


def _newest_texts(done: Sequence[DoneRecord], plans: Plans) -> dict[str, str | None]:
    """Choose the text of each scenario, method and metric of the cells: None for installed ones, else the file that was
    planned last."""
    started: dict[str, dict[str | None, tuple[int, str]]] = {}
    planned: dict[str, dict[str | None, tuple[int, str]]] = {}

    def note(orders: dict[str, dict[str | None, tuple[int, str]]], facts: Asked, order: tuple[int, str]) -> None:
        for part, text in facts.code_digests.items():
            of_part = orders.setdefault(part, {})
            of_part[text] = max(order, of_part.get(text, order))

    for facts in done:
        note(started, facts, (0, facts.started))
    if any(len(times) > 1 for times in started.values()):
        for plan in plans.readable:
            for cell in plan.cells.values():
                note(planned, cell.facts, plan.order)
    newest: dict[str, str | None] = {}
    for part, times in started.items():
        # The last plan counts. Only texts without a plan, or with plans of an earlier lifegen, are ordered by times,
        # which may mislead: clocks go back, and workers start cells of old plans, too.
        when = {text: planned.get(part, {}).get(text, began) for text, began in times.items()}
        newest[part] = max(when, key=when.__getitem__)
    for kind in ("scenario", "method", "metric"):
        newest |= {part: None for name, entry in describe(kind).items()
                   if not entry.error and (part := f"{kind} {name}") in newest}  # fmt: skip
    return newest


def _other_texts(facts: Asked, texts: Mapping[str, str | None]) -> list[str]:
    """List the parts of a cell whose text isn't the shown one."""
    return [part for part, text in facts.code_digests.items() if texts.get(part, text) != text]


def _metrics(records: Sequence[DoneRecord]) -> tuple[dict[str, ExtensionMetric], dict[str, MetricFacts]]:
    """Return the extension metrics in records, the newest version of each; and all metrics."""
    extensions: dict[str, ExtensionMetric] = {}
    versions: dict[str, int] = {}
    for record in records:
        for name, metric in record.extension_metrics.items():
            if (version := record.metrics.get(name, 0)) >= versions.get(name, 0):
                extensions[name], versions[name] = metric, version
    recorded = {name: facts for name, metric in extensions.items() if (facts := metric_facts(metric.facts))}
    return extensions, recorded | installed_metrics()


def _of_newest_versions(
    shown: _Shown, metrics: Mapping[str, MetricFacts], left_out: dict[str, LeftOut]
) -> tuple[_Shown, dict[str, int]]:
    """Return the cells whose versions are all the newest, and these versions; leave out the others."""
    installed = installed_versions()
    derived = {name for name, facts in metrics.items() if facts.derived}  # never stale: computed on reading
    versions = [
        facts.versions | {f"metric {name}": n for name, n in facts.metrics.items() if name not in derived}
        for _, facts in shown
    ]
    newest = dict(installed)
    for of_cell in versions:
        for part, number in of_cell.items():
            newest[part] = max(number, newest.get(part, number))
    kept = []
    for (cell, facts), of_cell in zip(shown, versions, strict=True):
        if old := {part: number for part, number in of_cell.items() if number < newest[part]}:
            is_here = all(installed.get(part) == newest[part] for part in old)
            anew = "the command that made it makes it anew" if is_here else "that version isn't installed here"
            left_out[cell.name] = LeftOut(Status.STALE, f"its {older(old, newest)}; {anew}")
        else:
            kept.append((cell, facts))
    return kept, newest


def _fullest(shown: _Shown, left_out: dict[str, LeftOut]) -> _Shown:
    """Keep one cell of each scenario, method and seed, with the most options and metrics; leave out the others."""
    fullest = {}
    for cell, facts in sorted(shown, key=lambda pair: _parts(pair[1])):
        fullest[facts.scenario.label, facts.method_label, facts.seed] = cell.name
    names = set(fullest.values())
    for cell, _ in shown:
        if cell.name not in names:
            left_out[cell.name] = LeftOut(
                Status.STALE, "made before one of its options or metrics existed; the store has it with that as well"
            )
    return [(cell, facts) for cell, facts in shown if cell.name in names]


def _parts(record: DoneRecord) -> int:
    return len(record.scenario.config) + len(record.method.config) + len(record.metrics)


def _making(metrics: Mapping[str, MetricFacts], records: Collection[DoneRecord]) -> _NumberMaking:
    installed = {name: entry.version for name, entry in describe("metric").items() if entry.facts.get("derived")}
    others = {name for name, facts in metrics.items() if facts.derived} - installed.keys()
    newest = {name: max((record.metrics.get(name, 0) for record in records), default=0) for name in others}
    return _NumberMaking(metrics, installed, newest)


@cache
def _load_derived_metrics() -> dict[str, str]:
    """Import the derived metrics of other packages, once in a process; return the reasons of failures, by name."""
    failed = {}
    for name, entry in describe("metric").items():
        if entry.facts.get("derived") and entry.provider != "lifegen" and not entry.error:
            try:
                entry.entry()
            except (Exception, SystemExit) as error:
                failed[name] = f"importing {entry.module} fails: {type(error).__name__}: {error}"
    return failed
