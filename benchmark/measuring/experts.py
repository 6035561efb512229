"""Experts: small classifiers that metrics of samples look through.

An expert is trained once on the training images of a data set (``train_expert``), and its weights are part of lifegen.
Values of different experts can't be compared, so that a cell's record names its expert by the digest of its file.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import torch
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from ..contracts.images import to_unit
from ..errors import InputError, unknown
from ..files import digest, read, texts_in

CHECKSUMS = {
    "binary-digits": "1aebfb5ac3fa7ee20f8719c704eb2576",
    "binary-fashion-mnist": "cb35ec22d1a0c81104a9ce8d1543429e",
    "binary-mnist": "655b7f5bb84e2ad52a0f2223d541d22e",
    "digits": "0dbee461e13f94584c8f342940b53e72",
    "fashion-mnist": "f4523779e4f6991372c521022f2d4001",
    "mnist": "ec2a642a9e19310c018f97fedd6b44ac",
}
"""Digests of the files of lifegen's experts, by name."""
_FEATURES = 64
_ROWS = 1000
"""Images per pass."""


class ExpertFacts(BaseModel):
    """The header of an expert's file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """the data source that it was trained on; ``binary-`` before it if its pixels were drawn"""
    binary: bool = False
    """whether it knows black and white pixels, drawn with the grey levels as probabilities"""
    image_shape: tuple[int, int, int]
    """channels, height, width"""
    classes: int
    command: str
    """the command that made it"""
    accuracy: float
    """share of test images that it puts in the right class"""
    fitting_capacity: float
    """the metric of this name for real training images in place of samples"""


class Classifier(nn.Module):
    """Two pooled convolutions and a layer of 64 features, (n, channels, height, width) → (n, classes)."""

    def __init__(self, image_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        channels, height, width = image_shape
        self.convolutions = nn.Sequential(
            nn.Conv2d(channels, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        )  # fmt: skip
        self.features = nn.Linear(32 * (height // 4) * (width // 4), _FEATURES)
        self.classes = nn.Linear(_FEATURES, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classes(self.features(self.convolutions(x)).relu())
        return logits


def empty_classifier(image_shape: tuple[int, int, int], classes: int, device: torch.device | str = "cpu") -> Classifier:
    """Make a classifier whose weights aren't set: torch's layers would draw them from the global generator."""
    with torch.device("meta"):
        classifier = Classifier(image_shape, classes)
    return classifier.to_empty(device=device)


class Seen(NamedTuple):
    """Images as an expert sees them."""

    features: Tensor
    """float64, (n, 64): before the rectifier, standardised on the expert's training images"""
    labels: Tensor
    """int64, (n,)"""


class Expert(nn.Module):
    """A trained classifier, with the mean and deviation of its features over its training images."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, facts: ExpertFacts, digest: str = "") -> None:
        super().__init__()
        self.facts = facts
        self.digest = digest
        """digest of its file"""
        self.classifier = empty_classifier(facts.image_shape, facts.classes)
        self.register_buffer("mean", torch.zeros(_FEATURES))
        self.register_buffer("deviation", torch.ones(_FEATURES))

    def check(self, image_shape: tuple[int, ...]) -> None:
        """Check that the expert knows images of a size.

        Raises:
            InputError: it doesn't.
        """
        if image_shape != self.facts.image_shape:
            known, given = ("×".join(map(str, shape)) for shape in (self.facts.image_shape, image_shape))
            raise InputError(
                f"the expert {self.facts.name} knows images of {known} (channels × height × width), not {given}"
            )

    @torch.no_grad()
    def look(self, images: Tensor) -> Seen:
        """Look at images.

        Args:
            images: uint8, (n, channels, height, width), on the expert's device.

        Raises:
            InputError: they have another size than those that the expert knows.
        """
        self.check(tuple(images.shape[1:]))
        features, labels = [], []
        for piece in images.split(_ROWS):
            # Convolutions of another memory layout, which views of one channel may have, round otherwise.
            x = to_unit(piece.clone(memory_format=torch.contiguous_format))
            hidden = self.classifier.features(self.classifier.convolutions(x))
            features.append((hidden.double() - self.mean) / self.deviation)
            labels.append(self.classifier.classes(hidden.relu()).argmax(1))
        return Seen(torch.cat(features), torch.cat(labels))


def binary(name: str) -> str:
    """Return the name of the expert of a data source's images with drawn pixels."""
    return f"binary-{name}"


def expert_file(name: str, data_root: Path) -> Path:
    """Return the place of an expert that isn't lifegen's own."""
    return data_root / "experts" / f"{name}.safetensors"


def find_expert(name: str, data_root: Path) -> Expert:
    """Load an expert, on the CPU: lifegen's own, or one under the data root.

    Raises:
        InputError: there is none of this name, or its file can't be used.
    """
    if name in CHECKSUMS:
        return load_expert(name)
    file = expert_file(name, data_root)
    try:
        return expert_in(read(file))
    except FileNotFoundError:
        raise InputError(f"there is no expert {name} in {file}: `{command_of(name)}` trains it") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{file} can't be used: {error}; `{command_of(name)}` trains it anew") from None


def command_of(name: str) -> str:
    """Return the command that trains an expert."""
    source = name.removeprefix(binary(""))
    return f"lifegen data {source} --expert" + (" --binary" if source != name else "")


@cache
def load_expert(name: str) -> Expert:
    """Load one of lifegen's own experts, on the CPU.

    Raises:
        InputError: there is none of this name, or its file was changed.
    """
    if name not in CHECKSUMS:
        raise unknown("expert", name, CHECKSUMS)
    file = resources.files(__package__) / "weights" / f"{name}.safetensors"
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InputError(f"{file} can't be read ({error.strerror or error}): install lifegen anew") from None
    if (found := digest(content)) != CHECKSUMS[name]:
        raise InputError(f"{file} was changed: its digest is {found}, not {CHECKSUMS[name]}; install lifegen anew")
    return expert_in(content)


def expert_in(content: bytes) -> Expert:
    """Read an expert from the content of a file.

    Raises:
        ValueError: the content isn't an expert.
    """
    try:
        facts = ExpertFacts.model_validate_json(texts_in(content)["expert"])
        expert = Expert(facts, digest(content))
        expert.load_state_dict(load(content))
    except (SafetensorError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"it isn't an expert: {error}") from None
    return expert.eval().requires_grad_(False)
