"""Captured steps are the eager ones. A recording of tensor operations stands in for the GPU's graph."""

from __future__ import annotations

import pytest
import torch
from avalanche.core import SupervisedPlugin
from avalanche.evaluation.metrics import loss_metrics
from avalanche.training.plugins import EvaluationPlugin

from lifegen.benchmark.cells.spec import parse_spec
from lifegen.benchmark.running.build import build_method
from lifegen.benchmark.seeds import Seeds
from lifegen.benchmark.training.early_stopping import EarlyStoppingPlugin
from lifegen.benchmark.training.template import GenerativeTemplate
from lifegen.methods.models.vae import CodeStyleVAE

from .conftest import tiny
from .recorded_graph import RecordedGraph

SMALL = "width=8,batch_size=12,style=2"


def trained(method: str, *plugins: SupervisedPlugin, graph: object = None, **options: object) -> GenerativeTemplate:
    """A strategy after three intervals, with more plugins at the end."""
    stream = tiny("abc", **{"steps": 9} | options)
    strategy = build_method(parse_spec("method", method)).strategy(stream, Seeds(0))
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
    names = one.traces.by_name.keys() | other.traces.by_name.keys()
    return found + [name for name in names if one.traces.by_name.get(name) != other.traces.by_name.get(name)]


@pytest.mark.parametrize(
    "method",
    [
        f"naive:{SMALL}",
        f"batch:{SMALL}",
        f"generative-replay:{SMALL},mixing=bernoulli",
        f"generative-replay:{SMALL},real_share=added,replay_images=mean",
        f"remembered-posteriors:{SMALL},remembered=30",
        f"remembered-posteriors:{SMALL},memory=mixture,consistency_weight=1",
        f"remembered-posteriors:{SMALL},memory=resampling,remembered=30",
        f"remembered-posteriors:{SMALL},memory_of_past=kept,replay_alignment=1,remembered=30",
        f"generative-replay:{SMALL},replay_targets=means,teacher_average=0.9,new_codes=copied",
        "generative-replay:width=8,batch_size=11,style=2,real_rounding=dithered",
        f"lifelong-vae:{SMALL},consistency_on=both,mutual_information=infogan",
        f"lifelong-vae:{SMALL},likelihood_consistency_weight=1",
        f"ewc:{SMALL}",
        f"synaptic-intelligence:{SMALL},strength=1",
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


def test_an_interval_that_is_stopped_early_is_the_same_too(monkeypatch):
    """The model is looked at between captured steps, and its state of step 4 comes back after step 6. A script says
    which looks are better: whether a trained value falls depends on the processor."""
    look, values = EarlyStoppingPlugin._value, []

    def scripted(*arguments):
        values.append(look(*arguments))
        return (3.0, 2.0, 4.0)[(len(values) - 1) % 3]

    monkeypatch.setattr(EarlyStoppingPlugin, "_value", scripted)
    options = {"interval_length": "early-stopping", "check_every": 2, "patience": 2}
    method = f"lifelong-vae:{SMALL}"
    eager = trained(method, **options)
    assert (eager.optimizer_steps, len(values)) == (6, 3 * 3)
    captured = trained(method, graph=RecordedGraph, **options)
    assert captured.execution == "captured"
    assert differences(captured, eager) == []
    assert values[:9] == values[9:]


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
    """Its hooks lie around what is captured. They may still set a number that the step reads, such as a weight."""

    def before_training_iteration(self, strategy, **_):
        pass


class Boundary(SupervisedPlugin):
    def after_training_exp(self, strategy, **_):
        pass


@pytest.mark.parametrize(
    ("method", "plugins", "execution"),
    [
        (f"naive:{SMALL}", [Boundary()], "captured"),
        (f"naive:{SMALL}", [Outside()], "eager: Outside doesn't say that it can be captured"),
        (f"naive:{SMALL}", [Silent()], "eager: Silent doesn't say that it can be captured"),
        (f"growing-cvae:{SMALL}", [], "eager: CategoriesPlugin doesn't say that it can be captured"),
        (f"lifelong-vae:{SMALL},mixing=bernoulli", [], "eager: ConsistencyPlugin doesn't say that it can be captured"),
        (f"lifelong-vae:{SMALL},real_rounding=dithered", [], "eager: ConsistencyPlugin doesn't say that it can"),
        (f"generative-replay:{SMALL},real_rounding=dithered", [], "captured"),
        (f"generative-replay:{SMALL},replay_prior=aggregate", [], "eager: TeacherPlugin doesn't"),
        (f"avalanche-ewc:{SMALL}", [], "eager: EWCPlugin doesn't say that it can be captured"),
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
        try:
            raise RuntimeError("operation not permitted\nwhen stream is capturing")
        finally:  # torch raises another error when it ends such a capture
            raise RuntimeError("capture failed")


def test_a_capture_that_fails_changes_nothing():
    method = f"lifelong-vae:{SMALL}"
    fallen_back = trained(method, graph=Failing)
    assert fallen_back.execution == "eager: capturing failed: RuntimeError: operation not permitted"
    assert differences(fallen_back, trained(method)) == []


class Shrinking(SupervisedPlugin):
    """Changes the number of images from the seventh step on."""

    capturable = True

    def before_training_iteration(self, strategy, **_):
        if strategy.clock.train_exp_iterations >= 6:
            strategy.mbatch = [tensor[:11] for tensor in strategy.mbatch]


def test_batches_that_change_their_shape_are_trained_eagerly():
    fallen_back = trained(f"naive:{SMALL}", Shrinking(), graph=RecordedGraph)
    assert fallen_back.execution == "eager: a plugin changed the shape of batches"
    assert differences(fallen_back, trained(f"naive:{SMALL}", Shrinking())) == []
    assert fallen_back.real_samples == 6 * 12 + 3 * 11


def test_an_interval_of_few_steps_is_not_called_captured():
    assert trained(f"naive:{SMALL}", graph=RecordedGraph, steps=3).execution == "eager: no more than 3 steps"


class Inherits(CodeStyleVAE):
    """Says nothing of its own forward."""

    def forward(self, x):
        return super().forward(x)


def test_a_model_with_another_forward_makes_its_own_promise():
    strategy = trained(f"naive:{SMALL}", graph=RecordedGraph)
    strategy.model.__class__ = Inherits
    strategy.train(tiny("a", steps=9).train_stream[0], eval_streams=[])
    assert strategy.execution == "eager: Inherits doesn't say that its forward can be captured"


class Waiting(SupervisedPlugin):
    """Its promise would stop a GPU's capture."""

    capturable = True

    def after_backward(self, strategy, **_):
        strategy.loss.detach().item()


def test_the_stand_in_refuses_what_a_gpu_cannot_capture():
    execution = trained(f"naive:{SMALL}", Waiting(), graph=RecordedGraph).execution
    assert execution.startswith("eager: capturing failed: RuntimeError: the host waits")


def test_on_a_cpu_nothing_is_captured():
    strategy = build_method(parse_spec("method", f"naive:{SMALL}")).strategy(tiny("a"), Seeds(0))
    assert strategy.graph is None
