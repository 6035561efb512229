"""Cells that share a GPU: how many, and CUDA's multi-process service, whose program is a stand-in here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lifegen.benchmark.errors import InputError
from lifegen.benchmark.running import sharing
from lifegen.benchmark.running.mps import PROGRAM, MPSError, multi_process_service
from lifegen.benchmark.running.sharing import GPU, Sharing, shared

from .waiting import until

PROGRAM_TEXT = """#!/bin/sh
if [ "$1" = -d ]; then
    echo "start $CUDA_VISIBLE_DEVICES" >> "$SEEN"
    echo "no permission"
    [ -d "$CUDA_MPS_PIPE_DIRECTORY" ] || exit 3
    exit ${EXIT:-0}
fi
read word
echo "$word in $CUDA_MPS_PIPE_DIRECTORY" >> "$SEEN"
"""


@pytest.fixture
def seen(tmp_path, monkeypatch):
    """The file in which the stand-in tells its calls."""
    program = tmp_path / "bin" / PROGRAM
    program.parent.mkdir()
    program.write_text(PROGRAM_TEXT)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SEEN", str(tmp_path / "seen"))
    monkeypatch.delenv("CUDA_MPS_PIPE_DIRECTORY", raising=False)
    return tmp_path / "seen"


def test_the_service_has_the_gpus_of_its_run_and_ends_with_it(seen):
    with multi_process_service(["GPU-a", "GPU-b"]) as clients:
        folder = clients["CUDA_MPS_PIPE_DIRECTORY"]
        assert Path(folder).is_dir()
        assert len(folder) < 60  # a socket's address has no more than 107 bytes
        assert seen.read_text() == "start GPU-a,GPU-b\n"
    assert seen.read_text() == f"start GPU-a,GPU-b\nquit in {folder}\n"
    assert not Path(folder).exists()
    assert "CUDA_MPS_PIPE_DIRECTORY" not in os.environ


def test_a_service_that_runs_already_is_used(seen, monkeypatch):
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", "/run/mps")
    with multi_process_service(["GPU-a"]) as clients:
        assert clients == {"CUDA_MPS_PIPE_DIRECTORY": "/run/mps"}
    assert not seen.exists()


def test_an_error_in_the_run_ends_the_service_as_well(seen):
    with pytest.raises(ZeroDivisionError), multi_process_service(["0"]):
        raise ZeroDivisionError
    assert "quit" in seen.read_text()


def test_a_run_that_is_killed_leaves_no_service(seen):
    text = ("from lifegen.benchmark.running.mps import multi_process_service as service; import time\n"
            "with service(['0']): print('up', flush=True); time.sleep(60)")  # fmt: skip
    run = subprocess.Popen([sys.executable, "-P", "-c", text], stdout=subprocess.PIPE, text=True)
    assert run.stdout.readline() == "up\n"
    run.send_signal(signal.SIGKILL)
    run.wait()
    run.stdout.close()
    until(lambda: "quit" in seen.read_text())


def test_a_service_that_cannot_start_says_why(seen, monkeypatch):
    monkeypatch.setenv("EXIT", "1")
    with pytest.raises(MPSError, match="failed with exit code 1: no permission"), multi_process_service(["0"]):
        pytest.fail("it isn't up")
    assert "quit" not in seen.read_text()
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MPSError, match="isn't installed"), multi_process_service(["0"]):
        pytest.fail("it isn't up")


@pytest.fixture
def two_gpus(monkeypatch):
    """Two GPUs with 20 and 9 GiB of free memory and 16 cores; the requests that they got."""
    asked = []

    def ask(gpu, environment):
        asked.append((gpu, "CUDA_MPS_PIPE_DIRECTORY" in environment))
        return {"0": GPU("GPU-a", 20 * 2**30)}.get(gpu, GPU("GPU-b", 9 * 2**30))

    monkeypatch.setattr(sharing, "_ask", ask)
    monkeypatch.setattr(sharing, "cores", lambda: 16)
    return asked


def entered(*arguments) -> tuple[Sharing, list[str]]:
    said: list[str] = []
    with shared(*arguments, said.append) as found:
        return found, said


def test_under_the_service_cells_are_as_many_as_cores_and_memory_allow(seen, two_gpus):
    found, said = entered(["0", "1"], None, None, None)
    assert found.places == ["GPU-a", "GPU-b"] * 4  # 8 cores a GPU, 9 GiB for cells of 2
    assert found.environment.keys() == {"CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"}
    assert two_gpus == [("0", False), ("1", False), ("GPU-a", True), ("GPU-b", True)]
    assert said == ["4 cells at a time on each GPU under CUDA's multi-process service"]
    assert len(entered(["0"], None, None, None)[0].places) == 10
    assert len(entered(["0"], 3, None, None)[0].places) == 3


def test_without_the_service_few_cells_take_turns_and_the_reason_is_said(seen, two_gpus, monkeypatch):
    found, said = entered(["0", "1"], None, False, None)
    assert found == Sharing(["0", "1", "0", "1"], {})
    assert said == ["2 cells at a time on each GPU"]
    found, said = entered(["0"], None, None, 60.0)
    assert found.places == ["0"] * 2
    assert "--time-limit may kill one" in said[0]
    assert entered(["0"], None, True, 60.0)[0].environment
    monkeypatch.setenv("EXIT", "1")
    found, said = entered(["0"], None, None, None)
    assert found.places == ["0"] * 2
    assert said == [
        "cells share the GPU in turns, since CUDA's multi-process service can't be used:"
        f" {PROGRAM} failed with exit code 1: no permission",
        "2 cells at a time on the GPU",
    ]
    with pytest.raises(InputError, match="--mps: .* exit code 1"):
        entered(["0"], None, True, None)


def test_a_client_that_cannot_compute_under_the_service_ends_it(seen, two_gpus, monkeypatch):
    def ask(gpu, environment):
        if environment:
            raise InputError("the GPU GPU-a can't be used: CUDA error: MPS server failed")
        return GPU("GPU-a", 2**40)

    monkeypatch.setattr(sharing, "_ask", ask)
    found, said = entered(["0"], None, None, None)
    assert not found.environment
    assert "MPS server failed" in said[0]
    assert "quit" in seen.read_text()


def test_one_cell_a_gpu_asks_nobody(two_gpus):
    assert entered(["0", "1"], 1, None, None) == (Sharing(["0", "1"], {}), [])
    assert entered([], None, None, None) == (Sharing([], {}), [])
    assert not two_gpus


def test_a_gpu_that_is_not_there_is_a_clear_error():
    with pytest.raises(InputError, match="the GPU 99 can't be used"):
        sharing._ask("99", {})
