"""The Inception network of published Fréchet distances, in a file of the user's own: lifegen brings none.

It is the TorchScript file that StyleGAN2-ADA and clean-fid use, which resizes images itself: a call takes uint8 images
of three channels and ``return_features=True``, and returns (n, 2048).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from ..errors import InputError

_ROWS = 50
"""Images per pass."""


def load_inception(file: Path) -> Callable[[Tensor], Tensor]:
    """Load a feature network.

    Args:
        file: a TorchScript file.

    Returns:
        a function from images, uint8, (n, 1 or 3, height, width), to features, float64, (n, features); it raises
        InputError where the network can't be used.

    Raises:
        InputError: the file can't be read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch has newer formats; published files have this one
            network = torch.jit.load(str(file), map_location="cpu").eval()
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"{file} can't be read as TorchScript: {_reason(error)}") from None

    @torch.no_grad()
    def features(images: Tensor) -> Tensor:
        try:
            pieces = [network(x.expand(-1, 3, -1, -1), return_features=True) for x in images.split(_ROWS)]
            found: Tensor = torch.cat(pieces).double()
        except (RuntimeError, TypeError, torch.jit.Error) as error:
            raise InputError(f"{file} isn't a feature network of images: {_reason(error)}") from None
        if found.ndim != 2 or len(found) != len(images):
            raise InputError(f"{file} isn't a feature network: {len(images)} images give {tuple(found.shape)} numbers")
        return found

    return features


def _reason(error: Exception) -> str:
    """The last line of a message: TorchScript has the traceback before it."""
    return str(error).strip().rpartition("\n")[2]
