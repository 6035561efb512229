"""A cell: one scenario, one method, one configuration of each, one seed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..contracts.registry import DuplicateError
from ..discovery.index import describe_file, describe_one, extension_metrics
from ..discovery.index_entry import IndexEntry
from ..discovery.plugin_file import PluginFile, files_of
from ..errors import InputError
from ..seeds import Seeds
from .spec import Spec, configure, with_precision
from .values import equal

PROTOCOL = 1
"""Version of training and measuring in all cells; raise it whenever all numbers change."""


PRECISIONS = ("float32", "tf32", "bfloat16")
"""Formats in which training may multiply matrices; see ``precision``."""


@dataclass(frozen=True)
class Cell:
    """The unit of computation, kept in a store under its name."""

    scenario: Spec
    method: Spec
    seed: int
    precision: str = "float32"
    """One of :data:`PRECISIONS`"""
    suite: str | None = None
    """The suite that names its method, if any: a suite's variants don't count as custom."""
    metrics: tuple[IndexEntry, ...] = ()
    """Extension metrics to measure. Those of files are part of the identity, since a file's text can change without a
    new version."""
    trials: int | None = None
    """Trials by which its method's options were tuned; None for options that weren't."""
    not_ranked: str = ""
    """The reason why tables show its method without a rank; empty where they rank it."""

    @property
    def seeds(self) -> Seeds:
        return Seeds(self.seed, scope=self.scenario.name)

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that its numbers depend on."""
        identity = {
            "protocol": PROTOCOL,
            "scenario": _identity(self.scenario),
            "method": _identity(self.method),
            "precision": self.precision,
            "seed": self.seed,
        }
        files = {metric.name: metric.file.digest for metric in self.metrics if metric.file}
        return identity | ({"metric_files": files} if files else {})

    @property
    def _entries(self) -> tuple[IndexEntry, ...]:
        return (self.scenario.description, self.method.description, *self.metrics)

    @property
    def files(self) -> tuple[PluginFile, ...]:
        """The files of its scenario, method and metrics that aren't installed."""
        return tuple(dict.fromkeys(entry.file for entry in self._entries if entry.file))

    def with_files(self, files: Mapping[PluginFile, PluginFile]) -> Cell:
        """Return the same cell with other files in place of its own, by its own.

        Raises:
            InputError: a file can't be run.
        """

        def of(entry: IndexEntry) -> IndexEntry:
            file = files.get(entry.file) if entry.file else None
            return entry if file in (None, entry.file) else describe_file(file, entry.kind, entry.name)

        scenario, method = (replace(spec, description=of(spec.description)) for spec in (self.scenario, self.method))
        return replace(self, scenario=scenario, method=method, metrics=tuple(map(of, self.metrics)))

    @property
    def packages(self) -> dict[str, str]:
        """Versions of the packages of its extensions, by name."""
        extensions = [entry for entry in self._entries if entry.provider != "lifegen" and not entry.file]
        return {entry.provider: entry.provider_version for entry in extensions}

    @property
    def name(self) -> str:
        """Folder name: readable, and unique by the hash of the identity."""
        return f"{self.scenario.name}--{self.method.name}--{self.seed}--{self._hash}"

    @property
    def method_label(self) -> str:
        """The method's name in tables and figures."""
        return with_precision(self.method.label, self.precision)

    @property
    def _hash(self) -> str:
        return hash_of(self.identity)

    def record(self) -> dict[str, Any]:
        """Make the record that the store keeps beside the rows."""
        record = self.identity | {"hash": self._hash, "suite": self.suite}
        if self.trials:
            record["trials"] = self.trials
        if self.not_ranked:
            record["not ranked"] = self.not_ranked
        for part, spec in (("scenario", self.scenario), ("method", self.method)):
            description = spec.description
            provider = {"name": description.provider, "version": description.provider_version}
            record[part] |= {"label": spec.label, "provider": provider}
        record["scenario"] |= {"track": self.scenario.config["track"]}
        record["method"] |= {key: self.method.facts[key] for key in ("reference", "uses")}
        if self.metrics:
            record["plug-in metrics"] = extension_facts(self.metrics)
        if files := {entry.file.digest: asdict(entry.file) for entry in self._entries if entry.file}:
            record["files"] = files
        return record

    def __str__(self) -> str:
        return f"{self.scenario.label} {self.method.label} seed {self.seed}"


