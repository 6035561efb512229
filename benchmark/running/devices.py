"""The devices of this machine that cells run on. Neither this process nor the process server touches CUDA."""

from __future__ import annotations

import os
import re

from ..errors import InputError, counted
from ..processes import pool


def check_device(name: str, what: str = "device ") -> None:
    """Check the form of a device's name.

    Args:
        name: the name.
        what: what the message begins with.

    Raises:
        InputError: it isn't "auto", "cpu", "cuda" or "cuda:N".
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise InputError(f"{what}{name!r} isn't auto, cpu, cuda or cuda:N")


def slots(gpus: str, per_gpu: int = 1) -> list[str]:
    """The CUDA_VISIBLE_DEVICES of each cell that runs at a time.

    Args:
        gpus: numbers such as ``0,2``, as CUDA counts here, or UUIDs.
        per_gpu: cells that share a GPU.

    Raises:
        InputError: there is no such device.
    """
    names = [name.strip() for name in gpus.split(",")]
    setting = os.environ.get("CUDA_VISIBLE_DEVICES")
    visible = [name.strip() for name in setting.split(",") if name.strip()] if setting is not None else None
    devices = []
    for name in names:
        if not name.isdecimal() and not name.startswith(("GPU-", "MIG-")):
            raise InputError(f"--gpus {gpus!r}: {name!r} isn't a number or UUID; give such as --gpus 0,1")
        if name.isdecimal() and visible is not None:
            if int(name) >= len(visible):
                raise InputError(
                    f"--gpus {gpus!r}: CUDA_VISIBLE_DEVICES={setting!r} leaves {counted(len(visible), 'device')} here"
                )
            name = visible[int(name)]
        devices.append(name)
    if len(set(devices)) < len(devices):
        raise InputError(f"--gpus {gpus!r} names a device twice; --slots-per-gpu sets how many cells share a device")
    return devices * per_gpu


def resolve_precision(asked: str, device: str) -> str:
    """The precision that a name stands for on a device, found in a worker.

    Raises:
        InputError: the device can't multiply in this precision.
    """
    with pool(1) as processes:
        return str(processes.result(processes.schedule(_resolve, asked, device)))


def see(gpu: str | None) -> None:
    """Choose the only GPU that CUDA will show to this process, which hasn't touched CUDA yet; None leaves it."""
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu


def _resolve(asked: str, device: str) -> str:
    """:func:`resolve_precision` in a worker, so that torch isn't imported here."""
    from ..training import precision
    from . import build

    return precision.resolve(asked, build.find_device(device))
