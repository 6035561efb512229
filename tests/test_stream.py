"""Streams: what they hold, and how Avalanche sees them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from lifegen.benchmark.contracts.images import to_unit
from lifegen.benchmark.contracts.stream import Stream, images_of, tensor_view
from lifegen.benchmark.errors import InputError
from lifegen.benchmark.seeds import Seeds
from lifegen.scenarios.data_sets import source
from lifegen.scenarios.split import SplitConfig, SplitDigitsConfig, split_digits, split_fashion_mnist, split_mnist

from .conftest import tiny

NOWHERE = Path("/nonexistent")


def digits(seed: int = 0, **options: object) -> Stream:
    return split_digits(SplitDigitsConfig(**options), Seeds(seed, "split-digits"), NOWHERE)


def rows(stream: Stream, part: str) -> set[bytes]:
    return {image.numpy().tobytes() for name in stream.distributions for image in stream.images(part, name).x}


def test_split_digits_is_the_whole_data_set_in_three_disjoint_parts():
    stream = digits()
    sizes = {part: [len(stream.images(part, name).x) for name in stream.distributions]
             for part in ("train", "valid", "test")}  # fmt: skip
    assert sum(map(sum, sizes.values())) == 1797
    for label in range(10):
        everything = sum(part[label] for part in sizes.values())
        assert sizes["test"][label] == everything // 5
        assert sizes["valid"][label] == round((everything - everything // 5) * 0.1)
    parts = [rows(stream, part) for part in sizes]
    assert not parts[0] & parts[1]
    assert not parts[0] & parts[2]
    assert not parts[1] & parts[2]


def test_split_digits_keeps_each_class_in_its_own_interval_and_its_pixels_exact():
    stream = digits()
    assert stream.image_shape == (1, 8, 8)
    assert stream.distributions == tuple("0123456789")
    for label, experience in enumerate(stream.train_stream):
        images = tensor_view(experience.dataset)
        assert images.x.dtype == torch.uint8
        assert set(images.y.tolist()) == {label}
    values = {round(v * 255 / 16) for v in range(17)}
    assert set(stream.images("train", "3").x.unique().tolist()) <= values


def test_validation_takes_the_last_images_of_the_training_part():
    data = source("digits").load(NOWHERE)
    sevens = data.train.select(data.train.y == 7).x
    stream = digits(validation=0.2)
    held_out = round(len(sevens) * 0.2)
    assert torch.equal(stream.images("valid", "7").x, sevens[-held_out:])
    assert torch.equal(stream.images("train", "7").x, sevens[:-held_out])


def test_class_order_and_classes_per_interval():
    stream = digits(class_order=(9, 1, 4, 0), classes_per_interval=2)
    assert stream.distributions == ("9+1", "4+0")
    assert set(stream.images("test", "9+1").y.tolist()) == {1, 9}
    assert len(stream.train_stream) == len(stream.test_stream) == 2


def test_a_random_class_order_depends_on_the_seed_alone():
    one, again, other = (digits(seed, class_order="random").distributions for seed in (0, 0, 1))
    assert one == again != other
    assert sorted(one) == sorted(other) == list("0123456789")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_order": (1, 1)}, "different labels"),
        ({"class_order": (0, 10)}, "between 0 and 9"),
        ({"class_order": ()}, "different labels"),
        ({"classes_per_interval": 3}, "can't be split"),
        ({"validation": 0.999}, "too few"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        digits(**options)


@settings(max_examples=40, deadline=None)
@given(st.text("abc", min_size=1, max_size=12))
def test_revisits(visits):
    stream = tiny(visits)
    assert stream.distributions == tuple(dict.fromkeys(visits))
    for i, (name, experience) in enumerate(zip(visits, stream.train_stream, strict=True)):
        assert experience.current_experience == experience.interval == i
        assert experience.distribution == name
        assert experience.is_new == (name not in visits[:i])
        assert experience.origin_stream is stream.train_stream
    for part in (stream.valid_stream, stream.test_stream):
        assert [experience.distribution for experience in part] == list(stream.distributions)
        assert [experience.interval for experience in part] == [visits.index(name) for name in stream.distributions]


def test_a_revisited_distribution_shares_its_memory():
    stream = tiny("aba")
    first, _, again = (tensor_view(experience.dataset).x for experience in stream.train_stream)
    assert first.data_ptr() == again.data_ptr()


def test_the_joint_interval_is_the_union_with_all_steps():
    (joint,) = tiny("abab", steps=7).joint()
    assert joint.steps == 28
    assert joint.current_experience == joint.interval == 0
    assert joint.distributions == ("a", "b")
    assert len(joint.dataset) == 2 * 37


def test_stock_loaders_can_read_the_data_set():
    """Items are (image in [0, 1], label, task label): what Avalanche's own plugins expect of a batch."""
    dataset = tiny().train_stream[1].dataset
    x, y, t = next(iter(DataLoader(dataset, batch_size=5)))
    images = tensor_view(dataset)
    torch.testing.assert_close(x, images.x[:5].float() / 255)
    assert y.tolist() == [1] * 5
    assert t.tolist() == [0] * 5
    assert dataset.targets.uniques == {1}


