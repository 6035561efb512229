"""The format in which training multiplies matrices. Weights, the loss and all measuring stay float32.

``float32`` is the default, so that a command gives the same numbers everywhere. ``bfloat16`` rounds the factors of
matrix products and convolutions to 8 binary digits: processors with AMX multiply those several times as fast, and so do
GPUs, where activations between two products are bfloat16 as well (torch's autocast). ``tf32`` keeps 11 digits, on GPUs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from operator import attrgetter

import torch

from ..errors import InputError

_FORMATS = {"float32": "ieee", "tf32": "tf32", "bfloat16": "bf16"}
_BACKENDS = {"cuda": ("cuda.matmul", "cudnn.conv"), "cpu": ("mkldnn.matmul", "mkldnn.conv")}


@contextmanager
def products_in(precision: str, device: torch.device | str) -> Iterator[None]:
    """Round the factors of matrix products and convolutions on the device to a precision, within this context.

    ``float32`` needs this context, too: torch's default for convolutions on a GPU is tf32.
    """
    kind = torch.device(device).type
    backends = attrgetter(*_BACKENDS.get(kind, _BACKENDS["cpu"]))(torch.backends)
    wanted = _FORMATS[precision]
    if kind == "cuda" and wanted == "bf16":
        wanted = "tf32"  # GPUs don't round float32 factors further; autocast below makes bfloat16 ones
    before = [backend.fp32_precision for backend in backends]
    with ExitStack() as stack:
        if kind == "cuda":
            # No cache of rounded weights: a captured graph would keep the first step's.
            on = precision == "bfloat16"
            stack.enter_context(torch.autocast("cuda", torch.bfloat16, enabled=on, cache_enabled=False))
        try:
            for backend in backends:
                backend.fp32_precision = wanted
            yield
        finally:
            for backend, old in zip(backends, before, strict=True):
                backend.fp32_precision = old


@contextmanager
def denormals_flushed() -> Iterator[None]:
    """Take numbers below 1e-38 for 0, within this context.

    Processors compute with them so slowly that a step of Adam takes fifteen times as long once most of a layer's
    weights have decayed to them, such as those of pixels that are always black.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def resolve(asked: str, device: torch.device) -> str:
    """Return the precision that a name stands for on a device.

    ``auto`` is float32: it would be bfloat16 on processors with AMX if that were known to leave every method's negative
    ELBO within half a nat, which paired seeds don't show yet (results/performance).

    Raises:
        InputError: the device doesn't round products that way.
    """
    if asked == "auto":
        return "float32"
    if asked != "float32" and not rounds(asked, device):
        raise InputError(
            f"--precision {asked}: matrix products on this {device.type} don't use it: it would change"
            " only the label of the results; use --precision float32, or auto"
        )
    return asked


def rounds(precision: str, device: torch.device) -> bool:
    """Whether a precision changes products on a device; otherwise it would only be a label."""
    n = 64
    almost_one = torch.full((n, n), 1 + 2**-13, device=device)  # exactly 1 if rounded to 11 digits or fewer
    with products_in(precision, device):
        product = almost_one @ torch.ones(n, n, device=device)
    return bool((product.float() == n).all())
