"""What a run of one cell remembers at an interval boundary, and going on from there.

On a CPU a run that was interrupted and resumed has the numbers of one that wasn't, bit for bit: all that training and
measuring draw on is kept. That is the model, the optimiser, the plugins with all that they hold, every generator, the
global ones too, what metrics keep of the interval before, and how long the rows are at the boundary.
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
from ..files import digest
from ..measuring.evaluator import Evaluator
from ..seeds import Seeds
from ..store.cell_folder import STATE
from ..training.method import Method
from ..training.template import GenerativeTemplate
from .state import State, read_state, restore, write_state


class Checkpoint:
    """The objects of a run that its state is made of."""

    def __init__(
        self, strategy: GenerativeTemplate, method: Method, stream: Stream, seeds: Seeds, evaluator: Evaluator
    ) -> None:
        self._strategy = strategy
        self._evaluator = evaluator
        self._live = {"model": strategy.model, "optimizer": strategy.optimizer}
        self._live |= {f"plugin {i}": plugin for i, plugin in enumerate(strategy.plugins)}
        # In the order of their making, which is the same in each process.
        experiences = [one for part in stream.streams.values() for one in part]
        self._known = [strategy, method, method.config, stream, seeds, *experiences, *evaluator.view]

    def write(self, file: Path, facts: Mapping[str, Any], samples: list[np.ndarray]) -> int:
        """State the run in a file; returns its bytes.

        Args:
            file: where to.
            facts: JSON values.
            samples: pictures taken so far.

        Raises:
            UnstatableError: something can't be stated.
            OSError: the file can't be written.
        """
        memory = {
            "optimized parameters": self._strategy.optimized_param_id,
            "codes": self._evaluator.previous_codes,
            "samples": samples,
            "globals": _globals(self._strategy.device),
        }
        return write_state(file, facts, self._live | memory, self._known)

    def restore(self, state: State) -> list[np.ndarray]:
        """Bring the run to a state; returns the pictures taken so far.

        Raises:
            InputError: the state isn't of such a run.
        """
        found = restore(state, self._live, self._known, torch.device(self._strategy.device))
        try:
            self._strategy.optimized_param_id = found["optimized parameters"]
            self._evaluator.previous_codes = found["codes"]
            samples: list[np.ndarray] = found["samples"]
            _set_globals(found["globals"], self._strategy.device)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise InputError(f"the state isn't one of a run: {error}") from None
        return samples


class Kept(NamedTuple):
    """What a cell that was interrupted can be gone on from."""

    state: State | None = None
    bytes: int = 0
    """Of rows that belong to the state."""
    problem: str = ""
    """Why a state that is there can't be used, if so: the cell begins anew."""


def kept_in(folder: Path, circumstances: Mapping[str, Any]) -> Kept:
    """Look for a state in a cell's folder. One that can't be read, isn't of this cell and these rows, or was made on
    another device or by other versions of libraries, whose arithmetic may be another, isn't used.

    Raises:
        OSError: a file can't be read now; nothing says that it is damaged.
    """
    file = folder / STATE
    if not file.exists():
        return Kept()
    try:
        state = read_state(file)
        if state.facts["cell"] != folder.name:
            raise InputError(f"it is one of {state.facts['cell']}")
        size = int(state.facts["bytes"])
        if digest((folder / "metrics.jsonl").read_bytes()[:size]) != state.facts["digest"]:
            raise InputError("metrics.jsonl isn't what it was")
        if other := [key for key, value in circumstances.items() if state.facts["circumstances"].get(key) != value]:
            raise InputError(f"it was made with another {' and '.join(other)}")
    except (InputError, FileNotFoundError, LookupError, TypeError, ValueError, AttributeError) as error:
        return Kept(problem=f"the state of the last boundary can't be gone on from: {error}")
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
