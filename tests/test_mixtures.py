"""Mixtures: bounds on a space that can be summed, what is frozen, and what the growing mixture decides."""

from __future__ import annotations

import copy
import itertools
import math

import pytest
import torch
from torch import Tensor

from lifegen.benchmark.contracts.images import to_unit
from lifegen.benchmark.contracts.model import (
    GenerativeModel,
    LogWeights,
    group_bounds,
    importance_bound,
    negative_elbo,
    responsibilities,
)
from lifegen.benchmark.running.saved_model import load_model, save_model
from lifegen.benchmark.seeds import Seeds
from lifegen.benchmark.training.counting import count_state
from lifegen.benchmark.training.template import GenerativeTemplate
from lifegen.methods.experts import Experts
from lifegen.methods.growing_mixture import GrowingMixture, GrowingPlugin, discrepancies
from lifegen.methods.growing_mixture_student import DistilledMixture, GrowingMixtureStudent
from lifegen.methods.models.conditional_vae import ConditionalVAE
from lifegen.methods.models.mixture import Mixture, VAEMixture
from lifegen.methods.models.vae import Noise

from .conftest import tiny
from .test_methods import Spy, begin, train

NETWORK = {
    "style": 2,
    "width": 16,
    "architecture": "mlp",
    "norm": "batch",
    "activation": "elu",
    "track": "bernoulli-grey",
}
SHAPE = (1, 2, 4)


@pytest.fixture(scope="module")
def space() -> Tensor:
    """Every image of eight binary pixels."""
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=8))).view(-1, *SHAPE)


def fit(model: GenerativeModel, x: Tensor, steps: int = 80) -> None:
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        model(x).negative_elbo().mean().backward()
        optimizer.step()


def batches(k: int) -> Tensor:
    """Images of the k-th kind: pixel k and k + 4 are always on."""
    x = torch.rand(100, *SHAPE, generator=Seeds(k).generator("data")).round()
    x.flatten(1)[:, [k, k + 4]] = 1.0
    return x


@pytest.fixture(scope="module")
def vaes() -> VAEMixture:
    """Three components on a trunk, each trained on its own kind of image, with unequal prior weights."""
    init = Seeds(0).generator("init")
    model = VAEMixture(SHAPE, share=True, init=init, **NETWORK)
    for k in range(3):
        if k:
            model.append(init)
        model.activate(k, trunk_frozen=k > 0)
        model.count(k, 100 * (k + 1))
        model.generator = Seeds(k).generator("noise")
        fit(model, batches(k))
    return model.eval()


@pytest.fixture(scope="module")
def conditional() -> ConditionalVAE:
    init = Seeds(0).generator("init")
    model = ConditionalVAE(SHAPE, init=init, **NETWORK)
    model.generator = Seeds(0).generator("noise")
    for k in range(3):
        model.count(model.meet(init), 100 * (k + 1))
    model.categories = torch.arange(3).repeat_interleave(100)
    fit(model, torch.cat([batches(k) for k in range(3)]))
    model.categories = None
    return model.eval()


@pytest.fixture(params=["vaes", "conditional"])
def mixture(request: pytest.FixtureRequest) -> Mixture:
    model: Mixture = request.getfixturevalue(request.param)
    return model


def mass(model: Mixture, space: Tensor, value, draws: int, repetitions: int) -> Tensor:
    """Σ over all images of exp(−value), for independent noise."""
    noise = Seeds(2).generator("mass", draws)
    with torch.inference_mode():
        weights = [model.log_weights(space, draws, noise) for _ in range(repetitions)]
        return torch.stack([(-value(one, model.log_prior)).double().exp().sum() for one in weights])


@pytest.mark.parametrize("draws", [1, 10])
def test_the_negative_elbo_leaves_at_most_the_mass_of_a_density(mixture, space, draws):
    total = mass(mixture, space, lambda *args: negative_elbo(*args).value, draws, 60)
    assert total.mean() <= 1 + 3 * total.std() / math.sqrt(len(total))


