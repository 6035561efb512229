"""The registries of methods, scenarios, metrics and data sources: one decorator registers a thing, in its own file.

Nothing here imports torch or Avalanche.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import FrameType, MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic_core import to_jsonable_python

from ..errors import InputError, unknown
from .looks import Look, checked_look

if TYPE_CHECKING:
    from .data_sources import Source
    from .options import Options

T = TypeVar("T")
MakesSource = TypeVar("MakesSource", bound="Callable[[str], Source]")

_LONGEST = 60
"""Characters of a name: the folder of a cell is named after its scenario and its method."""

FILE_MODULES = "lifegen_file_"
"""Prefix of the module names of extension files; see ``plugin_file``."""

Use = Literal["past-data", "boundaries", "labels"]
"""Information that a method may get beyond the current interval's images."""


@dataclass(frozen=True)
class Entry:
    """One registered thing."""

    kind: str
    name: str
    version: int
    target: Any
    """The method's class, the scenario's function, the metric's function, the data source's class or function."""
    config: type[Options] | None
    """The class of its options, if it has any."""
    facts: Mapping[str, Any]
    """Further facts for tables and checks; JSON values only."""
    data: Callable[[Any], tuple[str, ...]] | None = None
    """Returns the data sources that a scenario needs with given options."""
    registrar: str = ""
    """The module that registers it, if that isn't the target's own."""

    @property
    def module(self) -> str:
        """The module whose import registers it."""
        return self.registrar or str(self.target.__module__)

    @property
    def is_of_a_file(self) -> bool:
        """Whether an extension file registers it."""
        return self.module.startswith(FILE_MODULES)

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return str((self.target.__doc__ or "").strip().partition("\n")[0])

    @property
    def details(self) -> str:
        """The rest of the docstring: paragraphs without line breaks."""
        rest = inspect.cleandoc(self.target.__doc__ or "").partition("\n")[2]
        return "\n".join(" ".join(paragraph.split()) for paragraph in rest.split("\n\n") if paragraph.strip())

    @property
    def origin(self) -> str:
        """Its place, for messages: ``package.module.Class``, or ``file.py:Class``."""
        name = self.target.__qualname__
        if self.is_of_a_file:
            return f"{getattr(sys.modules.get(self.module), '__file__', self.module)}:{name}"
        return f"{self.module}.{name}"


class DuplicateError(InputError):
    """Two things of one kind have one name."""

    def __init__(self, kind: str, name: str, first: str, second: str) -> None:
        super().__init__(f"{kind} {name!r} is registered twice: by {first} and by {second}; rename one")
        self.name = name


class Registry:
    """The registered things of one kind, by name."""

    def __init__(self, kind: str, pattern: str, example: str = "") -> None:
        self.kind = kind
        self._example = example
        self._pattern = re.compile(pattern)
        self._entries: dict[str, Entry] = {}

    def add(
        self, name: str, version: int, target: Any, config: type[Options] | None, data: Any = None, **facts: Any
    ) -> None:
        """Register a thing.

        Raises:
            ValueError: the name has characters that a file name or table cannot carry, is too long, or is taken.
        """
        self.check(name)
        facts = to_jsonable_python(facts)  # an option's value among them may be a member of an Enum
        entry = Entry(self.kind, name, version, target, config, facts, data, _running_module())
        other = self._entries.get(name)
        if other and not _is_newer(entry, other):
            raise DuplicateError(self.kind, name, other.origin, entry.origin)
        self._entries[name] = entry

    def check(self, name: str) -> None:
        """Check a name.

        Raises:
            InputError: the name can't be used.
        """
        if not self._pattern.fullmatch(name):
            raise InputError(f"{self.kind} name {name!r} must match {self._pattern.pattern}: such as {self._example!r}")
        if len(name) > _LONGEST:
            raise InputError(f"{self.kind} name {name!r} has {len(name)} characters; at most {_LONGEST}")

    def forget_unfinished(self, before: Iterable[Entry] = ()) -> None:
        """Forget the entries of modules whose import has failed, and restore the entries that they replaced.

        Args:
            before: the entries from when the import began.
        """
        finished = (entry for entry in self if entry.module in sys.modules)
        self._entries = {entry.name: entry for entry in (*before, *finished)}

    def __getitem__(self, name: str) -> Entry:
        if name not in self._entries:
            raise unknown(self.kind, name, self._entries)
        return self._entries[name]

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())


def _is_newer(entry: Entry, other: Entry) -> bool:
    """Whether an entry replaces another one of its name: its module runs again, or its file was edited."""
    if entry.is_of_a_file and other.is_of_a_file:
        return entry.module != other.module
    return entry.origin == other.origin


