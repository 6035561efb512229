"""The same cells on a GPU, where there is one."""

from __future__ import annotations

import pytest
import torch

from lifegen.benchmark.store import Store
from lifegen.benchmark.worker import run_cell

from .test_run import tiny_cells

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.parametrize("method", ["naive", "batch", "generative-replay", "lifelong-vae"])
def test_a_cell_on_a_gpu_has_the_counts_of_one_on_the_cpu(tmp_path, method):
    (cell,) = tiny_cells(method)
    tables = []
    for device in ("cpu", "cuda"):
        store = Store.create(tmp_path / device)
        assert run_cell(cell, store.path, tmp_path, device) == "done"
        tables.append(store.table().set_index(["interval", "distribution", "step", "metric"])["value"])
    cpu, gpu = tables
    assert set(cpu.index) == set(gpu.index)
    for metric in ("real_samples", "synthetic_samples", "optimizer_steps", "stored_parameters"):
        counts = [table.xs(metric, level="metric").tolist() for table in tables]
        assert counts[0] == counts[1]
    first = [table.xs("negative_elbo", level="metric").iloc[0] for table in tables]
    assert first[1] == pytest.approx(first[0], rel=0.2)  # other noise, same scale
