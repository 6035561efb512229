"""Whether a method acts: whether it is anything but fine-tuning under another name.

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
        method: the one that was trained.
        stream: what on.
        entry: the method's.
        found: what it was.
        with_options: makes it with other options.
    """
    if entry.facts["reference"]:  # needn't act
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
        seen = "it differs at once: without inert={the options that switch off what it does} it can't be looked at"
        yield Finding(_ACTS, "skipped", seen=seen)


def naive_like(method: Method, own: bool = False, reset: bool = False, restart: bool = False) -> Method:
    """``naive`` with the options that it shares with a method.

    Args:
        method: the other one. If it has no code option, it has no code: one that is always the same.
        own: whether it trains the method's own model.
        reset: whether it resets its optimiser with each interval.
        restart: whether its temperature starts anew with each.
    """
    naive: Any = describe_one("method", "naive").entry().target
    shared = _shared(method, naive)
    made: Any = naive({"codes": 1} | shared | {"keep_optimizer_state": not reset})
    made.restarts_temperature = restart
    if own:
        made.model = method.model
        if not _anneals(shared):  # what its model calls a temperature is none to anneal
            made.plugins = lambda *given: _but(naive.plugins(made, *given), naive().plugins(*given))
    like: Method = made
    return like


def _shared(method: Method, naive: Any) -> dict[str, Any]:
    kinds = set(type(method.config).__mro__) & set(naive.Config.__mro__)
    return {key: getattr(method.config, key) for kind in kinds for key in getattr(kind, "model_fields", {})}


def _anneals(shared: Mapping[str, Any]) -> bool:
    return "temperature_start" in shared


def _but(plugins: list[Any], others: list[Any]) -> list[Any]:
    """Those plugins of whose kind there are none among others."""
    return [plugin for plugin in plugins if type(plugin) not in set(map(type, others))]


def _unlike_naive(method: Method, stream: Stream, found: Run) -> Iterator[Finding]:
    own, naive, gap = _nearest(method, stream, found)
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
        not any(torch.equal(found.weighed, one.weighed) for one in chain([naive], others)),
        "other weights than those of naive",
        "has the weights of naive after four conflicting intervals: it does nothing",
        "hooks whose name Avalanche doesn't call, a loss that isn't added to strategy.loss, copies that aren't copies",
    )


def _nearest(method: Method, stream: Stream, found: Run) -> tuple[bool, Run, float]:
    """Whether it is its own model, not lifegen's, that a method fine-tunes in interval 0; ``naive`` on that, and how
    far the method is from it.

    lifegen's comes first: a model that grows may be that to begin with, and be nothing without its plugins.
    """
    least = math.inf
    for own in (False, True):
        gaps: list[float] = []

        def is_equal(strategy: GenerativeTemplate, _: Interval, gaps: list[float] = gaps) -> bool:
            if not gaps:
                gaps.append(float((values(strategy, stream) - found.first).abs().max()))
            return gaps[0] == 0

        try:
            naive = run(naive_like(method, own), stream, is_equal)
        except (Exception, SystemExit):  # it can't be trained without its plugins
            continue
        if gaps[0] == 0:
            return own, naive, 0.0
        least = min(least, gaps[0])
    return True, Run(), least
