"""Experts: their files, their training, and the classifiers that samples train."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest
import torch

from lifegen.benchmark.contracts.data_sources import LabelledData
from lifegen.benchmark.contracts.images import Images
from lifegen.benchmark.contracts.stream import redraw
from lifegen.benchmark.discovery.index import source
from lifegen.benchmark.errors import InputError
from lifegen.benchmark.measuring import expert_training, experts
from lifegen.benchmark.measuring.expert_training import fitting_capacity, train_expert
from lifegen.benchmark.measuring.experts import CHECKSUMS, expert_in, load_expert
from lifegen.benchmark.seeds import Seeds, global_states


@pytest.fixture
def digits() -> LabelledData:
    return source("digits").load(Path())


@pytest.fixture
def short(monkeypatch) -> None:
    """Training of a few steps."""
    monkeypatch.setattr(expert_training, "_STEPS", 60)
    monkeypatch.setattr(expert_training, "_FRESH_STEPS", 20)
    monkeypatch.setattr(expert_training, "_CHECK_EVERY", 10)


@pytest.mark.parametrize("name", CHECKSUMS)
def test_the_files_of_experts(name):
    expert = load_expert(name)
    assert expert.facts.name == name
    plain = name.removeprefix("binary-")
    assert expert.facts.binary == (name != plain)
    assert expert.facts.command == f"lifegen data {plain} --expert{' --binary' if name != plain else ''}"
    assert expert.digest == CHECKSUMS[name]
    assert not expert.training
    assert not any(weight.requires_grad for weight in expert.parameters())
    file = resources.files(experts.__package__) / "weights" / f"{name}.safetensors"
    assert len(file.read_bytes()) < 500_000


def judged(name: str, data: LabelledData, closely: float = 1e-4) -> None:
    """A file keeps what its expert does; pixels that are drawn again give about the same."""
    expert = load_expert(name)
    if expert.facts.binary:
        parts = [part._replace(x=redraw(part.x, Seeds(1).generator("x"))) for part in (data.train, data.test)]
        data = data._replace(train=parts[0], test=parts[1])
    right = expert.look(data.test.x).labels == data.test.y
    assert float(right.double().mean()) == pytest.approx(expert.facts.accuracy, abs=max(0.004, closely / 2))
    features = expert.look(data.train.x).features
    assert features.dtype == torch.float64
    assert features.shape == (len(data.train.x), 64)
    assert features.mean(0).abs().max() < closely
    assert features.std(0) == pytest.approx(torch.ones(64), abs=closely)


def test_the_expert_of_digits_has_the_accuracy_that_its_file_says(digits):
    assert load_expert("digits").facts.accuracy > 0.98
    judged("digits", digits)
    judged("binary-digits", digits, closely=0.08)


@pytest.mark.parametrize(("name", "least"), [("mnist", 0.985), ("fashion-mnist", 0.89)])
def test_the_experts_of_real_data_have_the_accuracy_that_their_files_say(name, least, real_data):
    data = source(name)
    data.fetch(real_data)
    assert load_expert(name).facts.accuracy > least
    judged(name, data.load(real_data))
    judged(f"binary-{name}", data.load(real_data), closely=0.02)


def test_an_expert_is_trained_on_training_images_alone(digits, short):
    others = digits._replace(test=Images(255 - digits.test.x[:50], digits.test.y[:50].flip(0)))
    before = global_states()
    first, again, other = (expert_in(train_expert("digits", data)) for data in (digits, digits, others))
    assert global_states() == before
    for expert in (again, other):
        for key, value in first.state_dict().items():
            assert torch.equal(value, expert.state_dict()[key]), key
    assert first.digest == again.digest
    assert first.facts.accuracy > other.facts.accuracy
    drawn = expert_in(train_expert("digits", digits, draws=True))
    assert (drawn.facts.name, drawn.facts.binary) == ("binary-digits", True)
    assert not torch.equal(drawn.mean, first.mean)


def test_loading_draws_from_no_global_generator():
    before = global_states()
    load_expert.cache_clear()
    load_expert("digits")
    assert global_states() == before


def test_an_expert_that_isnt_there_or_was_changed(monkeypatch, tmp_path):
    with pytest.raises(InputError, match="mnost.*mnist"):
        load_expert("mnost")
    monkeypatch.setitem(CHECKSUMS, "letters", "0" * 32)
    with pytest.raises(InputError, match=r"letters.safetensors can't be read .*: install lifegen anew"):
        load_expert("letters")
    monkeypatch.setitem(CHECKSUMS, "digits", "0" * 32)
    load_expert.cache_clear()
    with pytest.raises(InputError, match=r"digits.safetensors was changed: its digest is [0-9a-f]{32}, not 0{32}"):
        load_expert("digits")
    for content in (b"", b"\x08\0\0\0\0\0\0\0{}      ", b"junk" * 100):
        with pytest.raises(ValueError, match="expert"):
            expert_in(content)


def test_images_of_another_size_are_refused():
    with pytest.raises(InputError, match=r"the expert digits knows images of 1×8×8 .*, not 3×8×8"):
        load_expert("digits").look(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))


def fitted(images: torch.Tensor, data: LabelledData) -> float:
    generator = Seeds(0).generator("x")
    return fitting_capacity(images, load_expert("digits").look(images), data.test, 10, generator)


def test_the_fitting_capacity_of_good_and_of_bad_samples(digits):
    """Real images reach what the file says; one class teaches one class, noise next to nothing."""
    assert load_expert("digits").facts.fitting_capacity > 0.85
    assert fitted(digits.train.x, digits) > 0.85
    zeros = digits.train.x[digits.train.y == 0]
    assert fitted(zeros, digits) == pytest.approx(0.1, abs=0.01)
    noise = torch.randint(0, 256, (1000, 1, 8, 8), generator=Seeds(1).generator("x"), dtype=torch.uint8)
    assert fitted(noise, digits) < 0.4


def test_held_out_samples_choose_the_state_of_the_fitting_capacity(digits, short, monkeypatch):
    """Real images would choose another one here."""
    judged_by = {True: iter((0.1, 0.2, 0.3)), False: iter((0.9, 0.8, 0.7))}
    monkeypatch.setattr(expert_training, "_accuracy", lambda model, images: next(judged_by[images is digits.test]))
    assert fitted(digits.train.x[:100], digits) == 0.1


def test_the_fitting_capacity_can_be_measured_where_nothing_else_is_trained(digits, short):
    before = global_states()
    with torch.inference_mode():
        images = digits.train.x[:100].clone()
        inside = fitted(images, digits)
    assert inside == fitted(digits.train.x[:100], digits)
    assert global_states() == before
