"""Making the device, stream and method of a cell in a worker."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import torch
from pydantic import ValidationError

from ..cells.spec import Spec
from ..contracts.options import Options
from ..contracts.registry import Entry
from ..contracts.stream import Stream
from ..errors import InputError
from ..measuring.experts import binary, find_expert
from ..measuring.samples import Gallery, too_few
from ..seeds import Seeds
from ..training.method import Method


def find_device(name: str) -> torch.device:
    """The device of a name: "auto" is CUDA where there is one.

    Raises:
        InputError: there is no such device here.
    """
    count = torch.cuda.device_count() if name != "cpu" else 0
    if name == "auto":
        return torch.device("cuda" if count else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= count:
        raise InputError(f"--device {name}: torch finds {count} CUDA devices here; use --device cpu")
    return device


def data_of(scenario: Spec) -> tuple[str, ...]:
    """Names of the data sources that a chosen scenario needs."""
    entry, config = _scenario(scenario)
    assert entry.data is not None
    return entry.data(config)


def build_stream(scenario: Spec, seeds: Seeds, data_root: Path) -> Stream:
    """A chosen scenario's stream.

    Raises:
        InputError: its options don't fit together, or its data can't be read.
    """
    entry, config = _scenario(scenario)
    stream: Stream = entry.target(config, seeds, data_root)
    return stream


def _scenario(scenario: Spec) -> tuple[Entry, Options]:
    entry = scenario.entry()
    assert entry.config is not None
    return entry, _validated(entry.config, scenario)


def build_gallery(scenario: Spec, stream: Stream, data_root: Path, device: torch.device) -> Gallery | str:
    """The real images that samples are compared with, or the reason why samples aren't measured.

    Raises:
        InputError: the scenario's expert can't be used, or doesn't know its images.
    """
    if why := unmeasured(scenario):
        return why
    name: str = scenario.facts["expert"]
    if fewest := too_few(stream):
        return fewest
    if stream.track in ("bernoulli-binarised", "bernoulli-redrawn"):
        name = binary(name)
    return Gallery(stream, deepcopy(find_expert(name, data_root)).to(device))


def unmeasured(scenario: Spec) -> str:
    """Why samples of a scenario aren't measured, as far as that can be known without its images; else empty."""
    if scenario.config["sample_images"] == "none":
        return "sample_images=none"
    return "" if scenario.facts.get("expert") else f"no expert knows the images of {scenario.name}"


def build_method(method: Spec) -> Method:
    """A chosen method.

    Raises:
        InputError: its options don't fit together.
    """
    entry = method.entry()
    assert entry.config is not None
    built: Method = entry.target(_validated(entry.config, method))
    return built


def _validated(config: type[Options], choice: Spec) -> Options:
    try:
        return config.model_validate(choice.config)
    except ValidationError as error:
        first = error.errors()[0]
        where = f", option {'.'.join(map(str, first['loc']))}" if first["loc"] else ""
        raise InputError(f"{choice.name}{where}: {first['msg'].removeprefix('Value error, ')}") from None
