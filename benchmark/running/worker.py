"""The work of a worker process: to check that cells can run, and to run one cell."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import torch

from ..cells.cell import Cell
from ..cells.spec import Spec
from ..contracts.stream import Stream
from ..discovery.index import source
from ..discovery.index_entry import IndexEntry
from ..errors import InputError
from ..measuring.evaluator import Evaluator, own_metrics
from ..measuring.pictures import VERSION as PICTURES_VERSION
from ..measuring.pictures import IntervalPictures, take_pictures, take_replayed, take_samples
from ..measuring.samples import replays_of
from ..reading.summary import registered_summary
from ..seeds import Seeds
from ..store.arrays import compressed
from ..store.cell_folder import IMAGE_VALUES, PICTURES, STATE
from ..store.cell_writer import CellWriter
from ..store.lock import CellBusyError, CellDoneError, StoreGoneError
from ..store.record import Status
from ..store.row_check import odd_row
from ..store.staleness import outdated
from ..store.store import Store
from ..training.precision import products_in, resolve
from .build import build_gallery, build_method, build_stream, data_of, find_device
from .checkpoint import Checkpoint, Kept, kept_in
from .doing import Doing
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
        InputError: something that they need is missing.
    """
    torch_device = find_device(device)
    for precision in precisions:
        resolve(precision, torch_device)
    streams = list(streams)
    for name in sorted({name for scenario, _ in streams for name in data_of(scenario)}):
        source(name).fetch(data_root)
    for scenario, seeds in streams:
        build_gallery(scenario, build_stream(scenario, seeds, data_root), data_root, torch.device("cpu"))
    for method in methods:
        build_method(method)
    for metric in metrics:
        metric.entry()


def run_cell(
    cell: Cell,
    store: Path,
    data_root: Path,
    device: str,
    keep_model: bool = False,
    states: States = "resume",
    doing: Doing | None = None,
) -> str:
    """Run one cell and write it to the store. An interrupted cell continues from its last interval boundary.

    Args:
        cell: the cell to run.
        store: the store's folder.
        data_root: folder of the data sets.
        device: "auto", "cpu", "cuda" or "cuda:N".
        keep_model: whether to keep the final model.
        states: which saved states to keep when the cell is done.
        doing: the place to say what is done at the moment.

    Returns:
        "done", also where it was done already; "failed", with the reason in the cell's record and the traceback in its
        log; or "busy" if another process is running it.

    Raises:
        StoreGoneError: the store was moved or deleted.
    """
    torch.set_num_threads(1)
    doing = doing or Doing()
    try:
        try:
            return _attempt(cell, store, data_root, device, keep_model, states, doing)
        except _OtherRunError as other:  # the state is deleted now, so this happens only once
            return _attempt(cell, store, data_root, device, keep_model, states, doing, problem=str(other))
    except CellBusyError:  # whoever took the cell over may have finished it
        stored = Store(store).cell(cell.name)
        return "done" if stored.status == Status.DONE and stored.facts and not outdated(stored.facts) else "busy"
    except CellDoneError:
        return "done"


class _OtherRunError(Exception):
    """A state can't be used: it is from a run on other data or by other code."""


