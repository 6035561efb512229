"""Facts about an installation for bug reports. Another process asks torch."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from ..discovery.index import describe, source
from ..environment import own_environment
from ..errors import InputError
from ..folders import NOWHERE
from ..running import mps
from ..running.machine import processor

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_VARIABLES = (
    *_THREADS,
    "CUDA_VISIBLE_DEVICES",
    "CUDA_MPS_PIPE_DIRECTORY",
    "LIFEGEN_DATA",
    "SLURM_JOB_ID",
    "RAY_ADDRESS",
)


def examine(data_root: Path) -> dict[str, dict[str, Any]]:
    """Facts by subject: the installation, its libraries, the machine, devices, data and broken extensions."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    problems = {name: error for kind in ("method", "scenario", "metric") for name, error in _problems(kind).items()}
    return {
        "lifegen": {"version": version("lifegen"), "commit": _commit(), "python": platform.python_version()},
        "libraries": _libraries(),
        "machine": {
            "system": platform.platform(),
            "processor": processor(),
            "cores": f"{cores} of {os.cpu_count()} may be used",
            "memory": _memory(),
            "free on disk here": _gigabytes(shutil.disk_usage(Path.cwd()).free),
        },
        "environment": {name: os.environ.get(name, "not set") for name in _VARIABLES},
        "torch": _torch_facts(data_root),
        "sharing a GPU": {"CUDA's multi-process service": mps.program() or f"{mps.PROGRAM} isn't installed"},
        "plug-ins": problems or {"problems": "none"},
    }


def _libraries() -> dict[str, str]:
    """The installed version of each library that lifegen can use."""
    versions = {}
    for requirement in requires("lifegen") or []:
        name = requirement.split(";")[0].strip()
        for end in "[<>=!~ ":
            name = name.partition(end)[0]
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            if "extra ==" not in requirement and "python_version" not in requirement:
                versions[name] = "MISSING"
    return dict(sorted(versions.items()))


def _commit() -> str:
    """The commit of a development installation, and whether files differ from it."""
    folder = Path(__file__).resolve().parent
    try:
        command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10, env=own_environment())
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() if done.returncode == 0 else "none: an installed package"


def _problems(kind: str) -> dict[str, str]:
    """Why things of a kind can't be used, by name."""
    try:
        return {f"{kind} {one.name}": one.error for one in describe(kind).values() if one.error}
    except InputError as error:
        return {f"all {kind}s": str(error)}


def _memory() -> str:
    try:
        pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return "unknown"
    return _gigabytes(pages * size)


def _gigabytes(number: int) -> str:
    return f"{number / 2**30:.1f} GiB"


def _torch_facts(data_root: Path) -> dict[str, Any]:
    """The facts of :func:`_inspect`, from another process, since looking for CUDA would initialise it here."""
    command = [sys.executable, "-P", "-W", "ignore", "-m", __name__, str(data_root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=own_environment())
    try:
        facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        return {"can't be used": (done.stderr.strip().splitlines() or ["no output"])[-1]}
    return facts


def _inspect(data_root: Path) -> dict[str, Any]:
    import torch

    facts: dict[str, Any] = {
        "built for CUDA": torch.version.cuda or "no",
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "CUDA devices": torch.cuda.device_count(),
    }
    for i in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(i)
        facts[f"cuda:{i}"] = f"{properties.name}, {_gigabytes(properties.total_memory)}"
    facts["data root"] = NOWHERE.name if data_root.is_relative_to(NOWHERE) else str(data_root)
    for name, entry in describe("data source").items():
        if entry.facts["small"]:
            try:
                data = source(name).load(data_root)
                facts[f"data: {name}"] = f"{len(data.train.x) + len(data.test.x):,} images"
            except InputError:
                facts[f"data: {name}"] = f"not here; `lifegen data {name}` fetches it"
    facts["Avalanche"] = "found" if importlib.util.find_spec("avalanche") else "MISSING"
    return facts


if __name__ == "__main__":
    print(json.dumps(_inspect(Path(sys.argv[1]))))
