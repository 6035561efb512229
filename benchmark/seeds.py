"""One seed, many generators: each role draws from its own, so that no role's draws shift another's."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


HARNESS_ROLES = frozenset(
    {
        "data-order",
        "latent-noise",
        "early-stopping",
        "interval-lengths",
        "evaluation",
        "code-floor",
        "importance",
        "aggregate-posterior",
        "samples",
        "reconstructions",
        "interval-samples",
        "pixels",
        "measured-samples",
        "expert",
        "global",
    }
)
SCENARIO_ROLES = frozenset({"class-order", "visits"})
METHOD_ROLES = frozenset(
    {"initialisation", "growth", "replay", "mixture", "memory", "fisher", "novelty", "second-lap", "student"}
)
"""The first words of the roles in use; :class:`Seeds` explains them."""


@dataclass(frozen=True)
class Seeds:
    """Named sub-seeds of one seed.

    A role's sub-seed depends on the seed, the scope (the scenario's name) and the role alone. Data order,
    initialisation and evaluation noise are therefore the same for every method of a scenario: equal seeds are paired.

    Roles are names that everything in a run shares. Two places that draw from one role silently draw the
    same numbers: an extension gives its roles names of its own, and ``lifegen check`` refuses names in use.

    In the scope of a cell, which is its scenario's name:

    - the harness: ``data-order`` (interval), ``latent-noise``, ``early-stopping`` (interval), ``interval-lengths``,
      ``evaluation`` (part, distribution), ``code-floor`` (distribution, 0 or 1), ``importance`` (distribution),
      ``aggregate-posterior``, ``samples``, ``interval-samples`` (nothing or "replayed"), ``reconstructions``,
      ``pixels`` (interval, "eval", "pictures", or part and distribution), ``measured-samples`` (number, "code" and its
      number, "clusters", "classifier", "replayed", "given", or "pixels" and one of these), and ``global`` (generator),
      with which the global generators are seeded
    - scenarios of lifegen: ``class-order``, ``visits``
    - methods of lifegen, of which a cell has one: ``initialisation``, ``growth``, ``replay``, ``mixture``, ``memory``,
      ``fisher`` (interval), ``novelty`` (interval), ``second-lap``, ``student``

    Draws that are the same for all seeds and scenarios come from ``Seeds(0)`` in the empty scope: ``binarisation``
    (distribution, part), ``permutation`` (number), ``expert`` (its name, "initialisation", "order" or a kind of
    pixels), ``floor``, ``measured-pixels`` (part, distribution), and the draws of
    ``lifegen check``.
    """

    seed: int
    scope: str = ""

    def of(self, *role: str | int) -> int:
        """Return the sub-seed of a role, for example ``of("data-order", 3)``: 63 bits, equal on every machine."""
        text = "\0".join(map(str, (self.seed, self.scope, *role)))
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1

    def generator(self, *role: str | int, device: torch.device | str = "cpu") -> torch.Generator:
        """Make a fresh torch generator for a role."""
        import torch

        return torch.Generator(device).manual_seed(self.of(*role))

    def late_generator(self, *role: str | int) -> LateGenerator:
        """Make a generator for a role whose device isn't known before, for example, the first batch."""
        return LateGenerator(self, role)

    def seed_globals(self) -> None:
        """Seed Python's, numpy's and torch's global generators: lifegen doesn't draw from them, stock plugins do."""
        import random

        import numpy as np
        import torch

        random.seed(self.of("global", "python"))
        np.random.seed(self.of("global", "numpy") % 2**32)  # noqa: NPY002  (it is the legacy generator that plugins use)
        torch.manual_seed(self.of("global", "torch"))


class LateGenerator:
    """A role's generator, made at its first use on the device of that use."""

    def __init__(self, seeds: Seeds, role: tuple[str | int, ...]) -> None:
        self._seeds = seeds
        self._role = role
        self._generator: torch.Generator | None = None

    def on(self, device: torch.device | str) -> torch.Generator:
        """Return the generator, the same one at each call; only the first call's device counts."""
        if self._generator is None:
            self._generator = self._seeds.generator(*self._role, device=device)
        return self._generator

    @property
    def made(self) -> list[torch.Generator]:
        """The generator, once it is made."""
        return [] if self._generator is None else [self._generator]


def global_states() -> dict[str, bytes]:
    """Return the states of Python's, numpy's and torch's global generators, which show whether something has drawn."""
    import random

    import numpy as np
    import torch

    numpy: Any = np.random.get_state()  # noqa: NPY002
    states = {
        "Python": repr(random.getstate()).encode(),
        "numpy": numpy[1].tobytes() + repr(numpy[2:]).encode(),
        "torch": torch.get_rng_state().numpy().tobytes(),
    }
    if torch.cuda.is_initialized():  # asking for its state would initialise it
        for i, generator in enumerate(torch.cuda.default_generators):
            states[f"torch on cuda:{i}"] = generator.get_state().numpy().tobytes()
    return states
