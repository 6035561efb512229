"""Scenarios beyond the split ones: what is turned, permuted, resized, sampled, binarised."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from lifegen.benchmark.contracts.stream import Parts, ScenarioConfig, _shares, make_stream, tensor_view
from lifegen.benchmark.errors import InputError
from lifegen.benchmark.seeds import Seeds
from lifegen.scenarios.celeba import CelebAConfig, celeba_attributes
from lifegen.scenarios.cross_domain import (
    CrossDomainConfig,
    CrossDomainRGBConfig,
    FashionToMNISTConfig,
    SVHNToMNISTConfig,
    cross_domain,
    cross_domain_rgb,
    fashion_to_mnist,
    svhn_to_mnist,
)
from lifegen.scenarios.data_sets import source
from lifegen.scenarios.split import SplitDigitsConfig, split_digits
from lifegen.scenarios.transformed import (
    PermutedDigitsConfig,
    RotatedConfig,
    RotatedDigitsConfig,
    permuted_digits,
    rotated_digits,
    rotated_mnist,
)

from .conftest import parts, tiny
from .small_data import TEST, TRAIN, small_data

__all__ = ["small_data"]
NOWHERE = Path("/nonexistent")


def rotated(seed: int = 0, **options: object):
    return rotated_digits(RotatedDigitsConfig(**options), Seeds(seed, "rotated-digits"), NOWHERE)


def test_rotated_intervals_are_drawn_with_replacement_and_by_seed():
    stream = rotated()
    visits = [experience.distribution for experience in stream.train_stream]
    assert len(visits) == 70
    assert 30 < len(set(visits)) < 52  # about 41 of 60
    assert sum(experience.is_new for experience in stream.train_stream) == len(set(visits))
    assert visits == [experience.distribution for experience in rotated().train_stream]
    assert visits != [experience.distribution for experience in rotated(1).train_stream]
    assert {name.partition("@")[2] for name in visits} == {"0", "30", "70", "130", "200", "250"}


def test_the_full_test_set_of_rotated_digits_is_what_was_drawn_or_everything_or_the_images_as_they_are():
    plain, everything, upright = (rotated(intervals=12, test_on=on) for on in ("drawn", "all", "unrotated"))
    assert plain.tested == plain.distributions
    assert set(everything.tested) == {f"{k}@{a}" for k in range(10) for a in (0, 30, 70, 130, 200, 250)}
    assert upright.tested == tuple(f"{k}@0" for k in range(10))
    for stream in (everything, upright):
        assert stream.distributions == plain.distributions
        for part in ("train", "valid", "test"):
            for name in stream.distributions:
                assert all(map(torch.equal, stream.images(part, name), plain.images(part, name)))
    test = source("digits").load(NOWHERE).test
    assert torch.equal(torch.cat([upright.images("test", name).y for name in upright.tested]), test.y.sort().values)
    for k in range(10):
        assert torch.equal(upright.images("test", f"{k}@0").x, test.x[test.y == k])
    assert len(plain.distributions) < 13 < len(everything.tested)


@pytest.mark.parametrize("on", ["all", "unrotated"])
def test_a_test_sample_has_equal_shares_of_what_is_tested_too_and_validation_does_not_change(on):
    plain, stream = (rotated(intervals=6, test_images=120, test_on=one) for one in ("drawn", on))
    every = set(stream.distributions) | set(stream.tested)
    assert len(every) == {"all": 60}.get(on, len(every))
    sizes = [len(stream.images("test", name).x) for name in every]
    assert (sum(sizes), max(sizes) - min(sizes) <= 1) == (120, True)
    for name in plain.distributions:
        assert torch.equal(stream.images("valid", name).x, plain.images("valid", name).x)


def test_binarised_tests_are_the_same_whether_their_distribution_comes_or_not():
    one, other = (rotated(seed, intervals=3, test_on="unrotated", track="bernoulli-binarised") for seed in (0, 1))
    assert one.distributions != other.distributions
    for name in one.tested:
        assert set(one.images("test", name).x.unique().tolist()) == {0, 255}
        assert torch.equal(one.images("test", name).x, other.images("test", name).x)


def test_a_quarter_turn_is_exact_and_counter_clockwise():
    stream = rotated(angles=(0, 90), intervals=40, validation=0.2)
    digits = split_digits(SplitDigitsConfig(validation=0.2), Seeds(0), NOWHERE)
    assert any(name.endswith("@90") for name in stream.distributions)
    for name in stream.distributions:
        label, _, angle = name.partition("@")
        for part in ("train", "valid", "test"):
            upright, turned = digits.images(part, label), stream.images(part, name)
            assert torch.equal(torch.rot90(upright.x, int(angle) // 90, (2, 3)), turned.x)
            assert torch.equal(upright.y, turned.y)


def test_permutations_are_fixed_and_the_same_in_every_part():
    streams = [permuted_digits(PermutedDigitsConfig(permutations=3), Seeds(seed), NOWHERE) for seed in (0, 1)]
    assert streams[0].distributions == ("original", "permutation-1", "permutation-2", "permutation-3")
    original = {part: streams[0].images(part, "original").x.flatten(1) for part in ("train", "test")}
    seen = []
    for name in streams[0].distributions[1:]:
        # a pixel's whole column tells where it went; those that never change can't be told apart
        columns = {column.numpy().tobytes() for column in original["train"].T}
        moved = streams[0].images("train", name).x.flatten(1)
        assert {column.numpy().tobytes() for column in moved.T} == columns
        assert not torch.equal(moved, original["train"])
        assert torch.equal(streams[1].images("train", name).x.flatten(1), moved)
        order = torch.randperm(64, generator=Seeds(0).generator("permutation", len(seen) + 1))
        assert torch.equal(streams[0].images("test", name).x.flatten(1), original["test"][:, order])
        seen.append(moved)
    assert not torch.equal(seen[0], seen[1])


def test_the_test_sample_is_balanced_fixed_and_spread():
    whole = rotated(intervals=12)
    n = 9 * len(whole.distributions) + 2
    sampled = rotated(intervals=12, test_images=n)
    sizes = [len(sampled.images("test", name).x) for name in sampled.distributions]
    assert sizes == [10, 10] + [9] * (len(sizes) - 2)
    for name in whole.distributions:
        images, few = whole.images("test", name).x, sampled.images("test", name).x
        at = [next(i for i, image in enumerate(images) if torch.equal(image, one)) for one in few]
        assert at == sorted(at)
        assert at[-1] > 0.8 * len(images)
        assert torch.equal(sampled.images("train", name).x, whole.images("train", name).x)
        assert len(sampled.images("valid", name).x) == min(len(few), len(whole.images("valid", name).x))


@pytest.mark.parametrize(
    ("n", "sizes", "shares"),
    [
        (10, [9, 9, 9], [4, 3, 3]),  # enough everywhere: the first ones have one more
        (200, [71, 71, 72, 71, 1], [50, 50, 50, 49, 1]),  # a rare one doesn't make the sample small
        (20, [2, 30, 4, 30], [2, 7, 4, 7]),
        (9, [1, 3, 30], [1, 3, 5]),  # again where the others' new share is too much for one of them
        (1000, [35, 34], [35, 34]),
    ],
)
def test_shares_of_a_sample_are_equal_as_far_as_there_are_images(n, sizes, shares):
    assert _shares(n, sizes) == shares


def test_a_rare_distribution_gives_all_it_has_to_a_test_sample():
    everything = {name: parts(name) for name in "abc"}  # 5 images for validation, 11 for tests
    everything["b"] = Parts(*(part.select(slice(0, 2)) for part in everything["b"]))
    stream = make_stream(everything, "abc", ScenarioConfig(test_images=12), Seeds(0))
    assert [len(stream.images("test", name).x) for name in "abc"] == [5, 2, 5]
    assert [len(stream.images("valid", name).x) for name in "abc"] == [5, 2, 5]
    assert torch.equal(stream.images("test", "a").x, everything["a"].test.spread(5).x)


def test_a_test_sample_of_less_than_one_image_each_is_refused():
    with pytest.raises(InputError, match="test_images=2"):
        tiny("abc", test_images=2)


def test_binarised_grey_stays_grey_in_colour(small_data):
    config = FashionToMNISTConfig(track="bernoulli-binarised")
    x = fashion_to_mnist(config, Seeds(0), small_data).images("train", "mnist").x
    assert set(x.unique().tolist()) == {0, 255}
    assert torch.equal(x[:, 0], x[:, 2])


def test_binarised_images_are_drawn_once_with_the_grey_levels_as_probabilities():
    grey, first, second = (
        split_digits(SplitDigitsConfig(track=track), Seeds(seed), NOWHERE)
        for seed, track in ((0, "bernoulli-grey"), (0, "bernoulli-binarised"), (1, "bernoulli-binarised"))
    )
    assert (grey.track, first.track) == ("bernoulli-grey", "bernoulli-binarised")
    for part in ("train", "valid", "test"):
        one = torch.cat([first.images(part, name).x for name in first.distributions])
        assert set(one.unique().tolist()) == {0, 255}
        assert torch.equal(one, torch.cat([second.images(part, name).x for name in second.distributions]))
        was = torch.cat([grey.images(part, name).x for name in grey.distributions])
        assert (one[was == 0] == 0).all()
        assert (one[was == 255] == 255).all()
        assert one.double().mean() == pytest.approx(was.double().mean().item(), rel=0.02)


def test_cross_domain_inverts_and_mirrors(small_data):
    stream = cross_domain(CrossDomainConfig(), Seeds(0), small_data)
    assert stream.image_shape == (1, 28, 28)
    mnist, fashion, inverted, flipped = (stream.images("train", name).x for name in stream.distributions)
    assert torch.equal(inverted, 255 - fashion)
    assert torch.equal(flipped, mnist.flip(3))
    assert len(mnist) == TRAIN * 0.9
    assert len(stream.images("test", "mnist").x) == TEST


def test_colour_sequences_are_32_by_32_with_equal_channels_where_the_data_are_grey(small_data):
    stream = cross_domain_rgb(CrossDomainRGBConfig(), Seeds(0), small_data)
    assert stream.image_shape == (3, 32, 32)
    assert stream.distributions == (
        "mnist", "svhn", "fashion-mnist", "inverted-fashion-mnist", "flipped-mnist", "cifar10",
    )  # fmt: skip
    for name in stream.distributions:
        x = stream.images("train", name).x
        assert x.shape == (TRAIN * 0.9, 3, 32, 32)
        assert x.dtype == torch.uint8
        assert torch.equal(x[:, 0], x[:, 1]) == (name not in ("svhn", "cifar10"))


def test_pixels_and_labels_of_svhn_and_cifar10_are_those_of_the_files(small_data):
    from scipy.io import loadmat

    svhn = source("svhn").load(small_data)
    content = loadmat(small_data / "SVHN" / "train_32x32.mat")
    assert np.array_equal(svhn.train.x[7].permute(1, 2, 0).numpy(), content["X"][..., 7])
    assert svhn.train.y[:10].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]  # 10 stands for 0
    cifar = source("cifar10").load(small_data)
    assert cifar.test.y[:3].tolist() == [0, 1, 2]
    assert cifar.train.x.shape == (TRAIN, 3, 32, 32)


def test_two_data_sets_follow_each_other(small_data):
    for build, config, first in (
        (svhn_to_mnist, SVHNToMNISTConfig(), "svhn"),
        (fashion_to_mnist, FashionToMNISTConfig(), "fashion-mnist"),
    ):
        stream = build(config, Seeds(0), small_data)
        assert [experience.distribution for experience in stream.train_stream] == [first, "mnist"]
        assert stream.image_shape == (3, 32, 32)


def test_a_domain_may_come_back(small_data):
    stream = cross_domain(CrossDomainConfig(sequence=("mnist", "fashion-mnist", "mnist")), Seeds(0), small_data)
    assert [experience.is_new for experience in stream.train_stream] == [True, True, False]


def test_celeba_has_one_distribution_per_attribute(small_data):
    config = CelebAConfig(attributes=("Male", "Bald", "Eyeglasses"))
    stream = celeba_attributes(config, Seeds(0), small_data)
    assert stream.image_shape == (3, 64, 64)
    assert stream.distributions == ("Male", "Bald", "Eyeglasses")
    for position, (name, divisor) in enumerate((("Male", 3), ("Bald", 1), ("Eyeglasses", 2))):
        images = stream.images("test", name)
        faces = [i for i in range(TRAIN, TRAIN + TEST) if i % divisor == 0]
        assert images.x[:, 0, 0, 0].tolist() == faces  # of one colour each, kept by crop and scaling
        assert images.y.tolist() == [position] * len(faces)
    with pytest.raises(InputError, match="unknown attribute of CelebA 'Tall'.*Young"):
        celeba_attributes(CelebAConfig(attributes=("Tall",)), Seeds(0), small_data)


def test_celebas_small_images_are_made_once(small_data):
    source("celeba").load(small_data)
    kept = small_data / "celeba" / "lifegen-train-64.npy"
    before = kept.stat().st_mtime_ns
    for face in (small_data / "celeba" / "img_align_celeba").iterdir():
        face.unlink()
    assert len(source("celeba").load(small_data).train.x) == TRAIN
    assert kept.stat().st_mtime_ns == before
    assert kept.stat().st_mode & 0o044 == 0o044 & ~umask()


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_face_that_is_missing_or_damaged_is_said_so_and_nothing_is_left(small_data):
    face = small_data / "celeba" / "img_align_celeba" / "000003.png"
    face.write_bytes(b"no picture")
    with pytest.raises(InputError, match="damaged"):
        source("celeba").load(small_data)
    face.unlink()
    with pytest.raises(InputError, match="isn't complete"):
        source("celeba").load(small_data)
    assert not list((small_data / "celeba").glob("*.npy"))


@pytest.mark.parametrize("name", ["svhn", "cifar10", "celeba"])
def test_missing_colour_data_name_the_folder_and_the_command(tmp_path, name):
    with pytest.raises(InputError, match=rf"{name} isn't complete under .*needs .*`lifegen data {name}`"):
        source(name).load(tmp_path)


def test_rotated_mnist_on_the_real_data(real_data):
    source("mnist").fetch(real_data)  # unpacks
    stream = rotated_mnist(RotatedConfig(), Seeds(0), real_data)
    sizes = [len(stream.images("test", name).x) for name in stream.distributions]
    assert sum(sizes) == 10_000
    assert max(sizes) - min(sizes) <= 1
    assert len(stream.train_stream) == 70
    for experience in stream.train_stream:
        assert len(tensor_view(experience.dataset).x) > 4800
