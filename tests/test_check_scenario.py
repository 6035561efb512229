"""What is said of scenarios: nothing bad of lifegen's own, and the right thing of each broken one."""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from avalanche.benchmarks import nc_benchmark

from lifegen.benchmark.authoring.checks import Finding, scenario
from lifegen.benchmark.authoring.checks.scenario import check_scenario
from lifegen.benchmark.contracts.images import Images
from lifegen.benchmark.contracts.options import Options
from lifegen.benchmark.contracts.registry import SCENARIOS, Entry
from lifegen.benchmark.contracts.stream import Interval, Parts, ScenarioConfig, Stream, TensorImages, make_stream
from lifegen.benchmark.discovery.index import describe
from lifegen.benchmark.seeds import Seeds
from lifegen.scenarios import split
from lifegen.scenarios.data_sets import source

__all__ = ["split"]  # registers split-mnist


NOWHERE = Path("/nonexistent")
SIZES = (20, 8, 8)


class Config(ScenarioConfig):
    steps: int = 4
    """Steps of an interval."""


def entry(target: Callable[..., Any], config: type[Options] = Config, data: tuple[str, ...] = ()) -> Entry:
    return Entry("scenario", "tested", 1, target, config, {}, lambda _: data)


def images(n: int, *role: str | int, seeds: Seeds = Seeds(0), most: int = 255) -> Images:  # noqa: B008
    x = torch.randint(0, most + 1, (n, 1, 4, 4), generator=seeds.generator("images", *role))
    return Images(x.to(torch.uint8), torch.zeros(n, dtype=torch.int64))


def parts(name: str, **options: Any) -> Parts:
    return Parts(*(images(n, name, i, **options) for i, n in enumerate(SIZES)))


def changed(config: Config, change: Callable[[Images], Images], visits: str = "ab") -> Stream:
    """The stream with something done to all its images."""
    return make_stream({name: Parts(*map(change, parts(name))) for name in visits}, visits, config, Seeds(0))


def built(config: Config, visits: str = "aba", seeds: Seeds = Seeds(0)) -> Stream:  # noqa: B008
    return make_stream({name: parts(name) for name in set(visits)}, visits, config, seeds)


def good(config: Config, seeds: Seeds, data_root: Path) -> Stream:
    """Random images; distributions and lengths come in an order of the seed's."""
    order = torch.randperm(3, generator=seeds.generator("visits")).tolist()
    return built(config, "".join("abc"[i] for i in [*order, order[0]]), seeds)


def found(target: Callable[..., Any] | Entry, options: Any = None, root: Path = NOWHERE) -> list[Finding]:
    return list(check_scenario(target if isinstance(target, Entry) else entry(target), options, root))


def broken(findings: list[Finding]) -> list[Finding]:
    return [one for one in findings if one.status == "broken"]


def of(findings: list[Finding], promise: str) -> Finding:
    return next(one for one in findings if one.promise == promise)


OWN = [name for name, one in describe("scenario").items() if one.module.startswith("lifegen.") and "digits" in name]


@pytest.mark.parametrize("name", OWN)
def test_lifegens_own_scenarios_keep_what_they_promise(name):
    import_module(describe("scenario")[name].module)
    findings = found(SCENARIOS[name])
    assert not broken(findings)
    assert {one.promise for one in findings} >= PROMISES
    assert of(findings, "what the stream is").status == "note"


def test_mnist_in_a_moment(real_data):
    source("mnist").fetch(real_data)  # unpacks
    findings = found(SCENARIOS["split-mnist"], {"test_images": 100}, real_data)
    assert not broken(findings)
    assert "28×28" in of(findings, "what the stream is").seen


DESCRIBED = "it and its options are described"
PROMISES = {value for name, value in vars(scenario).items() if name.startswith("_") and name[1:].isupper()
            if isinstance(value, str)} | {DESCRIBED}  # fmt: skip


@pytest.mark.parametrize("options", [{}, {"interval_length": "random", "extra_steps": 3}, {"test_images": 7}])
def test_a_good_one_keeps_all(options):
    findings = found(good, options)
    assert [one.promise for one in findings if one.status != "kept"] == ["what the stream is"]
    assert {one.promise for one in findings} == PROMISES | {"what the stream is"}
    counts = of(findings, "what the stream is").seen
    assert counts.startswith("4 intervals of ")
    assert "3 distributions; images of 1×4×4, bernoulli-grey; of each distribution: train 20, valid " in counts


# One that breaks each promise


def undocumented(config, seeds, data_root):
    return built(config)


class Silent(Config):
    blur: float = 0.0


