"""Suites, which are named sets of scenarios, methods and seeds, one TOML file each; and their cells."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache, lru_cache, partial
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, PrivateAttr, ValidationError, model_validator

from ..discovery.index import describe, extension_metrics
from ..discovery.plugin_file import PluginFile, expanded, file_in
from ..errors import InputError, brief, not_a_name, unknown
from ..files import read_at_most
from .cell import Cell, product
from .grids import texts_of
from .misfits import misfit
from .spec import Spec, configure, parse_spec
from .tuned import Tuned, read_tuned

_LARGEST = 100_000
"""Most bytes of a suite's file."""
_LONGEST_KEY = 40
"""Characters of a key that a message shows."""
_EXAMPLES = {
    "summary": 'summary = "My methods on digits"',
    "budget": 'budget = "ten minutes on two cores"',
    "scenarios": 'scenarios = ["split-digits"]',
    "methods": 'methods = ["naive", "batch"]',
    "seeds": "seeds = [0, 1, 2]",
    "figures": 'figures = ["final", "matrix"]',
    "labels": 'labels = { ewc = "EWC" }',
    "options": "options = { width = 200 }",
    "not_ranked": 'not_ranked = { ewc = "its strength isn\'t tuned" }',
    "tuned": 'tuned = "tuned.toml"',
    "keep_models": "keep_models = true",
    "smoke": "smoke = { scenario = { steps = 5 }, method = { width = 32 } }",
}
"""Keys as they may be written, for messages."""
_LAST_SEED = 2**63 - 1
"""Seeds are part of cells' names, and whole numbers in TOML have 64 bits."""


class Smoke(BaseModel):
    """The small size of a suite, to test that everything runs: one seed, and options that replace the suite's."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    scenario: dict[str, JsonValue] = {}
    method: dict[str, JsonValue] = {}


class Anchor(BaseModel):
    """A published number, and the cell that repeats its protocol."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    row: str
    """The published row, in words."""
    scenario: str
    method: str
    metric: str = "negative_elbo"
    published: float | None = None
    """null: a row to show beside the published ones."""
    deviation: float | None = None
    """The published standard deviation over runs."""
    source: str = ""
    differs: str
    """What our protocol does otherwise."""


SMALL = Smoke(
    scenario={"steps": 5, "importance_draws": 10, "test_images": 100, "sample_images": "none"}, method={"width": 32}
)
"""The small size of a suite that says none, of those options that its scenarios and methods have."""


