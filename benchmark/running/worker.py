"""What a worker process does: check what was asked for, and run one cell."""

from __future__ import annotations

import hashlib
import math
import os
import platform
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from ..cells.cell import Cell
from ..cells.spec import Spec
from ..contracts.stream import Stream
from ..discovery.index import source
from ..discovery.index_entry import IndexEntry
from ..errors import InputError
from ..measuring.evaluator import Evaluator, own_metrics
from ..measuring.pictures import take_pictures, take_samples
from ..reading.summary import registered_summary
from ..seeds import Seeds
from ..store.cell_folder import STATE
from ..store.cell_writer import CellWriter
from ..store.lock import CellBusyError, CellDoneError
from ..store.record import Numbers
from ..store.row_check import odd_row
from ..store.store import Store
from ..training.precision import products_in, resolve
from .build import build_method, build_stream, data_of, find_device
from .checkpoint import Checkpoint, Kept, kept_in
from .executor import States
from .machine import processor
from .saved_model import save_model, unsavable
from .state import State, UnstatableError


def prepare(
    streams: Iterable[tuple[Spec, Seeds]],
    methods: Iterable[Spec],
    precisions: Iterable[str],
    metrics: Iterable[IndexEntry],
    data_root: Path,
    device: str,
) -> None:
    """Find the device, check precisions, fetch and verify the data, and make each stream and method once, before any
    training; import the metrics.

    Raises:
        InputError: something can't be had.
    """
    found = find_device(device)
    for precision in precisions:
        resolve(precision, found)
    streams = list(streams)
    for name in sorted({name for scenario, _ in streams for name in data_of(scenario)}):
        source(name).fetch(data_root)
    for scenario, seeds in streams:
        build_stream(scenario, seeds, data_root)
    for method in methods:
        build_method(method)
    for metric in metrics:
        metric.entry()


def run_cell(
    cell: Cell, store: Path, data_root: Path, device: str, keep_model: bool = False, states: States = "resume"
) -> str:
    """Run one cell and write it to the store. One that was interrupted goes on from its last interval boundary.

    Args:
        cell: which.
        store: the store's folder.
        data_root: where data sets are.
        device: "auto", "cpu", "cuda" or "cuda:N".
        keep_model: whether to keep the final model.
        states: which states of interval boundaries stay when the cell is done.

    Returns:
        "done", also where it was done already; "failed", with the reason in the cell's record and the traceback in its
        log; or "busy" if another process is at it.
    """
    torch.set_num_threads(1)
    try:
        try:
            return _attempt(cell, store, data_root, device, keep_model, states)
        except _OtherRunError as other:  # its state is gone, so that this happens once
            return _attempt(cell, store, data_root, device, keep_model, states, problem=str(other))
    except CellBusyError:
        return "busy"
    except CellDoneError:
        return "done"


class _OtherRunError(Exception):
    """A state is that of a run on other data, or by other code: it can't be gone on from."""


def _attempt(
    cell: Cell, store: Path, data_root: Path, device: str, keep_model: bool, states: States, problem: str = ""
) -> str:
    """As :func:`run_cell` says.

    Args:
        problem: why the cell begins anew, if that is known already.

    Raises:
        _OtherRunError: there was a state that can't be gone on from; it is deleted.
        CellBusyError: another process is at it.
        CellDoneError: it was done already.
    """
    kept = Kept()

    def keep(folder: Path) -> int:
        nonlocal kept
        with _output_to(folder / "log.txt"):
            kept = kept_in(folder, _arithmetic(cell, device))
        return kept.bytes

    with Store(store).writing(cell.name, cell.record(), keep) as writer, _output_to(writer.folder / "log.txt"):
        try:
            if problem := problem or kept.problem:
                print(f"{problem}; the cell begins anew", flush=True)
                writer.note(begun_anew=problem)
            with products_in("float32", found := find_device(device)):  # but for the training steps
                _run(cell, writer, data_root, found, keep_model, states, kept.state)
            writer.finish(_numbers(writer), keep_states=states != "resume")
        except _OtherRunError:
            (writer.folder / STATE).unlink()
            raise
        except CellBusyError:  # this process was silent for so long that another one has taken the cell over
            raise
        except BaseException as error:  # sys.exit in a plug-in, too, ends this cell only
            with suppress(OSError):  # a full disk: the reason matters more
                traceback.print_exc()
            writer.fail(f"{type(error).__name__}: {error}")
            return "failed"
        return "done"


