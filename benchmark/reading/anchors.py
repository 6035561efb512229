"""Published numbers beside our own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..cells.spec import parse_spec
from ..cells.suite import Anchor, Suite, suites
from .scores import Scores
from .statistics import Estimate, mean_interval


class Anchored(NamedTuple):
    """A published number, and ours over seeds."""

    anchor: Anchor
    ours: Estimate

    @property
    def difference(self) -> float | None:
        """Ours minus what is published, in the metric's unit."""
        return None if self.anchor.published is None else self.ours.mean - self.anchor.published


def anchored(scores: Scores) -> list[Anchored]:
    """The anchors of lifegen's suites whose cells are in a store, in the suites' order."""
    return [line for one in suites().values() if one.anchors for line in _of(one, scores)]


def _of(suite: Suite, scores: Scores) -> Iterator[Anchored]:
    values = scores.numbers.dropna(subset="value").groupby(["scenario", "method", "metric"])["value"]
    for anchor in suite.anchors:
        key = parse_spec("scenario", anchor.scenario).label, suite.method(anchor.method).label, anchor.metric
        if key in values.groups:
            yield Anchored(anchor, mean_interval(values.get_group(key).to_numpy()))
