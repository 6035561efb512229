"""The same cells on a GPU, where there is one."""

from __future__ import annotations

import pytest
import torch

from lifegen.benchmark.catalogue import describe
from lifegen.benchmark.cell import plan
from lifegen.benchmark.choice import choose
from lifegen.benchmark.store import Store
from lifegen.benchmark.worker import run_cell

from .test_run import tiny_cells

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


EVERYTHING = (
    "lifelong-vae:width=4,style=2,architecture=conv,mixing=bernoulli,replay_images=draw,replay_prior=aggregate,"
    "consistency_on=both,mutual_information=infogan,likelihood_consistency_weight=1,weight_transfer=false"
)
TRACKS = ("bernoulli-binarised", "discretised-logistic")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Avalanche's own, in stock plugins
@pytest.mark.parametrize("method", sorted(name for name, one in describe("method").items() if not one.facts["preset"]))
def test_a_cell_on_a_gpu_has_the_counts_of_one_on_the_cpu(tmp_path, method):
    compare(tiny_cells(method)[0], tmp_path)


@pytest.mark.parametrize("track", TRACKS)
def test_every_switch_works_on_a_gpu(tmp_path, track):
    scenario = f"split-digits:steps=3,classes_per_interval=5,track={track},interval_length=early-stopping,check_every=1"
    compare(plan([choose("scenario", scenario)], [choose("method", EVERYTHING)], [0])[0], tmp_path)


def compare(cell, tmp_path):
    tables = []
    for device in ("cpu", "cuda"):
        store = Store.create(tmp_path / device)
        assert run_cell(cell, store.path, tmp_path, device, keep_model=True) == "done"
        tables.append(store.table().set_index(["interval", "distribution", "step", "metric"])["value"])
    cpu, gpu = tables
    assert set(cpu.index) == set(gpu.index)
    for metric in ("real_samples", "synthetic_samples", "optimizer_steps", "stored_parameters"):
        counts = [table.xs(metric, level="metric").tolist() for table in tables]
        assert counts[0] == counts[1]
    first = [table.xs("negative_elbo", level="metric").iloc[0] for table in tables]
    assert first[1] == pytest.approx(first[0], rel=0.2)  # other noise, same scale
