"""Saving the state of a cell's run at an interval boundary, and continuing from it.

On a CPU an interrupted and resumed run has the numbers of an uninterrupted one, bit for bit. The state holds all that
training and measuring draw on: the model, the optimiser, the plugins with all that they hold, every generator, also the
global ones, what metrics keep of the interval before, and the length of the rows at the boundary.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ..contracts.stream import Stream
from ..errors import InputError
from ..files import NotAFileError, digest, read
from ..measuring.evaluator import Evaluator
from ..measuring.pictures import IntervalPictures
from ..seeds import Seeds
from ..store.cell_folder import STATE, name_of
from ..training.method import Method
from ..training.template import GenerativeTemplate
from .state import State, read_state, restore, write_state


class Checkpoint:
    """The objects of a run that make up its state."""

    def __init__(
        self, strategy: GenerativeTemplate, method: Method, stream: Stream, seeds: Seeds, evaluator: Evaluator
    ) -> None:
        self._strategy = strategy
        self._evaluator = evaluator
        self._live = {"model": strategy.model, "optimizer": strategy.optimizer}
        self._live |= {f"plugin {i}": plugin for i, plugin in enumerate(strategy.plugins)}
        # In the order in which they were made, which is the same in each process.
        experiences = [experience for part in stream.streams.values() for experience in part]
        self._known = [strategy, method, method.config, stream, seeds, *experiences, *evaluator.view]

    def write(self, file: Path, facts: Mapping[str, Any], pictures: IntervalPictures) -> int:
        """Write the run's state into a file; returns its bytes.

        Args:
            file: the file to write.
            facts: JSON values.
            pictures: those taken so far.

        Raises:
            UnstatableError: something can't be written as tensors and JSON.
            OSError: the file can't be written.
        """
        memory = {
            "optimized parameters": self._strategy.optimized_param_id,
            "codes": self._evaluator.previous_codes,
            **pictures._asdict(),
            "globals": _globals(self._strategy.device),
        }
        return write_state(file, facts, self._live | memory, self._known)

    def restore(self, state: State) -> IntervalPictures:
        """Bring the run to a state; returns the pictures taken so far.

        Raises:
            InputError: the state isn't of such a run.
        """
        objects = restore(state, self._live, self._known, torch.device(self._strategy.device))
        try:
            self._strategy.optimized_param_id = objects["optimized parameters"]
            self._evaluator.previous_codes = objects["codes"]
            samples: list[np.ndarray] = objects["samples"]
            nothing: list[np.ndarray | None] = [None] * len(samples)  # of a state that is older than these pictures
            pictures = IntervalPictures(samples, objects.get("replayed", nothing))
            _set_globals(objects["globals"], self._strategy.device)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise InputError(f"the state isn't one of a run: {error}") from None
        return pictures


class Kept(NamedTuple):
    """The state that an interrupted cell continues from."""

    state: State | None = None
    bytes: int = 0
    """Bytes of the rows that belong to the state."""
    problem: str = ""
    """Why a stored state can't be used, so that the cell begins anew; else empty."""


def kept_in(folder: Path, circumstances: Mapping[str, Any]) -> Kept:
    """Look for a state in a cell's folder. It isn't used if it can't be read, belongs to another cell or other rows, or
    was made on another device or by other versions of libraries, whose arithmetic may differ.

    Raises:
        OSError: a file can't be read now, though it may be whole.
    """
    file = folder / STATE
    if not file.exists():
        return Kept()
    try:
        state = read_state(file)
        if state.facts["cell"] != name_of(folder.name):
            raise InputError(f"it is one of {state.facts['cell']}")
        size = int(state.facts["bytes"])
        if digest(read(folder / "metrics.jsonl")[:size]) != state.facts["digest"]:
            raise InputError("metrics.jsonl has changed")
        if other := [key for key, value in circumstances.items() if state.facts["circumstances"].get(key) != value]:
            raise InputError(f"it was made with another {' and '.join(other)}")
    except (InputError, FileNotFoundError, NotAFileError, LookupError, TypeError, ValueError, AttributeError) as error:
        return Kept(problem=f"the state of the last interval boundary can't be used: {error}")
    return Kept(state, size)


def _globals(device: torch.device | str) -> dict[str, Any]:
    kept = {
        "python": random.getstate(),
        "numpy": np.random.get_state(),  # noqa: NPY002  (the legacy generator, which plugins use)
        "torch": torch.get_rng_state(),
    }
    if torch.device(device).type == "cuda":
        kept["cuda"] = torch.cuda.get_rng_state(device)
    return kept


def _set_globals(kept: Mapping[str, Any], device: torch.device | str) -> None:
    random.setstate(kept["python"])
    np.random.set_state(kept["numpy"])  # noqa: NPY002
    torch.set_rng_state(kept["torch"])
    if "cuda" in kept:
        torch.cuda.set_rng_state(kept["cuda"], device)
