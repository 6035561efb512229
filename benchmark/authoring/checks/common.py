"""Parts that the checks share: small methods and streams, and comparing tensors before and after."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor

from ...contracts.images import Images
from ...contracts.stream import Parts, ScenarioConfig, Stream, make_stream
from ...discovery.index import describe_one
from ...measuring.evaluator import Evaluator
from ...measuring.fingerprint import bytes_of
from ...seeds import Seeds
from ...training.method import Method
from ...training.template import GenerativeTemplate

SMALL: Mapping[str, Any] = {"width": 8, "style": 2, "batch_size": 12, "learning_rate": 0.01}
"""Options that make a method small."""
SIZES = (40, 6, 12)
"""Train, valid and test images of a small distribution."""


def made(name: str, options: Mapping[str, Any]) -> Method:
    """One of lifegen's methods."""
    method: Method = describe_one("method", name).entry().target(options)
    return method


def begun(method: Method, stream: Stream, seeds: Seeds) -> tuple[GenerativeTemplate, Evaluator]:
    """A method before its first interval, as cells begin, and its evaluator."""
    seeds.seed_globals()
    return method.strategy(stream, seeds), Evaluator(stream, seeds, method.view(stream))


def small_stream(
    visits: Sequence[str], images: Callable[[str, int, int], Images], sizes: Sequence[int] = SIZES, **options: Any
) -> Stream:
    """A stream that is learned in a moment.

    Args:
        visits: the distribution of each interval.
        images: makes the images of a distribution's part from its name, the part's number, and the number of images.
        sizes: numbers of images of the three parts.
        options: options of the scenario.
    """
    parts = {name: Parts(*(images(name, i, n) for i, n in enumerate(sizes))) for name in dict.fromkeys(visits)}
    return make_stream(parts, visits, ScenarioConfig.model_validate(options), Seeds(0))


def halves(n: int, levels: tuple[int, int], size: int, generator: torch.Generator) -> Tensor:
    """Noisy images of one level in their upper half and another in the lower."""
    x = torch.randint(0, 40, (n, 1, size, size), generator=generator)
    return (x + torch.tensor(levels).repeat_interleave(size * size // 2).view(1, 1, size, size)).to(torch.uint8)


def digest(*tensors: Tensor) -> bytes:
    """A digest of tensors: their types, shapes and values."""
    content = blake2b(digest_size=16)
    for tensor in tensors:
        content.update(f"{tensor.dtype} {list(tensor.shape)}".encode())
        content.update(bytes_of(tensor.detach().cpu()))
    return content.digest()


def changes(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> list[str]:
    """Names of the entries that have changed."""
    return [name for name in before if before[name] != after.get(name)]