def extension_facts(metrics: Iterable[IndexEntry]) -> dict[str, Any]:
    """Return what a record says about extension metrics, by name, for readers that don't have them."""
    return {
        metric.name: {"name": metric.provider, "version": metric.provider_version, "facts": metric.facts}
        for metric in metrics
    }


def product(scenarios: Iterable[Spec], methods: Iterable[Spec], seeds: Iterable[int]) -> list[Cell]:
    """Combine every scenario with every method and seed. Seeds vary slowest, so that whole tables come early.

    Raises:
        InputError: two files register the same name, which a table couldn't tell apart.
    """
    scenarios, methods = list(scenarios), list(methods)
    for specs in (scenarios, methods):
        first: dict[str, Spec] = {}
        for spec in specs:
            other = first.setdefault(spec.name, spec)
            if other.file != spec.file:
                origins = other.description.origin, spec.description.origin
                raise DuplicateError(spec.description.kind, spec.name, *origins)
    cells = [Cell(scenario, method, seed) for seed in seeds for scenario in scenarios for method in methods]
    return list({cell.name: cell for cell in cells}.values())


def cell_of(record: Mapping[str, Any]) -> Cell:
    """Make the cell that a record describes.

    Raises:
        InputError: the cell needs something that isn't installed here, or another version of it.
    """
    try:
        parts = [record["scenario"], record["method"]]
        files = files_of(record)
        scenario, method = (
            configure(_described(kind, part, files), part["config"])
            for kind, part in zip(("scenario", "method"), parts, strict=True)
        )
        extensions = extension_metrics(files[digest] for digest in record.get("metric_files", {}).values())
        metrics = tuple(metric for metric in extensions if metric.name in record.get("plug-in metrics", {}))
        cell = Cell(
            scenario,
            method,
            int(record["seed"]),
            str(record["precision"]),
            record.get("suite"),
            metrics,
            record.get("trials"),
            record.get("not ranked", ""),
        )
        expected = record["hash"]
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"a record isn't a cell's ({type(error).__name__}: {error})") from None
    if hash_of(cell.identity) != expected:
        before = [f"the protocol {record.get('protocol')}", *(f"{part['name']} {part['version']}" for part in parts)]
        now = [f"the protocol {PROTOCOL}", *(f"{spec.name} {spec.version}" for spec in (scenario, method))]
        raise InputError(
            f"cell {expected} was made with {', '.join(before)}; {', '.join(now)} are installed, perhaps with other"
            " options: it can't be computed here"
        )
    return cell


def identity_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the identity of the cell that a record describes."""
    identity = {key: record[key] for key in ("protocol", "precision", "seed")}
    identity |= {key: record[key] for key in ("metric_files",) if key in record}
    parts = {part: {key: record[part][key] for key in _PART if key in record[part]} for part in ("scenario", "method")}
    return identity | parts


def hash_of(identity: Mapping[str, Any]) -> str:
    """12 hexadecimal digits that identify a cell."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]


_PART = ("name", "version", "config", "file")


def _identity(spec: Spec) -> dict[str, Any]:
    options = spec.description.options.items()
    later = {key: schema["default"] for key, schema in options if schema.get("later")}
    config = {key: value for key, value in spec.config.items() if key not in later or not equal(value, later[key])}
    identity = {"name": spec.name, "version": spec.version, "config": config}
    return identity | ({"file": spec.file.digest} if spec.file else {})


def _described(kind: str, part: Mapping[str, Any], files: Mapping[str, PluginFile]) -> IndexEntry:
    return (
        describe_file(files[part["file"]], kind, part["name"]) if "file" in part else describe_one(kind, part["name"])
    )
