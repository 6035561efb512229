"""Stock plugins as methods: they are used as they ship, and their memory and draws are counted."""

from __future__ import annotations

import pytest
import torch
from avalanche.training.plugins import EWCPlugin
from scipy.optimize import minimize

from lifegen.benchmark.contracts.registry import METHODS
from lifegen.benchmark.seeds import Seeds
from lifegen.benchmark.training.counting import count_state
from lifegen.benchmark.training.template import GenerativeTemplate
from lifegen.methods.avalanche_agem import AvalancheAGEM
from lifegen.methods.avalanche_ewc import AvalancheEWC
from lifegen.methods.avalanche_gem import _GEM, AvalancheGEM
from lifegen.methods.avalanche_generative_replay import AvalancheGenerativeReplay
from lifegen.methods.avalanche_replay import AvalancheReplay

from .conftest import tiny
from .test_methods import SMALL, begin, train

pytestmark = pytest.mark.filterwarnings(
    "ignore:Call to deprecated function update:DeprecationWarning",  # Avalanche's own, in ReplayPlugin
)


def trained(method, visits="abc", steps=5, **options) -> tuple[GenerativeTemplate, list[tuple[int, int]]]:
    """The strategy, and (real, synthetic) images of each interval."""
    Seeds(0).seed_globals()
    stream = tiny(visits, steps=steps)
    strategy = begin(method, stream, **options)
    counts = []
    for experience in stream.train_stream:
        strategy.train(experience, eval_streams=[])
        assert strategy.optimizer_steps == steps
        counts.append((strategy.real_samples, strategy.synthetic_samples))
    return strategy, counts


@pytest.mark.parametrize(
    ("method", "options", "counts", "images"),
    [
        (AvalancheEWC, {}, [(60, 0)] * 3, 0),
        # the memory goes through the network beside the batch: 12 images a step, then 2 × 6
        (AvalancheAGEM, {"images_per_interval": 24, "sample_size": 12}, [(60, 0), (120, 0), (120, 0)], 72),
        (AvalancheGEM, {"images_per_interval": 5}, [(60, 0), (85, 0), (110, 0)], 15),
        (AvalancheReplay, {"images": 20}, [(60, 0), (60, 0), (60, 0)], 20),
        (AvalancheGenerativeReplay, {}, [(60, 0), (30, 30), (30, 30)], 0),
    ],
)
def test_samples_are_counted_where_they_are_drawn(method, options, counts, images):
    strategy, found = trained(method, **options)
    if method is AvalancheReplay:  # its loader's last batch of an epoch is a short one
        assert all(40 < real <= 60 and not synthetic for real, synthetic in found)
    else:
        assert found == counts
    assert strategy.stored_samples == images
    assert ("past-data" in METHODS[name_of(method)].facts["uses"]) == (images > 0)


def name_of(method) -> str:
    return next(entry.name for entry in METHODS if entry.target is method)


def test_numbers_that_plugins_keep_are_counted():
    strategy, _ = trained(AvalancheEWC)
    weights = sum(p.numel() for p in strategy.model.parameters())
    assert strategy.stored_parameters == count_state(strategy.model) + 3 * 2 * weights  # three anchors
    strategy, _ = trained(AvalancheGenerativeReplay)
    assert strategy.stored_parameters == 2 * count_state(strategy.model)


def test_the_generator_is_the_model_of_the_interval_before_and_gets_no_gradient():
    strategy, _ = trained(AvalancheGenerativeReplay)
    plugin = next(one for one in strategy.plugins if hasattr(one, "old_generator"))
    assert all(p.grad is None or not p.grad.any() for p in plugin.old_generator.parameters())
    assert not plugin.old_generator.generate(2).requires_grad


def test_gems_projection_is_the_closest_gradient_that_lowers_no_constraint():
    """[GEM, equations 8 to 11] g + Mᵀv, with v ≥ 0 the solution of the dual; against scipy's general solver."""
    plugin = _GEM(5, memory_strength=0.0)
    generator = Seeds(0).generator("g")
    memories = torch.randn(3, 40, generator=generator)
    gradient = torch.randn(40, generator=generator) - memories.sum(0)
    plugin.G = memories
    found = plugin.solve_quadprog(gradient)
    assert (memories @ gradient).max() < 0
    assert (memories @ found).min() > -1e-2  # the ridge of 0.001 leaves a little
    constraint = {"type": "ineq", "fun": lambda z: memories.double().numpy() @ z}
    start = gradient.double().numpy()
    closest = minimize(lambda z: ((z - start) ** 2).sum(), start, constraints=[constraint], method="SLSQP")
    torch.testing.assert_close(found.double(), torch.from_numpy(closest.x), atol=5e-3, rtol=0)
    # an offset moves it further to the past's side
    plugin.memory_strength = 0.5
    assert ((memories @ plugin.solve_quadprog(gradient)) >= memories @ found - 1e-3).all()


def test_a_stock_plugin_works_as_it_ships_without_its_entry():
    """Nothing of lifegen but the template and the model: the criterion needs the output alone."""
    stream = tiny("af", steps=5)
    weights = []
    for plugins in ([], [EWCPlugin(100.0)]):
        strategy = AvalancheEWC({**SMALL, "strength": 0.0}).strategy(stream, Seeds(0))
        strategy.plugins[-1:-1] = plugins
        train(strategy, stream)
        weights.append(torch.cat([p.detach().flatten() for p in strategy.model.parameters()]))
    assert not torch.equal(*weights)