def _run(
    cell: Cell,
    writer: CellWriter,
    data_root: Path,
    device: torch.device,
    keep_model: bool,
    states: States,
    state: State | None,
) -> None:
    seeds = cell.seeds
    seeds.seed_globals()
    stream = build_stream(cell.scenario, seeds, data_root)
    data = _digest(stream)
    if state is not None and writer.record.get("data", data) != data:
        raise _OtherRunError("the scenario's images aren't those that the cell was begun with")
    method = build_method(cell.method)
    view = method.view(stream)
    strategy = method.strategy(stream, seeds, device)
    strategy.precision = resolve(cell.precision, device)
    if strategy.model.track != stream.track:
        raise InputError(
            f"{cell.method.name} has bounds of track {strategy.model.track}, the scenario is of track {stream.track}"
        )
    evaluator = Evaluator(stream, seeds, view, [metric.entry() for metric in cell.metrics])
    checkpoint = Checkpoint(strategy, method, stream, seeds, evaluator)
    executions: list[str] = []
    samples: list[np.ndarray] = []
    done = 0
    if state is not None:
        try:
            samples = checkpoint.restore(state)
        except InputError as error:
            raise _OtherRunError(str(error)) from None
        done, executions = state.facts["intervals"], state.facts["execution"]
        writer.spent(state.facts["seconds"])
        print(f"goes on after interval {done - 1}", flush=True)
    visits = [experience.distributions for experience in view]
    writer.note(visits=visits, execution=executions, **_circumstances(cell, device), data=data)
    if why := unsavable(strategy.model):  # also where nobody asks for it: nobody is then advised to compute it again
        writer.note(no_model=why)
        if keep_model:
            print(f"no model will be kept: {why}", flush=True)
    cant = cell.method.facts.get("restarts", "")
    for interval, experience in list(enumerate(view))[done:]:
        began = perf_counter()
        strategy.train(experience, eval_streams=[])
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds = perf_counter() - began
        if strategy.execution not in executions:
            executions.append(strategy.execution)
            writer.note(execution=executions)
        rows = evaluator.measure(strategy, interval, train_seconds=seconds)
        if problem := odd_row(rows, visits):
            raise ValueError(problem)
        writer.append(rows)
        samples.append(take_samples(strategy.model, seeds, device))
        if not cant:
            facts = writer.boundary() | {"intervals": interval + 1, "execution": executions}
            facts |= {"circumstances": _arithmetic(cell, str(device))}
            names = [f"state-{interval + 1}.safetensors", STATE] if states == "all" else [STATE]
            cant = _save(checkpoint, [writer.folder / name for name in names], facts, samples)
    pictures: dict[str, Any] = take_pictures(strategy.model, stream, seeds, device)
    content = BytesIO()
    np.savez_compressed(content, samples_over_intervals=np.stack(samples), **pictures)
    writer.keep("pictures.npz", content.getvalue())
    if keep_model:
        if why := unsavable(strategy.model):
            writer.note(no_model=why)
        else:
            save_model(strategy.model, writer.folder / "model.safetensors")


def _numbers(writer: CellWriter) -> Numbers | None:
    """One number per metric, for the cell's record. None where they can't be had: whoever reads the cell then makes
    them from its rows, and says which derived metric has none. What is measured and on the disk isn't lost by it.
    """
    try:
        numbers = registered_summary(writer.rows, writer.record["visits"])
    except (Exception, SystemExit):  # a derived metric's own, of any package
        traceback.print_exc()
        print("the cell is done without the metric that raises", flush=True)
        return None
    odd = [name for name, value in (numbers or {}).items() if value is not None and not _is_number(value)]
    if odd:
        print(f"the cell is done without numbers of its own: {', '.join(odd)}: not a finite number", flush=True)
    return None if odd else numbers


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _save(checkpoint: Checkpoint, files: list[Path], facts: dict[str, Any], samples: list[np.ndarray]) -> str:
    """Save the state; returns why there can be none, if so. A cell that can't be resumed is no reason to end it."""
    try:
        for file in files:
            checkpoint.write(file, facts, samples)
    except UnstatableError as error:
        print(f"interrupted, this cell begins anew: {error}", flush=True)
        return str(error)
    except OSError as error:
        print(f"the state can't be saved, the one before stays: {error}", flush=True)
    return ""


def _arithmetic(cell: Cell, device: str) -> dict[str, Any]:
    """What bits of results depend on, beside the cell."""
    packages = ("lifegen", "torch", "avalanche-lib", "numpy")
    versions = {name: version(name) for name in packages} | cell.packages
    found = find_device(device)
    kind = torch.cuda.get_device_name(found) if found.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    return {"device": f"{found.type} {kind}", **{f"version of {name}": of for name, of in versions.items()}}


def _circumstances(cell: Cell, device: torch.device) -> dict[str, Any]:
    packages = ("lifegen", "torch", "torchvision", "avalanche-lib", "numpy")
    versions = {"python": platform.python_version(), **{name: version(name) for name in packages}, **cell.packages}
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "versions": versions,
        "metrics": {
            **{entry.name: entry.version for entry in own_metrics()},
            **{one.name: one.version for one in cell.metrics},
        },
        "machine": {
            "system": platform.platform(),
            "processor": processor(),
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "cores": os.cpu_count(),
        },
    }


def _digest(stream: Stream) -> str:
    """What tells whether two streams have the same images and labels."""
    digest = hashlib.blake2b(digest_size=16)
    for part in ("train", "valid", "test"):
        for name in stream.distributions:
            images = stream.images(part, name)
            digest.update(f"{part} {name} {list(images.x.shape)}".encode())
            for tensor in images:
                digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()


@contextmanager
def _output_to(file: Path) -> Iterator[None]:
    """Send everything this process prints to a file, native libraries' output and crashes included."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(descriptor) for descriptor in (1, 2)]
    with file.open("a") as log:
        for descriptor in (1, 2):
            os.dup2(log.fileno(), descriptor)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):  # a full disk: what was printed is lost, and nothing else
                stream.flush()
        for descriptor, original in zip((1, 2), kept, strict=True):
            os.dup2(original, descriptor)
            os.close(original)
