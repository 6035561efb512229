"""Metrics that finished cells lack, measured from the models that they have kept: nothing is trained."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
import torch

from ..cells.cell import Cell, cell_of, extension_facts
from ..contracts.model import GenerativeModel
from ..contracts.registry import Entry
from ..discovery.index import extension_metrics, source
from ..discovery.index_entry import IndexEntry
from ..errors import InputError
from ..measuring import costs, pictures, traces
from ..measuring.evaluator import Evaluator, own_metrics
from ..measuring.measurement import Measurement
from ..measuring.rows import kept_rows
from ..seeds import Seeds
from ..store.arrays import arrays_in, compressed
from ..store.cell_folder import PICTURES, StoredCell
from ..store.lock import CellBusyError
from ..store.record import DoneRecord
from ..store.store import Store
from ..training.precision import products_in
from .build import build_gallery, build_method, build_stream, data_of, find_device, unmeasured
from .saved_model import load_model
from .worker import data_digest


class MeasuredLater(NamedTuple):
    """The outcome for one finished cell."""

    cell: str
    """name"""
    metrics: tuple[str, ...] = ()
    """the metrics of which it has rows now"""
    has_new_pictures: bool = False
    """whether its pictures were drawn anew"""
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
    """A strategy's model and device; the rest of it is gone."""

    def __init__(self, model: GenerativeModel, device: torch.device) -> None:
        self.model = model
        self.device = device
        self.plugins = ()

    def __getattr__(self, name: str) -> NoReturn:
        raise NotKeptError


def measure_kept_models(store: Store, data_root: Path, device: str = "auto") -> Iterator[MeasuredLater]:
    """Measure what finished cells lack: metrics, or versions of metrics, that didn't exist when they were computed.

    A cell gets rows of its last interval alone, since it keeps no earlier model. Metrics that need more of the run than
    its model, such as consistency, times or what was replayed, stay absent, as do those of samples that another expert
    has seen. Metrics of packages are measured, those of files aren't.

    Args:
        store: the store; its unfinished and packed cells are passed over.
        data_root: folder of the data sets.
        device: as for ``run``.

    Yields:
        the outcome for each finished cell, by name.

    Raises:
        InputError: the device isn't there.
    """
    place = find_device(device)
    extensions = {entry.name: entry for entry in extension_metrics()}
    metrics = [
        entry for entry in (*own_metrics(), *(one.entry() for one in extensions.values())) if _is_possible(entry)
    ]
    for stored in store.cells():
        if not isinstance(stored.facts, DoneRecord) or stored.status != "done" or stored.is_packed:
            continue
        try:
            found = _measured(stored, stored.facts, metrics, data_root, place)
            if found:
                _write(store, stored, stored.facts, found, extensions, str(place))
            measured = tuple(name for name, one in found.metrics.items() if one.rows)
            yield MeasuredLater(stored.name, measured, bool(found.pictures))
        except InputError as error:
            yield MeasuredLater(stored.name, left_out=str(error))
        except CellBusyError:
            yield MeasuredLater(stored.name, left_out="another process writes it, or has just written it")
        except Exception as error:  # of a metric of a package, a full disk, or a device's memory: others may be fine
            yield MeasuredLater(stored.name, left_out=f"{type(error).__name__}: {error}")


def _is_possible(entry: Entry) -> bool:
    """Whether a metric may need no more than a model: costs, traces, and what was replayed, end with the run."""
    ends = entry.module in (costs.__name__, traces.__name__) or entry.name.endswith("_replayed")
    return not (entry.facts["derived"] or ends)


class _Measured(NamedTuple):
    """A metric's version and its new rows."""

    version: int
    rows: list[dict[str, Any]]


class _Found(NamedTuple):
    metrics: dict[str, _Measured]
    """by name"""
    samples: dict[str, Any]
    """facts on samples for the record, if it had none"""
    pictures: bytes = b""
    """the file of pictures, if it lacked some"""

    def __bool__(self) -> bool:
        return bool(self.metrics or self.pictures)


