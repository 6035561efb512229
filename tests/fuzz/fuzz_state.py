"""Fuzz the reader of states: ``python -m tests.fuzz.fuzz_state --seconds 600 [--seed N]``.

Half of the files are damaged as bytes, which their digest shows; the others are changed before they are written, so
that what is restored from them has to stand it.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from lifegen.benchmark.running.state import FORMAT, State, _digest, read_state, restore, write_state
from lifegen.benchmark.seeds import Seeds

from .mutation import changed, damaged, fuzz


def objects() -> dict[str, Any]:
    """What a method remembers, in small."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2))
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    model(torch.ones(5, 3)).sum().backward()
    optimizer.step()
    memory = {"seen": [1, 2], "of": {3: ("a", 0.5)}, "images": torch.zeros(2, 1, 2, 2, dtype=torch.uint8)}
    return {"model": model, "optimizer": optimizer, "memory": memory, "draws": Seeds(0).generator("draws")}


@cache
def example() -> tuple[bytes, State]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "state.safetensors")
        write_state(file, {"interval": 3, "bytes": 100}, objects())
        return file.read_bytes(), read_state(file)


def mutate(rng: random.Random) -> dict[str, bytes]:
    content, state = example()
    if rng.random() < 0.5:
        return {"state.safetensors": damaged(rng, content, [content[::-1], content[:500] * 3])}
    stated = changed(rng, {"facts": state.facts, "nodes": state.nodes})
    tensors = dict(state.tensors)
    if rng.random() < 0.3:
        name = rng.choice(list(tensors))
        tensors[name] = rng.choice([torch.zeros(0), torch.tensor(float("nan")), torch.ones(7, dtype=torch.int64)])
    if rng.random() < 0.1:
        tensors.pop(rng.choice(list(tensors)))
    text = json.dumps(stated)
    header = {"format": str(FORMAT), "content": text, "digest": _digest(text, tensors)}
    return {"state.safetensors": save(tensors, header)}


def read(inputs: Mapping[str, bytes]) -> None:
    """Read a state, and bring new objects to it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "state.safetensors")
        file.write_bytes(inputs["state.safetensors"])
        live = {name: made for name, made in objects().items() if name in ("model", "optimizer")}
        restore(read_state(file), live, (), torch.device("cpu"))


if __name__ == "__main__":
    fuzz("state", mutate, read)
