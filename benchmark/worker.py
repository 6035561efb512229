"""What a worker process does: check what was asked for, and run one cell."""

from __future__ import annotations

import os
import platform
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

from .cell import Cell
from .choice import Choice
from .errors import InputError
from .measures import Evaluator
from .method import Method
from .options import Options
from .pictures import take_pictures, take_samples
from .precision import products_in, resolve
from .registry import METHODS, METRICS, SCENARIOS, Entry
from .saved_model import save_model
from .seeds import Seeds
from .store import CellBusyError, CellDoneError, CellWriter, Store
from .stream import Stream


def prepare(
    streams: Iterable[tuple[Choice, Seeds]],
    methods: Iterable[Choice],
    precisions: Iterable[str],
    data_root: Path,
    device: str,
) -> None:
    """Find the device, check precisions, fetch and verify the data, and make each stream and method once, before any
    training.

    Raises:
        InputError: something can't be had.
    """
    from lifegen.scenarios.sources import source

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


def run_cell(cell: Cell, store: Path, data_root: Path, device: str, keep_model: bool = False) -> str:
    """Run one cell and write it to the store, with its final model if asked to.

    Returns:
        "done", also where it was done already; "failed", with the reason in the cell's record and the traceback in its
        log; or "busy" if another process is at it.
    """
    torch.set_num_threads(1)
    try:
        with Store(store).writing(cell.name, cell.record()) as writer, _output_to(writer.folder / "log.txt"):
            try:
                with products_in("float32", found := find_device(device)):  # but for the training steps
                    _run(cell, writer, data_root, found, keep_model)
            except BaseException as error:  # sys.exit in a plug-in, too, ends this cell only
                traceback.print_exc()
                writer.fail(f"{type(error).__name__}: {error}")
                return "failed"
            writer.finish()
            return "done"
    except CellBusyError:
        return "busy"
    except CellDoneError:
        return "done"


def _run(cell: Cell, writer: CellWriter, data_root: Path, device: torch.device, keep_model: bool) -> None:
    seeds = cell.seeds
    seeds.seed_globals()
    stream = build_stream(cell.scenario, seeds, data_root)
    method = build_method(cell.method)
    view = method.view(stream)
    strategy = method.strategy(stream, seeds, device)
    strategy.precision = resolve(cell.precision, device)
    if strategy.model.track != stream.track:
        raise InputError(
            f"{cell.method.name} has bounds of track {strategy.model.track}, the scenario is of track {stream.track}"
        )
    evaluator = Evaluator(stream, seeds, view)
    writer.note(visits=[experience.distributions for experience in view], **_circumstances(device))
    executions: list[str] = []
    samples: list[np.ndarray] = []
    for interval, experience in enumerate(view):
        began = perf_counter()
        strategy.train(experience, eval_streams=[])
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds = perf_counter() - began
        if strategy.execution not in executions:
            executions.append(strategy.execution)
            writer.note(execution=executions)
        writer.append(evaluator.measure(strategy, interval, train_seconds=seconds))
        samples.append(take_samples(strategy.model, seeds, device))
    pictures: dict[str, Any] = take_pictures(strategy.model, stream, seeds, device)
    np.savez_compressed(writer.folder / "pictures.npz", samples_over_intervals=np.stack(samples), **pictures)
    if keep_model:
        save_model(strategy.model, writer.folder / "model.safetensors")


def find_device(name: str) -> torch.device:
    """The device of a name: "auto" is CUDA where there is one.

    Raises:
        InputError: there is no such device here.
    """
    found = torch.cuda.device_count() if name != "cpu" else 0
    if name == "auto":
        return torch.device("cuda" if found else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= found:
        raise InputError(f"--device {name}: torch finds {found} CUDA devices here; use --device cpu")
    return device


def data_of(scenario: Choice) -> tuple[str, ...]:
    """Names of the data sources that a chosen scenario needs."""
    entry, config = _scenario(scenario)
    assert entry.data is not None
    return entry.data(config)


def build_stream(scenario: Choice, seeds: Seeds, data_root: Path) -> Stream:
    """A chosen scenario's stream.

    Raises:
        InputError: its options don't fit together, or its data can't be read.
    """
    entry, config = _scenario(scenario)
    stream: Stream = entry.target(config, seeds, data_root)
    return stream


def _scenario(scenario: Choice) -> tuple[Entry, Options]:
    import_module(scenario.module)
    entry = SCENARIOS[scenario.name]
    assert entry.config is not None
    return entry, _validated(entry.config, scenario)


def build_method(method: Choice) -> Method:
    """A chosen method.

    Raises:
        InputError: its options don't fit together.
    """
    import_module(method.module)
    entry = METHODS[method.name]
    assert entry.config is not None
    made: Method = entry.target(_validated(entry.config, method))
    return made


def _validated(config: type[Options], choice: Choice) -> Options:
    try:
        return config.model_validate(choice.config)
    except ValidationError as error:
        first = error.errors()[0]
        where = f", option {'.'.join(map(str, first['loc']))}" if first["loc"] else ""
        raise InputError(f"{choice.name}{where}: {first['msg'].removeprefix('Value error, ')}") from None


def _circumstances(device: torch.device) -> dict[str, Any]:
    packages = ("lifegen", "torch", "torchvision", "avalanche-lib", "numpy")
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "provider": {"name": "lifegen", "version": version("lifegen")},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "metrics": {entry.name: entry.version for entry in METRICS},
        "machine": {"system": platform.platform(), "processor": platform.machine(), "cores": os.cpu_count()},
    }


@contextmanager
def _output_to(file: Path) -> Iterator[None]:
    """Send everything this process prints to a file, native libraries' output and crashes included."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(descriptor) for descriptor in (1, 2)]
    with file.open("w") as log:
        for descriptor in (1, 2):
            os.dup2(log.fileno(), descriptor)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, original in zip((1, 2), kept, strict=True):
            os.dup2(original, descriptor)
            os.close(original)
