"""lifegen's data sources: the embedded digits, and torchvision's data sets under the data root."""

from __future__ import annotations

import hashlib
import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from urllib.error import URLError

import numpy as np
import torch
from PIL import Image
from torchvision import datasets

from lifegen.benchmark import Images, InputError, LabelledData, Source, register_source
from lifegen.benchmark import source as source  # imported from here, it finds these data sets without the index


@register_source("digits")
class Digits(Source):
    """The 1,797 real 8 × 8 digits inside scikit-learn (UCI, Alpaydin and Kaynak 1998): nothing to download.

    Pixels are stored as round(v · 255 / 16). The test part is every fifth image of each class, in the original order.
    """

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

    def __init__(
        self,
        name: str,
        folder: str,
        files: Sequence[str],
        shape: tuple[int, int, int],
        classes: tuple[str, ...],
        checksums: Mapping[str, str],
    ) -> None:
        """Describe the data set.

        Args:
            name: the name that the source is registered under.
            folder: under the data root.
            files: what the folder needs, in words.
            shape: channels, height and width of an image.
            classes: class names, by label.
            checksums: md5 of the originals, by name within the folder.
        """
        super().__init__(name)
        self._place = folder
        self._files = files
        self._shape = shape
        self._classes = classes
        self._checksums = checksums

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
        try:
            data = self._parts(root, download)
        except InputError:
            raise
        except Exception as error:  # torchvision reads damaged files with whatever error comes first
            raise self._refusal(root, error) from None
        for part, images in (("training", data.train), ("test", data.test)):
            if problem := _problem(images, self._shape, self._labels(data)):
                raise InputError(
                    f"{self.name}: the {part} part in {self._folder(root)} isn't the original's: {problem}; delete its "
                    f"files and run `lifegen data {self.name}`"
                )
        return data

    def _labels(self, data: LabelledData) -> int:
        """The number of different labels."""
        return len(data.classes)

    def _refusal(self, root: Path, error: Exception) -> InputError:
        """An error that says what to do; torchvision's own error is the same for missing and for damaged files."""
        folder, reason = self._folder(root), (str(error).splitlines() or [type(error).__name__])[0].rstrip(":")
        if isinstance(error, OSError) and not isinstance(error, URLError | FileNotFoundError):
            return InputError(f"{self.name}: {folder} can't be read or written: {error}")
        if not isinstance(error, FileNotFoundError) and all((folder / file).exists() for file in self._checksums):
            damaged = [file for file in self._checksums if not self._is_original(folder / file)]
            file_or_folder = folder / damaged[0] if damaged else f"a file in {folder}"
            return InputError(f"{file_or_folder} is damaged: delete it and run `lifegen data {self.name}` ({reason})")
        return InputError(
            f"{self.name} isn't complete under {folder}, which needs {', '.join(self._files)}: put them there, or run "
            f"`lifegen data {self.name}` with a network ({reason})"
        )

    def _is_original(self, file: Path) -> bool:
        with file.open("rb") as content:
            return hashlib.file_digest(content, _md5).hexdigest() == self._checksums[file.name]


class MNISTLike(TorchvisionSource):
    """MNIST (LeCun et al. 1998) or a data set of the same layout.

    torchvision verifies the archives that it downloads, but never the unpacked files; ``fetch`` verifies them.
    """

    def __init__(
        self, name: str, reader: type[datasets.MNIST], checksums: Mapping[str, str], classes: tuple[str, ...]
    ) -> None:
        files = [f"{file} (or .gz)" for file in checksums]
        super().__init__(name, f"{reader.__name__}/raw", files, (1, 28, 28), classes, checksums)
        # torchvision would prefer the processed files of its versions before 0.5, for which there is no checksum.
        self._reader = type(reader.__name__, (reader,), {"_check_legacy_exist": lambda _: False})

    def fetch(self, root: Path) -> str:
        summary = super().fetch(root)
        for file in self._checksums:
            if not self._is_original(path := self._folder(root) / file):
                raise InputError(
                    f"{path} is damaged: its checksum is wrong; delete it and run `lifegen data {self.name}`"
                )
        return summary

    def _parts(self, root: Path, download: bool) -> LabelledData:
        parts = [self._reader(str(root), train=train, download=download) for train in (True, False)]
        train, test = (Images(part.data[:, None], part.targets.long()) for part in parts)
        return LabelledData(train, test, self._classes)


# Checksums are of the unpacked originals.


@register_source("mnist")
def mnist(name: str) -> Source:
    """Handwritten digits, 28 × 28 grey (LeCun et al. 1998)."""
    checksums = {
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    }
    return MNISTLike(name, datasets.MNIST, checksums, tuple(map(str, range(10))))


@register_source("fashion-mnist")
def fashion_mnist(name: str) -> Source:
    """Garments in the layout of MNIST, 28 × 28 grey (Xiao et al. 2017)."""
    checksums = {
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    }
    classes = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot")
    return MNISTLike(name, datasets.FashionMNIST, checksums, classes)


@register_source("svhn", small=False)
class SVHN(TorchvisionSource):
    """Street View House Numbers, cropped digits, 32 × 32 RGB (Netzer et al. 2011).

    torchvision verifies its files before it reads them, each time.
    """

    def __init__(self, name: str) -> None:
        checksums = {file: md5 for _, file, md5 in map(datasets.SVHN.split_list.get, ("train", "test"))}
        super().__init__(name, "SVHN", [*checksums], (3, 32, 32), tuple(map(str, range(10))), checksums)

    def _parts(self, root: Path, download: bool) -> LabelledData:
        folder = str(self._folder(root))
        parts = [datasets.SVHN(folder, split=split, download=download) for split in ("train", "test")]
        train, test = (Images(torch.from_numpy(part.data), torch.from_numpy(part.labels).long()) for part in parts)
        return LabelledData(train, test, self._classes)


