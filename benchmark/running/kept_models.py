"""Metrics that finished cells lack, measured from the models that they have kept: nothing is trained."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import torch

from ..cells.cell import Cell, cell_of
from ..contracts.model import GenerativeModel
from ..contracts.registry import Entry
from ..discovery.index import extension_metrics, source
from ..errors import InputError
from ..measuring import costs
from ..measuring.evaluator import Evaluator, own_metrics
from ..measuring.measurement import Measurement
from ..measuring.rows import kept_rows
from ..reading.summary import registered_summary
from ..store.cell_folder import StoredCell
from ..store.lock import CellBusyError
from ..store.record import DoneRecord
from ..store.store import Store
from ..training.precision import products_in
from .build import build_gallery, build_method, build_stream, data_of, find_device
from .saved_model import load_model
from .worker import data_digest


class MeasuredLater(NamedTuple):
    """The outcome for one finished cell."""

    cell: str
    """name"""
    metrics: tuple[str, ...] = ()
    """the metrics of which it has rows now"""
    left_out: str = ""
    """why none could be measured; empty where none was lacking, too"""


class NotKeptError(Exception):
    """A metric asks for something of the run that a kept model hasn't."""


class _Gone:
    """A part of the run that wasn't kept: whoever looks into it raises :class:`NotKeptError`."""

    def _refuse(self, *_: Any) -> NoReturn:
        raise NotKeptError

    __getattr__ = __bool__ = __len__ = __iter__ = __getitem__ = __contains__ = _refuse


class _ModelAlone:
    """A strategy's model and device; the rest of it is gone, and what its plugins replayed."""

    def __init__(self, model: GenerativeModel, device: torch.device) -> None:
        self.model = model
        self.device = device
        self.plugins = (self,)

    def __getattr__(self, name: str) -> NoReturn:
        raise NotKeptError

    def replayed(self, n: int, generator: torch.Generator) -> NoReturn:
        raise NotKeptError


def measure_kept_models(store: Store, data_root: Path, device: str = "auto") -> Iterator[MeasuredLater]:
    """Measure what finished cells lack: metrics, or versions of metrics, that didn't exist when they were computed.

    A cell gets rows of its last interval alone, since it keeps no earlier model. Metrics that need more of the run than
    its model, such as consistency or times, stay absent, as do those of samples that another expert has seen.

    Args:
        store: the store; its cells of other versions, unfinished and packed ones are passed over.
        data_root: folder of the data sets.
        device: as for ``run``.

    Yields:
        the outcome for each finished cell, by name.

    Raises:
        InputError: the device isn't there.
    """
    place = find_device(device)
    extensions = [entry.entry() for entry in extension_metrics()]
    metrics = [entry for entry in (*own_metrics(), *extensions) if not entry.facts["derived"]]
    for stored in store.cells():
        if not isinstance(stored.facts, DoneRecord) or stored.status != "done" or stored.is_packed:
            continue
        try:
            yield MeasuredLater(stored.name, _measured(store, stored, stored.facts, metrics, data_root, place))
        except (InputError, CellBusyError) as error:
            busy = "another process is writing it"
            yield MeasuredLater(stored.name, left_out=busy if isinstance(error, CellBusyError) else str(error))


def _measured(
    store: Store, stored: StoredCell, facts: DoneRecord, metrics: list[Entry], data_root: Path, device: torch.device
) -> tuple[str, ...]:
    """Measure what one cell lacks, and write it; returns the names of the metrics.

    Raises:
        InputError: nothing can be measured; the text says why.
        CellBusyError: another process is writing the cell.
    """
    stored.measured()  # raises if they can't be read
    rows = list(map(json.loads, stored.content("metrics.jsonl").splitlines()))
    earlier = {row["metric"] for row in rows if row["interval"] < len(facts.visits) - 1}
    lacking = [entry for entry in metrics if _is_lacking(entry, facts) and entry.name not in earlier]
    if not lacking:
        return ()
    if stored.model is None:
        raise InputError("it has kept no model; `lifegen run ... --keep-models` keeps them")
    cell = cell_of(stored.record)
    evaluator, measurement = _measurement(cell, stored, facts, data_root, device)
    found: dict[str, list[dict[str, Any]]] = {}
    with products_in("float32", device), torch.inference_mode():
        for entry in lacking:
            if entry.facts["of_samples"] and not evaluator.gallery:
                continue
            try:
                new = kept_rows(entry.target(measurement), entry.name, measurement.interval, facts.distributions)
            except NotKeptError:
                continue
            found[entry.name] = [
                {"interval": measurement.interval, "metric": entry.name, **row._asdict()} for row in new
            ]
    if found:
        versions = {entry.name: entry.version for entry in lacking if entry.name in found}
        changes: dict[str, Any] = {"metrics": facts.metrics | versions}
        if evaluator.gallery and facts.samples is None:
            changes["samples"] = evaluator.facts_of_samples(at_the_end=True)
        later = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "device": str(device), "metrics": sorted(found)}
        changes["measured_later"] = [*stored.record.get("measured_later", ()), later]
        kept = [row for row in rows if row["metric"] not in found]
        every = [*kept, *(row for new in found.values() for row in new)]
        store.amend(stored.name, every, changes | {"numbers": registered_summary(every, facts.visits)[0]})
    return tuple(name for name, new in found.items() if new)


def _is_lacking(entry: Entry, facts: DoneRecord) -> bool:
    """Whether a cell hasn't the installed version of a metric that isn't one of costs, which end with the run."""
    is_unseen = bool(entry.facts["of_samples"]) and facts.samples is None
    return (is_unseen or facts.metrics.get(entry.name) != entry.version) and entry.module != costs.__name__


def _measurement(
    cell: Cell, stored: StoredCell, facts: DoneRecord, data_root: Path, device: torch.device
) -> tuple[Evaluator, Measurement]:
    """Make the evaluator, which has a gallery if the cell's samples can be measured, and the last measurement.

    Raises:
        InputError: the model or the data can't be used.
    """
    for name in data_of(cell.scenario):
        source(name).fetch(data_root)
    stream = build_stream(cell.scenario, cell.seeds, data_root)
    if facts.data not in (None, data_digest(stream)):
        raise InputError("the scenario's images aren't those that the cell was computed with")
    assert stored.model is not None
    model = load_model(stored.model).to(device)
    gallery = build_gallery(cell.scenario, stream, data_root, device)
    known = gallery if not isinstance(gallery, str) else None
    if known and facts.samples and facts.samples.digest != known.expert.digest:
        known = None
    view = build_method(cell.method).view(stream)
    evaluator = Evaluator(stream, cell.seeds, view, previous_codes=_Gone(), gallery=known)  # type: ignore[arg-type]
    measurement = Measurement(_ModelAlone(model, device), evaluator, len(view) - 1, 0.0)  # type: ignore[arg-type]
    return evaluator, measurement
