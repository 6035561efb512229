"""The promises of a scenario: its stream is the same for every method, and its seeds can be compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...contracts.images import Images
from ...contracts.registry import Entry
from ...contracts.stream import Interval, Parts, Stream
from ...errors import counted
from ...seeds import HARNESS_ROLES, METHOD_ROLES, Seeds
from .building import BUILT as _BUILT
from .building import MET as _MET
from .building import Build, Builder, Content, content_of, difference_of, named, other_images, parts_of
from .common import SMALL, begun, changes, made, small_stream
from .findings import Finding, Stopped, broken, of_documentation, raised, to_the_end, verdict
from .roles import own_roles

MOST_SECONDS = 60.0
"""Seconds to build a stream the second time, with warm caches: every cell builds it anew."""
MOST_REPEATED = 0.01
"""Share of a part's images that may be in another part, too, since real data sets hold some images twice. A single
image may always be, since it is a large share of a small part."""
NARROW = 64
"""A range of grey levels that any data set at 0 to 255 exceeds."""
_SAMPLE = 500
"""Images of a part whose distinct levels are listed."""

_FAST = f"a stream is built in at most {MOST_SECONDS:.0f} s"
_NUMBERED = "intervals are numbered from 0"
_LENGTH = "every interval has a length"
_NEW = "is_new says whether a distribution was not met before"
_IMAGES = "images are uint8, all of one shape, with a label each"
_RANGE = "images use the range from 0 to 255"
_DISJOINT = "train, valid and test images of a distribution are different ones"
_KEPT = "building a stream leaves the images of an earlier one alone"
_TWICE = "the same seed gives the same stream"
_SEEDS = "another seed gives the same images of each distribution"
_GLOBALS = "the global generators are neither used nor set"
_ROLES = "it draws from seed roles of its own"
_TRAINED = "naive trains on its first two intervals, and all measurements are finite"


def check_scenario(
    entry: Entry, options: Mapping[str, Any] | None = None, data_root: Path | None = None
) -> Iterator[Finding]:
    """See whether a registered scenario keeps its promises.

    Args:
        entry: its entry in the registry.
        options: options of the scenario; all checks but that of building use them.
        data_root: folder of the data sets, which are downloaded if missing; None: the commands' folder.
    """
    if data_root is None:
        from ...running.local import default_data_root

        data_root = default_data_root()
    return to_the_end(_promises(entry, options or {}, data_root), entry)


def _promises(entry: Entry, options: Mapping[str, Any], data_root: Path) -> Iterator[Finding]:
    yield of_documentation(entry)
    if options:
        Builder(entry, {}, data_root).build(0, 0)
    yield from _looked_at(Builder(entry, options, data_root))


def _looked_at(builder: Builder) -> Iterator[Finding]:
    stream, build = builder.build(seed=0, ground=0)
    yield Finding(_BUILT, seen=f"{build.seconds:.2f} s")
    parts = parts_of(stream)
    yield from _intervals(stream)
    yield _images(parts)
    yield Finding("what the stream is", "note", seen=_counts(stream, parts))
    yield _range(parts)
    yield _disjoint(parts)
    first = content_of(stream)
    second, again = builder.trace(seed=0, ground=1)
    yield _fast(min(build.seconds, again.seconds), builder.entry)
    yield _left_alone(first, content_of(stream))
    # If two streams differ, two more show whether the global generators are why. Their order keeps differences that
    # come and go from call to call from being mistaken for it.
    is_global = second != first and [builder.trace(seed=0, ground=ground)[0] for ground in (1, 0)] == [second, first]
    yield _twice(first, first if is_global else second)
    third, other = builder.trace(seed=1, ground=0)
    yield _other_seed(first, third, builder.config)
    # The first build isn't judged, since modules that it imports may draw.
    yield _globals(again, other, difference_of(first, second) if is_global else "", builder.entry)
    yield own_roles(_ROLES, builder.seeds, HARNESS_ROLES | METHOD_ROLES)
    yield _trained(stream, builder.entry)


def _intervals(stream: Stream) -> Iterator[Finding]:
    train: list[Interval] = list(stream.train_stream)
    numbers = [interval.interval for interval in train]
    lengths = [interval.length for interval in train]
    visits = [interval.distribution for interval in train]
    met = list(dict.fromkeys(visits))
    tests = [[interval.distribution for interval in stream.streams[part]] for part in ("valid", "test")]
    new = [name not in visits[:i] for i, name in enumerate(visits)]
    flags = [interval.is_new for interval in train]
    positions = [interval.current_experience for interval in train]
    order = list(range(len(train)))
    for promise, is_kept, expected, seen in (
        (_NUMBERED, numbers == positions == order, f"0 to {len(train) - 1}", numbers),
        (_LENGTH, all(map(_has_length, train)), "whole numbers of steps, or passes, above 0", lengths),
        (_MET, tests == [met, met], f"one valid and one test part each, as they are met: {', '.join(met)}", tests[1]),
        (_NEW, flags == new, ", ".join(map(str, new)), flags),
    ):
        look = "Intervals not made by make_stream: it makes a fresh one for each visit, numbered in order"
        yield verdict(promise, is_kept, expected, ", ".join(map(str, seen)), look)


def _has_length(interval: Interval) -> bool:
    if interval.steps is None:
        return interval.passes is not None and interval.passes > 0
    return isinstance(interval.steps, int) and interval.steps > 0


def _images(parts: Mapping[str, Parts]) -> Finding:
    shape = next(iter(parts.values())).train.x.shape[1:]
    for name, three in parts.items():
        for part, (x, y) in named(three):
            fits = x.dtype == torch.uint8 and x.ndim == 4 and x.shape[1:] == shape
            if not fits or y.dtype != torch.int64 or y.shape != x.shape[:1]:
                expected = f"uint8 (n, {', '.join(map(str, shape))}), and int64 labels (n,)"
                seen = f"{part} part of {name!r}: {_kind(x)}, labels {_kind(y)}"
                look = "make_stream refuses such images: return what it returns"
                raise Stopped(broken(_IMAGES, expected, seen, look))
    return Finding(_IMAGES)


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def _counts(stream: Stream, parts: Mapping[str, Parts]) -> str:
    shape = "×".join(map(str, next(iter(parts.values())).test.x.shape[1:]))
    lengths = [interval.length for interval in stream.train_stream]
    unit = "passes" if stream.config.passes else "steps"
    sizes = {part: [len(getattr(three, part).x) for three in parts.values()] for part in Parts._fields}
    images = ", ".join(f"{part} {_span(n)}" for part, n in sizes.items())
    return (
        f"{counted(len(lengths), 'interval')} of {_span(lengths)} {unit}, {counted(len(parts), 'distribution')}; "
        f"images of {shape}, {stream.track}; of each distribution: {images}"
    )


def _span(numbers: list[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _range(parts: Mapping[str, Parts]) -> Finding:
    """Whether pixels are grey levels of 8 bits, not floats converted to bytes without scaling."""
    brightest = {name: max(int(images.x.max()) for images in three) for name, three in parts.items()}
    darkest = min(int(images.x.min()) for three in parts.values() for images in three)
    black = [name for name, most in brightest.items() if most <= 1]
    if black:
        look = "floats in [0, 1] converted without scaling? Convert them by x.mul(255).round().byte()"
        seen = f"the largest pixel of {', '.join(map(repr, black))} is {max(brightest[name] for name in black)}"
        return broken(_RANGE, "bright pixels up to 255", seen, look)
    if max(brightest.values()) - darkest < NARROW:
        look = "levels of another scale, such as 0 to 16, or normalised images? Scale them so that the brightest is 255"
        seen = f"all pixels are {darkest} to {max(brightest.values())}"
        return broken(_RANGE, "more of the range", seen, look)
    samples = [images.spread(min(len(images.x), _SAMPLE)).x for three in parts.values() for images in three]
    levels = sorted(set().union(*(sample.unique().tolist() for sample in samples)))
    if levels != [0, 255] and all(level <= 3 or level >= 253 for level in levels):
        look = "normalised images, whose negative values became 255, 254 and so on? Leave them as they are in the files"
        return broken(_RANGE, "levels between", f"the only levels are {levels}", look)
    return Finding(_RANGE, seen=f"{darkest} to {max(brightest.values())}")


def _disjoint(parts: Mapping[str, Parts]) -> Finding:
    few = []
    for name, three in parts.items():
        hashes = {part: [blake2b(row, digest_size=8).digest() for row in _rows(x)] for part, (x, _) in named(three)}
        for one, other in (("valid", "train"), ("test", "train"), ("test", "valid")):
            small, large = sorted((hashes[one], hashes[other]), key=len)
            images = set(large)
            n = sum(image in images for image in small)
            seen = f"{name!r}: {n:,} of the {len(small):,} images of its {one} or {other} part are in both"
            if n > max(1, MOST_REPEATED * len(small)):
                expected = f"at most {MOST_REPEATED:.0%} of the smaller part: real data may hold some images twice"
                look = (
                    "how images are divided: held_out and class_parts of lifegen.scenarios.holding_out do it without"
                    " overlap"
                )
                return broken(_DISJOINT, expected, seen, look)
            few += [seen] if n else []
    return Finding(_DISJOINT, "note" if few else "kept", seen="; ".join(few))


def _rows(x: Tensor) -> np.ndarray:
    """Images as bytes, one row each."""
    return np.ascontiguousarray(x.flatten(1).numpy())


def _fast(seconds: float, entry: Entry) -> Finding:
    expected = f"at most {MOST_SECONDS:.0f} s: every cell builds it anew"
    look = f"{entry.origin}: whole tensors in place of loops over images; keep slow results in a file of the data root"
    finding = verdict(_FAST, seconds <= MOST_SECONDS, expected, f"{seconds:.0f} s", look)
    return finding._replace(seen=finding.seen or f"{seconds:.2f} s")


def _left_alone(before: Content, after: Content) -> Finding:
    seen = difference_of(before, after)
    look = "a tensor that outlives the call is written into (x.add_, x[...] = ..., out=): clone it first"
    return verdict(_KEPT, not seen, "the same images as before", f"after building another: {seen}", look)


def _twice(first: Content, again: Content) -> Finding:
    seen = difference_of(first, again)
    look = (
        "a source besides options and seeds: a generator without a seed, the clock, the order of a set "
        "or of files in a folder, tensors of a module that are written into; draw from seeds.generator('some-role')"
    )
    return verdict(_TWICE, not seen, "the same intervals and images", seen, look)


def _other_seed(one: Content, other: Content, config: Any) -> Finding:
    common = one.images.keys() & other.images.keys()
    if not common:
        return Finding(_SEEDS, "skipped", seen="seeds 0 and 1 visit no distribution in common")
    # The visited distributions share the test_images, so sample sizes may differ; samples of two sizes aren't compared.
    is_sampled = getattr(config, "test_images", None) is not None
    resized = {key for key in common if is_sampled and key[1] != "train" and one.images[key][0] != other.images[key][0]}
    rest = one._replace(images={key: facts for key, facts in one.images.items() if key not in resized})
    if seen := next(other_images(rest, other), ""):
        look = (
            "images, their split and their order don't come from the seed: draw them from Seeds(0).generator(...); the "
            "order of intervals, their lengths and which distributions are visited may"
        )
        expected = "a distribution that is the same under its name, so that seeds can be compared"
        return broken(_SEEDS, expected, f"seeds 0 and 1: {seen}", look)
    if resized:
        seen = f"test_images gives {len(resized)} valid and test samples another size, which weren't compared"
        return Finding(_SEEDS, "note", seen=seen)
    return Finding(_SEEDS)


def _globals(first: Build, other: Build, difference: str, entry: Entry) -> Finding:
    """Compare two builds of different seeds, after the global generators were seeded differently.

    Args:
        first: the build of one seed.
        other: the build of another.
        difference: the difference of the streams that one seed gives after different global seeds, in words.
        entry: the scenario's entry.
    """
    moved = changes(first.before, first.after)
    look = (
        f"{entry.origin}: draw from seeds.generator('some-role'), and shuffle by torch.randperm(n, generator=...); an "
        "Avalanche benchmark takes a fixed_class_order"
    )
    if difference:
        return broken(_GLOBALS, "the same stream whatever ran before", difference, look)
    if pinned := [name for name in moved if first.after[name] == other.after[name]]:
        seen = f"the global generator of {', '.join(pinned)} is in the same state after seed 0 and after seed 1"
        look = (
            "manual_seed or seed with a constant, also as seed=... of an Avalanche benchmark: draws of extensions from "
            f"the global generators would be the same for all seeds; {look}"
        )
        return broken(_GLOBALS, "generators as they were", seen, look)
    if moved:
        seen = f"it changes the global generator of {', '.join(moved)}; the stream is the same nonetheless"
        return Finding(_GLOBALS, "note", seen=seen)
    return Finding(_GLOBALS)


def _trained(stream: Stream, entry: Entry) -> Finding:
    try:
        n = len(_measured(_small(stream)))
    except (Exception, SystemExit) as error:
        return raised(_TRAINED, error, entry, "images or a track that lifegen's models can't take")
    return Finding(_TRAINED, seen=counted(n, "measurement"))


def _small(stream: Stream) -> Stream:
    """The first two intervals with few images and steps."""
    visits = [interval.distribution for interval in stream.train_stream][:2]
    parts = parts_of(stream)

    def images(name: str, part: int, n: int) -> Images:
        return parts[name][part].spread(min(n, len(parts[name][part].x)))

    options = {"steps": 3, "track": stream.track, "importance_draws": 2, "importance_images": 2}
    return small_stream(visits, images, sizes=(12, 12, 12), **options)


def _measured(stream: Stream) -> list[dict[str, Any]]:
    strategy, evaluator = begun(made("naive", SMALL), stream, Seeds(0))
    rows = []
    for interval, experience in enumerate(stream.train_stream):
        strategy.train(experience, eval_streams=[])
        rows += evaluator.measure(strategy, interval, train_seconds=0.0)
    return rows
