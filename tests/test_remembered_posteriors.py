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
from lifegen.methods.models.latent_memory import Gaussians
from lifegen.methods.remembered_posteriors import RememberedPosteriors, RememberingTeacherPlugin

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
    one = Gaussians(torch.full((1, 2), 0.7), torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64))
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


def test_the_first_interval_is_that_of_generative_replay():
    states = []
    for method in (GenerativeReplay, RememberedPosteriors):
        strategy = begin(method, stream := tiny("ab"))
        strategy.train(stream.train_stream[0], eval_streams=[])
        states.append(strategy.model.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_training_with_a_mixture_and_consistency_runs_and_counts():
    strategy = begin(RememberedPosteriors, stream := tiny("abc"), memory="mixture", consistency_weight=1.0)
    train(strategy, stream)
    assert strategy.synthetic_samples > 0
    assert plugin(strategy).memory.weight is not None
    assert "loss_consistency" in strategy.traces.by_name


def test_means_are_decoded_as_they_are_kept():
    strategy = begin(RememberedPosteriors, stream := tiny("ab"), memory_style="means", remembered=12)
    train(strategy, stream)
    memory = plugin(strategy).memory
    style, code = plugin(strategy)._latents(200, Seeds(0).generator("ask"))
    kept = {(*mean, of) for mean, of in zip(memory.mean.tolist(), memory.code.tolist(), strict=True)}
    assert {(*mean, of) for mean, of in zip(style.tolist(), code.tolist(), strict=True)} == kept


def test_a_code_of_the_prior_has_nothing_to_do_with_its_style():
    strategy = begin(RememberedPosteriors, stream := tiny("abc"), memory_code="prior", memory_style="means")
    train(strategy, stream)
    teacher = plugin(strategy)
    one = Gaussians(torch.full((1, 2), 0.7), torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64))
    teacher.memory = one
    style, code = teacher._latents(3000, Seeds(0).generator("ask"))
    assert torch.equal(style, one.mean.expand_as(style))
    share = code.bincount(minlength=teacher.teacher.codes) / 3000
    assert share.tolist() == pytest.approx([1 / teacher.teacher.codes] * teacher.teacher.codes, abs=0.05)


@pytest.mark.parametrize("memory", ["pseudo-inputs", "resampling"])
def test_other_memories_are_replayed_and_counted(memory):
    strategy = begin(RememberedPosteriors, stream := tiny("abc"), memory=memory)
    train(strategy, stream)
    teacher = plugin(strategy)
    assert strategy.synthetic_samples > 0
    numbers = teacher.memory.numbers + teacher.next_memory.numbers
    assert teacher.stored_parameters == count_state(teacher.teacher) + numbers
    style, code = teacher.memory.draw(50, Seeds(0).generator("ask"))
    assert style.shape == (50, 2)
    assert set(code.tolist()) <= set(range(teacher.teacher.codes))
    assert teacher.replayed(3, Seeds(0).generator("ask")).shape == (3, *SHAPE)


@pytest.mark.parametrize("memory", ["posteriors", "mixture"])
def test_a_kept_past_stays_as_it_is_and_real_images_join_it(memory):
    stream = tiny("abc", steps=30)
    strategy = begin(RememberedPosteriors, stream, memory=memory, memory_of_past="kept", remembered=60)
    real: list[Tensor] = []
    strategy.plugins.append(Spy(before_forward=lambda strategy: real.append(strategy.mb_x[strategy.mb_y >= 0])))
    for parts, experience in enumerate(stream.train_stream, start=1):
        real.clear()
        strategy.train(experience, eval_streams=[])
        past, now = plugin(strategy).memory, plugin(strategy).next_memory
        if past is None:
            continue
        known = {tuple(row) for row in rows(*past[:2]).tolist()}
        is_old = torch.tensor([tuple(row) in known for row in torch.cat([now.mean, now.scale.flatten(1)], 1).tolist()])
        assert now.weight[~is_old].sum().item() == pytest.approx(1 / parts)
        assert bool(is_old.any())
        if memory == "posteriors":
            assert len(now.mean) == 60
            assert int((~is_old).sum()) == 60 // parts
            with torch.no_grad():
                mean = strategy.model.eval().encode(torch.cat(real)[-60:]).mean
            strategy.model.train()
            assert (torch.cdist(now.mean[~is_old], mean).min(1).values < 1e-4).all()


def test_a_kept_memory_to_which_no_real_image_comes_stays_the_same():
    strategy = begin(RememberedPosteriors, stream := tiny("aba"), memory_of_past="kept", real_share="none")
    strategy.train(stream.train_stream[0], eval_streams=[])
    first = plugin(strategy).next_memory
    for experience in stream.train_stream[1:]:
        strategy.train(experience, eval_streams=[])
    assert plugin(strategy).next_memory is plugin(strategy).memory is first


def test_a_balanced_memory_weighs_codes_equally():
    strategy = begin(RememberedPosteriors, stream := tiny("abc"), memory_balance="codes")
    train(strategy, stream)
    memory = plugin(strategy).next_memory
    shares = torch.zeros(int(memory.code.max()) + 1).index_add_(0, memory.code, memory.weight)
    met = shares[shares > 0]
    torch.testing.assert_close(met, torch.full_like(met, 1 / len(met)))


def test_the_memory_of_an_averaged_teacher_is_of_its_own_encoder():
    strategy = begin(RememberedPosteriors, stream := tiny("ab"), teacher_average=0.9, remembered=10)
    strategy.train(stream.train_stream[0], eval_streams=[])
    remembered, of = plugin(strategy).next_memory, plugin(strategy).next_teacher(strategy)
    assert any(not torch.equal(*pair) for pair in zip(of.parameters(), strategy.model.parameters(), strict=True))
    seen: list[Tensor] = []
    strategy.plugins.append(Spy(before_forward=lambda strategy: seen.append(strategy.mb_x.clone())))
    strategy.train(stream.train_stream[1], eval_streams=[])
    assert plugin(strategy).teacher is of
    assert plugin(strategy).memory is remembered


def test_options_without_an_effect_are_refused():
    with pytest.raises(ValidationError, match="replay_prior has an effect with replay from the prior"):
        RememberedPosteriors({"replay_prior": "aggregate"})
    with pytest.raises(ValidationError, match="components has an effect with memory=mixture only"):
        RememberedPosteriors({"components": 3})
    with pytest.raises(ValidationError, match="memory_of_past has an effect with memory=posteriors or mixture only"):
        RememberedPosteriors({"memory": "resampling", "memory_of_past": "kept"})
    with pytest.raises(ValidationError, match="memory_balance has an effect with memory=posteriors, mixture or pseudo"):
        RememberedPosteriors({"memory": "resampling", "memory_balance": "codes"})