def _running_module() -> str:
    """Return the module that is running now, by an import or as an extension file; empty if there is none.

    Whatever is registered while a module's own text runs is the module's, also if a function of another module
    registers it; a module imported meanwhile registers its own.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_globals.get("__name__", "__main__")
        # A script, a notebook's cell or a test runner can't be imported again.
        if frame.f_code.co_name == "<module>" and name != "__main__" and name in sys.modules:
            return str(name)
        frame = frame.f_back
    return ""


METHODS = Registry("method", r"[a-z0-9]+(-[a-z0-9]+)*", "my-method")
SCENARIOS = Registry("scenario", r"[a-z0-9]+(-[a-z0-9]+)*", "my-scenario")
METRICS = Registry("metric", r"[a-z0-9]+(_[a-z0-9]+)*", "my_metric")
SOURCES = Registry("data source", r"[a-z0-9]+(-[a-z0-9]+)*", "my-images")
REGISTRIES = {registry.kind: registry for registry in (METHODS, SCENARIOS, METRICS, SOURCES)}


def register_method(
    name: str,
    *,
    version: int,
    uses: tuple[Use, ...] = (),
    reference: Literal["upper", "lower"] | None = None,
    differs_at_once: str = "",
    inert: Mapping[str, Any] = MappingProxyType({}),
    preset: bool = False,
    reconstruction: bool = False,
    restarts: str = "",
    look: Look | None = None,
    title: str = "",
) -> Callable[[type[T]], type[T]]:
    """Register a :class:`~lifegen.benchmark.Method` under a name.

    Args:
        name: lower-case words joined by hyphens.
        version: raise it whenever the method's numbers may change; old results are then stale, not mixed in.
        uses: information that the method gets beyond the current interval's images.
        reference: the end of the scale that the method marks in tables instead of competing.
        differs_at_once: why it differs from ``naive`` in interval 0 already, if it does.
        inert: options that switch off the effect of such a method: the gate compares it with itself under these
            options, where it compares other methods with ``naive``.
        preset: whether it is another method with other defaults; ``-m all`` leaves it out.
        reconstruction: whether it was made without the body of its paper; tables and figures then say so.
        restarts: why an interrupted cell begins anew, if the method's memory can't be written as tensors and JSON.
        look: its colour, marker and dash in figures, ``{"colour": "#0173b2", "marker": "o", "dash": "dashed"}``; by
            default figures choose them by a hash of its name.
        title: its name in figures; by default the name's words, such as My method.

    Raises:
        InputError: the look can't be drawn.
    """
    stated = None if look is None else checked_look(name, look)

    def decorate(target: type[T]) -> type[T]:
        facts = {
            "uses": list(uses),
            "reference": reference,
            "differs_at_once": differs_at_once,
            "inert": dict(inert),
            "preset": preset,
            "reconstruction": reconstruction,
            "restarts": restarts,
            "look": stated,
            "title": title,
        }
        METHODS.add(name, version, target, target.Config, **facts)  # type: ignore[attr-defined]
        return target

    return decorate


def register_scenario(
    name: str,
    *,
    version: int,
    config: type[Options],
    data: tuple[str, ...] | Callable[[Any], tuple[str, ...]] = (),
    expert: str | None = None,
    title: str = "",
) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Register a function ``(config, seeds, data_root) -> Stream`` under a name.

    Args:
        name: lower-case words joined by hyphens.
        version: raise it whenever the stream's content may change.
        config: class of the scenario's options, a ``ScenarioConfig``.
        data: names of the data sources that must lie under the data root, or a function of the options that returns
            them.
        expert: name of the expert that looks at samples: its classes are the labels of the scenario's images, which it
            knows as they are. None: samples aren't measured.
        title: its name in figures; by default the name's words, such as My scenario.
    """

    def decorate(target: Callable[..., T]) -> Callable[..., T]:
        of_data = data if callable(data) else lambda _: data
        SCENARIOS.add(name, version, target, config, of_data, expert=expert, title=title)
        return target

    return decorate


def register_metric(
    name: str,
    *,
    version: int,
    unit: str = "",
    better: Literal["lower", "higher"] | None = None,
    over_intervals: Literal["last", "mean", "sum", "max"] = "last",
    over_seeds: Literal["mean", "median"] = "mean",
    derived: bool = False,
    of: str = "negative_elbo",
    most: float | None = None,
    of_samples: bool = False,
) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Register a function ``(measurement) -> rows`` under a name.

    A derived metric is a function of a cell's matrix instead; see ``derived``.

    Args:
        name: lower-case words joined by underscores.
        version: raise it whenever the numbers may change.
        unit: the unit of its values.
        better: which direction is better, if any.
        over_intervals: how a cell's one number is made from the values per interval.
        over_seeds: what tables show of a method's seeds: the mean with its interval; or the median without one, where
            the machine's load decides as well as the seed.
        derived: whether it is computed from a stored matrix when the store is read.
        of: derived: the metric whose matrix it is computed from.
        most: the best value; higher ones rank as this one.
        of_samples: whether it looks at samples through the scenario's expert: values of different experts are never
            shown together.
    """

    def decorate(target: Callable[..., T]) -> Callable[..., T]:
        facts = {"unit": unit, "better": better, "over_intervals": over_intervals, "derived": derived, "most": most}
        facts |= {"of": of, "of_samples": of_samples, "over_seeds": over_seeds}
        METRICS.add(name, version, target, None, **facts)
        return target

    return decorate


def register_source(name: str, *, small: bool = True) -> Callable[[MakesSource], MakesSource]:
    """Register a :class:`~lifegen.benchmark.Source`: its class, or a function that makes one from its name.

    A source has no version; the versions of the scenarios that use it say whether numbers may have changed.

    Args:
        name: lower-case words joined by hyphens.
        small: whether ``lifegen data`` fetches it without being given its name.
    """

    def decorate(target: MakesSource) -> MakesSource:
        SOURCES.add(name, 0, target, None, small=small)
        return target

    return decorate
