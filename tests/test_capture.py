"""Captured steps are the eager ones. A recording of tensor operations stands in for the GPU's graph."""

from __future__ import annotations

import pytest
import torch
from avalanche.core import SupervisedPlugin
from avalanche.evaluation.metrics import loss_metrics
from avalanche.training.plugins import EvaluationPlugin

from lifegen.benchmark.choice import choose
from lifegen.benchmark.seeds import Seeds
from lifegen.benchmark.template import GenerativeTemplate
from lifegen.benchmark.worker import build_method

from .conftest import tiny
from .recorded_graph import RecordedGraph

SMALL = "width=8,batch_size=12,style=2"


def trained(method: str, *plugins: SupervisedPlugin, graph: object = None, **options: object) -> GenerativeTemplate:
    """A strategy after three intervals, with more plugins at the end."""
    strategy = build_method(choose("method", method)).strategy(stream := tiny("abc", steps=9, **options), Seeds(0))
    strategy.plugins[-1:-1] = plugins  # the clock stays last
    strategy.graph = graph
    for experience in stream.train_stream:
        strategy.train(experience, eval_streams=[])
    return strategy


def differences(one: GenerativeTemplate, other: GenerativeTemplate) -> list[str]:
    """What is not the same, to the bit."""
    first, second = ({**strategy.model.state_dict()} for strategy in (one, other))
    found = [name for name in first if not torch.equal(first[name], second[name])]
    for name in ("real_samples", "synthetic_samples", "optimizer_steps", "stored_parameters"):
        if getattr(one, name) != getattr(other, name):
            found.append(name)
    if (one.gradient_norms.steps, one.gradient_norms.values) != (
        other.gradient_norms.steps,
        other.gradient_norms.values,
    ):
        found.append("gradient_norms")
    return found


@pytest.mark.parametrize(
    "method",
    [
        f"naive:{SMALL}",
        f"batch:{SMALL}",
        f"generative-replay:{SMALL},mixing=bernoulli",
        f"lifelong-vae:{SMALL},consistency_on=both,mutual_information=infogan,likelihood_consistency_weight=1",
        f"ewc:{SMALL}",
        f"growing-mixture:{SMALL}",
        f"experts:{SMALL}",
        f"exact-replay:{SMALL}",
        "naive:width=2,batch_size=12,style=2,architecture=conv,norm=group",
    ],
)
def test_captured_steps_are_the_eager_ones_to_the_bit(method):
    captured = trained(method, graph=RecordedGraph)
    assert captured.execution == "captured"
    assert differences(captured, trained(method)) == []


def test_an_interval_that_is_stopped_early_is_the_same_too():
    options = {"interval_length": "early-stopping", "check_every": 2, "patience": 2}
    method = f"lifelong-vae:{SMALL},learning_rate=0.3"
    eager = trained(method, **options)
    assert eager.optimizer_steps < 9
    assert differences(trained(method, graph=RecordedGraph, **options), eager) == []


class Scaled(SupervisedPlugin):
    """A promise that isn't kept: its number changes at every step."""

    capturable = True

    def before_backward(self, strategy, **_):
        strategy.loss = strategy.loss * (1 + strategy.clock.train_exp_iterations)


def test_the_stand_in_keeps_what_python_changes_as_a_graph_does():
    assert differences(trained(f"naive:{SMALL}", Scaled(), graph=RecordedGraph), trained(f"naive:{SMALL}", Scaled()))


class Silent(SupervisedPlugin):
    def after_backward(self, strategy, **_):
        pass


class Outside(SupervisedPlugin):
    """Its hooks lie outside what is captured."""

    def before_training_iteration(self, strategy, **_):
        pass


@pytest.mark.parametrize(
    ("method", "plugins", "execution"),
    [
        (f"naive:{SMALL}", [Outside()], "captured"),
        (f"naive:{SMALL}", [Silent()], "eager: Silent doesn't say that it can be captured"),
        (f"growing-cvae:{SMALL}", [], "eager: SelfMemoryPlugin doesn't say that it can be captured"),
        (f"lifelong-vae:{SMALL},mixing=bernoulli", [], "eager: ConsistencyPlugin doesn't say that it can be captured"),
        (f"generative-replay:{SMALL},replay_prior=aggregate", [], "eager: TeacherPlugin doesn't"),
        (f"avalanche-ewc:{SMALL}", [], "eager: _EWC doesn't say that it can be captured"),
        (f"avalanche-replay:{SMALL}", [], "eager: a plugin brought its own loader"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Avalanche's own, in stock plugins
def test_what_cannot_be_captured_is_trained_eagerly_and_says_why(method, plugins, execution):
    assert trained(method, *plugins, graph=RecordedGraph).execution.startswith(execution)


def test_an_avalanche_evaluator_is_never_skipped():
    evaluator = EvaluationPlugin(loss_metrics(epoch=True), loggers=[])
    strategy = trained(f"naive:{SMALL}", evaluator, graph=RecordedGraph)
    assert strategy.execution == "eager: an Avalanche evaluator looks at every step"


class Failing(RecordedGraph):
    def capture(self, step, generators):
        super().capture(lambda: None, generators)
        raise RuntimeError("operation not permitted when stream is capturing")


def test_a_capture_that_fails_changes_nothing():
    method = f"lifelong-vae:{SMALL}"
    fallen_back = trained(method, graph=Failing)
    assert fallen_back.execution == "eager: capturing failed: operation not permitted when stream is capturing"
    assert differences(fallen_back, trained(method)) == []


def test_on_a_cpu_nothing_is_captured():
    strategy = build_method(choose("method", f"naive:{SMALL}")).strategy(tiny("a"), Seeds(0))
    assert strategy.graph is None
