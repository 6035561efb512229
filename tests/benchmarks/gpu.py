"""What a GPU is worth to lifegen, in eight minutes at most: rows are printed as they are measured, the best ones first.

    make benchmark-gpu
    python -m tests.benchmarks.gpu --device cpu --seconds 0.1 --cells 1,2 --methods naive,ewc    # a dry run on a CPU

A row is skipped, and says so, where it fails or the time is over.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

import torch

from lifegen.benchmark.contracts.images import Images
from lifegen.benchmark.discovery.index import describe
from lifegen.benchmark.measuring.evaluator import Evaluator
from lifegen.benchmark.running.mps import MPSError, multi_process_service
from lifegen.benchmark.training.precision import products_in
from lifegen.methods.ewc import fisher_information

from .conftest import machine
from .rivals import SEEDS, noise_images, noise_stream, strategy_of, template

_BATCH = 100
_INTERVALS = 3
"""The last of which is measured: with a teacher, an anchor, components."""
_STEPS_OF_A_CELL = 10_000


class Bench:
    """The rows, and the time that is left for them."""

    def __init__(self, device: str, seconds: float, minutes: float) -> None:
        """Begin.

        Args:
            device: "cuda", or "cpu" for a dry run.
            seconds: how long a rate is measured.
            minutes: after these, rows are skipped.
        """
        self.device, self.seconds = device, seconds
        self._end = time.monotonic() + 60 * minutes

    def row(self, what: str, measure: Callable[[], str]) -> None:
        """Print a row: what is measured, and the result or the reason why there is none."""
        if time.monotonic() > self._end:
            result = "skipped: the time is over"
        else:
            try:
                result = measure()
            except Exception as error:
                result = f"failed: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        print(f"{what:56s} {result}", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print all rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long a rate is measured")
    parser.add_argument("--minutes", type=float, default=7.5, help="after these, rows are skipped")
    parser.add_argument("--methods", default=",".join(sorted(describe("method"))), help="methods whose step is timed")
    parser.add_argument("--cells", default="1,3,6,10,14", help="numbers of cells that share the GPU")
    chosen = parser.parse_args(arguments)
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    if chosen.device == "cuda" and not torch.cuda.is_available():
        sys.exit("there is no GPU here; --device cpu makes a dry run")
    bench = Bench(chosen.device, chosen.seconds, chosen.minutes)
    cells = [int(number) for number in chosen.cells.split(",")]
    print(f"{machine(chosen.device)}, torch {torch.__version__}", flush=True)
    if chosen.device == "cuda":
        bench.row("tests/test_cuda.py", correctness)
    shared(bench, cells)
    for method in chosen.methods.split(","):
        bench.row(f"a step of {method}", lambda method=method: alone(bench, method))  # type: ignore[misc]
    bench.row("the Fisher information of 2,000 images", lambda: fisher(bench))
    bench.row("measuring a mixture of ten, 10 × 1,000 test images", lambda: mixture(bench))


def correctness() -> str:
    command = [sys.executable, "-m", "pytest", "tests/test_cuda.py", "-q", "-n", "8", "-p", "no:cacheprovider"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    return done.stdout.strip().splitlines()[-1]


def alone(bench: Bench, method: str) -> str:
    """The time of a step of a method's last interval, in this process."""
    strategy = strategy_of(method, _BATCH, noise_stream(_INTERVALS), bench.device)
    run = template(strategy, _steps(bench.device))
    return f"{_microseconds(run, bench):8.1f} µs   {strategy.execution}"


def _steps(device: str) -> int:
    """Steps of a call: enough for a graph to pay."""
    return 500 if device == "cuda" else 2


def _microseconds(run: Callable[[], None], bench: Bench) -> float:
    """Microseconds of a step, of calls of so many steps each."""
    _synchronised(bench.device)
    calls, began = 0, time.perf_counter()
    while (now := time.perf_counter()) - began < bench.seconds:
        run()
        _synchronised(bench.device)
        calls += 1
    return 1e6 * (now - began) / calls / _steps(bench.device)


