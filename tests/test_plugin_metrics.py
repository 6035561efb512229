"""lifegen's metrics in an Avalanche script of one's own."""

from __future__ import annotations

import io

import pytest
import torch
from avalanche.core import SupervisedPlugin
from avalanche.evaluation.metrics import loss_metrics
from avalanche.logging import BaseLogger, InteractiveLogger, TensorboardLogger, TextLogger
from avalanche.training.plugins import EvaluationPlugin
from avalanche.training.templates import SupervisedTemplate

from lifegen.benchmark.contracts.images import to_unit
from lifegen.benchmark.contracts.model import negative_elbo
from lifegen.benchmark.contracts.stream import tensor_view
from lifegen.benchmark.measuring.avalanche_metrics import NegativeELBO, PosteriorConsistency, SampleCounts
from lifegen.benchmark.seeds import Seeds
from lifegen.benchmark.training.template import negative_elbo_loss
from lifegen.methods.generative_replay import TeacherPlugin
from lifegen.methods.lifelong_vae import ConsistencyPlugin, LifelongVAE
from lifegen.methods.models.plugins import TemperaturePlugin
from lifegen.methods.models.vae import CodeStyleVAE

from .conftest import SHAPE, tiny


class Silent(BaseLogger):
    pass


@pytest.fixture
def script():
    """Avalanche's own template, with lifegen's model, plugins and metrics."""
    seeds = Seeds(0)
    model = CodeStyleVAE(SHAPE, 1, style=2, width=8, init=seeds.generator("init"))
    evaluator = EvaluationPlugin(
        NegativeELBO(draws=3, generator=seeds.generator("evaluation")),
        PosteriorConsistency(),
        SampleCounts(),
        loggers=[Silent()],
    )
    return SupervisedTemplate(
        model=model,
        optimizer=torch.optim.Adam(model.parameters()),
        criterion=negative_elbo_loss,
        train_mb_size=10,
        eval_mb_size=4,
        plugins=[TemperaturePlugin(), TeacherPlugin(seeds)],
        evaluator=evaluator,
    )


def test_they_report_to_avalanches_loggers(script):
    stream = tiny("ab")
    history = []
    for experience in stream.train_stream:
        script.train(experience, eval_streams=[])
        history.append(script.eval(stream.test_stream))
    first, second = history
    assert first["RealSamples/train_phase/train_stream/Exp000"] == 37
    assert first["SyntheticSamples/train_phase/train_stream/Exp000"] == 0
    # batches of 10, 10, 10 and 7 images: half of each is real
    assert second["RealSamples/train_phase/train_stream/Exp001"] == 5 + 5 + 5 + 3
    assert second["SyntheticSamples/train_phase/train_stream/Exp001"] == 5 + 5 + 5 + 4
    assert "PosteriorConsistency/eval_phase/test_stream/Exp000" not in first
    assert 0 <= second["PosteriorConsistency/eval_phase/test_stream/Exp000"] <= 1
    assert script.model.codes == 2


def test_the_negative_elbo_is_the_harness_own(script):
    stream = tiny("ab")
    script.train(stream.train_stream[0], eval_streams=[])
    reported = script.eval(stream.test_stream[:1])["NegativeELBO/eval_phase/test_stream/Exp000"]
    generator = Seeds(0).generator("evaluation")
    model = script.model.eval()
    with torch.no_grad():
        values = [
            negative_elbo(model.log_weights(x, 3, generator), model.log_prior).value
            for x in to_unit(tensor_view(stream.test_stream[0].dataset).x).split(4)
        ]
    assert reported == pytest.approx(torch.cat(values).double().mean().item())


def test_consistency_is_the_share_of_equal_codes(script):
    stream = tiny("ab")
    script.plugins = [plugin for plugin in script.plugins if not isinstance(plugin, TeacherPlugin)]
    script.model.grow(3, Seeds(1).generator("init"))
    codes: list[torch.Tensor] = []
    reported = {}
    for experience in stream.train_stream:
        script.train(experience, eval_streams=[])
        reported = script.eval(stream.test_stream)
        with torch.no_grad():
            script.model.eval()
            codes.append(script.model.code_log_posterior(to_unit(stream.images("test", "b").x)).argmax(1))
    share = (codes[0] == codes[1]).double().mean().item()
    assert reported["PosteriorConsistency/eval_phase/test_stream/Exp001"] == pytest.approx(share)


@pytest.mark.parametrize("is_lifegens", [False, True])
def test_avalanches_loggers_log_the_loss_with_its_terms(script, is_lifegens, tmp_path, capsys):
    """In a script with lifegen's plugins, and on the strategy of a method."""
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    stream, text, losses = tiny("ab"), io.StringIO(), []
    loggers = [TextLogger(text), InteractiveLogger(), TensorboardLogger(tmp_path)]
    evaluator = EvaluationPlugin(loss_metrics(minibatch=True), NegativeELBO(), loggers=loggers)

    class Losses(SupervisedPlugin):
        def after_training_iteration(self, strategy, **_):
            losses.append(strategy.loss.item())

    if is_lifegens:
        strategy = LifelongVAE({"width": 8, "batch_size": 12, "style": 2}).strategy(stream, Seeds(0))
        strategy.plugins += [evaluator, Losses()]
    else:
        teacher = TeacherPlugin(seeds := Seeds(0))
        model = CodeStyleVAE(SHAPE, 1, style=2, width=8, init=seeds.generator("init"))
        strategy = SupervisedTemplate(
            model=model,
            optimizer=torch.optim.Adam(model.parameters()),
            criterion=negative_elbo_loss,
            train_mb_size=10,
            plugins=[TemperaturePlugin(), teacher, ConsistencyPlugin(teacher), Losses()],
            evaluator=evaluator,
        )
    for experience in stream.train_stream:
        strategy.train(experience, eval_streams=[])
    assert "Loss_MB/train_phase/train_stream" in text.getvalue()
    assert "Start of training phase" in capsys.readouterr().out
    loggers[-1].writer.flush()
    logged = accumulators.EventAccumulator(str(tmp_path), size_guidance={"scalars": 0})
    logged.Reload()
    values = [event.value for event in logged.Scalars("Loss_MB/train_phase/train_stream")]
    assert values == pytest.approx(losses)
    assert len(losses) == 8
