"""Where images come from: the embedded digits, and torchvision's data sets under the data root."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.error import URLError

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
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
    small: bool = True
    """Whether it is fetched where nobody asks for it by name."""

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


class TorchvisionSource(Source):
    """A data set that torchvision downloads and reads, with errors that say what to do."""

    def __init__(self, name: str, folder: str, files: Sequence[str], classes: tuple[str, ...]) -> None:
        self.name = name
        self._place = folder
        self._files = files
        self._classes = classes

    @abstractmethod
    def _parts(self, root: Path, download: bool) -> LabelledData:
        """The data set, as torchvision reads it."""

    def fetch(self, root: Path) -> str:
        data = self._read(root, download=True)
        return f"{len(data.train.x) + len(data.test.x):,} images, verified, in {self._folder(root)}"

    def load(self, root: Path) -> LabelledData:
        return self._read(root, download=False)

    def _folder(self, root: Path) -> Path:
        return root / self._place

    def _read(self, root: Path, download: bool) -> LabelledData:
        folder = self._folder(root)
        try:
            data = self._parts(root, download)
        except (RuntimeError, ImportError, URLError, FileNotFoundError) as error:
            first = str(error).splitlines()[0]
            raise InputError(
                f"{self.name} isn't complete under {folder}, which needs {', '.join(self._files)}: put them there, or "
                f"run `lifegen data {self.name}` with a network ({first.rstrip(':')})"
            ) from None
        except Exception as error:  # torchvision reads damaged files with whatever error comes first
            if isinstance(error, OSError) and not isinstance(error, UnidentifiedImageError):
                raise InputError(f"{self.name}: {folder} can't be read or written: {error}") from None
            raise InputError(
                f"{self.name}: a file in {folder} is damaged ({error}); delete it and fetch it again"
            ) from None
        for images in (data.train, data.test):
            if len(images.x) != len(images.y) or images.x.dtype != torch.uint8:
                raise InputError(f"{self.name}: images and labels in {folder} don't belong together")
        return data


class MNISTLike(TorchvisionSource):
    """MNIST (LeCun et al. 1998) or a data set of the same layout."""

    def __init__(
        self, name: str, reader: type[datasets.MNIST], checksums: Mapping[str, str], classes: tuple[str, ...]
    ) -> None:
        super().__init__(name, f"{reader.__name__}/raw", [f"{file} (or .gz)" for file in checksums], classes)
        self._reader = reader
        self._checksums = checksums

    def fetch(self, root: Path) -> str:
        found = super().fetch(root)
        for file, md5 in self._checksums.items():
            path = self._folder(root) / file
            if hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() != md5:
                raise InputError(f"{path} is damaged: its checksum isn't the original's. Delete it and fetch it again")
        return found

    def _parts(self, root: Path, download: bool) -> LabelledData:
        parts = [self._reader(str(root), train=train, download=download) for train in (True, False)]
        train, test = (Images(part.data[:, None], part.targets.long()) for part in parts)
        return LabelledData(train, test, self._classes)


class SVHN(TorchvisionSource):
    """Street View House Numbers, cropped digits, 32 × 32 RGB (Netzer et al. 2011). torchvision verifies its files."""

    small = False

    def _parts(self, root: Path, download: bool) -> LabelledData:
        folder = str(self._folder(root))
        parts = [datasets.SVHN(folder, split=split, download=download) for split in ("train", "test")]
        train, test = (Images(torch.from_numpy(part.data), torch.from_numpy(part.labels).long()) for part in parts)
        return LabelledData(train, test, self._classes)


class CIFAR10(TorchvisionSource):
    """CIFAR-10, 32 × 32 RGB (Krizhevsky 2009). torchvision verifies its files."""

    small = False

    def _parts(self, root: Path, download: bool) -> LabelledData:
        folder = str(self._folder(root))
        parts = [datasets.CIFAR10(folder, train=train, download=download) for train in (True, False)]
        train, test = (
            Images(torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(part.targets))
            for part in parts
        )
        return LabelledData(train, test, self._classes)


class CelebA(TorchvisionSource):
    """CelebA's aligned faces (Liu et al. 2015), at 64 × 64 RGB: the middle 148 × 148 pixels, scaled down.

    An image's label is a bit mask: bit k says whether it has attribute k of ``classes``. Decoding the 200,000 files
    takes minutes, so the small images are kept beside them.
    """

    SIDE = 64
    small = False

    def _parts(self, root: Path, download: bool) -> LabelledData:
        parts = [
            datasets.CelebA(str(root), split=split, target_type="attr", download=download and split == "train")
            for split in ("train", "test")
        ]
        train, test = (self._part(part, self._folder(root)) for part in parts)
        return LabelledData(train, test, tuple(name for name in parts[0].attr_names if name))

    def _part(self, part: datasets.CelebA, folder: Path) -> Images:
        file = folder / f"lifegen-{part.split}-{self.SIDE}.npy"
        if not file.exists() or len(np.load(file, mmap_mode="r")) != len(part):
            small = np.stack([self._small(folder / "img_align_celeba" / name) for name in part.filename])
            temporary = folder / f".{os.getpid()}.npy"
            try:
                np.save(temporary, small)
                temporary.replace(file)
            finally:
                temporary.unlink(missing_ok=True)
        bits = part.attr.long() << torch.arange(part.attr.shape[1])
        return Images(torch.from_numpy(np.load(file, mmap_mode="c")), bits.sum(1))

    def _small(self, file: Path) -> np.ndarray:
        with Image.open(file) as image:
            left, top = (image.width - 148) // 2, (image.height - 148) // 2
            middle = image.convert("RGB").crop((left, top, left + 148, top + 148))
            return np.asarray(middle.resize((self.SIDE, self.SIDE), Image.Resampling.BILINEAR)).transpose(2, 0, 1)


_FASHION = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot")
_CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_CELEBA = ("img_align_celeba/", "list_attr_celeba.txt", "list_eval_partition.txt", "identity_CelebA.txt",
           "list_bbox_celeba.txt", "list_landmarks_align_celeba.txt")  # fmt: skip

# md5 of the unpacked originals. torchvision itself checks the archives only, when it downloads them.
SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        Digits(),
        MNISTLike(
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
        MNISTLike(
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
        SVHN("svhn", "SVHN", ["train_32x32.mat", "test_32x32.mat"], tuple(map(str, range(10)))),
        CIFAR10("cifar10", "CIFAR10", ["cifar-10-batches-py/"], _CIFAR),
        CelebA("celeba", "celeba", _CELEBA, ()),
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