class Unfit(Config):
    angles: tuple[int, ...]
    """What has no default."""


def raises(config, seeds, data_root):
    """Raises."""
    return {}["digit"]


def gives_nothing(config, seeds, data_root):
    """Forgets to return."""
    built(config)


def floats(config, seeds, data_root):
    """Images in [0, 1]."""
    return changed(config, lambda one: one._replace(x=one.x.float() / 255))


def foreign(config, seeds, data_root):
    """An Avalanche benchmark's experiences."""
    data = TensorImages(images(20))
    data.targets = [0] * 20
    others = nc_benchmark(data, data, n_experiences=1, task_labels=False, shuffle=False)
    stream = built(config)
    return Stream(list(others.train_stream), list(stream.valid_stream), list(stream.test_stream), config)


def misnumbered(config, seeds, data_root):
    """One object twice."""
    stream = built(config)
    train = list(stream.train_stream)
    return Stream([train[0], train[1], train[0]], list(stream.valid_stream), list(stream.test_stream), config)


def stepless(config, seeds, data_root):
    """An interval of no step."""
    stream = built(config)
    stream.train_stream[1].steps = 0
    return stream


def untested(config, seeds, data_root):
    """A distribution without test images."""
    stream = built(config)
    return Stream(list(stream.train_stream), list(stream.valid_stream), list(stream.test_stream)[:1], config)


def unmet(config, seeds, data_root):
    """A distribution that no interval has."""
    stream = built(config)
    return Stream(list(stream.train_stream)[:1], list(stream.valid_stream), list(stream.test_stream), config)


def out_of_order(config, seeds, data_root):
    """Test parts in another order than they are met."""
    stream = built(config)
    return Stream(list(stream.train_stream), list(stream.valid_stream), list(stream.test_stream)[::-1], config)


def always_new(config, seeds, data_root):
    """What comes back is called new."""
    stream = built(config)
    stream.train_stream[2].is_new = True
    return stream


def of_two_shapes(config, seeds, data_root):
    """Its second distribution is larger."""
    made = []
    for i, size in enumerate((4, 5)):
        x = torch.randint(0, 256, (9, 1, size, size), generator=torch.Generator().manual_seed(i)).byte()
        experience = {"interval": i, "distributions": ("ab"[i],), "is_new": True, "steps": 4}
        made.append([Interval(Images(x, torch.zeros(9, dtype=torch.int64)), **experience) for _ in range(3)])
    return Stream(*([one[i] for one in made] for i in range(3)), config)


def cast(config, seeds, data_root):
    """Floats in [0, 1] as bytes."""
    return changed(config, lambda one: one._replace(x=(one.x / 255).byte()))


