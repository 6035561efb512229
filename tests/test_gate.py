"""The gate: every method goes through it, and it catches what does nothing."""

from __future__ import annotations

import importlib
import math
import os
import sys
from typing import NamedTuple

import pytest
import torch
from avalanche.core import SupervisedPlugin
from avalanche.training.plugins import SynapticIntelligencePlugin
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from lifegen.benchmark.authoring.checks.method import GateError, check_method, findings
from lifegen.benchmark.contracts.model import GenerativeModel, LogWeights
from lifegen.benchmark.contracts.registry import METHODS, Entry
from lifegen.benchmark.contracts.stream import tensor_view
from lifegen.benchmark.discovery.index import describe
from lifegen.benchmark.training.method import Method
from lifegen.methods.models.method import VAEMethod
from lifegen.methods.models.plugins import ResetOptimizerPlugin

pytestmark = pytest.mark.filterwarnings(
    "ignore:Call to deprecated function update:DeprecationWarning",  # Avalanche's own, in ReplayPlugin
    "ignore:__array_wrap__ must accept context:DeprecationWarning",  # Avalanche's own, in SynapticIntelligencePlugin
)


@pytest.mark.parametrize("name", sorted(describe("method")))
def test_every_method_acts(name):
    """In or out of the tree; a method that skips itself fails, too."""
    # Its convolutions take a minute, and other tests of the networks look at them.
    options = {"architecture": "mlp"} if name == "lgm-2019" else {}
    try:
        check_method(name, options)
    except pytest.skip.Exception as skipped:
        pytest.fail(f"{name} has skipped the gate: {skipped}")


def entry(method: type[Method], **facts: object) -> Entry:
    known = {"uses": ["boundaries"], "reference": None, "differs_at_once": "", "inert": {}}
    return Entry("method", "tested", 1, method, method.Config, {**known, **facts})


def with_plugin(plugin: type[SupervisedPlugin], *args: object) -> type[Method]:
    class Tested(VAEMethod):
        """A method of one plugin."""

        def plugins(self, stream, seeds):
            return [*super().plugins(stream, seeds), plugin(*args)]

    return Tested


def test_stock_synaptic_intelligence_does_nothing_on_a_cpu_and_is_caught():
    """Its copies of the weights are views of them, so every distance is 0, at any strength."""
    for strength in (1.0, 1e6):
        with pytest.raises(GateError, match="the weights of naive after four conflicting intervals: it does nothing"):
            check_method(entry(with_plugin(SynapticIntelligencePlugin, strength)))


class Draws(SupervisedPlugin):
    """Changes nothing but the model's noise."""

    def before_forward(self, strategy, **_):
        torch.rand(3, generator=strategy.model.generator)


class Rows(SupervisedPlugin):
    """Passes more images through the network, which moves batch norm's running statistics and no weight."""

    def before_training_iteration(self, strategy, **_):
        strategy.model(torch.zeros_like(strategy.mb_x))


@pytest.mark.parametrize("plugin", [SupervisedPlugin, Draws, Rows])
def test_what_leaves_the_weights_alone_is_caught(plugin):
    facts = {"differs_at_once": "statistics", "inert": {"style": 2}} if plugin is Rows else {}  # as it is here anyway
    with pytest.raises(GateError, match="does nothing"):
        check_method(entry(with_plugin(plugin), **facts))


def test_a_fresh_optimiser_or_temperature_alone_is_no_method():
    with pytest.raises(GateError, match="does nothing"):
        check_method(entry(with_plugin(ResetOptimizerPlugin)))

    class Restarts(VAEMethod):
        """Restarts its temperature."""

        restarts_temperature = True

    with pytest.raises(GateError, match="does nothing"):
        check_method(entry(Restarts))


def test_a_method_that_differs_at_once_is_held_against_itself_without_what_it_does():
    importlib.import_module("lifegen.methods.growing_cvae")
    facts = METHODS["growing-cvae"].facts
    assert facts["differs_at_once"]
    check_method(METHODS["growing-cvae"])
    with pytest.raises(GateError, match="with inert=.*: it does nothing"):
        check_method(METHODS["growing-cvae"], {"playback": False, "circulatory": False})


def test_one_that_differs_at_once_without_inert_options_can_not_be_looked_at():
    found = {one.promise: one for one in findings(entry(with_plugin(Rows), differs_at_once="statistics"))}
    assert found["it acts"].status == "skipped"
    assert "pass inert={" in found["it acts"].seen


