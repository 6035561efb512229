"""Building a scenario's stream repeatedly, and comparing two of its streams."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from pydantic import ValidationError

from ...contracts.images import Images
from ...contracts.registry import Entry
from ...contracts.stream import Interval, Parts, Stream, tensor_view
from ...discovery.index import source
from ...errors import InputError
from ...seeds import Seeds, global_states
from .common import digest
from .findings import Finding, Stopped, broken, raised
from .roles import RecordedSeeds

BUILT = "it builds a stream from its options"
MET = "every distribution is met, and has train, valid and test images"


class Build(NamedTuple):
    """The time and the side effects of building a stream."""

    seconds: float
    before: dict[str, bytes]
    """States of the global generators"""
    after: dict[str, bytes]


class Builder:
    """Builds a scenario's stream repeatedly."""

    def __init__(self, entry: Entry, options: Mapping[str, Any], data_root: Path) -> None:
        """Validate the options, and fetch the data.

        Raises:
            Stopped: the options don't fit, or the data is missing.
        """
        self.entry = entry
        self.seeds = RecordedSeeds(0, entry.name)
        """The seeds that it builds with, apart from the seed number."""
        self._root = data_root
        try:
            assert entry.config is not None  # register_scenario demands it
            self.config: Any = entry.config.model_validate(options)
            sources = [source(name) for name in entry.data(self.config)] if entry.data else []
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "options"
            seen = f"{where}: {first['msg'].removeprefix('Value error, ')}"
            look = f"the fields and validators of {entry.config.__name__}" if entry.config else ""
            raise Stopped(broken(BUILT, "options that fit together", seen, look)) from None
        except (Exception, SystemExit) as error:
            hint = "register_scenario(data=...) names data sources, or is a function of the options that does"
            raise Stopped(raised(BUILT, error, entry, hint)) from None
        try:
            for data_source in sources:
                data_source.fetch(data_root)
        except InputError as error:  # not the scenario's fault
            raise Stopped(Finding(BUILT, "skipped", seen=str(error))) from None

    def build(self, seed: int, ground: int) -> tuple[Stream, Build]:
        """Build the stream of a seed.

        Args:
            seed: the seed.
            ground: seed of the global generators before.

        Raises:
            Stopped: the scenario builds no stream.
        """
        Seeds(ground, "check").seed_globals()
        before = global_states()
        began = perf_counter()
        try:
            stream = self.entry.target(self.config, replace(self.seeds, seed=seed), self._root)
        except (Exception, SystemExit) as error:
            finding = raised(BUILT, error, self.entry)._replace(expected=f"a stream of seed {seed}")
            raise Stopped(finding) from None
        seconds = perf_counter() - began
        if not isinstance(stream, Stream):
            look = f"the end of {self.entry.origin}: return make_stream(distributions, visits, config, seeds)"
            raise Stopped(broken(BUILT, "a Stream", f"a {type(stream).__name__}", look))
        return stream, Build(seconds, before, global_states())

    def trace(self, seed: int, ground: int) -> tuple[Content, Build]:
        """:meth:`build`, but with digests of the stream's content, since the stream may be large."""
        stream, build = self.build(seed, ground)
        return content_of(stream), build


def parts_of(stream: Stream) -> dict[str, Parts]:
    """The parts of each distribution.

    Raises:
        Stopped: some are missing, or aren't lifegen's.
    """
    look = "make_stream makes all parts of a stream: return what it returns"
    by_name: dict[str, dict[str, Images]] = {}
    for part in Parts._fields:
        for interval in stream.streams[part]:
            images = tensor_view(interval.dataset) if isinstance(interval, Interval) else None
            if not isinstance(interval, Interval) or images is None:
                seen = f"a {type(interval).__name__} of other data"
                raise Stopped(broken(BUILT, f"in its {part} stream: Intervals of tensors", seen, look))
            by_name.setdefault(interval.distribution, {})[part] = images
    missing = [
        f"{name!r} has no {part} images"
        for name, images in by_name.items()
        for part in Parts._fields
        if part not in images or not len(images[part].x)
    ]
    if missing:
        raise Stopped(broken(MET, "all parts of each", "; ".join(missing), look))
    return {name: Parts(**images) for name, images in by_name.items()}


class Content(NamedTuple):
    """The content of a stream, to compare it with another's."""

    track: str
    visits: list[tuple[str, float | None]]
    """Distribution and steps, or passes, of each interval"""
    images: dict[tuple[str, str], tuple[int, bytes, bytes]]
    """Number of images, digests of images and labels, by distribution and part"""


def content_of(stream: Stream) -> Content:
    visits = [(interval.distribution, interval.length) for interval in stream.train_stream]
    parts = parts_of(stream)
    images = {(name, part): (len(x), digest(x), digest(y)) for name in parts for part, (x, y) in named(parts[name])}
    return Content(stream.track, visits, images)


def named(parts: Parts) -> Iterator[tuple[str, Images]]:
    return zip(parts._fields, parts, strict=True)


def difference_of(one: Content, other: Content) -> str:
    """The first difference of two streams in words; empty if there is none."""
    if one.track != other.track:
        return f"track {one.track}, then {other.track}"
    if len(one.visits) != len(other.visits):
        return f"{len(one.visits)} intervals, then {len(other.visits)}"
    for i, (visit, again) in enumerate(zip(one.visits, other.visits, strict=True)):
        if visit != again:
            return f"interval {i} is {visit[1]} steps of {visit[0]!r}, then {again[1]} of {again[0]!r}"
    return next(other_images(one, other), "")


def other_images(one: Content, other: Content) -> Iterator[str]:
    """Differences of the parts that two streams have in common, in words."""
    for (name, part), facts in one.images.items():
        again = other.images.get((name, part), facts)
        what = [word for word, a, b in zip(("number", "images", "labels"), facts, again, strict=True) if a != b]
        if what:
            yield f"the {part} part of {name!r} differs in its {what[0]}"
