"""The typed content of run.json. Unknown keys are kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..cells.spec import with_precision
from ..discovery.plugin_file import code_digest, files_of
from ..files import digest

_MOST = 1_000_000
"""Limit of versions: a damaged, high version would make all other cells stale."""


class Status(StrEnum):
    """The status of a cell, each with a sentence."""

    sentence: str

    def __new__(cls, value: str, sentence: str) -> Status:
        member = str.__new__(cls, value)
        member._value_ = value
        member.sentence = sentence
        return member

    DONE = "done", "Every interval is measured; its numbers are shown."
    RUNNING = "running", "A process is computing it."
    INTERRUPTED = "interrupted", "Its process has ended; the command continues it."
    TO_DO = "to do", "It is planned and hasn't begun."
    FAILED = "failed", "It ended with an error; --retry failed runs it again."
    STALE = "stale", "It has an older version or text and isn't mixed with newer ones; the command computes it anew."
    DAMAGED = (
        "damaged",
        "Its files have changed since they were written; the command sets them aside and starts anew.",
    )
    UNREADABLE = "unreadable", "It can't be read now, by this user or at all; the command leaves it alone."
    INCOMPATIBLE = "incompatible", "A newer lifegen has written it."
    FOREIGN = "foreign", "It isn't a cell."


def _printable(text: str) -> str:
    if not (text and text.isprintable()):
        raise ValueError("it is empty, or can't be printed")
    return text


def _time(text: str) -> str:
    datetime.fromisoformat(text)
    return text


def _plain(value: Any) -> Any:
    if isinstance(value, dict | list):
        raise ValueError("it must be a text or a number")
    return value


Text = Annotated[str, AfterValidator(_printable)]
Time = Annotated[str, AfterValidator(_time)]
Version = Annotated[int, Field(ge=0, lt=_MOST)]
Number = Annotated[float, Field(gt=-1e300, lt=1e300, allow_inf_nan=False)]
Facts = dict[str, Annotated[Any, AfterValidator(_plain)]]
Numbers = dict[str, float | None]
"""One number per metric of a finished cell; None where it is undefined after the last interval."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True, strict=True, hide_input_in_errors=True)


class Scenario(_Part):
    """The scenario of a cell."""

    name: Text
    label: Text
    version: Version
    config: dict[str, Any]
    track: Text
    file: str | None = None
    """Digest of its file, if it isn't installed."""


class Method(_Part):
    """The method of a cell."""

    name: Text
    label: Text
    version: Version
    config: dict[str, Any]
    reference: Literal["upper", "lower"] | None = None
    uses: list[Text] = []
    """Information that it gets beyond the images of the current interval."""
    file: str | None = None
    """Digest of its file, if it isn't installed."""


class ExtensionMetric(_Part):
    """A metric of an installed package or a file."""

    name: str
    """The package or file that it belongs to."""
    version: str
    facts: dict[str, Any] = {}


class Asked(_Part):
    """A cell of a plan."""

    scenario: Scenario
    method: Method
    seed: int
    protocol: Version
    precision: Text
    hash: str | None = None
    suite: Text | None = None
    """The suite that names its method."""
    trials: int | None = None
    """Trials by which its method's options were tuned."""
    not_ranked: str = Field("", alias="not ranked")
    """The reason why its method has no rank."""
    metric_files: dict[str, str] = {}
    """Digests of the files of its metrics."""
    files: dict[str, Any] = {}
    """Name and text of each file, by digest."""
    extension_metrics: dict[str, ExtensionMetric] = Field({}, alias="plug-in metrics")
    keep_models: bool = False

    @property
    def method_label(self) -> str:
        """The method's name in tables and figures."""
        return with_precision(self.method.label, self.precision)

    @property
    def versions(self) -> dict[str, int]:
        """The versions that determine its name."""
        parts = {f"{kind} {part.name}": part.version for kind, part in self._parts}
        return {"the protocol": self.protocol, **parts}

    @property
    def file_digests(self) -> dict[str, str | None]:
        """Digests of the files of its scenario, method and metrics; None for installed ones."""
        parts = {f"{kind} {part.name}": part.file for kind, part in self._parts}
        return parts | {f"metric {name}": digest for name, digest in self.metric_files.items()}

    @property
    def code_digests(self) -> dict[str, str | None]:
        """The same with digests that are equal for texts that do the same."""
        return {part: of_text and self._code_of(of_text) for part, of_text in self.file_digests.items()}

    def _code_of(self, of_text: str) -> str:
        file = self.files.get(of_text)
        text = file.get("text") if isinstance(file, Mapping) else None
        return code_digest(text) if isinstance(text, str) else of_text

    @property
    def _parts(self) -> tuple[tuple[str, Scenario | Method], ...]:
        return ("scenario", self.scenario), ("method", self.method)


