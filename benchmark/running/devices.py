"""The devices of this machine that cells run on. Neither this process nor the process server touches CUDA."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

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


def cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def may_have_gpu() -> bool:
    """Whether this machine seems to have a GPU of NVIDIA's; asking torch would initialise CUDA here."""
    return Path("/dev/nvidia0").exists()


def chosen_gpus(gpus: str) -> list[str]:
    """The CUDA_VISIBLE_DEVICES of each GPU.

    Args:
        gpus: numbers such as ``0,2``, as CUDA counts here, or UUIDs.

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
    return devices


def resolve_precision(asked: str, device: str) -> str:
    """The precision that a name stands for on a device, found in a worker.

    Raises:
        InputError: the device can't multiply in this precision.
    """
    with pool(1) as processes:
        return str(processes.result(processes.schedule(_resolve, asked, device)))


def see(gpu: str | None, environment: Mapping[str, str] = MappingProxyType({})) -> None:
    """Choose the only GPU that CUDA will show to this process, which hasn't touched CUDA yet; None leaves it.

    Args:
        gpu: its CUDA_VISIBLE_DEVICES.
        environment: further variables of this process.
    """
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    os.environ.update(environment)


def _resolve(asked: str, device: str) -> str:
    """:func:`resolve_precision` in a worker, so that torch isn't imported here."""
    from ..training import precision
    from . import build

    return precision.resolve(asked, build.find_device(device))
