"""Networks of the code/style VAE: shapes, sizes, normalisation, initial weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lifegen.benchmark.seeds import Seeds
from lifegen.methods.models.networks import NORMS, Convolutional, norm_statistics_kept
from lifegen.methods.models.vae import CodeStyleVAE


def model(shape=(1, 8, 8), architecture="mlp", **options) -> CodeStyleVAE:
    return CodeStyleVAE(
        shape, codes=3, style=2, width=options.pop("width", 4), architecture=architecture,
        init=Seeds(0).generator("init"), **options,
    )  # fmt: skip


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
@pytest.mark.parametrize("track", ["bernoulli-grey", "discretised-logistic"])
@pytest.mark.parametrize(
    ("architecture", "shape"),
    [("mlp", (1, 8, 8)), ("conv", (1, 8, 8)), ("conv", (1, 28, 28)), ("conv", (3, 32, 32)), ("conv", (3, 64, 64))],
)
def test_every_network_trains_and_is_measured_on_every_image_shape(architecture, shape, norm, track):
    vae = model(shape, architecture, norm=norm, track=track, activation="selu")
    x = torch.rand(5, *shape)
    output = vae(x)
    output.negative_elbo().mean().backward()
    assert all(parameter.grad.isfinite().all() for parameter in vae.parameters())
    vae.eval()
    assert vae.sample(4).shape == (4, *shape)
    assert vae.reconstruct(x).shape == x.shape
    assert vae.log_weights(x, 3).likelihood.shape == (3, 1, 5)
    kinds = {type(module) for module in vae.modules()} & set(NORMS)
    dense = nn.BatchNorm1d if architecture == "mlp" else nn.BatchNorm2d
    assert kinds == {"batch": {dense}, "group": {nn.GroupNorm}, "none": set()}[norm]


@pytest.mark.parametrize(("side", "sizes"), [(32, [28, 13, 10, 4, 1, 1]), (64, [32, 28, 13, 10, 4, 1, 1])])
def test_the_convolutions_are_those_of_the_papers_code(side, sizes):
    network = Convolutional((3, side, side), 1, 8, "batch", "elu")
    seen: list[tuple[str, torch.Size]] = []
    encoder, decoder = network.encoder(None), network.decoder(None)
    for part in (encoder, decoder):
        for layer in part:
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                layer.register_forward_hook(lambda _, __, out: seen.append(tuple(out.shape[1:])))
    assert encoder(torch.rand(2, 3, side, side)).shape == (2, network.features)
    assert [height for _, height, _ in seen] == sizes
    assert [filters for filters, *_ in seen][-6:] == [8, 16, 32, 64, 128, 128]
    seen.clear()
    assert decoder(torch.rand(2, network.inputs)).shape == (2, 3 * side * side)
    assert [height for _, height, _ in seen][:4] == [10, 13, 28, 32]
    assert [filters for filters, *_ in seen] == [64, 32, 16, 16, *([16] if side == 64 else []), 3]


def test_group_norm_takes_each_image_alone():
    vae = model(norm="group", width=16)
    x = torch.rand(6, 1, 8, 8)
    torch.testing.assert_close(vae.encode(x).code_logits[:1], vae.encode(x[:1]).code_logits)
    groups = [module for module in vae.modules() if isinstance(module, nn.GroupNorm)]
    assert all(module.num_channels // module.num_groups >= 4 for module in groups)


def test_everything_can_start_anew():
    vae = model(architecture="conv")
    for module in vae.modules():
        if isinstance(module, NORMS):
            nn.init.constant_(module.weight, 3.0)
    before = {key: value.clone() for key, value in vae.state_dict().items()}
    vae.reinitialise(Seeds(1).generator("again"))
    for key, value in vae.state_dict().items():
        if key.endswith("weight"):
            assert not torch.equal(value, before[key]), key


def test_passes_can_leave_the_running_statistics_alone():
    vae = model()
    x = torch.rand(20, 1, 8, 8)
    before = {key: value.clone() for key, value in vae.state_dict().items()}
    with norm_statistics_kept([vae]):
        first = vae.code_log_posterior(x)
    assert all(torch.equal(before[key], value) for key, value in vae.state_dict().items())
    assert torch.equal(first, vae.code_log_posterior(x))  # normalised by the batch all the same
    assert not torch.equal(before["encoder.2.running_mean"], vae.state_dict()["encoder.2.running_mean"])


def test_old_codes_and_styles_can_be_preserved_when_codes_are_appended():
    vae = model().eval()
    head, first = vae.encoder_head, vae.decoder_input
    x = torch.rand(5, 1, 8, 8)
    before = vae.encode(x)
    vae.grow(2, Seeds(3).generator("growth"), preserve=True)
    after = vae.encode(x)
    torch.testing.assert_close(after.mean, before.mean)
    torch.testing.assert_close(after.std, before.std)
    torch.testing.assert_close(after.code_logits[:, :3], before.code_logits)
    assert after.code_logits.shape == (5, 5)
    assert torch.equal(vae.decoder_input.weight[:, :5], first.weight)
    assert vae.encoder_head.weight[-2:].any()
    assert head.weight.shape == (7, 4)


def test_the_style_grid_runs_row_by_row_from_the_top():
    vae = model().eval()
    seen = []
    decode = vae.decode
    vae.decode = lambda style, code: seen.append((style, code)) or decode(style, code)
    grid = vae.style_grid(1, 3)
    assert grid.shape == (9, 1, 8, 8)
    style, code = seen[0]
    assert style.tolist() == [[-3, 3], [0, 3], [3, 3], [-3, 0], [0, 0], [3, 0], [-3, -3], [0, -3], [3, -3]]
    assert code.argmax(1).tolist() == [1] * 9
    assert CodeStyleVAE((1, 8, 8), codes=2, style=3, width=4).style_grid(0, 3) is None


def test_many_images_are_decoded_in_pieces_to_the_same_values():
    decoder = Convolutional((1, 8, 8), 1, 4, "batch", "elu").decoder(Seeds(0).generator("init")).eval()
    x = torch.rand(401, 16 * 4 * 16)
    whole = decoder(x)
    torch.testing.assert_close(whole, torch.cat([decoder(piece) for piece in x.split(50)]))
    assert len(whole) == 401
    assert decoder(x[:0]).shape == (0, 64)


def test_group_norms_scales_are_reset_too():
    vae = model(norm="group")
    for module in vae.modules():
        if isinstance(module, nn.GroupNorm):
            nn.init.constant_(module.weight, 3.0)
    vae.reset_norm()
    assert all((m.weight == 3).all() for m in vae.modules() if isinstance(m, nn.GroupNorm))
    vae.reset_norm(affine=True)
    assert all((m.weight == 1).all() for m in vae.modules() if isinstance(m, nn.GroupNorm))