def _measured(
    stored: StoredCell, facts: DoneRecord, metrics: Sequence[Entry], data_root: Path, device: torch.device
) -> _Found:
    """Measure what one cell lacks.

    Raises:
        InputError: nothing can be measured; the text says why.
    """
    before = len(facts.visits) - 1
    earlier = {row["metric"] for row in stored.measured().to_pylist() if row["interval"] < before}
    lacking = [entry for entry in metrics if _is_lacking(entry, facts) and entry.name not in earlier]
    lacks_pictures = stored.model is not None and stored.record.get("pictures", 1) < pictures.VERSION
    if not (lacking or lacks_pictures):
        return _Found({}, {})
    cell = cell_of(stored.record)
    if unmeasured(cell.scenario):
        lacking = [entry for entry in lacking if not entry.facts["of_samples"]]
        if not (lacking or lacks_pictures):
            return _Found({}, {})
    if stored.model is None:
        why = stored.record.get("no_model")
        raise InputError(f"it has no model: {why}" if why else "it has kept no model; `lifegen run --keep-models` does")
    evaluator, measurement = _measurement(cell, stored, facts, data_root, device)
    found: dict[str, _Measured] = {}
    with products_in("float32", device), torch.inference_mode():
        for entry in lacking:
            if entry.facts["of_samples"] and not evaluator.gallery:
                continue
            try:
                new = kept_rows(entry.target(measurement), entry.name, measurement.interval, facts.distributions)
            except NotKeptError:
                continue
            rows = [{"interval": measurement.interval, "metric": entry.name, **row._asdict()} for row in new]
            found[entry.name] = _Measured(entry.version, rows)
        samples = evaluator.facts_of_samples(at_the_end=True) if found and facts.samples is None else {}
        drawn = _pictures(stored, measurement, cell.seeds, device) if lacks_pictures else b""
    return _Found(found, samples, drawn)


def _pictures(stored: StoredCell, measurement: Measurement, seeds: Seeds, device: torch.device) -> bytes:
    """Draw a cell's pictures anew; those of earlier intervals stay."""
    kept: dict[str, np.ndarray] = {}
    with suppress(InputError):  # they are missing, or can't be read
        kept = arrays_in(stored, PICTURES, ["samples_over_intervals", "replayed_over_intervals"])
    return compressed(**kept, **pictures.take_pictures(measurement.model, measurement.stream, seeds, device))


def _is_lacking(entry: Entry, facts: DoneRecord) -> bool:
    """Whether a cell hasn't a metric, or only an older version of it."""
    is_unseen = bool(entry.facts["of_samples"]) and facts.samples is None
    return is_unseen or facts.metrics.get(entry.name, -1) < entry.version


def _write(
    store: Store,
    stored: StoredCell,
    facts: DoneRecord,
    found: _Found,
    extensions: Mapping[str, IndexEntry],
    device: str,
) -> None:
    """Add what was measured to a cell's rows and record.

    Raises:
        CellBusyError: another process is writing the cell, or has written it since it was read.
    """
    new = [row for one in found.metrics.values() for row in one.rows]
    kept = [row for row in map(json.loads, stored.content("metrics.jsonl").splitlines())
            if row["metric"] not in found.metrics]  # fmt: skip
    later = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": device,
        "metrics": sorted(found.metrics),
    }
    changes: dict[str, Any] = {
        "metrics": facts.metrics | {name: one.version for name, one in found.metrics.items()},
        "measured_later": [*stored.record.get("measured_later", ()), later],
    }
    if found.samples:
        changes["samples"] = found.samples
    if found.pictures:
        changes["pictures"] = pictures.VERSION
    if others := extension_facts(extensions[name] for name in found.metrics if name in extensions):
        changes["plug-in metrics"] = stored.record.get("plug-in metrics", {}) | others
    if facts.numbers is not None:  # else readers make them
        of_all = {row["metric"]: row["value"] for row in new if row["distribution"] is None and row["step"] is None}
        changes["numbers"] = facts.numbers | dict.fromkeys(found.metrics) | of_all
    store.amend(stored, [*kept, *new], changes, {PICTURES: found.pictures} if found.pictures else {})


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
