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
from .registry import METHODS, METRICS, SCENARIOS
from .seeds import Seeds
from .store import CellBusyError, CellDoneError, CellWriter, Store
from .stream import Stream

SAMPLES = 10
"""Samples of each code that are kept at the end of a cell."""


def prepare(scenarios: Iterable[Choice], methods: Iterable[Choice], seeds: Seeds, data_root: Path, device: str) -> None:
    """Find the device, fetch and verify the data, and make each stream and method once, before any training.

    Raises:
        InputError: something can't be had.
    """
    from lifegen.scenarios.sources import source

    find_device(device)
    for name in sorted({name for scenario in scenarios for name in scenario.facts["data"]}):
        source(name).fetch(data_root)
    for scenario in scenarios:
        build_stream(scenario, seeds, data_root)
    for method in methods:
        build_method(method)


def run_cell(cell: Cell, store: Path, data_root: Path, device: str) -> str:
    """Run one cell and write it to the store.

    Returns:
        "done", also where it was done already; "failed", with the reason in the cell's record and the traceback in its
        log; or "busy" if another process is at it.
    """
    torch.set_num_threads(1)
    try:
        with Store(store).writing(cell.name, cell.record()) as writer, _output_to(writer.folder / "log.txt"):
            try:
                _run(cell, writer, data_root, device)
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


def _run(cell: Cell, writer: CellWriter, data_root: Path, device_name: str) -> None:
    seeds = Seeds(cell.seed, scope=cell.scenario.name)
    seeds.seed_globals()
    device = find_device(device_name)
    stream = build_stream(cell.scenario, seeds, data_root)
    method = build_method(cell.method)
    view = method.view(stream)
    strategy = method.strategy(stream, seeds, device)
    tracks = strategy.model.track, cell.scenario.facts["track"]
    if tracks[0] != tracks[1]:
        raise InputError(f"{cell.method.name} has bounds of track {tracks[0]}, the scenario is of track {tracks[1]}")
    evaluator = Evaluator(stream, seeds, view)
    writer.note(visits=[experience.distributions for experience in view], **_circumstances(device))
    for interval, experience in enumerate(view):
        began = perf_counter()
        strategy.train(experience, eval_streams=[])
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        writer.append(evaluator.measure(strategy, interval, train_seconds=perf_counter() - began))
    _save_samples(strategy.model, seeds.generator("samples", device=device), writer.folder / "samples.npz")


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


def build_stream(scenario: Choice, seeds: Seeds, data_root: Path) -> Stream:
    """A chosen scenario's stream.

    Raises:
        InputError: its options don't fit together, or its data can't be read.
    """
    import_module(scenario.module)
    entry = SCENARIOS[scenario.name]
    assert entry.config is not None
    stream: Stream = entry.target(_validated(entry.config, scenario), seeds, data_root)
    declared = tuple(scenario.facts["image_shape"])
    if stream.image_shape != declared:
        raise InputError(f"{scenario.name} declares images of {declared}, but makes some of {stream.image_shape}")
    return stream


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
        raise InputError(f"{choice.name}, option {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _circumstances(device: torch.device) -> dict[str, Any]:
    packages = ("lifegen", "torch", "torchvision", "avalanche-lib", "numpy")
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "provider": {"name": "lifegen", "version": version("lifegen")},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "metrics": {entry.name: entry.version for entry in METRICS},
        "machine": {"system": platform.platform(), "processor": platform.machine(), "cores": os.cpu_count()},
    }


@torch.inference_mode()
def _save_samples(model: Any, generator: torch.Generator, file: Path) -> None:
    """Write uint8 images, (codes, samples, channels, height, width)."""
    model.eval()
    rows = [model.sample(SAMPLES, code=code, generator=generator) for code in range(model.codes)]
    np.savez_compressed(file, samples=torch.stack(rows).mul(255).round().byte().cpu().numpy())


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