class MeasuredSamples(_Part):
    """The circumstances in which a cell's samples were measured."""

    expert: Text
    digest: Text
    """Digest of the expert's file."""
    images: int
    """Images compared after each interval."""
    floor: dict[str, Number] = {}
    """Values for training images in place of samples, by metric."""
    classes: list[list[int]] = []
    """Samples of each class, by the expert's word, after each interval; older cells have none."""


class Record(Asked):
    """A cell that has begun."""

    status: str
    schema_number: int = Field(1, alias="schema")
    started: str = ""
    visits: list[Annotated[list[Text], Field(min_length=1)]] = []
    """The distributions of each interval."""
    device: str = ""
    metrics: dict[str, Version] = {}
    """Versions of the metrics."""
    data: str | None = None
    """Digest of the stream's images and labels; older cells have none."""
    samples: MeasuredSamples | None = None
    """None where samples aren't measured."""
    error: str = "reason unknown"

    @property
    def all_versions(self) -> dict[str, int]:
        """The versions that determine its numbers."""
        return self.versions | {f"metric {name}": number for name, number in self.metrics.items()}

    @property
    def distributions(self) -> list[str]:
        """The distributions, in the order of their first visits."""
        return list(dict.fromkeys(name for visit in self.visits for name in visit))

    @model_validator(mode="before")
    @classmethod
    def _has_its_files(cls, content: Any) -> Any:
        """Check that the record has the files of scenario, method and metrics."""
        if isinstance(content, Mapping) and "files" in content:
            try:
                files_of(content)
            except (LookupError, TypeError, AttributeError):
                raise ValueError("files isn't a name and a text by digest") from None
        return content


class DoneRecord(Record):
    """A finished cell."""

    started: Time
    finished: Time
    visits: Annotated[list[Annotated[list[Text], Field(min_length=1)]], Field(min_length=1)]
    device: Text
    metrics: dict[str, Version]
    rows: int
    bytes: int | None = None
    digest: str | None = None
    """Digest of the rows; older cells have none."""
    numbers: dict[str, Number | None] | None = None
    machine: Facts = {}
    software: Facts = Field({}, alias="versions")
    seconds: Number | None = None

    @property
    def work_seconds(self) -> float:
        """Wall time of the work on it, without interruptions; with them for schema 1."""
        if self.seconds is not None:
            return self.seconds
        started, finished = (time.replace(tzinfo=None) for time in self._times)
        return max(0.0, (finished - started).total_seconds())  # a clock may have gone back

    @property
    def days(self) -> tuple[str, str]:
        """The first and the last day of the work on it."""
        started, finished = self._times
        return started.date().isoformat(), finished.date().isoformat()

    @property
    def _times(self) -> tuple[datetime, datetime]:
        return datetime.fromisoformat(self.started), datetime.fromisoformat(self.finished)


def read_record(content: Mapping[str, Any]) -> Record:
    """Read the record in a run.json.

    Raises:
        ValueError: the content isn't a record; the message names the first wrong key.
    """
    kind = DoneRecord if content.get("status") == Status.DONE else Record
    return _validated(kind, content)


def read_asked(content: Any) -> Asked:
    """Read the record in a plan.

    Raises:
        ValueError: the content isn't a record; the message names the first wrong key.
    """
    return _validated(Asked, content)


_Model = TypeVar("_Model", bound=BaseModel)


def _validated(kind: type[_Model], content: Any) -> _Model:
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        problem = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"{place}: {problem}" if place else problem) from None


_END = "\n}"
_SEAL = ',\n "seal": "'


def sealed(record: Mapping[str, Any]) -> str:
    """Write a record as text. Its last entry, the seal, is the digest of all before, so that a change is noticed."""
    text = json.dumps({key: value for key, value in record.items() if key != "seal"}, indent=1)
    return text.removesuffix(_END) + _seal(text)


def is_sealed(text: str) -> bool:
    """Whether a record's text is unchanged since :func:`sealed` wrote it."""
    content = text.rpartition(_SEAL)[0]
    return text == content + _seal(content + _END)


def _seal(text: str) -> str:
    """Make the end of a sealed text, which replaces its own end."""
    return f'{_SEAL}{digest(text.encode())}"{_END}'
