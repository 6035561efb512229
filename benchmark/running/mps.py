"""CUDA's multi-process service, under which the cells that share a GPU compute at the same time and not in turns.

Its daemon belongs to one run: a process that waits for the run's end, however it ends, quits it. See NVIDIA's
"Multi-Process Service", https://docs.nvidia.com/deploy/mps.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from ..environment import own_environment

PROGRAM = "nvidia-cuda-mps-control"
_PIPES = "CUDA_MPS_PIPE_DIRECTORY"
_SECONDS = 60.0
_READY = "ready"
# Sockets lie in this folder, whose path must be short.
_FOLDER = "/tmp"


class MPSError(Exception):
    """The service can't be used; the text is the reason."""


def program() -> str | None:
    """The path of the service's program, if it is installed."""
    return shutil.which(PROGRAM)


@contextmanager
def multi_process_service(gpus: Sequence[str]) -> Iterator[dict[str, str]]:
    """Run the service on some GPUs, or use one that the environment names, such as a cluster's.

    Args:
        gpus: their UUIDs, since a service that doesn't have all GPUs counts them anew.

    Yields:
        the variables that make a process its client, which must not have touched CUDA.

    Raises:
        MPSError: the service can't be started.
    """
    if folder := os.environ.get(_PIPES):
        yield {_PIPES: folder}
        return
    if program() is None:
        raise MPSError(f"{PROGRAM} isn't installed")
    with TemporaryDirectory(prefix="lifegen-mps-", dir=_FOLDER, ignore_cleanup_errors=True) as folder:
        clients = {_PIPES: folder, "CUDA_MPS_LOG_DIRECTORY": folder}
        keeper = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=own_environment() | clients | {"CUDA_VISIBLE_DEVICES": ",".join(gpus)},
            start_new_session=True,  # Ctrl-C stops the cells, and the service after them
        )
        assert keeper.stdin is not None
        assert keeper.stdout is not None
        try:
            if (answer := keeper.stdout.readline().strip()) != _READY:
                raise MPSError(answer or "its keeper has ended without a word")
            yield clients
        finally:
            keeper.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                keeper.wait(2 * _SECONDS)
            keeper.stdout.close()


def _keep() -> None:
    """Start the daemon, wait for the end of the standard input, and quit the daemon."""
    log = Path(os.environ["CUDA_MPS_LOG_DIRECTORY"], "start.log")
    with log.open("w") as output:  # the daemon holds on to it, so that it can't be a pipe
        started = subprocess.run(
            [PROGRAM, "-d"], stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=_SECONDS, check=False
        )
    if started.returncode:
        words = " ".join(log.read_text().split())
        print(f"{PROGRAM} failed with exit code {started.returncode}{f': {words}' if words else ''}", flush=True)
        return
    try:
        print(_READY, flush=True)
        sys.stdin.read()
    finally:
        subprocess.run([PROGRAM], input="quit\n", text=True, capture_output=True, timeout=_SECONDS, check=False)


if __name__ == "__main__":
    try:
        _keep()
    except (OSError, subprocess.SubprocessError) as error:
        print(f"{type(error).__name__}: {error}", flush=True)