def _attempt(
    cell: Cell,
    store: Path,
    data_root: Path,
    device: str,
    keep_model: bool,
    states: States,
    doing: Doing,
    problem: str = "",
) -> str:
    """One attempt of :func:`run_cell`.

    Args:
        problem: why the cell begins anew, if that is known already.

    Raises:
        _OtherRunError: there was a state that can't be used; it is deleted.
        CellBusyError: another process is running it.
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
            with products_in("float32", place := find_device(device)):  # training steps set the cell's precision
                _run(cell, writer, data_root, place, keep_model, states, doing, kept.state)
            numbers, problems = registered_summary(writer.rows, writer.record["visits"])
            for metric, reason in problems.items():
                print(f"the cell is done without a number of {metric}: {reason}", flush=True)
            writer.finish(numbers, keep_states=states != "resume")
        except _OtherRunError:
            (writer.folder / STATE).unlink()
            raise
        except (CellBusyError, CellDoneError, StoreGoneError):  # it is another process's, or elsewhere
            raise
        except BaseException as error:  # even sys.exit in an extension ends only this cell
            with suppress(OSError):  # on a full disk the reason matters more
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
    doing: Doing,
    state: State | None,
) -> None:
    seeds = cell.seeds
    seeds.seed_globals()
    doing.now("building the stream")
    stream = build_stream(cell.scenario, seeds, data_root)
    data = data_digest(stream)
    if state is not None and writer.record.get("data", data) != data:
        raise _OtherRunError("the scenario's images aren't those that the cell was begun with")
    doing.now("making the method")
    method = build_method(cell.method)
    view = method.view(stream)
    strategy = method.strategy(stream, seeds, device)
    strategy.precision = resolve(cell.precision, device)
    if strategy.model.track != stream.track:
        raise InputError(
            f"{cell.method.name} has bounds of track {strategy.model.track}, the scenario is of track {stream.track}"
        )
    gallery_or_reason = build_gallery(cell.scenario, stream, data_root, device)
    gallery = None if isinstance(gallery_or_reason, str) else gallery_or_reason
    if gallery is None:
        print(f"samples aren't measured: {gallery_or_reason}", flush=True)
    before = writer.record.get("samples") or {}
    noted = "data" in writer.record  # a record is without, for example, where a state was put beside it by hand
    if state is not None and noted and before.get("digest") != (gallery.expert.digest if gallery else None):
        raise _OtherRunError("its samples were seen by another expert")
    evaluator = Evaluator(stream, seeds, view, [metric.entry() for metric in cell.metrics], gallery=gallery)
    checkpoint = Checkpoint(strategy, method, stream, seeds, evaluator)
    executions: list[str] = []
    pictures = IntervalPictures([], [])
    done = 0
    if state is not None:
        try:
            pictures = checkpoint.restore(state)
        except InputError as error:
            raise _OtherRunError(str(error)) from None
        done, executions = state.facts["intervals"], state.facts["execution"]
        evaluator.classes += before.get("classes", [])[:done]
        writer.spent(state.facts["seconds"])
        print(f"continues after interval {done - 1}", flush=True)
    if gallery:
        writer.note(samples=evaluator.facts_of_samples())
    visits = [experience.distributions for experience in view]
    writer.note(visits=visits, execution=executions, **_circumstances(cell, device), data=data)
    if why := unsavable(strategy.model):  # noted in any case, so that nobody is advised to compute the cell again
        writer.note(no_model=why)
        if keep_model:
            print(f"no model will be kept: {why}", flush=True)
    cant = cell.method.facts.get("restarts", "")
    circumstances = _arithmetic(cell, str(device))
    for interval, experience in list(enumerate(view))[done:]:
        doing.now("training", lambda: strategy.optimizer_steps, experience.steps)
        began, cpu_began = perf_counter(), process_time()
        strategy.train(experience, eval_streams=[])
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds, cpu_seconds = perf_counter() - began, process_time() - cpu_began
        if strategy.execution not in executions:
            executions.append(strategy.execution)
            writer.note(execution=executions)
        doing.now("measuring", share=1.0)
        rows = evaluator.measure(
            strategy, interval, train_seconds=seconds, train_cpu_seconds=cpu_seconds if device.type == "cpu" else None
        )
        if problem := odd_row(rows, visits):
            raise ValueError(problem)
        writer.append(rows)
        doing.now("saving")
        if gallery:
            writer.note(samples=evaluator.facts_of_samples())
        pictures.samples.append(take_samples(strategy.model, seeds, device))
        pictures.replayed.append(take_replayed(replays_of(strategy.plugins), stream.image_shape, seeds, device))
        if not cant:
            facts = writer.boundary() | {"intervals": interval + 1, "execution": executions}
            facts |= {"circumstances": circumstances}
            names = [f"state-{interval + 1}.safetensors", STATE] if states == "all" else [STATE]
            cant = _save(checkpoint, [writer.folder / name for name in names], facts, pictures)
    doing.now("measuring at the end")
    at_the_end = take_pictures(strategy.model, stream, seeds, device)
    writer.keep(PICTURES, compressed(**pictures.arrays(), **at_the_end))
    writer.note(pictures=PICTURES_VERSION)
    if gallery:
        writer.note(samples=evaluator.facts_of_samples(at_the_end=True))
    writer.keep(IMAGE_VALUES, compressed(**evaluator.final_values(strategy)))
    if keep_model:
        if why := unsavable(strategy.model):
            writer.note(no_model=why)
        else:
            save_model(strategy.model, writer.folder / "model.safetensors")


def _save(checkpoint: Checkpoint, files: list[Path], facts: dict[str, Any], pictures: IntervalPictures) -> str:
    """Save the state; returns why that is impossible, or nothing. A cell runs on even if it can't be resumed."""
    try:
        for file in files:
            checkpoint.write(file, facts, pictures)
    except UnstatableError as error:
        print(f"interrupted, this cell begins anew: {error}", flush=True)
        return str(error)
    except OSError as error:
        print(f"the state can't be saved; the earlier one is kept: {error}", flush=True)
    return ""


def _arithmetic(cell: Cell, device: str) -> dict[str, Any]:
    """The circumstances, besides the cell, that results depend on to the bit."""
    packages = ("lifegen", "torch", "avalanche-lib", "numpy")
    versions = {name: version(name) for name in packages} | cell.packages
    place = find_device(device)
    kind = torch.cuda.get_device_name(place) if place.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    return {"device": f"{place.type} {kind}", **{f"version of {name}": of for name, of in versions.items()}}


def _circumstances(cell: Cell, device: torch.device) -> dict[str, Any]:
    packages = ("lifegen", "torch", "torchvision", "avalanche-lib", "numpy")
    versions = {"python": platform.python_version(), **{name: version(name) for name in packages}, **cell.packages}
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "versions": versions,
        "metrics": {
            **{entry.name: entry.version for entry in own_metrics()},
            **{metric.name: metric.version for metric in cell.metrics},
        },
        "machine": {
            "system": platform.platform(),
            "processor": processor(),
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "cores": os.cpu_count(),
        },
    }


def data_digest(stream: Stream) -> str:
    """Make a digest of a stream's images and labels."""
    digest = hashlib.blake2b(digest_size=16)
    for part in ("train", "valid", "test"):
        for name in stream.distributions:
            images = stream.images(part, name)
            digest.update(f"{part} {name} {list(images.x.shape)}".encode())
            for tensor in images:
                digest.update(tensor.contiguous().numpy().data)
    for name in stream.tested if stream.tested != stream.distributions else ():
        digest.update(f"tested {name}".encode())
        digest.update(stream.images("test", name).x.contiguous().numpy().data)
    return digest.hexdigest()


@contextmanager
def _output_to(file: Path) -> Iterator[None]:
    """Send everything this process prints to a file, native libraries' output and crashes included."""
    sys.stdout.flush()
    sys.stderr.flush()
    with file.open("a", encoding="utf-8") as log:
        kept = [os.dup(descriptor) for descriptor in (1, 2)]
        for descriptor in (1, 2):
            os.dup2(log.fileno(), descriptor)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):  # on a full disk only the printed text is lost
                stream.flush()
        for descriptor, original in zip((1, 2), kept, strict=True):
            os.dup2(original, descriptor)
            os.close(original)
