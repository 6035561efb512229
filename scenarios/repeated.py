"""Streams of one distribution that comes again and again: what is left of it where only replay hands it on?"""

from __future__ import annotations

from pathlib import Path

from pydantic import PositiveInt

from lifegen.benchmark import ScenarioConfig, Seeds, Stream, make_stream, register_scenario

from .data_sets import source
from .holding_out import held_out


class RepeatedConfig(ScenarioConfig):
    generations: PositiveInt = 10
    """Intervals, all of the same distribution: the whole data set."""


class RepeatedDigitsConfig(RepeatedConfig):
    steps: PositiveInt = 300
    """Optimiser steps per interval."""


@register_scenario("repeated-digits", version=1, config=RepeatedDigitsConfig, data=("digits",), expert="digits")
def repeated_digits(config: RepeatedConfig, seeds: Seeds, data_root: Path) -> Stream:
    """All embedded 8x8 digits, again and again: for methods with real_share=none, whose students see replay alone."""
    return _repeated("digits", config, seeds, data_root)


@register_scenario("repeated-mnist", version=1, config=RepeatedConfig, data=("mnist",), expert="mnist")
def repeated_mnist(config: RepeatedConfig, seeds: Seeds, data_root: Path) -> Stream:
    """All of MNIST, again and again: for methods with real_share=none, whose students see replay alone."""
    return _repeated("mnist", config, seeds, data_root)


def _repeated(name: str, config: RepeatedConfig, seeds: Seeds, data_root: Path) -> Stream:
    data = source(name).load(data_root)
    parts = held_out(data.train, data.test, config.validation)
    return make_stream({"all": parts}, ["all"] * config.generations, config, seeds)
