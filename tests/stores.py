"""Stores written by hand."""

from __future__ import annotations

import numpy as np

from lifegen.benchmark.discovery.index import describe
from lifegen.benchmark.reading.current import CurrentCell, current_of
from lifegen.benchmark.store.cell_folder import StoredCell
from lifegen.benchmark.store.cell_writer import write_record
from lifegen.benchmark.store.record import Numbers
from lifegen.benchmark.store.store import Store


def shown(store: Store) -> tuple[list[CurrentCell], dict[str, str]]:
    """The cells of a store that are shown, and why the others aren't."""
    current = current_of(store)
    return list(current.cells), {name: str(why) for name, why in current.left_out.items()}


def numbers_of(store: Store, name: str) -> Numbers:
    """The numbers of a cell that is shown."""
    return next(cell.numbers for cell in shown(store)[0] if cell.name == name)


def version_of(method: str, version: int) -> int:
    """The version of a method that a test calls so: 1 is the installed one."""
    entry = describe("method").get(method)
    return version + (entry.version - 1 if entry else 0)


def unseal(cell: StoredCell) -> None:
    """Make a cell's record one of before its pictures were sealed."""
    write_record(cell.folder, {key: value for key, value in cell.record.items() if key != "contents"})


def write(store: Store, method: str, seed: int, final: float, *, version: int = 1, reference: str | None = None,
          intervals: int = 3, scenario: str = "split-x", status: str = "done", consistency: float | None = None,
          uses: tuple[str, ...] = (), threshold: float | str | None = None, components: int = 1,
          images: int = 0, options: str = "", suite: str | None = None, name: str = "",
          error: str = "boom", expert: str | None = None) -> None:  # fmt: skip
    """A cell whose negative ELBO falls by 10 an interval, to ``final``. An expert sees a tenth of that in its
    samples."""
    options = options or (f"threshold={threshold}" if threshold is not None else "")
    label = f"{method}:{options}" if options else method
    record = {
        "scenario": {"name": scenario, "label": scenario, "version": 1, "config": {}, "track": "t"},
        "method": {
            "name": method,
            "label": label,
            "version": version_of(method, version),
            "config": {"threshold": threshold},
            "reference": reference,
            "uses": list(uses),
        },
        "seed": seed,
        "visits": [[str(i)] for i in range(intervals)] if intervals > 1 else [["0", "1", "2"]],
        "protocol": 1,
        "metrics": {},
        "precision": "float32",
        "device": "cpu",
        "suite": suite,
    }
    if expert:
        record["samples"] = {"expert": "x", "digest": expert, "images": 50, "floor": {"frechet_distance": 0.25}}
    name = name or f"{scenario}-{method}-{version}-{seed}" + (f"-{options}" if options else "")
    with store.writing(name, record) as writer:
        for interval in range(intervals):
            value = final + 10 * (intervals - 1 - interval)
            values = [(None, "negative_elbo", value), ("0", "negative_elbo", value + interval),
                      ("1", "negative_elbo", value), ("2", "negative_elbo", value - interval),
                      (None, "real_samples", 1000), (None, "components", components),
                      (None, "stored_samples", images), (None, "peak_memory_mb", 500 - interval)]  # fmt: skip
            if interval:
                values.append((None, "posterior_consistency_past", consistency or 0.5 + seed / 10))
            if expert:
                values.append((None, "frechet_distance", value / 10))
            if interval == 1:
                values.append((None, "code_retention", 0.9))
            writer.append(
                [{"interval": interval, "distribution": d, "step": None, "metric": m, "value": v} for d, m, v in values]
            )
            writer.append(
                [{"interval": interval, "distribution": None, "step": 5, "metric": "gradient_norm", "value": 1.0}]
            )
        if status == "done":
            samples = np.random.default_rng(0).integers(0, 255, (3, 10, 1, 8, 8), dtype=np.uint8)
            pictures = {"samples": samples, "originals": samples[:, :8], "reconstructions": samples[:, 2:]}
            if method == "good":
                pictures["style_grid"] = samples[:, :9]
            np.savez_compressed(writer.folder / "pictures.npz", **pictures)
            writer.finish()
        elif status == "failed":
            writer.fail(f"ValueError: {error}")
