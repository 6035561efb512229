"""A cell: one scenario, one method, one configuration of each, one seed. No torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .choice import Choice
from .seeds import Seeds

PROTOCOL = 1
"""Version of how every cell is trained and measured; raise it whenever that changes all numbers."""


PRECISIONS = ("float32", "tf32", "bfloat16")
"""Formats in which training may multiply matrices; ``precision`` says what they are."""


@dataclass(frozen=True)
class Cell:
    """What is computed once and kept in a store under its name."""

    scenario: Choice
    method: Choice
    seed: int
    precision: str = "float32"
    """One of :data:`PRECISIONS`"""
    suite: str | None = None
    """The suite that names its method, if it comes from one: its variants are no custom ones."""

    @property
    def seeds(self) -> Seeds:
        return Seeds(self.seed, scope=self.scenario.name)

    @property
    def identity(self) -> dict[str, Any]:
        """All that its numbers depend on."""
        return {
            "protocol": PROTOCOL,
            "scenario": _identity(self.scenario),
            "method": _identity(self.method),
            "precision": self.precision,
            "seed": self.seed,
        }

    @property
    def name(self) -> str:
        """Folder name: readable, and unique by the hash of the identity."""
        return f"{self.scenario.name}--{self.method.name}--{self.seed}--{self._hash}"

    @property
    def _hash(self) -> str:
        return hash_of(self.identity)

    def record(self) -> dict[str, Any]:
        """What the store keeps beside the rows."""
        record = self.identity | {"hash": self._hash, "suite": self.suite}
        record["scenario"] |= {"label": self.scenario.label, "track": self.scenario.config["track"]}
        facts = {key: self.method.facts[key] for key in ("reference", "uses")}
        record["method"] |= {"label": self.method.label, **facts}
        return record

    def __str__(self) -> str:
        return f"{self.scenario.label} {self.method.label} seed {self.seed}"


def plan(scenarios: Iterable[Choice], methods: Iterable[Choice], seeds: Iterable[int]) -> list[Cell]:
    """Every scenario with every method and seed. Seeds vary slowest, so that whole tables come early."""
    scenarios, methods = list(scenarios), list(methods)
    cells = [Cell(scenario, method, seed) for seed in seeds for scenario in scenarios for method in methods]
    return list({cell.name: cell for cell in cells}.values())


def hash_of(identity: Mapping[str, Any]) -> str:
    """What tells cells apart: 12 hexadecimal digits."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]


def _identity(choice: Choice) -> dict[str, Any]:
    return {"name": choice.name, "version": choice.version, "config": dict(choice.config)}
