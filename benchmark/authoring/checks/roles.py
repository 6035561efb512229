"""Seed roles: whether an extension draws from another's role, and so repeats its numbers."""

from __future__ import annotations

import sys
from collections.abc import Collection
from dataclasses import dataclass, field

from ...seeds import Seeds
from .findings import Finding, verdict

_HARNESS = ".".join(__name__.split(".")[:2])


@dataclass(frozen=True)
class RecordedSeeds(Seeds):
    """Seeds that remember which roles extensions draw from; draws of lifegen itself don't count."""

    drawn: set[tuple[int, str, str]] = field(default_factory=set, compare=False)
    """Seed, scope and first word of each role."""

    def of(self, *role: str | int) -> int:
        frame = sys._getframe(1)
        while frame.f_globals["__name__"] == Seeds.__module__ and frame.f_back:  # generator() asks for its caller
            frame = frame.f_back
        if not f"{frame.f_globals['__name__']}.".startswith(f"{_HARNESS}."):
            self.drawn.add((self.seed, self.scope, str(role[0])))
        return super().of(*role)


def own_roles(promise: str, seeds: RecordedSeeds, taken: Collection[str]) -> Finding:
    """Whether an extension draws from roles of its own.

    Args:
        promise: that it does, in words.
        seeds: the seeds that it was given.
        taken: roles of others.
    """
    repeated = sorted(role for role in taken if (seeds.seed, seeds.scope, role) in seeds.drawn)
    return verdict(
        promise,
        not repeated,
        "roles that nothing else uses",
        f"it draws from the role {' and '.join(map(repr, repeated))}, as others do, so numbers repeat",
        "seeds.generator('a name of yours'); the docstring of Seeds lists the names that are taken",
    )
