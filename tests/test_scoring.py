"""Metrics of anybody's samples: folders of pictures, and arrays."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lifegen.benchmark.discovery.index import source
from lifegen.benchmark.errors import InputError
from lifegen.benchmark.measuring import sample_quality as quality
from lifegen.benchmark.running.scoring import score

from .commands import lifegen, lifegen_elsewhere


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    return source("digits").load(Path()).train.x.numpy()


def of(images: torch.Tensor | Path, scenario: str = "split-digits:sample_images=100") -> dict[str, float]:
    return {one.metric: one.value for one in score(images, scenario, Path()).metrics}


def test_every_form_of_the_same_images_has_the_same_score(digits, tmp_path):
    few = digits[:120]
    (tmp_path / "pictures").mkdir()
    for i, image in enumerate(few):
        Image.fromarray(image[0]).save(tmp_path / "pictures" / f"{i:03}.png")
    np.savez(tmp_path / "plain.npz", few)
    np.savez_compressed(tmp_path / "last.npz", samples=few.transpose(0, 2, 3, 1))
    np.save(tmp_path / "grey.npy", few[:, 0])
    np.save(tmp_path / "floats.npy", few.astype(np.float32) / 255)
    wanted = of(torch.from_numpy(few))
    for name in ("pictures", "plain.npz", "last.npz", "grey.npy", "floats.npy"):
        assert of(tmp_path / name) == wanted, name


def test_real_images_are_better_than_blurred_ones_and_at_the_floor(digits):
    real = torch.from_numpy(digits)
    blurred = torch.nn.functional.avg_pool2d(real.float(), 3, 1, 1).byte()
    scored = score(real, "split-digits", Path())
    assert (scored.images, scored.given, scored.expert) == (350, len(real), "digits")
    for one in scored.metrics:
        if one.metric in ("coverage", "precision", "recall", "prd_f8", "prd_f1_8"):
            assert one.value == pytest.approx(one.floor, abs=0.07)
    good, bad = of(real, "split-digits"), of(blurred, "split-digits")
    assert good["frechet_distance"] < 2 < 10 < bad["frechet_distance"]
    assert bad["recall"] < 0.5 < good["recall"]
    assert bad["fitting_capacity"] < good["fitting_capacity"]


@pytest.mark.parametrize(
    ("make", "scenario", "message"),
    [
        (lambda p: p / "nothing", "split-digits", "isn't there: give a folder of PNG files"),
        (lambda p: p, "split-digits", "has no PNG files"),
        (lambda p: _saved(p, np.zeros((60, 8, 8), np.uint8)), "split-digits",
         "there are 60 images, and split-digits compares 350: give more, or --scenario split-digits:sample_images=60"),
        (lambda p: _saved(p, np.zeros((40, 8, 8), np.uint8)), "split-digits", "compares 350: give more$"),
        (lambda p: _saved(p, np.zeros((400, 9, 8), np.uint8)), "split-digits", "images of 1×9×8 .* are 1×8×8"),
        (lambda p: _saved(p, np.zeros((400, 3, 8, 8), np.uint8)), "split-digits", "images of 3×8×8 .* are 1×8×8"),
        (lambda p: _saved(p, np.full((400, 8, 8), 1.5)), "split-digits", r"floats must be in \[0, 1\]"),
        (lambda p: _saved(p, np.full((400, 8, 8), np.nan)), "split-digits", r"floats must be in \[0, 1\]"),
        (lambda p: _saved(p, np.zeros((400, 8, 8), np.int64)), "split-digits", "has an array of int64"),
        (lambda p: _saved(p, np.zeros(400, np.uint8)), "split-digits", r"uint8, \(400,\)"),
        (lambda p: _saved(p, np.zeros((60, 8, 8), np.uint8)), "split-digits:sample_images=300",
         "give more, or --scenario split-digits:sample_images=60$"),
        (lambda p: torch.zeros(400, 1, 8, 8), "split-digits", "images must be uint8, 0 to 255; found: float32"),
        (lambda p: _damaged(p / "x.npz"), "split-digits", "can't be read as an array of NumPy"),
        (lambda p: _text(p / "x.npz"), "split-digits", "can't be read as an array of NumPy"),
        (lambda p: _text(p / "x.png").parent, "split-digits", "x.png can't be read as a picture"),
        (lambda p: _saved(p, np.zeros((400, 8, 8), np.uint8)), "permuted-digits", "can't be scored: no expert knows"),
        (lambda p: _saved(p, np.zeros((400, 8, 8), np.uint8)), "split-digitz", "did you mean|split-digits"),
    ],
)  # fmt: skip
def test_images_that_cant_be_scored(tmp_path, make, scenario, message):
    with pytest.raises(InputError, match=message):
        score(make(tmp_path), scenario, Path())


def test_several_arrays_and_pickles_are_refused(tmp_path):
    np.savez(tmp_path / "two.npz", np.zeros(3), np.ones(3))
    np.save(tmp_path / "pickle.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="has 2 arrays; expected one"):
        score(tmp_path / "two.npz", "split-digits", Path())
    with pytest.raises(InputError, match="can't be read as an array"):
        score(tmp_path / "pickle.npy", "split-digits", Path())


def test_the_command_shows_the_floor_beside(digits, tmp_path, home):
    np.savez(tmp_path / "mine.npz", digits[:400])
    done = lifegen_elsewhere("score", "mine.npz", "--scenario", "split-digits", cwd=tmp_path, env=home)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "350 of 400 images beside test images of split-digits" in " ".join(done.stdout.split())
    assert max(map(len, done.stdout.splitlines())) <= 80
    asked = lifegen("score", tmp_path / "mine.npz", "-s", "split-digits", "--json")
    content = json.loads(asked.stdout)
    for one in content["metrics"]:
        assert one["metric"] in done.stdout
        assert f"{one['value']:.4g}" in done.stdout


def _saved(folder: Path, array: np.ndarray) -> Path:
    np.save(folder / "images.npy", array)
    return folder / "images.npy"


def _damaged(file: Path) -> Path:
    np.savez_compressed(file, np.random.default_rng(0).integers(0, 255, (400, 8, 8), np.uint8))
    content = bytearray(file.read_bytes())
    content[500:600] = bytes(100)
    file.write_bytes(content)
    return file


def _text(file: Path) -> Path:
    file.write_text("text")
    return file


class Means(torch.nn.Module):
    """A feature network of TorchScript: mean levels of the quarters of an image's first and last channel."""

    def forward(self, x: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        if x.shape[1] != 3 or not return_features:
            raise ValueError("wants three channels and features")
        small = torch.nn.functional.adaptive_avg_pool2d(x.float(), 2).flatten(2)
        return torch.cat([small[:, 0, :3], small[:, 2, 3:]], 1)


@pytest.mark.filterwarnings("ignore:.torch.jit")
def test_the_users_inception_network_gives_a_distance_of_its_own(digits, tmp_path):
    torch.jit.script(Means()).save(tmp_path / "inception.pt")
    real = torch.from_numpy(digits)
    blurred = torch.nn.functional.avg_pool2d(real.float(), 3, 1, 1).byte()[:355]
    scored = score(blurred, "split-digits:sample_images=100", Path(), tmp_path / "inception.pt")
    found = {one.metric: one for one in scored.metrics}["inception_frechet_distance"]
    test = source("digits").load(Path()).test

    def features(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(x.float(), 2).flatten(1).double()

    assert len(test.x) == len(blurred) == 355
    assert found.value == pytest.approx(quality.frechet_distance(features(test.x), features(blurred)))
    assert 0 < found.floor < found.value / 10
    np.savez(tmp_path / "mine.npz", digits[:120])
    line = ["score", tmp_path / "mine.npz", "-s", "split-digits:sample_images=100", "--inception"]
    assert "inception_frechet_distance" in lifegen(*line, tmp_path / "inception.pt").stdout
    assert "mine.npz can't be read as TorchScript" in lifegen(*line, tmp_path / "mine.npz").stderr
    torch.jit.script(torch.nn.ReLU()).save(tmp_path / "relu.pt")
    assert "relu.pt isn't a feature network of images" in lifegen(*line, tmp_path / "relu.pt").stderr
