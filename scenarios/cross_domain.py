"""Sequences of whole data sets, one a distribution."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor
from torchvision.transforms.v2.functional import resize

from lifegen.benchmark import Parts, ScenarioConfig, Seeds, Stream, make_stream, register_scenario

from .data_sets import source
from .holding_out import held_out

Grey = Literal["mnist", "fashion-mnist", "inverted-fashion-mnist", "flipped-mnist"]
Domain = Literal[Grey, "svhn", "cifar10"]

_DOMAINS: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "mnist": ("mnist", lambda x: x),
    "fashion-mnist": ("fashion-mnist", lambda x: x),
    "inverted-fashion-mnist": ("fashion-mnist", lambda x: 255 - x),
    "flipped-mnist": ("mnist", lambda x: x.flip(-1)),
    "svhn": ("svhn", lambda x: x),
    "cifar10": ("cifar10", lambda x: x),
}
"""The data set of each domain, and the change that is made to its images."""


class CrossDomainConfig(ScenarioConfig):
    sequence: Annotated[tuple[Grey, ...], Field(min_length=1)] = (
        "mnist", "fashion-mnist", "inverted-fashion-mnist", "flipped-mnist",
    )  # fmt: skip
    """Domains in the order in which they come; one may come back."""


class CrossDomainRGBConfig(ScenarioConfig):
    sequence: Annotated[tuple[Domain, ...], Field(min_length=1)] = (
        "mnist", "svhn", "fashion-mnist", "inverted-fashion-mnist", "flipped-mnist", "cifar10",
    )  # fmt: skip
    """Domains in the order in which they come; one may come back."""


class SVHNToMNISTConfig(CrossDomainRGBConfig):
    sequence: Annotated[tuple[Domain, ...], Field(min_length=1)] = ("svhn", "mnist")
    """Domains in the order in which they come; one may come back."""


class FashionToMNISTConfig(CrossDomainRGBConfig):
    sequence: Annotated[tuple[Domain, ...], Field(min_length=1)] = ("fashion-mnist", "mnist")
    """Domains in the order in which they come; one may come back."""


def _data(config: CrossDomainConfig | CrossDomainRGBConfig) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_DOMAINS[name][0] for name in config.sequence))


@register_scenario("cross-domain", version=1, config=CrossDomainConfig, data=_data)
def cross_domain(config: CrossDomainConfig, seeds: Seeds, data_root: Path) -> Stream:
    """MNIST, Fashion-MNIST, the latter inverted, the former mirrored: 28x28, grey."""
    return _sequence(config, seeds, data_root, lambda x: x)


@register_scenario("cross-domain-rgb", version=1, config=CrossDomainRGBConfig, data=_data)
def cross_domain_rgb(config: CrossDomainRGBConfig, seeds: Seeds, data_root: Path) -> Stream:
    """The cross-domain sequence with SVHN and CIFAR-10, everything at 32x32 RGB."""
    return _sequence(config, seeds, data_root, _rgb32)


@register_scenario("svhn-to-mnist", version=1, config=SVHNToMNISTConfig, data=_data)
def svhn_to_mnist(config: CrossDomainRGBConfig, seeds: Seeds, data_root: Path) -> Stream:
    """SVHN, then MNIST at 32x32 RGB (paper, section 5.3)."""
    return _sequence(config, seeds, data_root, _rgb32)


@register_scenario("fashion-to-mnist", version=1, config=FashionToMNISTConfig, data=_data,
                   title="Fashion-MNIST to MNIST")  # fmt: skip
def fashion_to_mnist(config: CrossDomainRGBConfig, seeds: Seeds, data_root: Path) -> Stream:
    """Fashion-MNIST, then MNIST, both at 32x32 RGB."""
    return _sequence(config, seeds, data_root, _rgb32)


def _sequence(
    config: CrossDomainConfig | CrossDomainRGBConfig,
    seeds: Seeds,
    data_root: Path,
    convert: Callable[[Tensor], Tensor],
) -> Stream:
    loaded = {name: source(name).load(data_root) for name in _data(config)}
    distributions: dict[str, Parts] = {}
    for name in dict.fromkeys(config.sequence):
        data, change = loaded[_DOMAINS[name][0]], _DOMAINS[name][1]
        train, test = (part._replace(x=convert(change(part.x))) for part in (data.train, data.test))
        distributions[name] = held_out(train, test, config.validation, name)
    return make_stream(distributions, config.sequence, config, seeds)


def _rgb32(x: Tensor) -> Tensor:
    """Images at 32 × 32 with three channels, uint8."""
    if x.shape[-2:] != (32, 32):
        x = resize(x, [32, 32], antialias=True)
    return x.expand(-1, 3, -1, -1)