@pytest.mark.parametrize("draws", [1, 10, 100])
def test_the_importance_bound_has_exactly_the_mass_of_a_density(mixture, space, draws):
    total = mass(mixture, space, importance_bound, draws, 150)
    assert abs(total.mean() - 1) <= 3 * total.std() / math.sqrt(len(total))


def test_the_best_component_without_its_prior_weight_is_not_a_bound(mixture, space):
    """[5.2] max_k p_k isn't a density: the free maximum fails the same test."""
    free = mass(mixture, space, lambda weights, _: group_bounds(weights).min(0).values, 200, 5)
    assert free.mean() > 1.2 + 3 * free.std() / math.sqrt(len(free))


def test_reconstruction_minus_the_analytic_divergence_inside_the_sum_is_not_a_bound():
    """[5.5] Five identical one-dimensional components with the exact posterior: the Monte-Carlo log-weights give
    exactly −log p, the mixed estimator lies far below."""
    variance = 0.5  # p(z) = N(0, 1), p(x | z) = N(z, 1): the posterior is N(x/2, 1/2), the marginal N(0, 2)
    normal = torch.distributions.Normal
    double = {"generator": Seeds(0).generator("z"), "dtype": torch.float64}
    x = math.sqrt(2.0) * torch.randn(20_000, **double)
    mean, std = x / 2, math.sqrt(variance)
    z = mean + std * torch.randn(1, 5, len(x), **double)
    likelihood = normal(z, 1.0).log_prob(x)
    sampled = normal(0.0, 1.0).log_prob(z) - normal(mean, std).log_prob(z)
    analytic = -0.5 * (variance + mean.square() - 1 - math.log(variance)).expand_as(sampled)
    prior = torch.full((5,), 0.2, dtype=torch.float64).log()
    truth = -normal(0.0, math.sqrt(2.0)).log_prob(x)
    torch.testing.assert_close(importance_bound(LogWeights(likelihood, sampled), prior), truth)
    mixed = importance_bound(LogWeights(likelihood, analytic), prior) - truth
    assert mixed.mean() < -0.1  # specification: −1.046 against −1.177


def test_a_component_written_twice_leaves_the_marginal_unchanged(space):
    init = Seeds(0).generator("init")
    model = VAEMixture(SHAPE, components=2, share=False, init=init, **NETWORK).eval()
    model.images = torch.tensor([1.0, 3.0], dtype=torch.float64)
    thrice = copy.deepcopy(model)
    thrice.append(init)
    thrice.components[2].load_state_dict(model.components[1].state_dict())
    thrice.images = torch.tensor([1.0, 1.0, 2.0], dtype=torch.float64)
    thrice.eval()
    with torch.inference_mode():
        one, other = (m.log_weights(space, 5, Seeds(1).generator("z")) for m in (model, thrice))
        for value in (lambda *a: negative_elbo(*a).value, importance_bound):
            torch.testing.assert_close(value(one, model.log_prior), value(other, thrice.log_prior))


def test_a_garbage_component_of_little_weight_costs_little(vaes, space):
    """[5.6] With prior weight e it raises the value by at most −log(1 − e), and never lowers the others' part."""
    model = copy.deepcopy(vaes)
    model.append(Seeds(9).generator("garbage"))
    model.components[3].eval()
    share = 0.1
    model.count(3, float(model.images.sum()) * share / (1 - share))
    with torch.inference_mode():
        one, other = (m.log_weights(space, 5, Seeds(1).generator("z")) for m in (vaes, model))
        before, after = negative_elbo(one, vaes.log_prior).value, negative_elbo(other, model.log_prior).value
    assert (after - before).max() <= -math.log(1 - share) + 1e-5


