"""A metric may look at everything and change nothing: `run` and `check` notice each change, and blame nobody who only
looked."""

from __future__ import annotations

import random
import re
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from avalanche.core import SupervisedPlugin
from torch import nn

from lifegen.benchmark.authoring.checks import metric
from lifegen.benchmark.authoring.checks.metric import check_metric
from lifegen.benchmark.contracts.images import to_unit
from lifegen.benchmark.contracts.registry import Entry
from lifegen.benchmark.measuring.fingerprint import Watch, fingerprint
from lifegen.benchmark.measuring.measurement import Measurement
from lifegen.benchmark.measuring.rows import Row
from lifegen.benchmark.seeds import Seeds
from lifegen.methods.models.vae import CodeStyleVAE

FACTS = {"unit": "", "better": None, "over_intervals": "last", "derived": False, "most": None}


def entry(touch: Callable[[Any], object]) -> Entry:
    def touches(m):
        """Touches something."""
        touch(m)
        yield Row(1.0)

    return Entry("metric", "touching", 1, touches, None, FACTS)


def measured(touch: Callable[[Any], object]) -> None:
    """Measure a method that has a teacher, after its last interval, as a run does."""
    moment = deepcopy(metric._moments()[-1])
    moment.evaluator.metrics = [entry(touch)]
    moment.evaluator.measure(moment.strategy, moment.interval, 0.0)