def _synchronised(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


# Cells that share the GPU, each in a process


def shared(bench: Bench, cells: Sequence[int]) -> None:
    """The rows of cells that run at a time, in turns and under the multi-process service."""
    with processes(max(cells), bench.device, {}) as workers:
        for n in cells:
            bench.row(f"lifelong-vae, {n} in turns", lambda n=n: together(bench, workers[:n]))  # type: ignore[misc]
    with ExitStack() as stack:
        environment: dict[str, str] = {}
        if bench.device == "cuda":
            uuid = str(torch.cuda.get_device_properties(0).uuid).removeprefix("GPU-")
            try:
                environment = stack.enter_context(multi_process_service([f"GPU-{uuid}"]))
            except MPSError as error:
                print(f"without CUDA's multi-process service: {error}", flush=True)
                return
        workers = stack.enter_context(processes(max(cells), bench.device, environment))
        for n in cells:
            bench.row(f"lifelong-vae, {n} under the service", lambda n=n: together(bench, workers[:n]))  # type: ignore[misc]
        for method, precision in (("lifelong-vae", "tf32"), ("lifelong-vae", "bfloat16"), ("naive", "float32")):
            for n in (cells[0], cells[-1]):
                what = f"{method}, {n} under the service, {precision}"
                bench.row(what, lambda n=n, m=method, p=precision: together(bench, workers[:n], m, p))  # type: ignore[misc]


def together(
    bench: Bench, workers: Sequence[Connection], method: str = "lifelong-vae", precision: str = "float32"
) -> str:
    """Microseconds a cell and step, and whole cells a minute, of workers that train at a time."""
    if bench.device == "cpu":
        precision = "float32"
    for worker in workers:
        worker.send((method, precision, bench.seconds))
    answers = [worker.recv() for worker in workers]
    if failed := [answer for answer in answers if isinstance(answer, str)]:
        raise RuntimeError(failed[0])
    rate = sum(1 / each for each in answers)
    a_minute = 60e6 * rate / _STEPS_OF_A_CELL
    return f"{1 / rate:8.1f} µs a cell and step; {a_minute:.1f} cells of 10 × 1,000 steps a minute"


@contextmanager
def processes(n: int, device: str, environment: dict[str, str]) -> Iterator[list[Connection]]:
    """Processes that train when they are told to. They are ready when this returns."""
    context = get_context("spawn")
    started: list[tuple[Connection, SpawnProcess]] = []
    kept = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        for _ in range(n):
            here, there = context.Pipe()
            process = context.Process(target=work, args=(there, device), daemon=True)
            process.start()
            there.close()
            started.append((here, process))
        for connection, _ in started:
            connection.recv()
    finally:
        for name, value in kept.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
    try:
        yield [connection for connection, _ in started]
    finally:
        for connection, process in started:
            connection.close()
            process.join(20)
            process.kill()


def work(connection: Connection, device: str) -> None:
    """Train as often as asked, and answer with microseconds a step or with an error's text."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    bench = Bench(device, 0.0, 0.0)
    made: dict[tuple[str, str], Callable[[], None]] = {}
    connection.send("ready")
    while True:
        try:
            method, precision, bench.seconds = connection.recv()
        except EOFError:
            return
        answer: Any
        try:
            if (method, precision) not in made:
                strategy = strategy_of(method, _BATCH, noise_stream(_INTERVALS), device)
                strategy.precision = precision
                made[method, precision] = template(strategy, _steps(device))
            answer = _microseconds(made[method, precision], bench)
        except Exception as error:
            answer = f"{type(error).__name__}: {error}"
        connection.send(answer)


# Rare and dear work


def fisher(bench: Bench) -> str:
    strategy = strategy_of("ewc:fisher_samples=10", _BATCH, noise_stream(2), bench.device)
    images: Images = noise_images(2000 if bench.device == "cuda" else 50)
    x = images.x.to(bench.device)
    noise = SEEDS.generator("fisher", device=bench.device)
    return _once(lambda: fisher_information(strategy.model, x, 1, noise), bench)


def mixture(bench: Bench) -> str:
    number = 10 if bench.device == "cuda" else 2
    stream = noise_stream(number, tests=1000 if bench.device == "cuda" else 20, n=2000)
    strategy = strategy_of("experts", _BATCH, stream, bench.device)
    evaluator = Evaluator(stream, SEEDS, list(stream.train_stream))
    with products_in("float32", torch.device(bench.device)):
        return _once(lambda: evaluator.measure(strategy, number - 1, 1.0), bench)


def _once(function: Callable[[], object], bench: Bench) -> str:
    _synchronised(bench.device)
    began = time.perf_counter()
    function()
    _synchronised(bench.device)
    return f"{time.perf_counter() - began:8.2f} s"


if __name__ == "__main__":
    main()