def unscaled(config, seeds, data_root):
    """Levels from 0 to 16."""
    return changed(config, lambda one: one._replace(x=one.x // 16))


def normalised(config, seeds, data_root):
    """Standard scores as bytes."""
    return changed(config, lambda one: one._replace(x=((one.x.float() - 128) / 64).to(torch.int64).byte()))


def overlapping(config, seeds, data_root):
    """Tests on what it has trained on."""
    three = parts("a")
    return make_stream({"a": three._replace(test=three.train.select(slice(5)))}, "a", config, seeds)


def validates_on_tests(config, seeds, data_root):
    """Its validation part is the test part."""
    three = parts("a")
    return make_stream({"a": three._replace(valid=three.test)}, "a", config, seeds)


KEPT = parts("a")


def writes(config, seeds, data_root):
    """Writes into what the module keeps."""
    KEPT.train.x.add_(1)
    return make_stream({"a": KEPT}, "a", config, seeds)


COUNTER = iter(range(10**6))


def unseeded(config, seeds, data_root):
    """Images that differ from call to call."""
    return make_stream({"a": parts("a", seeds=Seeds(next(COUNTER)))}, "a", config, seeds)


def shuffles_intervals(config, seeds, data_root):
    """An order that differs from call to call."""
    return built(config, "abc" if next(COUNTER) % 2 else "acb")


def seeded_images(config, seeds, data_root):
    """Images that the seed draws."""
    return make_stream({"a": parts("a", seeds=seeds)}, "a", config, seeds)


def seeded_split(config, seeds, data_root):
    """A split that the seed draws."""
    all_of_it = images(36, "all")
    order = torch.randperm(36, generator=seeds.generator("split"))
    return make_stream({"a": Parts(*(all_of_it.select(some) for some in order.split(SIZES)))}, "a", config, seeds)


def shuffled(by: Callable[[], list[int]]) -> Callable[..., Stream]:
    def target(config, seeds, data_root):
        """Shuffles by a global generator."""
        return built(config, "".join("abcde"[i] for i in by()))

    return target


def pins(config, seeds, data_root):
    """Seeds torch with a constant."""
    torch.manual_seed(1234)
    return built(config)


def repeats_a_role(config, seeds, data_root):
    """Draws the order of its intervals from what will be the order of the images."""
    order = torch.randperm(2, generator=seeds.generator("data-order", 0)).tolist()
    return built(config, "".join("ab"[i] for i in order))


def of_no_likelihood(config, seeds, data_root):
    """A track that there isn't."""
    stream = built(config)
    stream.track = "poisson"
    return stream


def slow(config, seeds, data_root):
    """What a stream takes when a minute is over at once."""
    return built(config)


def leaves(_):
    sys.exit("none")


of_no_data = replace(entry(good), data=leaves)


BROKEN: list[tuple[Any, str, str, str]] = [
    (undocumented, DESCRIBED, "it has none", "undocumented"),
    (entry(good, Silent), DESCRIBED, "none for blur", "below each"),
    (entry(good, Unfit), scenario._BUILT, "angles: Field required", "fields and validators of Unfit"),
    (entry(good, data=("mnits",)), scenario._BUILT, "unknown data source 'mnits'.*'mnist'", "data=.*names data"),
    (of_no_data, scenario._BUILT, r"SystemExit: none \(.*test_check_scenario\.py, line \d+\)", "data=.*names data"),
    (raises, scenario._BUILT, r"KeyError: 'digit' \(.*test_check_scenario\.py, line \d+\)", "raises"),
    (gives_nothing, scenario._BUILT, "a NoneType", "return make_stream"),
    (floats, scenario._BUILT, "'a', train part: images must be uint8.*float32.*scenario.py, line", "floats"),
    (foreign, scenario._BUILT, "a .*Experience of other data", "make_stream makes all parts"),
    (misnumbered, scenario._NUMBERED, "0, 1, 0", "a fresh one for each visit"),
    (stepless, scenario._LENGTH, "4, 0, 4", "not made by make_stream"),
    (untested, scenario._MET, "'b' has no test images", "make_stream"),
    (unmet, scenario._MET, "'b' has no train images", "make_stream"),
    (out_of_order, scenario._MET, "b, a", "make_stream"),
    (always_new, scenario._NEW, "True, True, True", "make_stream"),
    (of_two_shapes, scenario._IMAGES, r"train part of 'b': uint8 \(9, 1, 5, 5\)", "make_stream refuses"),
    (cast, scenario._RANGE, "largest pixel of 'a', 'b' is 1", r"mul\(255\)"),
    (unscaled, scenario._RANGE, "all pixels are 0 to 15", "another scale"),
    (normalised, scenario._RANGE, r"only levels are \[0, 1, 254, 255\]", "negative values"),
    (overlapping, scenario._DISJOINT, "'a': 5 of the 5 images of its test or train part are in both", "held_out"),
    (validates_on_tests, scenario._DISJOINT, "8 of the 8 images of its test or valid part", "held_out"),
    (writes, scenario._KEPT, "train part of 'a' differs in its images", "clone it first"),
    (unseeded, scenario._TWICE, "part of 'a' differs in its images", "a generator without a seed"),
    (shuffles_intervals, scenario._TWICE, "interval 1 is 4 steps of '.', then 4 of '.'", "order of a set"),
    (seeded_images, scenario._SEEDS, "seeds 0 and 1: the train part of 'a' differs in its images", "Seeds.0."),
    (seeded_split, scenario._SEEDS, "differs in its images", "split"),
    (shuffled(lambda: torch.randperm(5).tolist()), scenario._GLOBALS, "interval . is", "fixed_class_order"),
    (shuffled(lambda: random.sample(range(5), 5)), scenario._GLOBALS, "interval . is", "seeds.generator"),
    (shuffled(lambda: np.random.permutation(5)), scenario._GLOBALS, "interval . is", "seeds.generator"),  # noqa: NPY002
    (pins, scenario._GLOBALS, "of torch is in the same state after seed 0 and after seed 1", "constant"),
    (repeats_a_role, scenario._ROLES, "from the role 'data-order', as others do", "docstring of Seeds lists"),
    (of_no_likelihood, scenario._TRAINED, "ValidationError.*poisson|track.*poisson", "track that lifegen's models"),
    (slow, scenario._FAST, "s$", "whole tensors"),
]  # fmt: skip


FOLLOWS = {
    misnumbered: {scenario._NEW},
    cast: {scenario._DISJOINT},  # what is left of most images is black
    writes: {scenario._TWICE, scenario._SEEDS},
    unseeded: {scenario._SEEDS},
}
"""What else is broken then, and rightly."""


@pytest.mark.parametrize(("target", "promise", "seen", "look"), BROKEN)
def test_a_broken_promise_is_found_and_no_other(target, promise, seen, look, monkeypatch):
    if target is slow:
        monkeypatch.setattr(scenario, "MOST_SECONDS", 0.0)
    findings = broken(found(target))
    first = findings[0]
    assert first.promise == promise
    assert first.expected
    assert re.search(seen, first.seen, re.DOTALL), first.seen
    assert re.search(look, first.look, re.DOTALL), first.look
    assert {one.promise for one in findings} <= {promise, *FOLLOWS.get(target if callable(target) else None, ())}


def test_each_promise_can_be_broken():
    assert {promise for _, promise, *_ in BROKEN} == PROMISES


# What breaks nothing


def test_missing_data_are_no_fault_of_the_scenarios(tmp_path, monkeypatch):
    monkeypatch.setattr(source("mnist"), "fetch", source("mnist").load)  # without a network
    written, built = found(SCENARIOS["split-mnist"], root=tmp_path)
    assert written.status == "kept"
    assert built.status == "skipped"
    assert "mnist isn't complete" in built.seen


def test_defaults_are_built_even_if_options_are_given():
    def demands(config, seeds, data_root):
        """Raises at its defaults."""
        if config.steps == 4:
            raise ValueError("four steps")
        return built(config)

    assert broken(found(demands, {"steps": 5}))[0].seen.startswith("ValueError: four steps (")
    assert broken(found(good, {"step": 5}))[0].seen == "step: Extra inputs are not permitted"


def test_one_image_that_comes_twice_is_the_datas():
    def repeats(config, seeds, data_root):
        """An image of the test part is in the train part."""
        three = parts("a")
        three.test.x[0] = three.train.x[0]
        return make_stream({"a": three}, "a", config, seeds)

    findings = found(repeats)
    assert not broken(findings)
    assert of(findings, scenario._DISJOINT).status == "note"
    assert "1 of the 8 images" in of(findings, scenario._DISJOINT).seen


@pytest.mark.parametrize(
    "touch",
    [lambda _: torch.rand(1), lambda _: random.random(), lambda seeds: torch.manual_seed(seeds.of("avalanche"))],
)
def test_global_generators_that_are_moved_to_no_effect_are_a_note(touch):
    def moves(config, seeds, data_root):
        """Moves a global generator, as some of Avalanche's benchmarks do."""
        touch(seeds)
        return built(config)

    findings = found(moves)
    assert not broken(findings)
    assert of(findings, scenario._GLOBALS).status == "note"
    assert "the stream is the same nonetheless" in of(findings, scenario._GLOBALS).seen


def test_what_an_import_draws_is_not_the_scenarios():
    calls: list[int] = []

    def draws_once(config, seeds, data_root):
        """Draws when it is first called, as imports do."""
        if not calls:
            random.random()
        calls.append(1)
        return built(config)

    assert of(found(draws_once), scenario._GLOBALS).status == "kept"


def test_seeds_without_a_distribution_in_common_are_not_compared():
    def apart(config, seeds, data_root):
        """A distribution of each seed's own."""
        return make_stream({f"d{seeds.seed}": parts("a", seeds=seeds)}, [f"d{seeds.seed}"], config, seeds)

    assert of(found(apart), scenario._SEEDS).status == "skipped"


def test_samples_that_more_distributions_share_are_smaller_and_not_compared():
    def more(config, seeds, data_root):
        """A distribution more, the higher the seed."""
        return built(config, "abc"[: 2 + seeds.seed], seeds)

    assert of(found(more, {"test_images": 6}), scenario._SEEDS).status == "note"
    assert of(found(more), scenario._SEEDS).status == "kept"


def test_binarised_images_use_the_range():
    assert of(found(good, {"track": "bernoulli-binarised"}), scenario._RANGE).status == "kept"


def test_findings_come_as_they_are_known():
    def second_raises(config, seeds, data_root):
        """Raises the second time."""
        if calls.append(1) or len(calls) > 1:
            raise RuntimeError("once is enough")
        return built(config)

    calls: list[int] = []
    findings: Iterator[Finding] = check_scenario(entry(second_raises), None, NOWHERE)
    assert [next(findings).status for _ in range(3)] == ["kept"] * 3
    assert len(calls) == 1
    last = list(findings)[-1]
    assert (last.status, last.expected) == ("broken", "a stream of seed 0")
    assert last.seen.startswith("RuntimeError: once is enough (")