@contextmanager
def settings_kept():
    kept = torch.get_default_dtype(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    errors = np.geterr()
    yield
    torch.set_default_dtype(kept[0])
    torch.set_num_threads(kept[1])
    torch.use_deterministic_algorithms(kept[2])
    torch.set_grad_enabled(True)
    torch.autograd.set_detect_anomaly(False)
    torch.set_flush_denormal(False)
    np.seterr(**errors)


def optimizer(m: Any) -> Any:
    return m.strategy.optimizer


def first(m: Any) -> Any:
    return next(m.model.parameters())


def teachers(m: Any) -> Iterator[Any]:
    """Plugins that have one; the first models that check looks at don't."""
    return (one for one in m.strategy.plugins if getattr(one, "teacher", None))


def permutes(m: Any) -> None:
    """Units in another order: all sums stay."""
    first(m).copy_(first(m).flip(0))


def replaces(m: Any) -> None:
    layer = m.model.encoder_head
    layer.weight = torch.nn.Parameter(layer.weight.clone())


def leaves_gradients(m: Any) -> None:
    with torch.inference_mode(False), torch.enable_grad():
        (first(m) ** 2).sum().backward()


def changes_a_teacher(m: Any) -> None:
    for one in teachers(m):
        next(one.teacher.parameters()).data.mul_(2)


def draws_a_replays_noise(m: Any) -> None:
    for one in teachers(m):
        torch.rand(1, generator=one._replay.on(m.strategy.device))


def ends_a_sub_modules_training(m: Any) -> None:
    m.model.encoder.train()


TOUCHES: dict[str, tuple[Callable[[Any], object], str]] = {
    "learning rate": (lambda m: optimizer(m).param_groups[0].update(lr=1e-9), r"the optimiser \(group 0\.lr\)"),
    "betas": (lambda m: optimizer(m).param_groups[0].update(betas=(0.5, 0.9)), r"the optimiser \(group 0\.betas"),
    "moments": (lambda m: optimizer(m).state[first(m)]["exp_avg"].zero_(), r"the optimiser \(state 0\.exp_avg\)"),
    "all moments": (lambda m: optimizer(m).state.clear(), r"the optimiser \(state"),
    "what is optimised": (lambda m: optimizer(m).param_groups[0]["params"].pop(), r"the optimiser \(group 0\.params"),
    "another optimiser": (
        lambda m: setattr(m.strategy, "optimizer", torch.optim.SGD(m.model.parameters(), lr=1.0)),
        "the optimiser .*the strategy .*optimizer",
    ),
    "weights, whose sums stay": (permutes, r"the model's weights or buffers \(encoder\.1"),
    "weights by .data": (lambda m: first(m).data.mul_(2), r"the model's weights or buffers \(encoder\.1"),
    "weights by numpy": (lambda m: first(m).detach().numpy().fill(0), r"the model's weights or buffers \(encoder\.1"),
    "a weight that isn't the optimiser's": (replaces, r"which weights are trained \(encoder_head\.weight\)"),
    "a buffer that isn't saved": (
        lambda m: m.model._temperature.fill_(9),
        r"the model's weights or buffers \(_temperature\)",
    ),
    "requires_grad": (
        lambda m: m.model.encoder_head.requires_grad_(False),
        r"which weights are trained \(encoder_head\.bias, encoder_head\.weight\)",
    ),
    "gradients": (leaves_gradients, r"the model's gradients \(encoder\.1"),
    "mode of a part": (ends_a_sub_modules_training, r"the model's training mode \(encoder, encoder\.0, …\)"),
    "an attribute": (lambda m: setattr(m.model, "latent_noise", False), r"the model's attributes \(overrides\)"),
    "a method": (lambda m: setattr(m.model, "forward", m.model.reconstruct), r"the model's attributes \(overrides\)"),
    "a hook": (lambda m: m.model.encoder.register_forward_hook(print), r"the model's attributes \(encoder\.hooks\)"),
    "training's noise": (lambda m: m.model.sample(2, generator=m.model.generator), r"m\.model\.generator"),
    "a teacher": (changes_a_teacher, r"the method's plugins \(TeacherPlugin\.teacher\.encoder\.1"),
    "a plugin's noise": (draws_a_replays_noise, r"the method's plugins \(TeacherPlugin\._replay\._generator\)"),
    "one plugin fewer": (lambda m: m.strategy.plugins.pop(0), r"the method's plugins \(EarlyStopping"),
    "a counter": (lambda m: setattr(m.strategy, "counts", (0, 0)), r"the strategy \(counts\)"),
    "the clock": (
        lambda m: setattr(m.strategy.clock, "train_exp_counter", 7),
        r"\(Clock\.train_exp_counter\)",
    ),
    "batch size": (lambda m: setattr(m.strategy, "train_mb_size", 3), r"the strategy \(train_mb_size\)"),
    "training images": (
        lambda m: m.stream.images("train", m.stream.distributions[0]).x.numpy().fill(7),
        r"the stream's images or labels \(train 0\.0\)",
    ),
    "labels": (
        lambda m: m.stream.images("test", m.stream.distributions[0]).y.add_(1),
        r"the stream's images or labels \(test 0\.1\)",
    ),
    "steps": (lambda m: setattr(m.stream.train_stream[1], "steps", 1), r"the stream's intervals \(train 1\.steps\)"),
    "codes": (lambda m: m.codes[m.stream.distributions[0]].exp_(), r"m\.codes \(\w+\)"),
    "bounds of another's": (
        lambda m: m.evaluate("test", m.stream.distributions[0]).groups.zero_(),
        r"m\.evaluate\('test', '\w+'\) \(2\)",
    ),
    "the model that others see": (lambda m: setattr(m, "model", deepcopy(m.model)), "m.model"),
    "torch's draws": (lambda m: torch.rand(1), "the global generator of torch"),
    "numpy's draws": (lambda m: np.random.rand(1), "the global generator of numpy"),  # noqa: NPY002
    "dtype": (lambda m: torch.set_default_dtype(torch.float64), r"global settings \(torch\.default_dtype\)"),
    "threads": (lambda m: torch.set_num_threads(2), r"global settings \(torch\.num_threads\)"),
    "determinism": (
        lambda m: torch.use_deterministic_algorithms(True),
        r"global settings \(torch\.deterministic_algorithms\)",
    ),
    "grad mode": (lambda m: torch.set_grad_enabled(True), r"global settings \(torch\.grad_enabled\)"),
    "anomalies": (lambda m: torch.autograd.set_detect_anomaly(True), r"global settings \(torch\.anomaly_detection\)"),
    "denormals": (lambda m: torch.set_flush_denormal(True), r"global settings \(flushed denormals\)"),
    "numpy's errors": (lambda m: np.seterr(all="raise"), r"global settings \(numpy\.errstate\)"),
}


@pytest.mark.parametrize("name", TOUCHES)
def test_what_a_metric_changes_ends_its_cell_and_is_found_by_check(name):
    touch, what = TOUCHES[name]
    with settings_kept(), pytest.raises(RuntimeError, match=f"metric touching changes .*{what}.*: a metric may look"):
        measured(touch)
    with settings_kept():
        found = next(one for one in check_metric(entry(touch)) if one.status == "broken")
    assert found.promise == metric._TRACE
    assert re.search(what, found.seen), found.seen


def looks_at_everything(m: Any) -> None:
    """Computes all that metrics share, and puts back what it changes for a moment."""
    name = m.stream.distributions[0]
    x = to_unit(m.images("test", name))
    copied = deepcopy(m.model).train()
    copied(x)
    copied.requires_grad_(False)
    assert [m.codes, m.drift, m.codes_twice, m.importance, m.evaluate("valid", name)]
    m.model.sample(3, generator=Seeds(0).generator("mine"))
    m.model.reconstruct(x)
    m.model.latent_noise, noisy = False, m.model.latent_noise
    m.model.latent_noise = noisy
    forward = m.model.forward
    m.model.forward = lambda x: forward(x)
    m.model.forward = forward
    m.model.register_forward_hook(lambda *_: None).remove()
    assert m.strategy.stored_parameters
    assert m.strategy.traces.by_name
    with torch.random.fork_rng(), torch.autocast("cpu"):
        torch.rand(1)


def test_one_that_looks_at_everything_changes_nothing():
    measured(looks_at_everything)
    assert not [one for one in check_metric(entry(looks_at_everything)) if one.status == "broken"]


class Remembers(CodeStyleVAE):
    """Remembers what it has encoded last, as models in research code do."""

    def encode(self, x):
        self.last = x
        self.calls = getattr(self, "calls", 0) + 1
        return super().encode(x)


def test_what_changes_when_it_is_looked_at_is_no_metrics_fault():
    moment = deepcopy(metric._moments()[-1])
    moment.strategy.model.__class__ = Remembers
    moment.strategy.model.last, moment.strategy.model.calls = torch.zeros(1), 0
    moment.evaluator.metrics = [entry(lambda m: m.model.encode(torch.ones(2, *m.stream.image_shape)))]
    moment.evaluator.measure(moment.strategy, moment.interval, 0.0)
    moment.evaluator.metrics = [entry(lambda m: setattr(m.model, "codes", 1))]  # others of its attributes still count
    with pytest.raises(RuntimeError, match=r"changes the model's attributes \(codes\): a metric may look"):
        moment.evaluator.measure(moment.strategy, moment.interval, 0.0)


def test_nothing_is_watched_where_only_lifegens_own_metrics_are_measured(monkeypatch):
    monkeypatch.setattr(Measurement, "fingerprint", lambda self: pytest.fail("it costs time"))
    moment = deepcopy(metric._moments()[0])
    assert moment.evaluator.measure(moment.strategy, moment.interval, 0.0)


class Keeps(SupervisedPlugin):
    """Keeps what plugins keep, by all ways in which they do."""

    def __init__(self) -> None:
        super().__init__()
        self.arrays = {"a": [np.zeros(3), np.float32(0)]}
        self.queue = deque([torch.zeros(2), (1, {"deep": torch.zeros(())})])
        self.chosen = {3, 4}
        self.indices = list(range(5000))
        self.draws = (torch.Generator(), random.Random(0), np.random.default_rng(0), np.random.RandomState(0))
        self.network = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
        self.own = torch.optim.SGD(self.network.parameters(), lr=0.1, momentum=0.9)
        self.schedule = torch.optim.lr_scheduler.StepLR(self.own, 1)
        self.value = float("nan")
        self.empty = torch.empty(0, 3)
        self.sparse = torch.eye(2).to_sparse()
        self.self = self
        self.function = len
        self.slots = Slots(torch.zeros(1))


@dataclass(slots=True)
class Slots:
    tensor: torch.Tensor


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda p: p.arrays["a"][0].fill(1), "arrays.a.0"),
        (lambda p: p.queue[1][1]["deep"].add_(1), "queue.1.1.deep"),
        (lambda p: p.queue.pop(), "queue.1"),
        (lambda p: p.chosen.add(5), "chosen"),
        (lambda p: p.indices.__setitem__(7, 0), "indices"),
        (lambda p: p.draws[0].manual_seed(1), "draws.0"),
        (lambda p: p.draws[1].random(), "draws.1"),
        (lambda p: p.draws[2].random(), "draws.2"),
        (lambda p: p.draws[3].rand(), "draws.3"),
        (lambda p: p.network[0].weight.data.add_(1), "network.0.weight"),
        (lambda p: p.network[1].eval(), "network.1.training"),
        (lambda p: p.network[0].requires_grad_(False), "network.0.weight.requires_grad"),
        (lambda p: p.own.param_groups[0].update(momentum=0), "own.group 0.momentum"),
        (lambda p: setattr(p.schedule, "last_epoch", 9), "schedule.last_epoch"),
        (lambda p: setattr(p, "value", 0.0), "value"),
        (lambda p: setattr(p, "function", max), "function"),
        (lambda p: setattr(p, "before_backward", max), "overrides"),
        (lambda p: p.slots.tensor.add_(1), "slots.tensor"),
        (lambda p: delattr(p, "chosen"), "chosen"),
    ],
)
def test_whatever_a_plugin_keeps_is_looked_at(change, place):
    moment = metric._moments()[0]
    plugin = Keeps()
    strategy = SimpleNamespace(**{**vars(moment.strategy), "plugins": [plugin]})
    watch = Watch(lambda: fingerprint(strategy, moment.evaluator.stream, {}, {}))
    assert not watch.changes()
    change(plugin)
    (changed,) = watch.changes()
    assert re.match(rf"the method's plugins \(.*Keeps\.{re.escape(place)}\b", changed), changed
