"""A stand-in for a CUDA graph on the CPU. It records each tensor operation of a step with the tensors that it took and
gave, and repeats them on the same memory, without any Python of the step: a number that Python changed in the meantime
keeps its old value, as it does on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class RecordedGraph(TorchDispatchMode):
    refused = frozenset(
        {
            torch.ops.aten._local_scalar_dense.default,
            torch.ops.aten.nonzero.default,
            torch.ops.aten.lift_fresh.default,  # a tensor that Python makes from its numbers
        }
    )
    """What a GPU can't capture, since the host takes part in it."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.operations: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []
        self.seeds: set[int] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in self.refused:
            raise RuntimeError(f"the host waits for {function}")
        result = function(*args, **(kwargs or {}))
        for leaf in tree_leaves((args, kwargs)):
            if isinstance(leaf, torch.Generator):
                assert leaf.initial_seed() in self.seeds, f"{function} draws from a generator that wasn't named"
        self.operations.append((function, args, kwargs or {}, result))
        return result

    def warm_up(self, step: Callable[[], None]) -> None:
        step()

    def capture(self, step: Callable[[], None], generators: Iterable[torch.Generator]) -> None:
        self.seeds = {generator.initial_seed() for generator in generators}
        with self:
            step()

    @torch.no_grad()
    def replay(self) -> None:
        for function, args, kwargs, result in self.operations:
            given = {id(leaf) for leaf in tree_leaves((args, kwargs))}
            again = function(*args, **kwargs)
            for old, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                # A view needs nothing: it is of memory that has been written. In place, both are the argument.
                if isinstance(old, torch.Tensor) and id(old) not in given and old._base is None:
                    old.copy_(new)
