"""Fuzz the reader of stores: ``python -m tests.fuzz.fuzz_records --seconds 600 [--seed N]``.

One file is damaged: of its cell's folder, or the store's mark. The other cell is read as before, unless all is refused.
"""

from __future__ import annotations

import json
import random
import tempfile
import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from unittest.mock import patch

from lifegen.benchmark import load
from lifegen.benchmark.cells.cell import product
from lifegen.benchmark.cells.spec import parse_spec
from lifegen.benchmark.reading import provenance
from lifegen.benchmark.reading.current import current_of
from lifegen.benchmark.reading.leaderboard import leaderboard
from lifegen.benchmark.reading.overview import overview
from lifegen.benchmark.reading.scores import scores_of
from lifegen.benchmark.store.store import Store

from .mutation import changed, damaged, fuzz

MARK = "lifegen.json"


@cache
def example() -> tuple[Path, dict[str, bytes]]:
    """A store of two finished cells, named as a run names them; and the files of the first one, and the mark."""
    store = Store.create(Path(tempfile.mkdtemp(prefix="fuzz-records-"), "store"))
    methods = [parse_spec("method", "naive:width=8"), parse_spec("method", "ewc:width=8")]
    for cell in product([parse_spec("scenario", "split-digits:steps=5")], methods, [0]):
        with store.writing(cell.name, cell.record()) as writer:
            writer.note(
                visits=[["0"], ["1"], ["0"]], metrics={"negative_elbo": 1, "real_samples": 1}, device="cpu",
                machine={"cores": 2}, versions={"torch": "2"},
            )  # fmt: skip
            for interval in range(3):
                rows = [(None, None, "negative_elbo", 30.5), ("0", None, "negative_elbo", 30.0 - interval),
                        ("1", None, "negative_elbo", 31.0), (None, None, "real_samples", 500),
                        (None, 5, "gradient_norm", 1.5)]  # fmt: skip
                writer.append(
                    [
                        {"interval": interval, "distribution": distribution, "step": step, "metric": m, "value": value}
                        for distribution, step, m, value in rows
                    ]
                )
            writer.finish()
    folder = store.cells()[0].folder
    files = {name: (folder / name).read_bytes() for name in ("run.json", "metrics.jsonl")}
    return store.path, files | {MARK: (store.path / MARK).read_bytes()}


def mutate(rng: random.Random) -> dict[str, bytes]:
    _, files = example()
    name = rng.choice(("run.json", "run.json", "run.json", "metrics.jsonl", MARK))
    content = files[name]
    if name == "run.json" and rng.random() < 0.8:  # else nothing but its seal is tried
        record = json.loads(content)
        del record["seal"]
        content = json.dumps(record, indent=1).encode()
    others = list(files.values())
    if name == "metrics.jsonl":
        lines = content.splitlines()
        if rng.random() < 0.5:
            at = rng.randrange(len(lines))
            lines[at] = json.dumps(changed(rng, json.loads(lines[at]))).encode()
        content = b"\n".join(lines) + b"\n"
    elif rng.random() < 0.6:
        content = json.dumps(changed(rng, json.loads(content)), indent=1).encode()
    if rng.random() < 0.4 or content == files[name]:
        content = damaged(rng, content, others)
    inputs = {name: content}
    if name == "metrics.jsonl" and rng.random() < 0.5:  # as if it had been written so
        record = json.loads(files["run.json"])
        for key in ("digest", "numbers", "seal"):
            record.pop(key, None)
        record |= {"bytes": len(content), "rows": content.count(b"\n")}
        inputs["run.json"] = json.dumps(record).encode()
    return inputs


def read(inputs: Mapping[str, bytes]) -> None:
    """Read everything that a store says."""
    path, files = example()
    folder = Store(path).cells()[0].folder
    try:
        for name, content in inputs.items():
            ((path if name == MARK else folder) / name).write_bytes(content)
        with warnings.catch_warnings(action="ignore"):
            store = Store.open(path)
            assert len(store.cells()) == 2
            for cell in store.cells():
                assert isinstance(cell.status, str)
                assert isinstance(cell.reason, str)
            current = current_of(store).readable(lambda cell: cell.rows)
            assert len(current.cells) + len(current.left_out) == 2
            table = load(path)
            assert table["cell"].nunique() == len(current.cells)
            is_stale = any(why.status == "stale" for why in current.left_out.values())  # beside a newer version
            whole = table[table["cell"] != folder.name]
            assert len(whole) > 15 or is_stale, "the whole cell isn't read as before"
            leaderboard(scores_of(path))
            assert len(overview(store).items) == 2
            with patch.multiple(provenance, suites=dict, _suite_cells=set):  # they take most of the time
                provenance.commands(store)
            provenance.circumstances(store)
            provenance.versions(store)
    finally:
        for name in inputs:
            ((path if name == MARK else folder) / name).write_bytes(files[name])


if __name__ == "__main__":
    fuzz("records", mutate, read)
