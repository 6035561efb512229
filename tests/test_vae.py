"""The code/style VAE."""

import math
from types import SimpleNamespace

import pytest
import torch

from lifegen.benchmark.contracts.registry import METRICS
from lifegen.benchmark.measuring.evaluator import Evaluator
from lifegen.benchmark.measuring.measurement import Measurement
from lifegen.benchmark.seeds import Seeds
from lifegen.methods.models.likelihoods import BernoulliGrey
from lifegen.methods.models.vae import CodeStyleVAE

from .conftest import SHAPE


def x(n: int) -> torch.Tensor:
    return torch.rand(n, *SHAPE, generator=Seeds(0).generator("images"))


def test_shapes(vae):
    output = vae(x(6))
    assert output.negative_elbo().shape == (6,)
    assert output.x.shape == (6, *SHAPE)
    weights = vae.log_weights(x(6), draws=5)
    assert weights.likelihood.shape == weights.divergence.shape == (5, 1, 6)
    assert vae.log_prior.tolist() == [0]
    assert vae.code_log_posterior(x(6)).shape == (6, 3)
    torch.testing.assert_close(vae.code_log_posterior(x(6)).exp().sum(1), torch.ones(6))
    assert vae.sample(7).shape == vae.reconstruct(x(7)).shape == (7, *SHAPE)
    assert 0 <= vae.sample(7).min() <= vae.sample(7).max() <= 1


def test_bernoulli_log_likelihood_is_the_same_for_one_draw_and_for_many():
    images = x(6).flatten(1)
    logits = torch.randn(4, 6, 16)
    likelihood = BernoulliGrey()
    many = likelihood.log_prob(images, logits)
    p = logits.sigmoid()
    torch.testing.assert_close(many, (images * p.log() + (1 - images) * (1 - p).log()).sum(-1))
    torch.testing.assert_close(likelihood.log_prob(images, logits[0]), many[0])


def test_training_takes_its_noise_from_its_own_generator(vae):
    torch.manual_seed(0)
    state = torch.get_rng_state()
    vae.generator.manual_seed(5)
    first = vae(x(6)).negative_elbo()
    assert torch.equal(torch.get_rng_state(), state)
    vae.generator.manual_seed(5)
    assert torch.equal(vae(x(6)).negative_elbo(), first)
    assert not torch.equal(vae(x(6)).negative_elbo(), first)
    vae.latent_noise = False
    assert torch.equal(vae(x(6)).negative_elbo(), vae(x(6)).negative_elbo())


def test_initial_weights_come_from_the_given_generator_alone():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    one, two, other = (
        CodeStyleVAE(SHAPE, 2, style=2, width=8, init=Seeds(seed).generator("init")).state_dict() for seed in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert not torch.equal(one["encoder_head.weight"], other["encoder_head.weight"])
    bound = math.sqrt(6 / (16 + 8))  # Glorot's
    assert bound * 0.8 < one["encoder.1.weight"].abs().max() <= bound


def test_a_low_temperature_makes_the_relaxed_code_hard(vae):
    """As the temperature falls, the training pass of one draw approaches a pass with a one-hot code."""
    seen = []
    decode = vae.decode
    vae.decode = lambda style, code: seen.append(code) or decode(style, code)
    for temperature in (10.0, 0.01):
        vae.temperature = temperature
        vae(x(50))
    soft, hard = (codes.max(1).values.mean().item() for codes in seen)
    assert soft < 0.6
    assert hard > 0.95


def test_growing_appends_a_code_and_restarts_only_the_layers_around_the_latent(vae):
    before = {key: value.clone() for key, value in vae.state_dict().items()}
    vae.grow(1, Seeds(9).generator("growth"))
    after = vae.state_dict()
    assert vae.codes == 4
    assert after["encoder_head.weight"].shape == (2 * 2 + 4, 8)
    assert after["decoder_input.weight"].shape == (8, 2 + 4)
    kept = {key for key in before if not key.startswith(("encoder_head", "decoder_input"))}
    assert all(torch.equal(before[key], after[key]) for key in kept)
    assert not torch.equal(before["encoder_head.weight"][:4], after["encoder_head.weight"][:4])
    assert torch.equal(after["encoder_head.bias"], torch.zeros(8))


def test_old_codes_keep_their_columns_when_a_code_is_appended(vae):
    """Code c is logit row 2F + c and decoder column F + c, before and after: ids are only ever appended."""
    with torch.no_grad():
        vae.encoder_head.weight.zero_()
        vae.encoder_head.bias.copy_(torch.tensor([0.0] * 4 + [0, 5, 0]))
    assert vae.code_log_posterior(x(4)).argmax(1).tolist() == [1] * 4
    vae.grow(1, Seeds(9).generator("growth"))
    with torch.no_grad():
        vae.encoder_head.weight.zero_()
        vae.encoder_head.bias.copy_(torch.tensor([0.0] * 4 + [0, 5, 0, 0]))
    assert vae.code_log_posterior(x(4)).argmax(1).tolist() == [1] * 4


def test_growing_by_nothing_is_refused(vae):
    with pytest.raises(ValueError, match="at least one code"):
        vae.grow(0)


def test_sampling_one_code_decodes_that_code(vae):
    with torch.no_grad():
        vae.decoder_input.weight[:, vae.style :] = torch.eye(3).repeat(3, 1)[:8] * 10
    samples = [vae.sample(20, code=code, generator=Seeds(0).generator("s")) for code in range(3)]
    assert not torch.allclose(samples[0], samples[1])
    again = vae.sample(20, code=0, generator=Seeds(0).generator("s"))
    assert torch.equal(samples[0], again)


def test_samples_use_every_code_about_equally_often(vae):
    seen = []
    decode = vae.decode
    vae.decode = lambda style, code: seen.append(code) or decode(style, code)
    vae.sample(3000, generator=Seeds(0).generator("s"))
    torch.testing.assert_close(seen[0].mean(0), torch.full((3,), 1 / 3), atol=0.03, rtol=0)


def test_norm_statistics_are_reset_but_scales_are_kept(vae):
    with torch.no_grad():
        vae.encoder[2].weight.fill_(2)
    vae.reset_norm()
    assert torch.equal(vae.encoder[2].running_mean, torch.zeros(8))
    assert torch.equal(vae.encoder[2].running_var, torch.ones(8))
    assert torch.equal(vae.encoder[2].weight, torch.full((8,), 2.0))


def test_the_code_that_comes_with_log_weights_is_that_of_the_images(vae):
    images = x(5)
    assert torch.equal(vae.code_log_posterior(images, vae.log_weights(images, 3)), vae.code_log_posterior(images))


def test_measuring_encodes_each_test_image_once(vae, tiny_stream):
    stream = tiny_stream("ab")
    encoded = []
    vae.encoder.register_forward_hook(lambda *call: encoded.append(len(call[1][0])))
    strategy = SimpleNamespace(model=vae, device=torch.device("cpu"))
    measurement = Measurement(strategy, Evaluator(stream, Seeds(0), list(stream.train_stream)), 1, 0.0)
    with torch.inference_mode():
        for metric in (
            "negative_elbo",
            "negative_elbo_seen",
            "negative_elbo_group",
            "reconstruction",
            "code_perplexity",
        ):
            list(METRICS[metric].target(measurement))
    assert sum(encoded) == sum(len(stream.images("test", name).x) for name in stream.distributions)
