"""Whether a method acts, or is only fine-tuning under another name.

A method that silently does nothing is a recurring bug of continual learning. So each is compared with ``naive`` on the
same networks, seed and batches. ``naive`` trains lifegen's model or, if that differs, the method's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, product
from typing import Any

import torch

from ...contracts.registry import Entry
from ...contracts.stream import Interval, Stream
from ...discovery.index import describe_one
from ...training.method import Method
from ...training.template import GenerativeTemplate
from .conflict import Run, run, values
from .findings import Finding, verdict

_ACTS = "it acts"
_FINE_TUNING = "before there is a past, it is fine-tuning"


def acts(
    method: Method, stream: Stream, entry: Entry, found: Run, with_options: Callable[[Mapping[str, Any]], Method]
) -> Iterator[Finding]:
    """Compare a method with fine-tuning, or with itself under its inert options.

    Args:
        method: the trained method.
        stream: the stream that it was trained on.
        entry: the method's entry.
        found: the results of its training.
        with_options: makes the method with other options.
    """
    if entry.facts["reference"]:  # a reference needn't act
        return
    if not entry.facts["differs_at_once"]:
        yield from _unlike_naive(method, stream, found)
    elif inert := entry.facts["inert"]:
        other = run(with_options(inert), stream)
        yield verdict(
            _ACTS,
            not torch.equal(found.weighed, other.weighed),
            f"other weights than with inert={inert}",
            f"has the weights that it has with inert={inert}: it does nothing",
            "whether inert= names the options that switch it off, and whether its plugins are in the list",
        )
    else:
        seen = "it differs at once; pass inert={the options that switch off what it does} so that the gate can compare"
        yield Finding(_ACTS, "skipped", seen=seen)


def naive_like(method: Method, own: bool = False, reset: bool = False, restart: bool = False) -> Method:
    """``naive`` with the options that it shares with a method.

    Args:
        method: the other method. Without a code option it has no code, which equals a single constant one.
        own: whether ``naive`` trains the method's own model.
        reset: whether ``naive`` resets its optimiser with each interval.
        restart: whether the temperature of ``naive`` starts anew with each interval.
    """
    naive: Any = describe_one("method", "naive").entry().target
    shared = _shared(method, naive)
    twin: Any = naive({"codes": 1} | shared | {"optimizer_state": "reset" if reset else "keep"})
    twin.restarts_temperature = restart
    if own:
        twin.model = method.model
        if not _anneals(shared):  # its model may have an attribute "temperature" that isn't annealed
            twin.plugins = lambda *given: _but(naive.plugins(twin, *given), naive().plugins(*given))
    like: Method = twin
    return like


def _shared(method: Method, naive: Any) -> dict[str, Any]:
    kinds = set(type(method.config).__mro__) & set(naive.Config.__mro__)
    return {key: getattr(method.config, key) for kind in kinds for key in getattr(kind, "model_fields", {})}


def _anneals(shared: Mapping[str, Any]) -> bool:
    return "temperature_start" in shared


def _but(plugins: list[Any], others: list[Any]) -> list[Any]:
    """The plugins whose class none of the others has."""
    return [plugin for plugin in plugins if type(plugin) not in set(map(type, others))]


def _unlike_naive(method: Method, stream: Stream, trained: Run) -> Iterator[Finding]:
    own, naive, gap = _nearest(method, stream, trained)
    yield verdict(
        _FINE_TUNING,
        gap == 0,
        "the values of naive after interval 0",
        f"differs from naive after interval 0 already, by {gap} nats",
        "a term that acts without a past; if it should, register it with differs_at_once='the reason' and inert={the "
        "options that switch off what it does}",
    )
    if gap:
        return
    restarts = (False, True) if not own or _anneals(_shared(method, type(naive_like(method)))) else (False,)
    variants = [pair for pair in product((False, True), restarts) if any(pair)]
    others = (run(naive_like(method, own, reset, restart), stream) for reset, restart in variants)
    yield verdict(
        _ACTS,
        not any(torch.equal(trained.weighed, other.weighed) for other in chain([naive], others)),
        "other weights than those of naive",
        "has the weights of naive after four conflicting intervals: it does nothing",
        "hooks whose name Avalanche doesn't call, a loss that isn't added to strategy.loss, copies that aren't copies",
    )


def _nearest(method: Method, stream: Stream, trained: Run) -> tuple[bool, Run, float]:
    """(whether the method fine-tunes its own model in interval 0, not lifegen's; ``naive`` on that model; the method's
    distance from it).

    lifegen's model is tried first: a growing model may equal it at first, and not work without its plugins.
    """
    least = math.inf
    for own in (False, True):
        gaps: list[float] = []

        def is_equal(strategy: GenerativeTemplate, _: Interval, gaps: list[float] = gaps) -> bool:
            if not gaps:
                gaps.append(float((values(strategy, stream) - trained.first).abs().max()))
            return gaps[0] == 0

        try:
            naive = run(naive_like(method, own), stream, is_equal)
        except (Exception, SystemExit):  # the model can't be trained without its plugins
            continue
        if gaps[0] == 0:
            return own, naive, 0.0
        least = min(least, gaps[0])
    return True, Run(), least