class Decays(SupervisedPlugin):
    def after_update(self, strategy, **_):
        with torch.no_grad():
            strategy.model.encoder_head.weight.mul_(0.9)


def test_what_differs_at_once_is_caught_unless_it_says_why():
    with pytest.raises(
        GateError, match="differs from naive after interval 0 already, by .* register it with differs_at"
    ):
        check_method(entry(with_plugin(Decays)))


def test_a_reference_need_not_act():
    check_method(entry(with_plugin(SupervisedPlugin), reference="lower"))


class Counts(SupervisedPlugin):
    """Counts intervals, and acts by the number. An iterator can't be saved, nor a function of no module."""

    def __init__(self, keeps: object = None) -> None:
        super().__init__()
        self.intervals = 0
        self.keeps = keeps

    def after_training_exp(self, strategy, **_):
        self.intervals += 1

    def before_backward(self, strategy, **_):
        for weights in strategy.model.parameters():
            strategy.loss = strategy.loss + self.intervals * weights.square().sum()


class Output(NamedTuple):
    x: Tensor
    each: Tensor

    def negative_elbo(self):
        return self.each


class Linear(GenerativeModel):
    """A network of nobody else's, as torch initialises it: a Gaussian style, one code, and no temperature to anneal."""

    codes = 1
    temperature = property(lambda self: 1.0)

    def __init__(self, shape, track):
        super().__init__()
        self.shape, self.track = shape, track
        self.encoder = nn.Linear(math.prod(shape), 4)
        self.decoder = nn.Linear(2, math.prod(shape))

    def weights(self, x, noise):
        mean, log_std = self.encoder(x.flatten(1)).chunk(2, -1)
        z = mean + log_std.exp() * noise
        logits = self.decoder(z)
        pixels = binary_cross_entropy_with_logits(logits, x.flatten(1).expand_as(logits), reduction="none")
        return -pixels.sum(-1), (0.5 * (noise.square() - z.square()) + log_std).sum(-1)

    def forward(self, x):
        noise = torch.randn(len(x), 2, generator=self.generator) * self.latent_noise
        return Output(x, -sum(self.weights(x, noise)))

    def log_weights(self, x, draws, generator=None):
        found = self.weights(x, torch.randn(draws, 1, 2, generator=generator).expand(-1, len(x), -1))
        return LogWeights(*(part[:, None] for part in found))

    def code_log_posterior(self, x, weights=None):
        return torch.zeros(len(x), 1)

    def sample(self, n, code=None, generator=None):
        return self.decoder(torch.randn(n, 2, generator=generator)).sigmoid().view(n, *self.shape)

    def reconstruct(self, x):
        return self.decoder(self.encoder(x.flatten(1))[:, :2]).sigmoid().view_as(x)


def of_its_own(plugin: type[SupervisedPlugin]) -> type[Method]:
    class Tested(Method):
        """A method with a network of its own."""

        def model(self, stream, seeds):
            return Linear(stream.image_shape, stream.track)

        def plugins(self, stream, seeds):
            return [plugin()]

    return Tested


def test_a_method_with_a_network_of_its_own_is_held_against_fine_tuning_of_that():
    check_method(entry(of_its_own(Counts)))
    with pytest.raises(GateError, match="the weights of naive after four conflicting intervals: it does nothing"):
        check_method(entry(of_its_own(SupervisedPlugin)))


class Forgets(Counts):
    """Keeps its number where no state can see it."""

    hidden = 0

    def __init__(self) -> None:
        super().__init__()
        Forgets.hidden = 0

    def after_training_exp(self, strategy, **_):
        Forgets.hidden += 1
        self.intervals = Forgets.hidden


def test_what_a_plugin_keeps_is_saved_or_refused():
    check_method(entry(with_plugin(Counts, {"a": [torch.ones(2), (1, "b")]})))
    for keeps, what in ((iter([1]), "list_iterator"), ({"deep": [lambda: 0]}, "keeps.deep.0 is a function")):
        with pytest.raises(GateError, match=f"its state can't be saved: .*{what}.*register it with restarts="):
            check_method(entry(with_plugin(Counts, keeps)))
        check_method(entry(with_plugin(Counts, keeps), restarts="it holds what can't be saved"))


def test_what_no_state_sees_is_caught():
    with pytest.raises(GateError, match="interrupted and resumed, it has other weights"):
        check_method(entry(with_plugin(Forgets)))