@register_source("cifar10", small=False)
class CIFAR10(TorchvisionSource):
    """CIFAR-10, 32 × 32 RGB (Krizhevsky 2009).

    torchvision verifies its files before it reads them, each time: they are pickles, which might run code.
    """

    def __init__(self, name: str) -> None:
        kind, classes = datasets.CIFAR10, ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse",
                                           "ship", "truck")  # fmt: skip
        checksums = dict([*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])])
        super().__init__(name, f"CIFAR10/{kind.base_folder}", [*checksums], (3, 32, 32), classes, checksums)

    def _parts(self, root: Path, download: bool) -> LabelledData:
        folder = str(self._folder(root).parent)
        parts = [datasets.CIFAR10(folder, train=train, download=download) for train in (True, False)]
        train, test = (
            Images(torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(part.targets))
            for part in parts
        )
        return LabelledData(train, test, self._classes)


@register_source("celeba", small=False)
class CelebA(TorchvisionSource):
    """CelebA's aligned faces (Liu et al. 2015), at 64 × 64 RGB: the middle 148 × 148 pixels, scaled down.

    An image's label is a bit mask: bit k says whether it has attribute k of ``classes``. Decoding the 200,000 files
    takes minutes, so the small images are kept beside them. torchvision verifies the lists each time, but of the faces
    only the archive that it downloads. A face that isn't a picture of the right size is found when it is decoded.
    """

    SIDE = 64
    SIZE = (178, 218)
    """Width and height of a face as it comes"""

    def __init__(self, name: str) -> None:
        checksums = {file: md5 for _, md5, file in datasets.CelebA.file_list if file.endswith(".txt")}
        files = ["img_align_celeba/", *checksums]
        super().__init__(name, datasets.CelebA.base_folder, files, (3, self.SIDE, self.SIDE), (), checksums)

    def _parts(self, root: Path, download: bool) -> LabelledData:
        parts = [
            datasets.CelebA(str(root), split=split, target_type="attr", download=download and split == "train")
            for split in ("train", "test")
        ]
        names = tuple(name for name in parts[0].attr_names if name)
        train, test = (self._part(part, self._folder(root), len(names)) for part in parts)
        return LabelledData(train, test, names)

    def _labels(self, data: LabelledData) -> int:
        return 1 << len(data.classes)

    def _part(self, part: datasets.CelebA, folder: Path, attributes: int) -> Images:
        if part.attr.shape != (len(part.filename), attributes) or not ((part.attr == 0) | (part.attr == 1)).all():
            raise InputError(
                f"{folder / 'list_attr_celeba.txt'} is damaged: not every face has 1 or −1 for each attribute; delete "
                f"it and run `lifegen data {self.name}`"
            )
        file = folder / f"lifegen-{part.split}-{self.SIDE}.npy"
        if (kept := _kept(file, (len(part), *self._shape))) is None:
            small = np.stack([self._small(folder / "img_align_celeba" / name) for name in part.filename])
            temporary = folder / f".{os.getpid()}.npy"
            try:
                np.save(temporary, small)
                temporary.replace(file)
            finally:
                temporary.unlink(missing_ok=True)
            kept = np.load(file, mmap_mode="c")
        bits = part.attr.long() << torch.arange(part.attr.shape[1])
        return Images(torch.from_numpy(kept), bits.sum(1))

    def _small(self, file: Path) -> np.ndarray:
        try:
            with Image.open(file) as image:
                if image.size != self.SIZE:
                    raise SyntaxError(f"it has {image.width} × {image.height} pixels")
                left, top = (image.width - 148) // 2, (image.height - 148) // 2
                middle = image.convert("RGB").crop((left, top, left + 148, top + 148))
        except FileNotFoundError:
            raise
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:  # Pillow's errors
            raise InputError(
                f"{file} is damaged ({error}); delete it and unpack it anew from img_align_celeba.zip"
            ) from None
        return np.asarray(middle.resize((self.SIDE, self.SIDE), Image.Resampling.BILINEAR)).transpose(2, 0, 1)


def _kept(file: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """The images in a file of lifegen's own; None if there is no such file, or it can't be read and is made anew."""
    try:
        images: np.ndarray = np.load(file, mmap_mode="c")
    except (OSError, ValueError, EOFError):
        return None
    return images if images.shape == shape and images.dtype == np.uint8 else None


def _problem(images: Images, shape: tuple[int, int, int], labels: int) -> str | None:
    """The fault of a part's images or labels, in words; None if there is none."""
    x, y = images
    if x.dtype != torch.uint8 or x.shape[1:] != shape:
        return f"its images are {_described(x)}, not uint8 (n, {', '.join(map(str, shape))})"
    if not len(x):
        return "it has no images"
    if y.shape != x.shape[:1]:
        return f"it has {len(x):,} images, but its labels are {_described(y)}"
    if y.dtype != torch.int64 or y.min() < 0 or y.max() >= labels:
        return f"its labels are {y.min()} to {y.max()}, not whole numbers from 0 to {labels - 1}"
    return None


def _described(values: torch.Tensor) -> str:
    return f"{str(values.dtype).removeprefix('torch.')} {tuple(values.shape)}"


_md5 = partial(hashlib.md5, usedforsecurity=False)
