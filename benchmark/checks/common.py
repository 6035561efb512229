"""What the checks of methods, scenarios and metrics share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor

from ..catalogue import describe_one
from ..measures import Evaluator
from ..method import Method
from ..registry import Entry
from ..seeds import Seeds
from ..stream import Stream
from ..template import GenerativeTemplate
from . import Finding, at

SMALL: Mapping[str, Any] = {"width": 8, "style": 2, "batch_size": 12, "learning_rate": 0.01}
"""Options that make a method small."""


class Stopped(Exception):  # noqa: N818  (no error of ours: what is checked ends the check)
    """A broken promise after which nothing else can be looked at."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.promise)
        self.finding = finding


def to_the_end(findings: Iterator[Finding], entry: Entry) -> Iterator[Finding]:
    """The findings of a plug-in; an error that it raises meanwhile, or its exit, is the last one."""
    try:
        yield from findings
    except Stopped as stopped:
        yield stopped.finding
    except (Exception, SystemExit) as error:
        yield raised("nothing raises an error", error, entry)


def raised(promise: str, error: BaseException, entry: Entry, hint: str = "") -> Finding:
    """The finding of an exception in a plug-in.

    Args:
        promise: what couldn't be kept.
        error: the exception.
        entry: the plug-in's.
        hint: what usually mends it.
    """
    return Finding(promise, "broken", "no error", at(error, entry), hint or entry.origin)


def made(name: str, options: Mapping[str, Any]) -> Method:
    """One of lifegen's methods."""
    method: Method = describe_one("method", name).entry().target(options)
    return method


def begun(method: Method, stream: Stream, seeds: Seeds) -> tuple[GenerativeTemplate, Evaluator]:
    """A method before its first interval, as cells begin, and what measures it."""
    seeds.seed_globals()
    return method.strategy(stream, seeds), Evaluator(stream, seeds, method.view(stream))


def digest(*tensors: Tensor) -> bytes:
    """What tells whether tensors are the same."""
    found = blake2b(digest_size=16)
    for tensor in tensors:
        found.update(f"{tensor.dtype} {list(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return found.digest()


def changes(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> list[str]:
    """Names of what has changed."""
    return [name for name in before if before[name] != after.get(name)]
