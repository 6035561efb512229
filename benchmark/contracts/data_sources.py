"""Data sources: images that are fetched once, and then loaded by any number of processes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .images import Images


class LabelledData(NamedTuple):
    """A whole data set."""

    train: Images
    test: Images
    classes: tuple[str, ...]
    """Class names, by label."""


class Source(ABC):
    """A data set that can be fetched once and then loaded by any number of processes.

    Subclass it, register it with ``register_source``, and scenarios find it by name: ``source("my-images")``.
    """

    def __init__(self, name: str) -> None:
        """Make the source.

        Args:
            name: the name that it is registered under.
        """
        self.name = name

    @abstractmethod
    def fetch(self, root: Path) -> str:
        """Put the data under the root if they aren't there, and verify their checksums.

        Returns:
            a few words about the data.

        Raises:
            InputError: the data are missing and can't be downloaded, or are damaged.
        """

    @abstractmethod
    def load(self, root: Path) -> LabelledData:
        """Read the data and check that images and labels have the shapes and values of this data set.

        Raises:
            InputError: the data are missing, can't be read, or aren't this data set.
        """
