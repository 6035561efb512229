"""Replay of real images: what the memory holds, and what batches are made of."""

from __future__ import annotations

import pytest
import torch

from lifegen.benchmark.seeds import Seeds
from lifegen.benchmark.training.counting import count_state
from lifegen.benchmark.training.template import GenerativeTemplate
from lifegen.methods.exact_replay import ExactReplay, ExactReplayPlugin

from .conftest import tiny
from .test_methods import Spy, begin, train


def plugin(strategy: GenerativeTemplate) -> ExactReplayPlugin:
    return next(one for one in strategy.plugins if isinstance(one, ExactReplayPlugin))


def test_the_memory_has_the_bytes_of_a_teacher():
    """Four bytes a number of the model, one byte a pixel."""
    strategy = begin(ExactReplay, tiny("ab"))
    assert plugin(strategy)._size == 4 * count_state(strategy.model) // 16


def test_so_many_of_each_distribution_are_kept_and_one_that_comes_back_adds_none():
    stream = tiny("abab" + "c")
    strategy = begin(ExactReplay, stream, per_distribution=10)
    sizes = []
    for experience in stream.train_stream:
        strategy.train(experience, eval_streams=[])
        sizes.append(strategy.stored_samples)
    assert sizes == [10, 20, 20, 20, 30]
    memory = plugin(strategy).memory
    for name in "abc":
        own = stream.images("train", name).x.flatten(1)
        kept = memory.flatten(1)[[bool((image == own).all(1).any()) for image in memory.flatten(1)]]
        assert len(kept) == 10
        assert len(kept.unique(dim=0)) == 10


def test_the_reservoir_is_a_uniform_sample_of_all_images_met():
    """Every image is kept with probability size/N, whenever it came."""
    stream = tiny("abc", steps=1)
    shares = torch.zeros(3)
    repetitions = 60
    for seed in range(repetitions):
        one = ExactReplayPlugin(Seeds(seed), size=37)
        strategy = begin(ExactReplay, stream, images=37)
        strategy.plugins[strategy.plugins.index(plugin(strategy))] = one
        for experience in stream.train_stream:
            strategy.experience = experience
            one.before_training_exp(strategy)
            one.after_training_exp(strategy)
        assert one.stored_samples == 37
        brightness = one.memory.flatten(1).double().mean(1)
        shares += torch.tensor([float(((brightness - 20 - 40 * k).abs() < 20).double().mean()) for k in range(3)])
    error = (2 / 9 / 37 / repetitions) ** 0.5
    assert (shares / repetitions - 1 / 3).abs().max() < 4 * error


@pytest.mark.parametrize(("real_share", "new"), [("equal", [12, 6, 4, 4]), ("half", [12, 6, 6, 6])])
def test_batches_have_the_shares_of_generative_replay_and_all_images_are_real(real_share, new):
    stream = tiny("abca", steps=5)
    strategy = begin(ExactReplay, stream, images=30, real_share=real_share)
    first = []
    strategy.plugins.insert(-1, Spy(after_forward=lambda s: first.append(int((s.mb_y >= 0).sum()))))
    before = None
    for experience in stream.train_stream:
        strategy.train(experience, eval_streams=[])
        assert (strategy.real_samples, strategy.synthetic_samples) == (60, 0)
        if experience.interval == 3:
            assert torch.equal(before, plugin(strategy).memory)
        before = plugin(strategy).memory.clone()
    assert first == [number for number in new for _ in range(5)]


def test_what_is_replayed_comes_from_memory():
    stream = tiny("ab", steps=5)
    strategy = begin(ExactReplay, stream, images=7)
    seen = []
    strategy.plugins.insert(-1, Spy(after_forward=lambda s: seen.append(s.mb_x[s.mb_y < 0])))
    strategy.train(stream.train_stream[0], eval_streams=[])
    memory = plugin(strategy).memory.float().div(255).flatten(1)
    strategy.train(stream.train_stream[1], eval_streams=[])
    for image in torch.cat(seen).flatten(1):
        assert (image == memory).all(1).any()


def test_no_interval_of_the_past_no_replay():
    stream = tiny("a")
    strategy = begin(ExactReplay, stream)
    train(strategy, stream)
    assert strategy.real_samples == 4 * 12


@pytest.mark.parametrize("options", [{"images": 0}, {"per_distribution": -1}])
def test_memories_have_images(options):
    with pytest.raises(ValueError, match="greater than 0"):
        ExactReplay(options)


def test_a_memory_has_one_rule():
    with pytest.raises(ValueError, match="images has an effect with per_distribution=null only"):
        ExactReplay({"images": 5, "per_distribution": 5})
