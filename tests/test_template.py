"""The training loop: budgets, batches, counts."""

from __future__ import annotations

import pytest
import torch
from avalanche.core import SupervisedPlugin
from avalanche.training.plugins import ReplayPlugin

from lifegen.benchmark.contracts.images import Images
from lifegen.benchmark.contracts.stream import tensor_view
from lifegen.benchmark.seeds import Seeds
from lifegen.benchmark.training.counting import count_state
from lifegen.benchmark.training.loader import TensorLoader
from lifegen.benchmark.training.template import GenerativeTemplate
from lifegen.methods.models.vae import CodeStyleVAE
from lifegen.methods.naive import Naive

from .conftest import SHAPE, tiny


class Recorder(SupervisedPlugin):
    """Keeps what entered each training step."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def after_forward(self, strategy, **_):
        self.batches.append([tensor.clone() for tensor in strategy.mbatch])


def strategy(*plugins: SupervisedPlugin, seed: int = 0, batch: int = 10) -> GenerativeTemplate:
    model = CodeStyleVAE(SHAPE, 3, style=2, width=8, init=Seeds(seed).generator("init"))
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    return GenerativeTemplate(model=model, optimizer=optimizer, plugins=plugins, train_mb_size=batch, seeds=Seeds(seed))


def test_every_interval_takes_exactly_its_steps():
    recorder = Recorder()
    trained = strategy(recorder)
    for experience in tiny("abca", steps=7).train_stream:
        trained.train(experience, eval_streams=[])
        assert trained.optimizer_steps == 7
        assert trained.real_samples == 70
        assert trained.synthetic_samples == 0
    assert len(recorder.batches) == 28
    assert all(len(x) == 10 for x, _, _ in recorder.batches)


@pytest.mark.parametrize("n", [1, 7, 10, 37])
def test_every_image_comes_once_before_any_comes_again(n):
    x = torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1)
    loader = TensorLoader(Images(x, torch.arange(n)), 10, 30, Seeds(0).generator("order"), "cpu")
    assert len(loader) == 30
    drawn = torch.cat([y for _, y, _ in loader])
    assert len(drawn) == 300
    for whole in drawn[: 300 // n * n].split(n):
        assert sorted(whole.tolist()) == list(range(n))


def test_batches_hold_the_images_of_their_interval_in_unit_range():
    recorder = Recorder()
    trained = strategy(recorder)
    stream = tiny("ab", steps=4)
    trained.train(stream.train_stream[1], eval_streams=[])
    known = {image.numpy().tobytes() for image in stream.images("train", "b").x}
    for x, y, t in recorder.batches:
        assert x.dtype == torch.float32
        assert {image.mul(255).round().byte().numpy().tobytes() for image in x} <= known
        assert y.tolist() == [1] * 10
        assert t.tolist() == [0] * 10


def test_the_order_of_the_data_does_not_depend_on_who_draws_noise():
    class Noisy(SupervisedPlugin):
        def before_forward(self, strategy, **_):
            torch.randn(1000)

    orders = []
    for plugins in ((), (Noisy(),)):
        recorder = Recorder()
        trained = strategy(*plugins, recorder)
        for experience in tiny("ab").train_stream:
            trained.train(experience, eval_streams=[])
        orders.append(torch.cat([x for x, _, _ in recorder.batches]))
    assert torch.equal(*orders)


def test_a_late_generator_is_its_roles_and_goes_on_drawing():
    late = Seeds(3, "s").late_generator("noise", 1)
    drawn = [torch.rand(2, generator=late.on("cpu")) for _ in range(2)]
    plain = Seeds(3, "s").generator("noise", 1)
    assert all(torch.equal(values, torch.rand(2, generator=plain)) for values in drawn)


def test_equal_seeds_give_equal_weights_and_other_seeds_others():
    weights = []
    for seed in (0, 0, 1):
        trained = strategy(seed=seed)
        trained.model.generator = Seeds(seed).generator("noise")
        for experience in tiny("ab").train_stream:
            trained.train(experience, eval_streams=[])
        weights.append(trained.model.state_dict())
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert not torch.equal(weights[0]["encoder.1.weight"], weights[2]["encoder.1.weight"])


def test_a_stock_plugin_with_its_own_loader_keeps_to_the_budget():
    """Avalanche's ReplayPlugin replaces the loader; its epochs are repeated up to the interval's steps."""
    trained = strategy(ReplayPlugin(mem_size=20))
    for experience in tiny("ab", steps=9).train_stream:
        trained.train(experience, eval_streams=[])
        assert trained.optimizer_steps == 9


def test_an_experience_without_steps_is_trained_for_epochs():
    experience = tiny().train_stream[0]
    del experience.steps
    trained = strategy()
    trained.train(experience, eval_streams=[])
    assert trained.optimizer_steps == 4  # ⌈37 / 10⌉


def test_a_budget_in_steps_and_one_in_epochs_exclude_each_other():
    trained = strategy()
    trained.train_epochs = 3
    with pytest.raises(ValueError, match="train_epochs"):
        trained.train(tiny().train_stream[0], eval_streams=[])


def test_gradient_norms_are_those_of_the_whole_gradient():
    class Check(SupervisedPlugin):
        norms: list[float] = []  # noqa: RUF012

        def before_update(self, strategy, **_):
            squares = sum(p.grad.square().sum() for p in strategy.model.parameters())
            self.norms.append(squares.sqrt().item())

    check = Check()
    trained = strategy(check)
    trained.train(tiny("a", steps=120).train_stream[0], eval_streams=[])
    norms = trained.traces.by_name["gradient_norm"]
    assert list(norms) == list(range(0, 120, 2))
    assert list(norms.values()) == pytest.approx(check.norms[::2], rel=1e-5)


def test_stored_numbers_count_the_models_state():
    trained = strategy()
    assert trained.stored_samples == 0
    # parameters, and running mean and variance of four norms of eight units
    assert trained.stored_parameters == sum(p.numel() for p in trained.model.parameters()) + 4 * 2 * 8
    assert count_state(trained.model) == trained.stored_parameters


def test_evaluation_batches_are_in_order():
    trained = strategy()
    seen = []

    class See(SupervisedPlugin):
        def after_eval_forward(self, strategy, **_):
            seen.append(strategy.mb_x)

    trained.plugins.insert(0, See())
    trained.eval_mb_size = 4
    stream = tiny()
    trained.eval(stream.test_stream)
    expected = torch.cat([tensor_view(experience.dataset).x for experience in stream.test_stream])
    assert [len(x) for x in seen] == [4, 4, 3] * 3
    assert torch.equal(torch.cat(seen).mul(255).round().byte(), expected)


def test_adam_lives_on_in_naive_unless_told_otherwise():
    for state, expected in (("keep", 8.0), ("reset", 4.0)):
        method = Naive({"width": 8, "batch_size": 10, "optimizer_state": state})
        stream = tiny("ab")
        trained = method.strategy(stream, Seeds(0))
        for experience in method.view(stream):
            trained.train(experience, eval_streams=[])
        (steps,) = {state["step"].item() for state in trained.optimizer.state.values()}
        assert steps == expected


def test_denormal_numbers_are_zero_in_training_only():
    class Look(SupervisedPlugin):
        seen: float | None = None

        def after_backward(self, strategy, **_):
            self.seen = float(torch.full((1,), 1e-40) * 1)

    look = Look()
    strategy(look).train(tiny("a").train_stream[0], eval_streams=[])
    assert look.seen == 0
    assert float(torch.full((1,), 1e-40) * 1) > 0
