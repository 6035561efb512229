"""Seed roles: a namespace that all of a run shares."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest
import torch

from lifegen.benchmark.authoring.checks.roles import RecordedSeeds
from lifegen.benchmark.seeds import HARNESS_ROLES, METHOD_ROLES, SCENARIO_ROLES, Seeds

from .fresh_environment import ROOT

DRAWS = ("generator", "late_generator", "of")
"""Methods whose first argument is a role."""


def drawn(folder: str) -> Iterator[tuple[str, bool]]:
    """The first word of each role that a folder's files name, and whether it is of ``Seeds(0)``."""
    for file in sorted((ROOT / folder).rglob("*.py")):
        if "checks" in file.relative_to(ROOT).parts:  # in scopes of their own
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            is_draw = isinstance(node, ast.Call) and getattr(node.func, "attr", "") in DRAWS
            if is_draw and node.args and isinstance(node.args[0], ast.Constant):
                yield str(node.args[0].value), "Seeds(0)" in ast.unparse(node.func)


@pytest.mark.parametrize(
    ("folder", "roles"), [("benchmark", HARNESS_ROLES), ("scenarios", SCENARIO_ROLES), ("methods", METHOD_ROLES)]
)
def test_every_role_is_listed_once(folder, roles):
    found = set(drawn(folder))
    assert {role for role, is_fixed in found if not is_fixed} == roles
    assert all(f"``{role}``" in str(Seeds.__doc__) for role, _ in found)


def test_no_role_is_anothers():
    assert not HARNESS_ROLES & SCENARIO_ROLES
    assert not (HARNESS_ROLES | SCENARIO_ROLES) & METHOD_ROLES


def test_recorded_seeds_are_seeds():
    seeds, recorded = Seeds(3, "stream"), RecordedSeeds(3, "stream")
    assert recorded.of("a role", 1) == seeds.of("a role", 1)
    one, other = (torch.rand(4, generator=given.generator("another", "b")) for given in (seeds, recorded))
    assert torch.equal(one, other)
    assert recorded.drawn == {(3, "stream", "a role"), (3, "stream", "another")}
    assert hash(recorded) == hash(RecordedSeeds(3, "stream"))


def test_sub_seeds_stay_what_they_are():
    """Results are stored under them."""
    assert Seeds(0).of("data-order", 3) == 3595326975870938361
    assert Seeds(7, "split-mnist").of("evaluation", "test", "0") == 277173321088352701
