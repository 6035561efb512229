"""Whether two commits give the same numbers, to the bit: ``python -m tests.commits.numbers OLD [NEW]``.

Both run the suite ``quick`` and one small cell of each method on this machine. Compared are the cells' names, every
measured row but those of time and memory, the pictures, and what a record says beside times and versions. NEW is the
working tree by default. It takes some ten minutes on two cores.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from .checkout import Checkout, checked_out

SMALL = "split-digits:steps=20,classes_per_interval=2,importance_draws=5,importance_images=5"
TIMED = {"train_seconds", "train_cpu_seconds", "eval_seconds", "peak_memory_mb"}
OTHERWISE = {"started", "finished", "seconds", "numbers", "bytes", "digest", "seal", "resumed"}
"""Parts of a record that say when it was made, or how many digits a time has."""
NARROW = {"lgm-2019": "width=8"}
"""Options of methods whose networks take minutes on a core."""


def main(old: str, new: str = "") -> int:
    """Compare two commits and print what differs.

    Returns:
        0 if nothing differs.
    """
    with TemporaryDirectory() as scratch:
        checkouts = [checked_out(commit, Path(scratch, name)) for commit, name in ((old, "old"), (new, "new"))]
        stores = [_computed(checkout) for checkout in checkouts]
        differences = _differences(*stores)
        cells = len(stores[0])
        rows = sum(len(cell["rows"]) for cell in stores[0].values())
    for line in differences:
        print(line)
    print(f"{cells} cells, {rows:,} rows: {len(differences) or 'no'} differences")
    return 1 if differences else 0


def _computed(checkout: Checkout) -> dict[str, dict[str, Any]]:
    """The cells of one commit, by name."""
    checkout.lifegen("run", "--suite", "quick", "--device", "cpu", "--out", "quick")
    methods = json.loads(checkout.lifegen("list", "methods", "--json"))["methods"]
    asked = [word for name in methods for word in ("-m", f"{name}:{NARROW[name]}" if name in NARROW else name)]
    checkout.lifegen("run", "-s", SMALL, *asked, "--seeds", "0", "--device", "cpu", "--out", "each")
    stores = [checkout.folder / store / "cells" for store in ("quick", "each")]
    return {folder.name: _cell(folder) for store in stores for folder in store.iterdir() if folder.is_dir()}


def _cell(folder: Path) -> dict[str, Any]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    record = json.loads((folder / "run.json").read_text())
    with np.load(folder / "pictures.npz") as pictures:
        return {
            "rows": [row for row in lines if row["metric"] not in TIMED],
            "pictures": {name: (value.shape, value.tobytes()) for name, value in pictures.items()},
            "record": {key: value for key, value in record.items() if key not in OTHERWISE},
        }


def _differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    lines = [f"only the {which} commit has {name}" for name in sorted(old.keys() ^ new.keys())
             for which in (["old"] if name in old else ["new"])]  # fmt: skip
    for name in sorted(old.keys() & new.keys()):
        lines += [f"{name}: {part} differ" for part in ("rows", "pictures") if old[name][part] != new[name][part]]
        records = old[name]["record"], new[name]["record"]
        lines += [f"{name}: record, {key}: {records[0].get(key)} and {records[1].get(key)}"
                  for key in records[0] | records[1] if records[0].get(key) != records[1].get(key)]  # fmt: skip
    return lines


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