def test_the_tensor_view_sees_through_what_avalanche_does_to_a_data_set():
    """It reads a private attribute: this test holds it in place when Avalanche changes."""
    dataset = tiny().train_stream[0].dataset
    whole = tensor_view(dataset)
    assert torch.equal(tensor_view(dataset.train()).x, whole.x)
    subset = tensor_view(dataset.subset([3, 1, 8]))
    assert torch.equal(subset.x, whole.x[[3, 1, 8]])
    assert tensor_view(dataset.concat(tiny().train_stream[1].dataset)) is None


def test_split_mnist_and_split_fashion_mnist_on_the_real_data(real_data):
    for build, name in ((split_mnist, "mnist"), (split_fashion_mnist, "fashion-mnist")):
        source(name).fetch(real_data)
        stream = build(SplitConfig(), Seeds(0), real_data)
        counts = {part: sum(len(stream.images(part, one).x) for one in stream.distributions)
                  for part in ("train", "valid", "test")}  # fmt: skip
        assert stream.image_shape == (1, 28, 28)
        assert counts["train"] + counts["valid"] == 60000
        assert counts["valid"] == pytest.approx(6000, abs=5)
        assert counts["test"] == 10000
    assert stream.distributions[7:] == ("sneaker", "bag", "ankle-boot")
    assert len(stream.images("train", "bag").x) == 5400


def test_missing_data_name_the_folder_and_the_files(tmp_path, monkeypatch):
    def no_network(*_, **__):
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz:\nTried a mirror")

    monkeypatch.setattr("torchvision.datasets.MNIST.download", no_network)
    for action in (source("mnist").fetch, source("mnist").load):
        with pytest.raises(InputError) as caught:
            action(tmp_path)
        text = str(caught.value)
        assert str(tmp_path / "MNIST" / "raw") in text
        assert "t10k-labels-idx1-ubyte" in text
        assert "lifegen data mnist" in text
        assert "\n" not in text


@pytest.mark.parametrize("damage", ["empty", "short", "swapped"])
def test_damaged_data_are_refused(tmp_path, damage):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    header = {"images": b"\0\0\x08\x03" + b"\0\0\0\x02" + b"\0\0\0\x1c" * 2, "labels": b"\0\0\x08\x01\0\0\0\x02"}
    body = {"images": bytes(2 * 28 * 28), "labels": bytes(2)}
    for part in ("train", "t10k"):
        for kind, dimensions in (("images", 3), ("labels", 1)):
            content = header[kind] + body[kind]
            if part == "t10k" and kind == "images":
                content = {"empty": b"", "short": content[:-7], "swapped": header["labels"] + body["labels"]}[damage]
            (raw / f"{part}-{kind}-idx{dimensions}-ubyte").write_bytes(content)
    with pytest.raises(InputError, match=r"damaged|belong"):
        source("mnist").load(tmp_path)


def test_a_flipped_byte_is_found(real_data, tmp_path):
    import shutil

    root = tmp_path / "root"
    shutil.copytree(real_data / "MNIST", root / "MNIST")
    source("mnist").fetch(root)
    file = root / "MNIST" / "raw" / "t10k-images-idx3-ubyte"
    content = bytearray(file.read_bytes())
    content[1000] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match="checksum"):
        source("mnist").fetch(root)


def test_a_view_with_transforms_is_no_plain_one():
    """Its images are what the transforms make of them, not the tensors behind it."""
    plain = tiny("a").train_stream[0].dataset
    assert tensor_view(plain) is not None
    turned = plain.replace_current_transform_group((lambda x: 1 - x, None))
    for dataset in (turned, turned.freeze_transforms()):
        assert tensor_view(dataset) is None
        assert torch.equal(images_of(dataset)[0], 255 - images_of(plain)[0])


def test_images_in_unit_range_are_a_copy_also_of_floats():
    floats = torch.tensor([0.0, 51.0, 255.0])
    kept = floats.clone()
    assert torch.equal(to_unit(floats), torch.tensor([0.0, 0.2, 1.0]))
    assert torch.equal(floats, kept)
    levels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_unit(levels), levels.float() / 255)
    assert to_unit(levels).dtype == torch.float32