class Nan(SupervisedPlugin):
    def after_training_exp(self, strategy, **_):
        with torch.no_grad():
            strategy.model.encoder_head.bias[0] = float("nan")


class Unseeded(SupervisedPlugin):
    def after_update(self, strategy, **_):
        with torch.no_grad():
            strategy.model.encoder_head.bias.add_(torch.rand(1, generator=torch.Generator().manual_seed(next(COUNTER))))


COUNTER = iter(range(10**6))


class Keeps(SupervisedPlugin):
    stored_samples = 3


class Invents(SupervisedPlugin):
    synthetic_samples = 0

    def before_training_iteration(self, strategy, **_):
        self.synthetic_samples += 5


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        (Nan, "aren't finite after interval 0"),
        (Unseeded, "the same seed gives other weights"),
        (Keeps, "keeps real images without saying uses="),
        (Invents, "synthetic images of the past before there is one"),
    ],
)
def test_broken_promises_of_plugins_are_caught(plugin, message):
    with pytest.raises(GateError, match=message):
        check_method(entry(with_plugin(plugin)))


def breaks(name: str, function) -> type[Method]:
    class Tested(VAEMethod):
        """A method whose model breaks the contract."""

        def model(self, stream, seeds):
            model = super().model(stream, seeds)
            kind = type(model)
            model.__class__ = type("Broken", (kind,), {name: lambda self, *a, **k: function(kind, self, *a, **k)})
            return model

    return Tested


@pytest.mark.parametrize(
    ("name", "function", "message"),
    [
        (
            "code_log_posterior",
            lambda k, self, x, w=None: k.code_log_posterior(self, x)[:, 1:],
            "code_log_posterior: shape",
        ),
        ("code_log_posterior", lambda k, self, x, w=None: k.code_log_posterior(self, x) + 1, "doesn't sum to 1"),
        (
            "code_log_posterior",
            lambda k, self, x, w=None: k.code_log_posterior(self, x).roll(next(COUNTER), 1),
            "give other values",
        ),
        (
            "code_log_posterior",
            lambda k, self, x, w=None: k.code_log_posterior(self, x).roll(0 if w is not None else next(COUNTER), 1),
            "isn't the same each time",
        ),
        ("encode", lambda k, self, x: k.encode(self, x + x.mean(0)), "depends on the others in its batch"),
        ("sample", lambda k, self, n, **o: k.sample(self, 4, **o), "sample: shape"),
        ("sample", lambda k, self, *a, **o: k.sample(self, *a, **o) + 0.5, "sample: "),
        ("reconstruct", lambda k, self, x: k.reconstruct(self, x).flatten(1), "reconstruct: "),
        (
            "log_weights",
            lambda k, self, x, d, g=None: k.log_weights(self, x, d),
            "the same generator gives other values",
        ),
        (
            "log_weights",
            lambda k, self, x, d, g=None: (w := k.log_weights(self, x, d, g))._replace(code=w.code.roll(1, 1)),
            "its code isn't code_log_posterior",
        ),
    ],
)
def test_broken_promises_of_models_are_caught(name, function, message):
    with pytest.raises(GateError, match=message):
        check_method(entry(breaks(name, function)))


def test_what_draws_from_global_generators_is_caught_and_of_stock_plugins_it_is_noted():
    class Draws(Counts):
        def before_forward(self, strategy, **_):
            torch.rand(1)

    with pytest.raises(GateError, match="named generators only: it draws from the global generator of torch: pass gen"):
        check_method(entry(with_plugin(Draws)))
    notes = [one for one in findings(describe("method")["avalanche-ewc"].entry()) if "named generators" in one.promise]
    assert [(one.status, "EWCPlugin" in one.seen) for one in notes] == [("note", True)]


class DrawsARole(Counts):
    """Draws from a role, at its first use, as what needs the device does."""

    def __init__(self, seeds, *role) -> None:
        super().__init__()
        self.seeds, self.role = seeds, role

    def before_backward(self, strategy, **_):
        torch.rand(1, generator=self.seeds.generator(*self.role))
        super().before_backward(strategy)


@pytest.mark.parametrize("role", ["data-order", "latent-noise", "global", "visits", "mine"])
def test_a_seed_role_that_is_somebody_elses_is_refused(role):
    """It would draw the same numbers: the batches' order, for example, and its own."""

    class Tested(VAEMethod):
        """Draws from a role."""

        def plugins(self, stream, seeds):
            return [*super().plugins(stream, seeds), DrawsARole(seeds, role, 0)]

    refused = [one for one in findings(entry(Tested, reference="lower")) if one.status == "broken"]
    assert [one.promise for one in refused] == ["it draws from seed roles of its own"] * (role != "mine")
    assert all(f"the role {role!r}" in one.seen for one in refused)


