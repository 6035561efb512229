"""Pictures and models that a cell keeps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lifegen.benchmark import load_model
from lifegen.benchmark.contracts.model import GenerativeModel
from lifegen.benchmark.errors import InputError
from lifegen.benchmark.measuring.pictures import GRID, RECONSTRUCTIONS, SAMPLES, take_pictures, take_replayed
from lifegen.benchmark.running.saved_model import save_model
from lifegen.benchmark.running.worker import run_cell
from lifegen.benchmark.seeds import Seeds
from lifegen.benchmark.store.store import Store
from lifegen.methods.models.vae import CodeStyleVAE, Posterior

from .conftest import SHAPE, tiny
from .test_run import tiny_cells


def test_pictures_are_of_every_code_and_distribution(vae):
    stream = tiny("ab")
    pictures = take_pictures(vae, stream, Seeds(0), torch.device("cpu"))
    assert {name: (images.shape, images.dtype) for name, images in pictures.items()} == {
        "samples": ((3, SAMPLES, *SHAPE), np.uint8),
        "originals": ((2, RECONSTRUCTIONS, *SHAPE), np.uint8),
        "reconstructions": ((2, RECONSTRUCTIONS, *SHAPE), np.uint8),
        "deviations": ((2, RECONSTRUCTIONS, *SHAPE), np.uint8),
        "style_grid": ((3, GRID**2, *SHAPE), np.uint8),
    }
    assert np.array_equal(pictures["originals"][1, 0], stream.images("test", "b").x[0].numpy())
    with torch.inference_mode():
        rebuilt = vae.reconstruct(torch.from_numpy(pictures["originals"][1]).float() / 255).mul(255).round()
    assert np.array_equal(pictures["reconstructions"][1], rebuilt.numpy().astype(np.uint8))


def test_deviations_are_over_draws_of_the_posterior(vae):
    """Of a decoder that shows its style in its pixels, and an encoder whose posterior is known."""

    class Shown(CodeStyleVAE):
        def encode(self, x):
            n = len(x)
            return Posterior(torch.zeros(n, 2), torch.tensor([0.1, 0.0]).expand(n, 2), torch.zeros(n, 3))

        def decoded(self, style, code, generator, draw):
            pixels = 0.5 + style.repeat(1, SHAPE[1] * SHAPE[2] // 2)
            return pixels.clamp(0, 1).view(-1, *SHAPE)

    model = Shown(SHAPE, codes=3, style=2, width=8)
    deviations = take_pictures(model, tiny("ab"), Seeds(0), torch.device("cpu"))["deviations"].reshape(16, -1, 2) / 510
    assert (deviations[..., 1] == 0).all()
    assert deviations[..., 0].mean() == pytest.approx(0.1, abs=0.01)
    assert np.ptp(deviations[..., 0], axis=1).max() == 0  # all of an image's pixels show the same draws
    assert np.ptp(deviations[:, 0, 0]) > 0.005  # images have draws of their own


def test_a_style_of_three_dimensions_has_no_grid():
    model = CodeStyleVAE(SHAPE, codes=2, style=3, width=8)
    assert "style_grid" not in take_pictures(model, tiny("a"), Seeds(0), torch.device("cpu"))


def test_what_each_interval_replayed_is_kept(tmp_path):
    for cell in tiny_cells("generative-replay", "naive"):
        store = Store.create(tmp_path / cell.method.name)
        assert run_cell(cell, store.path, tmp_path, "cpu") == "done"
        with np.load(store.cell(cell.name).folder / "pictures.npz") as pictures:
            assert ("replayed_over_intervals" in pictures) == (cell.method.name == "generative-replay")
            if "replayed_over_intervals" in pictures:
                first, *later = pictures["replayed_over_intervals"]
                assert first.shape == (SAMPLES, 1, 8, 8)
                assert not first.any()
                assert later
                assert all(images.any() for images in later)


def test_replayed_images_have_the_same_noise_each_time_and_their_own():
    def noise(n: int, generator: torch.Generator) -> torch.Tensor:
        return torch.rand(n, *SHAPE, generator=generator)

    def taken(replays) -> np.ndarray | None:
        return take_replayed(replays, SHAPE, Seeds(3), torch.device("cpu"))

    first, again = taken(noise), taken(noise)
    assert first.shape == (SAMPLES, *SHAPE)
    assert np.array_equal(first, again)
    assert len(np.unique(first)) > 100
    assert taken(None) is None
    assert taken(lambda n, generator: None) is None
    with pytest.raises(ValueError, match="replayed returns values from"):
        taken(lambda n, generator: 2 + noise(n, generator))
    with pytest.raises(ValueError, match=r"replayed returns 10 images as \(9, 1, "):
        taken(lambda n, generator: noise(n - 1, generator))


@pytest.mark.parametrize("architecture", ["mlp", "conv"])
def test_a_kept_model_is_the_same_model(tmp_path, architecture):
    model = CodeStyleVAE(SHAPE, codes=2, style=2, width=8, architecture=architecture, norm="group", activation="selu")
    model.grow(1)
    assert save_model(model.eval(), tmp_path / "m.safetensors")
    again = load_model(tmp_path / "m.safetensors")
    assert isinstance(again, CodeStyleVAE)
    assert not again.training
    x = torch.rand(3, *SHAPE)
    assert torch.equal(again.reconstruct(x), model.reconstruct(x))
    assert again.codes == 3


def test_a_model_without_a_recipe_is_not_kept(tmp_path, vae, monkeypatch):
    monkeypatch.setattr(CodeStyleVAE, "recipe", GenerativeModel.recipe)
    assert not save_model(vae, tmp_path / "m.safetensors")
    assert not (tmp_path / "m.safetensors").exists()


@pytest.mark.parametrize("content", [None, b"", b"nonsense" * 10])
def test_what_is_not_a_model_is_one_line(tmp_path, content):
    file = tmp_path / "m.safetensors"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match="isn't a model that lifegen can load"):
        load_model(file)


def test_a_cell_keeps_its_model_if_asked_to(tmp_path):
    (cell,) = tiny_cells("lifelong-vae")
    for keep in (False, True):
        store = Store.create(tmp_path / str(keep))
        assert run_cell(cell, store.path, tmp_path, "cpu", keep) == "done"
        file = store.cell(cell.name).folder / "model.safetensors"
        assert file.exists() == keep
    assert load_model(file).codes == 2