class Suite(BaseModel):
    """A set of cells to run. Scenarios and methods are written as on the command line, ``NAME:option=value,...``, or
    as grids (see :mod:`.grids`), which are written out here."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    summary: str = ""
    budget: str = ""
    """The time that it takes, and how to spend more."""
    scenarios: list[str] = Field(min_length=1)
    """Each with each of the methods; those of the anchors in a suite that has them."""
    methods: list[str] = Field(min_length=1)
    seeds: list[Annotated[int, Field(ge=0, le=_LAST_SEED)]] = Field([0, 1, 2], min_length=1)
    figures: list[str] = []
    """The most telling figures, which ``lifegen plot`` draws: names of metrics or of kinds of figure."""
    labels: dict[str, str] = {}
    """Titles of scenarios and methods in figures, by their label; by default names and options make them."""
    options: dict[str, JsonValue] = {}
    """Conventions: options of all methods that have them, but for presets. A method's own options win."""
    not_ranked: dict[str, str] = {}
    """Methods among these that tables show without a rank, each with the reason."""
    tuned: str | None = None
    """A file of tuned options, beside the suite's; a method's own options win."""
    keep_models: bool = False
    anchors: list[Anchor] = []
    """Published numbers. A suite that has them consists of their cells; ``leaderboard`` prints lifegen's own beside."""
    smoke: Smoke = SMALL

    @model_validator(mode="before")
    @classmethod
    def _anchored(cls, given: Any) -> Any:
        """Take scenarios and methods from the anchors."""
        anchors = given.get("anchors")
        if not (isinstance(anchors, list) and anchors and all(isinstance(anchor, dict) for anchor in anchors)):
            return given
        named = {
            key: dict.fromkeys(str(anchor.get(key[:-1])) for anchor in anchors) for key in ("scenarios", "methods")
        }
        return {key: list(names) for key, names in named.items()} | given

    _name: str = PrivateAttr("")
    _folder: Path = PrivateAttr(Path())
    _entries: dict[str, list[int]] = PrivateAttr({})
    """The entry of the file's list that each scenario and method comes from."""

    def method(self, text: str, last: Mapping[str, JsonValue] | None = None) -> Spec:
        """Read a method with the suite's conventions; arguments and errors are those of :func:`parse_spec`."""
        chosen = self._tuned(text) or {}
        return parse_spec("method", text, last=last, usual=self.options | chosen)

    def _tuned(self, text: str) -> dict[str, JsonValue] | None:
        """The tuned options of a method; None if it wasn't tuned."""
        tuned = self.tuned_options
        return tuned.methods.get(parse_spec("method", text, usual=self.options).label) if tuned else None

    @property
    def tuned_options(self) -> Tuned | None:
        """The content of the file of tuned options.

        Raises:
            InputError: it can't be read.
        """
        if self.tuned is None:
            return None
        with self.at("tuned"):
            return read_tuned(self._folder / self.tuned)

    def _place(self, kind: str, i: int) -> tuple[str | int, ...]:
        """Where the file names a scenario or method: in its list, or in an anchor."""
        if not self.anchors:
            return f"{kind}s", self._entries[f"{kind}s"][i]
        text = getattr(self, f"{kind}s")[i]
        return "anchors", next(n for n, one in enumerate(self.anchors) if getattr(one, kind) == text), kind

    @contextmanager
    def at(self, *place: str | int) -> Iterator[None]:
        """Add the suite and a place in it, such as ``("methods", 3)``, to an InputError in this context."""
        try:
            yield
        except InputError as error:
            if str(error).startswith(f"suite {self._name}, "):  # it has a place, within this one
                raise
            raise InputError(f"{_where(self._name, place)}: {error}") from None


def suites() -> dict[str, Suite]:
    """Return the suites that come with lifegen, by name.

    Raises:
        InputError: a file in their folder isn't a suite.
    """
    return {name: _built_in(name) for name in suite_names()}


def suite(name: str) -> Suite:
    """Return a suite by its name, or from a TOML file.

    Raises:
        InputError: there is no such suite, or the file isn't a suite; the text has the key, its fault and the probable
            meaning.
    """
    if name.endswith(".toml"):
        return _read(name, _content(name), expanded(name).parent)
    if name.lower().endswith((".yaml", ".yml")):
        raise InputError(
            f"suite {name}: suites are TOML, since YAML reads the number 1e-3 as a text and the word no as false;"
            " `lifegen new-suite NAME` writes one to start with"
        )
    if name not in (names := suite_names()):
        if Path(name).name != name:
            raise InputError(f"suite {name} isn't a TOML file, whose name ends in .toml")
        if Path(f"{name}.toml").is_file():
            raise InputError(f"unknown suite {name!r}; the file of this name is --suite {name}.toml")
        raise unknown("suite", name, names)
    return _built_in(name)


@cache
def named_variants() -> frozenset[str]:
    """Return the labels of methods with options in suites; they are ranked like methods with default options."""
    # A suite's method may be an extension that isn't installed here.
    usable = {name for name, entry in describe("method").items() if not entry.error}
    return frozenset(
        spec.label
        for suite in suites().values()
        for text in suite.methods
        if (":" in text or suite.options) and text.partition(":")[0] in {"all", *usable}
        for spec in map(suite.method, _expanded(text))
    )


