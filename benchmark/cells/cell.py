"""A cell: one scenario, one method, one configuration of each, one seed. No torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..contracts.registry import DuplicateError
from ..discovery.index import describe_file, describe_one, extension_metrics
from ..discovery.index_entry import IndexEntry
from ..discovery.plugin_file import PluginFile, files_of
from ..errors import InputError
from ..seeds import Seeds
from .spec import Spec, configure

PROTOCOL = 1
"""Version of how every cell is trained and measured; raise it whenever that changes all numbers."""


PRECISIONS = ("float32", "tf32", "bfloat16")
"""Formats in which training may multiply matrices; ``precision`` says what they are."""


@dataclass(frozen=True)
class Cell:
    """What is computed once and kept in a store under its name."""

    scenario: Spec
    method: Spec
    seed: int
    precision: str = "float32"
    """One of :data:`PRECISIONS`"""
    suite: str | None = None
    """The suite that names its method, if it comes from one: its variants are no custom ones."""
    metrics: tuple[IndexEntry, ...] = ()
    """Metrics that are measured beside lifegen's own. Those of files are part of the identity: they have no version."""

    @property
    def seeds(self) -> Seeds:
        return Seeds(self.seed, scope=self.scenario.name)

    @property
    def identity(self) -> dict[str, Any]:
        """All that its numbers depend on."""
        identity = {
            "protocol": PROTOCOL,
            "scenario": _identity(self.scenario),
            "method": _identity(self.method),
            "precision": self.precision,
            "seed": self.seed,
        }
        files = {one.name: one.file.digest for one in self.metrics if one.file}
        return identity | ({"metric_files": files} if files else {})

    @property
    def packages(self) -> dict[str, str]:
        """The version of each package beside lifegen that its plug-ins come with."""
        plug_ins = (self.scenario.description, self.method.description, *self.metrics)
        return {one.provider: one.provider_version for one in plug_ins if one.provider != "lifegen" and not one.file}

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
        for part, choice in (("scenario", self.scenario), ("method", self.method)):
            description = choice.description
            provider = {"name": description.provider, "version": description.provider_version}
            record[part] |= {"label": choice.label, "provider": provider}
        record["scenario"] |= {"track": self.scenario.config["track"]}
        record["method"] |= {key: self.method.facts[key] for key in ("reference", "uses")}
        if self.metrics:
            record["plug-in metrics"] = {
                one.name: {"name": one.provider, "version": one.provider_version, "facts": one.facts}
                for one in self.metrics
            }
        plug_ins = (self.scenario.description, self.method.description, *self.metrics)
        if files := {one.file.digest: asdict(one.file) for one in plug_ins if one.file}:
            record["files"] = files
        return record

    def __str__(self) -> str:
        return f"{self.scenario.label} {self.method.label} seed {self.seed}"


def product(scenarios: Iterable[Spec], methods: Iterable[Spec], seeds: Iterable[int]) -> list[Cell]:
    """Every scenario with every method and seed. Seeds vary slowest, so that whole tables come early.

    Raises:
        InputError: two files register one name: a table couldn't tell them apart.
    """
    scenarios, methods = list(scenarios), list(methods)
    for choices in (scenarios, methods):
        first: dict[str, Spec] = {}
        for choice in choices:
            other = first.setdefault(choice.name, choice)
            if other.file != choice.file:
                origins = other.description.origin, choice.description.origin
                raise InputError(str(DuplicateError(choice.description.kind, choice.name, *origins)))
    cells = [Cell(scenario, method, seed) for seed in seeds for scenario in scenarios for method in methods]
    return list({cell.name: cell for cell in cells}.values())


def cell_of(record: Mapping[str, Any]) -> Cell:
    """The cell that a record is of.

    Raises:
        InputError: it was made or asked for with something that isn't installed here, or is now another version.
    """
    try:
        parts = [record["scenario"], record["method"]]
        files = files_of(record)
        scenario, method = (
            configure(_described(kind, part, files), part["config"])
            for kind, part in zip(("scenario", "method"), parts, strict=True)
        )
        known = extension_metrics(files[digest] for digest in record.get("metric_files", {}).values())
        metrics = tuple(one for one in known if one.name in record.get("plug-in metrics", {}))
        cell = Cell(scenario, method, int(record["seed"]), str(record["precision"]), record.get("suite"), metrics)
        expected = record["hash"]
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"a record isn't a cell's ({type(error).__name__}: {error})") from None
    if hash_of(cell.identity) != expected:
        before = [f"the protocol {record.get('protocol')}", *(f"{part['name']} {part['version']}" for part in parts)]
        now = [f"the protocol {PROTOCOL}", *(f"{one.name} {one.version}" for one in (scenario, method))]
        raise InputError(
            f"cell {expected} is of {', '.join(before)}; installed are {', '.join(now)}, and the options they have now:"
            " it can't be computed here"
        )
    return cell


def identity_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """The identity of the cell that a record is of."""
    identity = {key: record[key] for key in ("protocol", "precision", "seed")}
    identity |= {key: record[key] for key in ("metric_files",) if key in record}
    parts = {part: {key: record[part][key] for key in _PART if key in record[part]} for part in ("scenario", "method")}
    return identity | parts


def hash_of(identity: Mapping[str, Any]) -> str:
    """What tells cells apart: 12 hexadecimal digits."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]


_PART = ("name", "version", "config", "file")


def _identity(choice: Spec) -> dict[str, Any]:
    identity = {"name": choice.name, "version": choice.version, "config": dict(choice.config)}
    return identity | ({"file": choice.file.digest} if choice.file else {})


def _described(kind: str, part: Mapping[str, Any], files: Mapping[str, PluginFile]) -> IndexEntry:
    return (
        describe_file(files[part["file"]], kind, part["name"]) if "file" in part else describe_one(kind, part["name"])
    )