def test_an_image_has_the_same_value_alone_and_in_a_batch(mixture, space):
    noise = Noise(torch.randn(5, 9, 2), torch.zeros(5, 9))
    with torch.inference_mode():
        for k in range(3):
            together = mixture.component_log_weights(k, space[:9], noise)
            alone = [
                mixture.component_log_weights(k, space[i : i + 1], Noise(*(part[:, i : i + 1] for part in noise)))
                for i in range(9)
            ]
            for i, part in enumerate(together[:2]):
                torch.testing.assert_close(part, torch.cat([one[i] for one in alone], 2), atol=1e-5, rtol=1e-5)


def test_responsibilities_are_the_posterior_of_the_bounds_own_estimator(mixture, space):
    with torch.inference_mode():
        weights = mixture.log_weights(space, 10, Seeds(3).generator("z"))
        log_r = mixture.code_log_posterior(space, weights)
        elbo = (weights.likelihood + weights.divergence).mean(0)
        joint = mixture.log_prior.exp()[:, None] * elbo.exp()
    torch.testing.assert_close(log_r.exp(), (joint / joint.sum(0)).T, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(log_r, responsibilities(weights, mixture.log_prior))
    assert torch.equal(mixture.code_log_posterior(space), mixture.code_log_posterior(space))  # the same each time
    # [2.6] one component's own value beats the marginal by at most −log π
    gap = negative_elbo(weights, mixture.log_prior).value - group_bounds(weights)
    assert (gap <= -mixture.log_prior[:, None] + 1e-4).all()


def test_images_are_recognised_and_sampled_by_their_component(mixture):
    with torch.inference_mode():
        for k in range(3):
            assert (mixture.code_log_posterior(batches(k)).argmax(1) == k).double().mean() > 0.5
            means = mixture.sample(400, code=k, generator=Seeds(k).generator("s")).flatten(1).mean(0)
            assert means[[k, k + 4]].min() > 0.9
        many = mixture.sample(6000, generator=Seeds(5).generator("s"))
        drawn = mixture.sample(10, generator=Seeds(5).generator("s"), draw=True)
    assert many.shape == (6000, *SHAPE)
    assert set(drawn.unique().tolist()) <= {0.0, 1.0}
    # prior weights are 1/6, 1/3, 1/2
    expected = sum(w * mixture.component_sample(k, 4000, Seeds(6).generator(k), False).mean(0) for k, w in
                   enumerate((1 / 6, 1 / 3, 1 / 2)))  # fmt: skip
    torch.testing.assert_close(many.mean(0), expected, atol=0.03, rtol=0)


def test_the_most_likely_component_reconstructs(mixture, space):
    with torch.inference_mode():
        chosen = mixture.code_log_posterior(space).argmax(1)
        rebuilt = mixture.reconstruct(space)
        for k in chosen.unique().tolist():
            expected = mixture.component_reconstruct(k, space[chosen == k])
            torch.testing.assert_close(rebuilt[chosen == k], expected)


def test_models_survive_a_file(mixture, space, tmp_path):
    """What components share is written once, and is shared again."""
    file = tmp_path / "m.safetensors"
    assert save_model(mixture, file)
    again = load_model(file)
    assert isinstance(again, Mixture)
    assert count_state(again) == count_state(mixture)
    assert file.stat().st_size < 4 * count_state(mixture) + 20_000
    with torch.inference_mode():
        one, other = (m.log_weights(space, 3, Seeds(1).generator("z")) for m in (mixture, again))
    assert all(map(torch.equal, one[:2], other[:2]))
    assert torch.equal(again.log_prior, mixture.log_prior)


# The growing mixture


def growing(strategy: GenerativeTemplate) -> GrowingPlugin:
    return next(plugin for plugin in strategy.plugins if isinstance(plugin, GrowingPlugin))


@pytest.mark.parametrize(("threshold", "components"), [(0, 3), ("inf", 1)])
def test_the_threshold_decides_how_many_components_there_are(threshold, components):
    """[1.4] 0: one for each interval; infinity: one, with replay."""
    stream = tiny("abc")
    strategy = begin(GrowingMixture, stream, threshold=threshold)
    train(strategy, stream)
    assert strategy.model.codes == components
    assert growing(strategy).served == ([1, 1, 1] if components == 3 else [3])
    assert (strategy.synthetic_samples > 0) == (components == 1)


def test_a_threshold_between_two_discrepancies_separates_them():
    """An interval like the first goes back to its component, one that isn't gets its own."""
    stream = tiny("afa", steps=60)
    strategy = begin(GrowingMixture, stream, threshold="inf", learning_rate=0.01)
    found = []
    for experience in stream.train_stream:
        strategy.train(experience, eval_streams=[])
        found.append(growing(strategy).discrepancies)
    (first,) = found[1]
    again = begin(GrowingMixture, stream, threshold=0.9 * first, learning_rate=0.01)
    for experience in stream.train_stream:
        again.train(experience, eval_streams=[])
    assert again.model.codes == 2
    assert growing(again).served == [1, 1]  # the distribution that came back is no new one
    assert again.model.images.tolist() == [37.0, 37.0]
    # all the same it is replayed: nobody has said which one it is
    assert (again.real_samples, again.synthetic_samples) == (60 * 6, 60 * 6)
    assert min(growing(again).discrepancies) == growing(again).discrepancies[0] < 0.9 * first
    again = begin(GrowingMixture, stream, threshold=1.1 * first, learning_rate=0.01)
    for experience in stream.train_stream[:2]:
        again.train(experience, eval_streams=[])
    assert again.model.codes == 1


def test_the_discrepancy_is_the_papers(vaes):
    """[1.3] |mean of L over the probe − mean of L over own samples|, each with one draw."""
    x = batches(1)
    with torch.no_grad():
        found = discrepancies(vaes, x, Seeds(0).generator("n"))
        noise = Seeds(0).generator("n")
        for k in range(3):
            component = vaes.component(k)
            own = component.sample(len(x), generator=noise)
            real, generated = (
                negative_elbo(component.log_weights(one, 1, noise), component.log_prior).value.mean()
                for one in (x, own)
            )
            assert found[k] == pytest.approx(abs(float(real - generated)))
    assert found[1] == min(found)


def test_novelty_is_tested_before_training_on_the_intervals_own_images():
    """[No look-ahead] At the beginning of interval t nothing but its own training images has been read."""
    stream = tiny("ab", steps=5)
    strategy = begin(GrowingMixture, stream, threshold="inf")
    strategy.train(stream.train_stream[0], eval_streams=[])
    before = copy.deepcopy(strategy.model).eval()
    strategy.train(stream.train_stream[1], eval_streams=[])
    x = to_unit(stream.images("train", "b").x)
    noise = Seeds(0).generator("novelty", 1)
    with torch.no_grad():
        assert growing(strategy).discrepancies == discrepancies(before, x, noise)


@pytest.mark.parametrize("share", ["frozen", "none"])
def test_a_component_that_is_not_trained_stays_exactly_what_it_was(share):
    """[1.11.2] Group values of its images are constant; the marginal rises by at most the lost prior mass."""
    stream = tiny("abc", steps=8)
    strategy = begin(GrowingMixture, stream, threshold=0, share=share)
    x = to_unit(stream.images("test", "a").x)
    values, weights, masses = [], [], []
    for experience in stream.train_stream:
        strategy.train(experience, eval_streams=[])
        model = copy.deepcopy(strategy.model).eval()
        with torch.inference_mode():
            drawn = model.log_weights(x, 4, Seeds(0).generator("z"))
        values.append(group_bounds(drawn)[0])
        weights.append(negative_elbo(drawn, model.log_prior).value)
        masses.append(float(model.log_prior[0]))
    assert torch.equal(values[0], values[1])
    assert torch.equal(values[1], values[2])
    for t in (1, 2):
        assert (weights[t] - weights[t - 1]).max() <= masses[t - 1] - masses[t] + 1e-5


def test_only_the_active_component_learns_and_the_trunk_in_the_first_interval_alone():
    stream = tiny("abc")
    strategy = begin(GrowingMixture, stream, threshold=0)
    learning = []

    def look(strategy):
        model = strategy.model
        names = {name for name, p in model.named_parameters() if p.grad is not None}
        modes = [any(module.training for module in component.modules()) for component in model.components]
        trunk = {id(p) for module in model.trunk() for p in module.parameters()}
        learning.append(({name.split(".")[1] for name in names}, modes.count(True), any(
            id(p) in trunk for p in model.parameters() if p.grad is not None)))  # fmt: skip
        held = {id(p) for group in strategy.optimizer.param_groups for p in group["params"]}
        active = {id(p) for p in model.components[model.active].parameters()}
        learns = {id(p) for p in model.parameters() if p.requires_grad}
        assert learns == (active - trunk if model.trunk_frozen else active)
        assert learns <= held

    strategy.plugins.insert(-1, Spy(after_backward=look))
    train(strategy, stream)
    assert learning == [({"0"}, 1, True)] * 4 + [({"1"}, 1, False)] * 4 + [({"2"}, 1, False)] * 4


def test_components_share_the_trunk_and_nothing_else():
    stream = tiny("abc")
    shared, alone = (begin(GrowingMixture, stream, threshold=0, share=share) for share in ("frozen", "none"))
    one = count_state(shared.model)
    trunk = count_state(torch.nn.ModuleList(shared.model.trunk()))
    for strategy in (shared, alone):
        train(strategy, stream)
    assert count_state(alone.model) == 3 * (one - 1) + 3  # a prior weight each
    assert count_state(shared.model) == 3 * (one - 1) - 2 * trunk + 3
    encoder = [component.encoder for component in shared.model.components]
    assert encoder[0][1] is encoder[1][1] is encoder[2][1]
    assert encoder[0][4] is not encoder[1][4]


def test_prior_weights_are_the_shares_of_the_images_met():
    stream = tiny("abc")
    strategy = begin(GrowingMixture, stream, threshold=0)
    train(strategy, stream)
    torch.testing.assert_close(strategy.model.log_prior.exp(), torch.full((3,), 1 / 3))
    strategy = begin(GrowingMixture, tiny("aba"), threshold="inf", prior="uniform")
    train(strategy, tiny("aba"))
    assert strategy.model.images.tolist() == [74.0]
    assert strategy.model.log_prior.tolist() == [0.0]


def test_a_reused_component_is_replayed_its_own_past_in_fair_shares():
    """With m distributions served before, ⌊B/(m + 1)⌋ images are real, the first of those that naive sees."""
    stream = tiny("abc", steps=5)
    strategy = begin(GrowingMixture, stream, threshold="inf")
    real = []
    strategy.plugins.insert(-1, Spy(after_forward=lambda s: real.append(int((s.mb_y >= 0).sum()))))
    counts = []
    for experience in stream.train_stream:
        strategy.train(experience, eval_streams=[])
        counts.append((strategy.real_samples, strategy.synthetic_samples))
    assert real == [12] * 5 + [6] * 5 + [4] * 5
    assert counts == [(60, 0), (30, 30), (20, 40)]
    source = growing(strategy).source
    assert not any(p.requires_grad for p in source.parameters())
    own = count_state(source) - count_state(torch.nn.ModuleList(strategy.model.trunk()))
    assert strategy.stored_parameters == count_state(strategy.model) + own


def test_experts_are_one_for_each_distribution_and_one_that_comes_back_finds_its_own():
    stream = tiny("afa", steps=60)
    strategy = begin(Experts, stream, learning_rate=0.01)
    train(strategy, stream)
    assert strategy.model.codes == 2
    assert strategy.model.active == 0
    assert strategy.model.images.tolist() == [37.0, 37.0]
    assert strategy.synthetic_samples == 0


def test_a_component_made_for_a_distribution_that_came_back_has_a_past():
    """It counts as served, so that the next one is mixed with its replay."""
    stream = tiny("aab", steps=4)
    strategy = begin(GrowingMixture, stream, threshold=0)
    for experience in stream.train_stream[:2]:
        strategy.train(experience, eval_streams=[])
    assert growing(strategy).served == [1, 1]
    assert strategy.model.images.tolist() == [37.0, 37.0]
    growing(strategy)._threshold = math.inf
    strategy.train(stream.train_stream[2], eval_streams=[])
    assert (strategy.real_samples, strategy.synthetic_samples) == (24, 24)


# The student


def test_the_student_is_shown_the_replay_of_a_reused_component():
    """Else nothing would: components other than the active one are sampled."""
    stream = tiny("abc", steps=4)
    strategy = begin(GrowingMixtureStudent, stream, threshold=0)
    for experience in stream.train_stream[:2]:
        strategy.train(experience, eval_streams=[])
    growing(strategy)._threshold = math.inf
    seen, own = student_batches(strategy), []
    strategy.plugins.insert(-1, Spy(after_forward=lambda s: own.append((s.mb_x, s.mb_y))))
    strategy.train(stream.train_stream[2], eval_streams=[])
    for batch, (x, y) in zip(seen, own, strict=True):
        replayed = x[y < 0]
        assert len(replayed) == 6
        assert sum(bool((image == replayed).flatten(1).all(1).any()) for image in batch[4:]) == 4


def student_batches(strategy: GenerativeTemplate) -> list[Tensor]:
    """What the student is shown at each step."""
    seen: list[Tensor] = []
    model: DistilledMixture = strategy.model
    model.student.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    return seen


def test_the_student_learns_beside_the_mixture_and_leaves_it_as_it_is():
    stream = tiny("abc", steps=6)
    mixture, student = (begin(method, stream, threshold=0) for method in (GrowingMixture, GrowingMixtureStudent))
    for experience in stream.train_stream:
        mixture.train(experience, eval_streams=[])
        student.train(experience, eval_streams=[])
        expected = mixture.model.state_dict()
        assert all(torch.equal(expected[key], value) for key, value in student.model.mixture.state_dict().items())


def test_the_students_batch_has_samples_of_all_components_but_the_active_one():
    """[1.6] ⌊B/(K + 1)⌋ of each, filled up with the mixture's own, at equal distances."""
    stream = tiny("abc", steps=4)
    strategy = begin(GrowingMixtureStudent, stream, threshold=0)
    seen = student_batches(strategy)
    own = []
    strategy.plugins.insert(-1, Spy(after_forward=lambda s: own.append(s.mb_x)))
    counts = []
    for experience in stream.train_stream:
        strategy.train(experience, eval_streams=[])
        counts.append((strategy.real_samples, strategy.synthetic_samples))
    assert counts == [(48, 0), (48, 16), (48, 24)]
    for step, (batch, real) in enumerate(zip(seen, own, strict=True)):
        drawn = (0, 4, 6)[step // 4]
        assert len(batch) == 12
        n = 12 - drawn
        assert torch.equal(batch[drawn:], real[[i * 12 // n for i in range(n)]])
        assert not torch.isin(batch[:drawn], real).all() or not drawn


def test_the_student_is_what_is_measured():
    stream = tiny("ab")
    strategy = begin(GrowingMixtureStudent, stream, threshold=0)
    train(strategy, stream)
    model = strategy.model.eval()
    x = to_unit(stream.images("test", "a").x)
    with torch.inference_mode():
        one = model.log_weights(x, 2, Seeds(0).generator("z"))
        other = model.student.log_weights(x, 2, Seeds(0).generator("z"))
    assert all(map(torch.equal, one, other))
    assert model.codes == 1
    assert strategy.stored_parameters == count_state(model) > count_state(model.mixture)