def cells_of(
    suite_name: str | None = None,
    scenarios: Sequence[str] = (),
    methods: Sequence[str] = (),
    seeds: Sequence[int] | None = None,
    steps: int | None = None,
    smoke: bool = False,
    metrics: Sequence[str] = (),
) -> list[Cell]:
    """Make the cells of a suite, or of given scenarios × methods × seeds.

    Args:
        suite_name: as for :func:`suite`; None if scenarios and methods are given.
        scenarios: specs that replace the suite's.
        methods: specs that replace the suite's; "all" stands for every method that isn't a preset.
        seeds: seeds that replace the suite's; 0, 1 and 2 without a suite.
        steps: optimiser steps per interval in place of the suite's; steps in a given scenario's spec win.
        smoke: whether to use the suite's small size.
        metrics: files whose metrics are measured as well.

    Raises:
        InputError: something doesn't exist, or there is nothing to run.
    """
    if smoke and not suite_name:
        raise InputError("--smoke is the small size of a suite: say which with --suite NAME")
    chosen = _beside(suite(suite_name), suite_name) if suite_name else None
    if not (chosen or scenarios) or not (chosen or methods):
        raise InputError("say what to run: --suite NAME, or -s SCENARIO and -m METHOD (`lifegen list` shows them)")
    small = chosen.smoke if chosen and smoke else Smoke()
    if seeds is None:
        seeds = (chosen.seeds[:1] if smoke else chosen.seeds) if chosen else (0, 1, 2)
    for seed in seeds:
        if not 0 <= seed <= _LAST_SEED:
            raise InputError(f"seed {brief(seed)} isn't between 0 and {_LAST_SEED}")
    if chosen:
        _check_names(chosen, *([] if scenarios else ["scenario"]), *([] if methods else ["method"]))
    given = {"steps": steps} if steps else {}
    last = small.scenario | ({} if scenarios else given)
    read_method = chosen.method if chosen else partial(parse_spec, "method")
    used = [read_method(name, last=small.method) for name in _named(methods or (chosen.methods if chosen else ()))]
    of_suite = _own_labels(chosen, small) if chosen and methods else {one.label for one in used}
    combined = product(
        [parse_spec("scenario", text, given, last) for text in scenarios or (chosen.scenarios if chosen else ())],
        used,
        seeds,
    )
    pairs = _pairs(chosen, last, small) if chosen and chosen.anchors and not (scenarios or methods) else None
    cells = [c for c in combined if pairs is None or (c.scenario.label, c.method.label) in pairs]
    measured = extension_metrics([PluginFile.read(_metric_file(name)) for name in metrics])
    tuned = _trials(chosen) if chosen else {}
    reasons = {chosen.method(name).label: why for name, why in chosen.not_ranked.items()} if chosen else {}
    return [
        replace(
            cell,
            suite=suite_name if cell.method.label in of_suite else None,
            metrics=measured,
            trials=tuned.get(cell.method.label),
            not_ranked=reasons.get(cell.method.label, ""),
        )
        for cell in cells
    ]


def _own_labels(chosen: Suite, small: Smoke) -> set[str]:
    """The labels of a suite's own methods, without those that can't be read: others are run in their place."""
    labels = set()
    for name in _named(chosen.methods):
        with suppress(InputError):
            labels.add(chosen.method(name, last=small.method).label)
    return labels


def _pairs(chosen: Suite, last: Mapping[str, JsonValue], small: Smoke) -> set[tuple[str, str]]:
    """The labels of scenario and method of a suite's anchors."""
    return {
        (parse_spec("scenario", one.scenario, None, last).label, chosen.method(one.method, last=small.method).label)
        for one in chosen.anchors
    }


def _trials(chosen: Suite) -> dict[str, int]:
    """The number of trials behind a suite's tuned methods, by their labels."""
    tuned = chosen.tuned_options
    names = _named(chosen.methods) if tuned else []
    return {chosen.method(name).label: tuned.trials for name in names if tuned and chosen._tuned(name) is not None}


def _metric_file(name: str) -> str:
    path, thing, options = file_in(name) or ("", None, "")
    if not path:
        raise InputError(f"--metric {brief(name)} isn't a Python file; metrics that are installed are always measured")
    if thing or options:
        raise InputError(f"--metric {brief(name)}: all metrics of a file are measured; write --metric {path}")
    return path


