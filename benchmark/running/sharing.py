"""How many cells share a GPU, and whether they do so under CUDA's multi-process service.

Measured on an H100 with a step of the lifelong VAE, microseconds a cell and step (``results/performance/sharing.txt``):
418 alone, 449 with six cells in turns, 150 with six and 91 with fourteen under the service. So cells share a GPU in
numbers only under the service.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from pebble import ProcessExpired

from ..errors import InputError
from ..processes import pool
from .devices import cores, see
from .mps import MPSError, multi_process_service

_MOST = 14
"""Cells on a GPU, beyond which nothing was measured."""
_IN_TURNS = 2
"""Cells on a GPU without the service: one computes on the processor while the other one has the GPU."""
_BYTES = 2 * 2**30
"""GPU memory for a cell: CUDA's context, the data, a model with its teacher and what is measured on it."""


class GPU(NamedTuple):
    """A GPU as CUDA describes it."""

    uuid: str
    """Its name for CUDA_VISIBLE_DEVICES"""
    free: int
    """Bytes of memory that are free"""


@dataclass(frozen=True)
class Sharing:
    """The cells that run at a time on some GPUs."""

    places: Sequence[str] = ()
    """CUDA_VISIBLE_DEVICES of each cell that runs at a time"""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Further variables of a cell's process"""


@contextmanager
def shared(
    gpus: Sequence[str], per_gpu: int | None, service: bool | None, time_limit: float | None, say: Callable[[str], None]
) -> Iterator[Sharing]:
    """Prepare GPUs for cells, and start the service for them where it helps.

    Args:
        gpus: CUDA_VISIBLE_DEVICES of each GPU; none of them for a run on the processor.
        per_gpu: cells at a time on each; None to decide by memory, cores and the service.
        service: whether to use the service; None where it can be used.
        time_limit: the cells' time limit. A client that is killed may take the others on its GPU with it, so by default
            there is no service with a limit.
        say: gets a line for the user.

    Raises:
        InputError: the service is asked for and can't be used.
    """
    if not gpus or (per_gpu == 1 and not service):
        yield Sharing(gpus)
        return
    found = [_ask(gpu, {}) for gpu in gpus]
    with ExitStack() as stack:
        environment: dict[str, str] = {}
        if service is None and time_limit is not None:
            say("cells share the GPU in turns: --time-limit may kill one, and with it others under CUDA's multi-process"
                " service; --mps uses it all the same")  # fmt: skip
        elif service is not False:
            try:
                environment = stack.enter_context(_tried_service([gpu.uuid for gpu in found]))
            except MPSError as error:
                if service:
                    raise InputError(f"--mps: CUDA's multi-process service can't be used: {error}") from None
                say(f"cells share the GPU in turns, since CUDA's multi-process service can't be used: {error}")
        number = per_gpu or _fitting(found, bool(environment))
        how = " under CUDA's multi-process service" if environment else ""
        say(f"{number} cells at a time on {'the GPU' if len(gpus) == 1 else 'each GPU'}{how}")
        names = [gpu.uuid for gpu in found] if environment else list(gpus)
        yield Sharing(names * number, environment)


def _fitting(gpus: Sequence[GPU], service: bool) -> int:
    """The number of cells at a time on each GPU."""
    memory = min(gpu.free for gpu in gpus) // _BYTES
    return max(1, min(_MOST if service else _IN_TURNS, cores() // len(gpus), memory))


@contextmanager
def _tried_service(uuids: Sequence[str]) -> Iterator[dict[str, str]]:
    """The service, after a process has computed under it on each GPU.

    Raises:
        MPSError: it can't be started, or its clients can't compute.
    """
    with multi_process_service(uuids) as environment:
        for uuid in uuids:
            try:
                _ask(uuid, environment)
            except InputError as error:
                raise MPSError(str(error)) from None
        yield environment


def _ask(gpu: str, environment: Mapping[str, str]) -> GPU:
    """Compute on a GPU in another process, and describe it.

    Raises:
        InputError: that process can't.
    """
    with pool(1) as processes:
        try:
            return GPU(*processes.result(processes.schedule(_described, gpu, environment)))
        except (RuntimeError, AssertionError, ProcessExpired) as error:  # torch's, and a process that died
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise InputError(f"the GPU {gpu} can't be used: {reason}") from None


def _described(gpu: str, environment: Mapping[str, str]) -> tuple[str, int]:
    see(gpu, environment)
    import torch

    torch.ones(1, device="cuda").add_(1).item()
    uuid = str(torch.cuda.get_device_properties(0).uuid)
    name = gpu if gpu.startswith("MIG-") else f"GPU-{uuid.removeprefix('GPU-')}"
    return name, torch.cuda.mem_get_info()[0]
