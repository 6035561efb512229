"""Where images come from: the embedded digits, and torchvision's data sets under the data root."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torchvision import datasets

from lifegen.benchmark.errors import InputError, unknown
from lifegen.benchmark.images import Images


class LabelledData(NamedTuple):
    """A whole data set."""

    train: Images
    test: Images
    classes: tuple[str, ...]
    """Class names, by label."""


class Source(ABC):
    """A data set that can be fetched once and then loaded by any number of processes."""

    name: str

    @abstractmethod
    def fetch(self, root: Path) -> str:
        """Put the data under the root if they aren't there, and verify every byte.

        Returns:
            what is there, in a few words.

        Raises:
            InputError: the data are missing and can't be downloaded, or are damaged.
        """

    @abstractmethod
    def load(self, root: Path) -> LabelledData:
        """Read the data.

        Raises:
            InputError: they aren't there, or can't be read.
        """


class Digits(Source):
    """The 1,797 real 8 × 8 digits inside scikit-learn (UCI, Alpaydin and Kaynak 1998): nothing to download.

    Pixels are stored as round(v · 255 / 16). The test part is every fifth image of each class, in the original order.
    """

    name = "digits"

    def fetch(self, root: Path) -> str:
        return "1,797 images, embedded"

    def load(self, root: Path) -> LabelledData:
        from sklearn.datasets import load_digits

        bunch = load_digits()
        x = torch.from_numpy(bunch.images).mul(255 / 16).round().to(torch.uint8)[:, None]
        y = torch.from_numpy(bunch.target).long()
        is_test = torch.zeros(len(y), dtype=torch.bool)
        for label in range(10):
            is_test[(y == label).nonzero()[4::5, 0]] = True
        everything = Images(x, y)
        return LabelledData(everything.select(~is_test), everything.select(is_test), tuple(map(str, range(10))))


class TorchvisionMNIST(Source):
    """MNIST (LeCun et al. 1998) or a data set of the same layout, read by torchvision."""

    def __init__(
        self, name: str, reader: type[datasets.MNIST], checksums: Mapping[str, str], classes: tuple[str, ...]
    ) -> None:
        self.name = name
        self._reader = reader
        self._checksums = checksums
        self._classes = classes

    def fetch(self, root: Path) -> str:
        self._read(root, download=True)
        for file, md5 in self._checksums.items():
            path = self._folder(root) / file
            if hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() != md5:
                raise InputError(f"{path} is damaged: its checksum isn't the original's. Delete it and fetch it again")
        return f"70,000 images, verified, in {self._folder(root)}"

    def load(self, root: Path) -> LabelledData:
        return self._read(root, download=False)

    def _folder(self, root: Path) -> Path:
        return root / self._reader.__name__ / "raw"

    def _read(self, root: Path, download: bool) -> LabelledData:
        folder = self._folder(root)
        try:
            parts = [self._reader(str(root), train=train, download=download) for train in (True, False)]
            train, test = (Images(part.data[:, None], part.targets.long()) for part in parts)
        except OSError as error:
            raise InputError(f"{self.name}: {folder} can't be read or written: {error}") from None
        except RuntimeError as error:
            first = str(error).splitlines()[0]
            raise InputError(
                f"{self.name} isn't complete under {folder}, which needs {', '.join(self._checksums)} (or each "
                f"as .gz): put them there, or run `lifegen data {self.name}` with a network ({first.rstrip(':')})"
            ) from None
        except Exception as error:  # torchvision reads damaged files with whatever error comes first
            raise InputError(
                f"{self.name}: a file in {folder} is damaged ({error}); delete it and fetch it again"
            ) from None
        for images in (train, test):
            if len(images.x) != len(images.y) or images.x.dtype != torch.uint8:
                raise InputError(f"{self.name}: images and labels in {folder} don't belong together")
        return LabelledData(train, test, self._classes)


_FASHION = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot")

# md5 of the unpacked originals. torchvision itself checks the archives only, when it downloads them.
SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        Digits(),
        TorchvisionMNIST(
            "mnist",
            datasets.MNIST,
            {
                "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
                "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
                "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
                "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
            },
            tuple(map(str, range(10))),
        ),
        TorchvisionMNIST(
            "fashion-mnist",
            datasets.FashionMNIST,
            {
                "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
                "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
                "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
                "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
            },
            _FASHION,
        ),
    )
}


def source(name: str) -> Source:
    """A data source by name.

    Raises:
        InputError: there is none of this name.
    """
    if name not in SOURCES:
        raise unknown("data source", name, SOURCES)
    return SOURCES[name]