def _beside(chosen: Suite, name: str) -> Suite:
    """Return a suite whose extension files are searched beside its own file."""
    folder = expanded(name).parent

    def placed(texts: list[str]) -> list[str]:
        return [_placed(folder, text) for text in texts]

    return chosen.model_copy(update={kind: placed(getattr(chosen, kind)) for kind in ("scenarios", "methods")})


def _placed(folder: Path, text: str) -> str:
    if not (named := file_in(text)):
        return text
    path = named[0]
    # An option's value isn't part of the path, and stays as it is: it may have two slashes.
    return f"{folder / expanded(path)}{text.removeprefix(path)}"


def _named(methods: Iterable[str]) -> list[str]:
    """Methods by their specs, without "all"."""
    return [name for text in methods for name in _expanded(text)]


def _expanded(text: str) -> list[str]:
    if text != "all":
        return [text]
    return sorted(name for name, entry in describe("method").items() if not (entry.error or entry.facts["preset"]))


def _check_names(chosen: Suite, *kinds: str) -> None:
    """Check that everything that a suite names exists, and every option of its small size.

    Raises:
        InputError: something doesn't exist, or is named twice.
    """
    for kind in kinds:
        by_label: dict[str, str] = {}
        specs = []
        for i, text in enumerate(getattr(chosen, f"{kind}s")):
            with chosen.at(*chosen._place(kind, i)):
                names = _expanded(text) if kind == "method" else [text]
                specs += [chosen.method(name) if kind == "method" else parse_spec(kind, name) for name in names]
                if text in names and (other := by_label.setdefault(specs[-1].label, text)) != text:
                    raise InputError(f"{brief(text)} is the same as {brief(other)}")
        for key in chosen.options if kind == "method" else ():
            with chosen.at("options", key):
                _having(specs, key)
        for key, value in getattr(chosen.smoke, kind).items() if "smoke" in chosen.model_fields_set else ():
            with chosen.at("smoke", kind, key):
                for spec in _having(specs, key):
                    configure(spec.description, {**spec.config, key: value})


def _having(specs: Sequence[Spec], key: str) -> list[Spec]:
    """The specs that have an option.

    Raises:
        InputError: none has it.
    """
    having = [spec for spec in specs if key in spec.config]
    if not having:
        kind = specs[0].description.kind
        raise unknown(f"option of this suite's {kind}s", key, {option for spec in specs for option in spec.config})
    return having


def _folder() -> Traversable:
    return files("lifegen.benchmark.cells") / "suites"


def suite_names() -> list[str]:
    """Return the names of the suites that come with lifegen."""
    return sorted(file.name.removesuffix(".toml") for file in _folder().iterdir() if file.name.endswith(".toml"))


@cache
def _built_in(name: str) -> Suite:
    folder = _folder()
    return _read(f"{name}.toml", (folder / f"{name}.toml").read_bytes(), Path(str(folder)))


def _content(name: str) -> bytes:
    """Read the bytes of a suite's file.

    Raises:
        InputError: it isn't a file, can't be read, is too large, or has a name that can't be a store's.
    """
    path = expanded(name)
    if problem := not_a_name(path.stem):  # its store is named after it
        raise InputError(f"suite {name}: the name of its file {problem}")
    if path.is_dir() or path.is_fifo():
        raise InputError(f"suite {name} is a folder or the like; a suite is a TOML file")
    advice = "`lifegen list suites` shows those that come with lifegen"
    return read_at_most(path, _LARGEST, f"suite {name}", advice)


