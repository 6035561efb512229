"""Replay from remembered posteriors: what is kept, what is drawn from it, and what it takes."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from lifegen.benchmark.seeds import Seeds
from lifegen.benchmark.training.counting import count_state
from lifegen.benchmark.training.template import GenerativeTemplate
from lifegen.methods.generative_replay import GenerativeReplay
from lifegen.methods.remembered_posteriors import Memory, RememberedPosteriors, RememberingTeacherPlugin, fitted

from .conftest import SHAPE, tiny
from .test_methods import Spy, begin, train


def plugin(strategy: GenerativeTemplate) -> RememberingTeacherPlugin:
    return next(one for one in strategy.plugins if isinstance(one, RememberingTeacherPlugin))


def rows(*tensors: Tensor) -> Tensor:
    """The tensors side by side, with sorted rows."""
    table = torch.cat([tensor.reshape(len(tensor), -1).double() for tensor in tensors], 1)
    return table[sorted(range(len(table)), key=lambda i: table[i].tolist())]


@pytest.mark.parametrize("remembered", [5, 30, 1000])
def test_the_memory_is_of_the_last_images_by_the_model_at_the_intervals_end(remembered):
    """Real and replayed alike; fewer where an interval has fewer."""
    stream = tiny("ab", steps=7)
    strategy = begin(RememberedPosteriors, stream, remembered=remembered)
    seen: list[Tensor] = []
    strategy.plugins.append(Spy(before_forward=lambda strategy: seen.append(strategy.mb_x.clone())))
    for experience in stream.train_stream:
        seen.clear()
        strategy.train(experience, eval_streams=[])
        last = torch.cat(seen)[-remembered:]
        with torch.no_grad():
            mean, std, logits = strategy.model.eval().encode(last)
        strategy.model.train()
        memory = plugin(strategy).next_memory
        torch.testing.assert_close(rows(*memory[:3]), rows(mean, std, logits.argmax(1)), atol=1e-5, rtol=1e-5)


def test_the_teacher_decodes_what_is_remembered():
    stream = tiny("ab", steps=4)
    strategy = begin(RememberedPosteriors, stream, replay_images="mean")
    strategy.train(stream.train_stream[0], eval_streams=[])
    one = Memory(torch.full((1, 2), 0.7), torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64))
    plugin(strategy).next_memory = one
    replayed: list[Tensor] = []

    def look(strategy):
        teacher = plugin(strategy)
        expected = teacher.teacher.decoded(one.mean, one.code, None, draw=False)
        synthetic = strategy.mb_x[teacher.real :]
        assert len(synthetic) > 0
        torch.testing.assert_close(synthetic, expected.expand_as(synthetic))
        replayed.append(synthetic)

    strategy.plugins.append(Spy(before_forward=look))
    strategy.train(stream.train_stream[1], eval_streams=[])
    assert len(replayed) == 4
    # What was replayed can still be asked for when the next memory is there, which has codes that the teacher hasn't.
    after = plugin(strategy)
    assert after.next_memory is not after.memory
    after.next_memory = one._replace(code=torch.tensor([after.teacher.codes]))
    expected = after.teacher.decoded(one.mean, one.code, None, draw=False)
    torch.testing.assert_close(after.replayed(3, Seeds(0).generator("ask")), expected.expand(3, *SHAPE))


def test_no_image_stays_and_numbers_are_counted():
    strategy = begin(RememberedPosteriors, stream := tiny("abc"), remembered=24)
    pixels = SHAPE[0] * SHAPE[1] * SHAPE[2]
    for interval, experience in enumerate(stream.train_stream):
        strategy.train(experience, eval_streams=[])
        teacher = plugin(strategy)
        own = [value for value in vars(teacher).values() if isinstance(value, Tensor)]
        assert all(value.numel() < pixels for value in [*own, *teacher.next_memory[:3]] if value.ndim > 3)
        assert teacher._last is None
        of_teacher = count_state(teacher.teacher) if interval else 0
        assert teacher.stored_parameters == of_teacher + (2 if interval else 1) * 24 * (2 * 2 + 1)
    assert strategy.stored_samples == 0
    mixture = Memory(torch.zeros(3, 2), torch.zeros(3, 2, 2), torch.zeros(3, dtype=torch.int64), torch.ones(3))
    assert mixture.numbers == 3 * (2 + 3 + 1 + 1)


def test_the_first_interval_is_that_of_generative_replay():
    states = []
    for method in (GenerativeReplay, RememberedPosteriors):
        strategy = begin(method, stream := tiny("ab"))
        strategy.train(stream.train_stream[0], eval_streams=[])
        states.append(strategy.model.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def moments(style: Tensor) -> tuple[Tensor, Tensor]:
    return style.mean(0), torch.cov(style.T)


def test_draws_have_the_moments_of_what_is_remembered():
    generator = Seeds(0).generator("memory")
    mean = torch.tensor([[0.0, 0.0], [3.0, -1.0]])
    factor = torch.tensor([[[1.0, 0.0], [0.5, 0.3]], [[0.2, 0.0], [0.0, 2.0]]])
    memory = Memory(mean, factor, torch.tensor([4, 7]), torch.tensor([0.25, 0.75]))
    style, code = memory.draw(40_000, generator)
    assert (code == 7).float().mean() == pytest.approx(0.75, abs=0.01)
    for i, which in enumerate((4, 7)):
        middle, covariance = moments(style[code == which])
        torch.testing.assert_close(middle, mean[i], atol=0.06, rtol=0.0)
        torch.testing.assert_close(covariance, factor[i] @ factor[i].T, atol=0.1, rtol=0.05)
    single = Memory(mean, torch.tensor([[0.1, 0.2], [0.3, 0.4]]), torch.tensor([0, 1]))
    style, code = single.draw(40_000, generator)
    assert code.float().mean() == pytest.approx(0.5, abs=0.01)
    torch.testing.assert_close(style[code == 1].std(0), torch.tensor([0.3, 0.4]), atol=0.01, rtol=0.0)


def test_a_fitted_mixture_has_the_moments_of_the_aggregate_posterior():
    """Of each code, as every step of expectation maximisation has; several Gaussians see what one doesn't."""
    generator = Seeds(0).generator("posteriors")
    far = torch.where(torch.rand(600, 1, generator=generator) < 0.5, -3.0, 3.0)
    mean = torch.cat([far, torch.randn(600, 1, generator=generator)], 1)
    posteriors = Memory(mean, torch.full((600, 2), 0.2), torch.arange(600) % 3)
    memory = fitted(posteriors, 2, Seeds(1).generator("fit"))
    assert memory.code.tolist() == [0, 0, 1, 1, 2, 2]
    assert memory.weight.sum().item() == pytest.approx(1)
    style, code = memory.draw(60_000, generator)
    for which in range(3):
        middle, covariance = moments(mean[posteriors.code == which])
        found, spread = moments(style[code == which])
        torch.testing.assert_close(found, middle, atol=0.08, rtol=0.0)
        torch.testing.assert_close(spread, covariance + 0.04 * torch.eye(2), atol=0.15, rtol=0.05)
    assert ((style[:, 0].abs() - 3).abs() < 1).float().mean() > 0.99  # nothing lies between the two heaps
    assert len(fitted(posteriors, 1000, Seeds(1).generator("fit")).mean) == 3 * 50  # 4 images a Gaussian


def test_training_with_a_mixture_and_consistency_runs_and_counts():
    strategy = begin(RememberedPosteriors, stream := tiny("abc"), memory="mixture", consistency_weight=1.0)
    train(strategy, stream)
    assert strategy.synthetic_samples > 0
    assert plugin(strategy).memory.weight is not None
    assert "loss_consistency" in strategy.traces.by_name


def test_options_without_an_effect_are_refused():
    with pytest.raises(ValidationError, match="replay_prior has an effect with replay from the prior"):
        RememberedPosteriors({"replay_prior": "aggregate"})
    with pytest.raises(ValidationError, match="components has an effect with memory=mixture only"):
        RememberedPosteriors({"components": 3})
