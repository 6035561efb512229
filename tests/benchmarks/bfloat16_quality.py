"""What bfloat16 products cost in quality: paired seeds, final negative ELBO on the full test set.

    python -m tests.benchmarks.bfloat16_quality split-mnist:steps=500 batch lifelong-vae --seeds 6

On a processor without bfloat16 units the factors of every linear layer's products, forward and backward, are rounded by
hand and multiplied in float32: what such units compute, but for the order of sums. Rows that the file has aren't
computed again.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import click
import torch
from torch import Tensor, nn

from lifegen.benchmark.cells.cell import Cell
from lifegen.benchmark.cells.spec import parse_spec
from lifegen.benchmark.measuring.evaluator import Evaluator
from lifegen.benchmark.reading.statistics import mean_interval
from lifegen.benchmark.running.build import build_method, build_stream
from lifegen.benchmark.running.local import default_data_root
from lifegen.benchmark.training.precision import rounds
from lifegen.benchmark.training.template import GenerativeTemplate

FILE = Path(__file__).parents[2] / "results" / "performance" / "bfloat16.csv"
COLUMNS = ("scenario", "method", "seed", "float32", "bfloat16")


class _Rounded(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        x, weight = x.bfloat16().float(), weight.bfloat16().float()
        context.save_for_backward(x, weight)
        return torch.addmm(bias, x, weight.T)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        x, weight = context.saved_tensors
        rounded = gradient.bfloat16().float()
        return rounded @ weight, rounded.T @ x, gradient.sum(0)


@contextmanager
def emulated() -> Iterator[None]:
    """Training steps round the factors of linear layers."""
    epoch = GenerativeTemplate.training_epoch

    def rounded_epoch(strategy: GenerativeTemplate, **kwargs: Any) -> None:
        with mock.patch.object(nn.Linear, "forward", lambda layer, x: _Rounded.apply(x, layer.weight, layer.bias)):
            epoch(strategy, **kwargs)

    with mock.patch.object(GenerativeTemplate, "training_epoch", rounded_epoch):
        yield


def final_value(cell: Cell, data_root: Path) -> float:
    """Negative ELBO on the full test set after the last interval of a fully connected model."""
    cell.seeds.seed_globals()
    stream = build_stream(cell.scenario, cell.seeds, data_root)
    method = build_method(cell.method)
    strategy = method.strategy(stream, cell.seeds, torch.device("cpu"))
    strategy.precision = cell.precision
    view = list(method.view(stream))
    for experience in view:
        strategy.train(experience, eval_streams=[])
    rows = Evaluator(stream, cell.seeds, view).measure(strategy, len(view) - 1, 0.0)
    return next(row["value"] for row in rows if row["metric"] == "negative_elbo" and row["distribution"] is None)


@click.command()
@click.argument("scenario")
@click.argument("methods", nargs=-1, required=True)
@click.option("--seeds", default=6, show_default=True, help="How many, from 0.")
@click.option("--out", type=click.Path(path_type=Path), default=FILE)
def main(scenario: str, methods: tuple[str, ...], seeds: int, out: Path) -> None:
    """Train pairs, add them to the file, and print the difference of each method with its interval."""
    torch.set_num_threads(1)
    found = list(csv.DictReader(out.read_text().splitlines())) if out.exists() else []
    known = {(row["scenario"], row["method"], int(row["seed"])): row for row in found}
    has_units = rounds("bfloat16", torch.device("cpu"))
    for seed in range(seeds):
        for method in methods:
            if (scenario, method, seed) in known:
                continue
            chosen = parse_spec("scenario", scenario), parse_spec("method", method), seed
            single = final_value(Cell(*chosen), default_data_root())
            if has_units:
                rounded = final_value(Cell(*chosen, "bfloat16"), default_data_root())
            else:
                with emulated():
                    rounded = final_value(Cell(*chosen), default_data_root())
            values = (scenario, method, seed, f"{single:.4f}", f"{rounded:.4f}")
            known[scenario, method, seed] = dict(zip(COLUMNS, map(str, values), strict=True))
            with out.open("w", newline="") as file:
                writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
                writer.writeheader()
                writer.writerows(known.values())
    for method in methods:
        pairs = [row for key, row in known.items() if key[:2] == (scenario, method)]
        one = mean_interval([float(row["bfloat16"]) - float(row["float32"]) for row in pairs])
        interval = "" if one.low is None else f", 95 % interval {one.low:+.2f} to {one.high:+.2f}"
        print(f"{method}: bfloat16 − float32 = {one.mean:+.2f} nats over {one.n} seeds{interval}")


if __name__ == "__main__":
    sys.exit(main())