@lru_cache(maxsize=64)  # more than lifegen has: publishing needs each many times
def _read(name: str, content: bytes, folder: Path) -> Suite:
    """Read a suite and check it without looking up names.

    Args:
        name: for messages.
        content: its file's content.
        folder: the folder of its file, in which that of tuned options is.

    Raises:
        InputError: the content isn't a suite.
    """
    try:
        text = content.decode()
        tree = tomllib.loads(text)
        entries = _write_out(name, tree)
        checked = Suite.model_validate(tree)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"suite {name}, line {line}: byte {content[error.start]:#04x} isn't UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        at_line = re.search(r" \(at line (\d+), column \d+\)$", str(error))
        line = int(at_line[1]) if at_line else text.rstrip().count("\n") + 1
        wrong = text.split("\n")[line - 1].strip()
        raise InputError(f"suite {name}, line {line}: {brief(wrong)} isn't valid TOML: {error}") from None
    except ValidationError as error:
        raise _refusal(name, error, entries) from None
    except InputError:
        raise
    except (ValueError, RecursionError):
        raise InputError(
            f"suite {name} can't be read: a number in it is too long, or its lists lie too deep in each other"
        ) from None
    if checked.anchors and (beside := [key for key in ("scenarios", "methods") if key in tree]):
        raise InputError(f"{_where(name, beside[:1])}: a suite with anchors takes scenarios and methods from them")
    checked._name, checked._folder, checked._entries = name, folder, entries
    for method in checked.not_ranked:
        with checked.at("not_ranked", method):
            if method not in checked.methods:
                raise unknown("method of this suite", method, checked.methods)
    for key in ("scenarios", "methods", "seeds", "figures"):
        seen = set()
        for i, value in enumerate(getattr(checked, key)):
            with checked.at(key, entries[key][i] if key in entries else i):
                if value in seen:
                    raise InputError(f"{brief(value)} is listed twice")
            seen.add(value)
    return checked


def _write_out(name: str, tree: dict[str, Any]) -> dict[str, list[int]]:
    """Write out the grids of a suite's file in place; return the number of the entry that each text comes from.

    Raises:
        InputError: an entry is no grid.
    """
    entries = {}
    for key in ("scenarios", "methods"):
        if isinstance(listed := tree.get(key), list):
            texts = []
            for i, entry in enumerate(listed):
                try:
                    texts += [(text, i) for text in texts_of(entry)]
                except InputError as error:
                    raise InputError(f"{_where(name, (key, i))}: {error}") from None
            tree[key], entries[key] = [text for text, _ in texts], [i for _, i in texts]
    return entries


def _refusal(name: str, refused: ValidationError, entries: Mapping[str, Sequence[int]]) -> InputError:
    """The error for a file that isn't a suite. An unknown key comes first, since it may be why another is missing."""
    errors = refused.errors(include_url=False)
    error = next((error for error in errors if error["type"] == "extra_forbidden"), errors[0])
    place = error["loc"]
    match place:
        case (str(key), int(i), *_) if key in entries:
            place = key, entries[key][i]
    parts: dict[Any, type[BaseModel]] = {"smoke": Smoke, "anchors": Anchor}
    model = parts[place[0]] if len(place) > 1 and place[0] in parts else Suite
    if error["type"] == "missing":
        needed = [key for key, field in model.model_fields.items() if field.is_required()]
        where = f"suite {name}" if model is Suite else _where(name, place[:-1])
        return InputError(f"{where}: key {place[-1]!r} is missing; there must be: {', '.join(needed)}")
    if error["type"] == "extra_forbidden":
        kind = "key" if model is Suite else f"key of {place[0]}"
        return InputError(f"{_where(name, place)}: {unknown(kind, str(place[-1]), model.model_fields)}")
    example = _EXAMPLES.get(str(place[0]))
    return InputError(f"{_where(name, place)}: {misfit(error)}{f', such as {example}' if example else ''}")


def _where(name: str, place: Sequence[str | int]) -> str:
    """Write a place in a suite: ``suite NAME, methods[3]`` or ``suite NAME, smoke.scenario.steps``."""
    path = ""
    for part in place:
        shown = part if isinstance(part, int) or len(part) <= _LONGEST_KEY else f"{part[:_LONGEST_KEY]}…"
        path += f"[{shown}]" if isinstance(part, int) else f".{shown}"
    return f"suite {name}, {path.removeprefix('.')}"