class Writes(Counts):
    """Changes the images that its experience holds."""

    def after_training_exp(self, strategy, **_):
        super().after_training_exp(strategy)
        tensor_view(strategy.experience.dataset).x[0, 0, 0, 0] ^= 1


def test_what_writes_into_its_data_is_caught():
    with pytest.raises(GateError, match="what it is given stays as it is: some have other values"):
        check_method(entry(with_plugin(Writes)))


@pytest.mark.parametrize(
    ("name", "function", "message"),
    [
        ("log_weights", lambda k, self, x, d, g=None: k.log_weights(self, x.clamp_(0.1), d, g), "input alone"),
        ("sample", lambda k, self, n, code=None, generator=None: k.sample(self, n, code), "global generator of torch"),
        (
            "log_weights",  # without what the style costs
            lambda k, self, x, d, g=None: (w := k.log_weights(self, x, d, g))._replace(divergence=w.divergence * 0),
            r"negative_elbo: the sum is [1-9].*: not a bound on −log p\(x\)",
        ),
    ],
)
def test_what_is_no_bound_or_has_side_effects_is_caught(name, function, message):
    with pytest.raises(GateError, match=message):
        check_method(entry(breaks(name, function), reference="lower"))


def test_what_raises_is_told_with_its_line():
    class Raises(Counts):
        def before_forward(self, strategy, **_):
            raise KeyError("no such thing")

    with pytest.raises(
        GateError, match=r"trains on four small intervals: KeyError: 'no such thing' \(.*test_gate.py, line"
    ):
        check_method(entry(with_plugin(Raises)))


def test_a_model_of_other_images_is_said_to_have_no_bound_that_was_looked_at():
    class Large(VAEMethod):
        """Wants large images."""

        def model(self, stream, seeds):
            if stream.image_shape[1] < 8:
                raise ValueError("images are too small")
            return super().model(stream, seeds)

    found = {one.promise: one for one in findings(entry(Large, reference="lower"))}
    assert found["its values are bounds"].status == "skipped"
    assert "images are too small" in found["its values are bounds"].seen


class From(VAEMethod):
    """Wants images of some size."""

    least = 32

    def model(self, stream, seeds):
        if stream.image_shape[1] < self.least:
            raise ValueError(f"{stream.image_shape[1]} is too small")
        return super().model(stream, seeds)


def test_a_model_of_large_images_is_looked_at_on_these():
    found = {one.promise: one for one in findings(entry(From, reference="lower"))}
    trained = found["it trains on four small intervals"]
    assert trained.status == "note"
    assert trained.seen.startswith("on 32 × 32 images; on 8 × 8: ValueError: 8 is too small (")
    assert not [one for one in found.values() if one.status == "broken"]
    assert "on 32 × 32 images" in found["cost"].seen
    with pytest.raises(GateError, match="four small intervals: ValueError: 8 is too small"):
        check_method(entry(type("Larger", (From,), {"least": 64, "__doc__": From.__doc__})))


def test_what_is_looked_at_has_the_options_that_are_given():
    for options, narrow in (({}, ", with width=32, architecture=mlp"), ({"width": 6, "architecture": "mlp"}, "")):
        found = {one.promise: one.seen for one in findings(entry(VAEMethod, reference="lower"), options)}
        assert found["cost"].endswith(f"8 × 8 images{narrow}")
        assert found["its values are bounds: iwae_nll"].endswith(", with architecture=mlp") == bool(narrow)


@pytest.mark.parametrize("end", [RuntimeError, sys.exit, os._exit])
@pytest.mark.parametrize("runs", [0, 1])
def test_an_end_at_any_time_is_a_broken_promise(end, runs):
    class Ends(VAEMethod):
        """Ends after some runs."""

        begun = 0

        def plugins(self, stream, seeds):
            Ends.begun += 1
            if Ends.begun > 2 * runs:  # one is looked at for its kind
                if end is RuntimeError:
                    raise end("over")
                os._exit(0) if end is os._exit else sys.exit(0)
            return super().plugins(stream, seeds)

    *_, last = findings(entry(Ends))
    assert last.status == "broken"
    assert last.promise == ("nothing raises an error" if runs else "it trains on four small intervals")
    assert "test_gate.py, line" in last.seen
