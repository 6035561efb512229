"""Registration, the catalogue that knows without importing, and the reading of choices."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifegen.benchmark.cells.spec import configure, parse_spec
from lifegen.benchmark.cli.doctor import _problems
from lifegen.benchmark.contracts.options import Options, schemas_of
from lifegen.benchmark.contracts.registry import Registry
from lifegen.benchmark.discovery import cache, describing, index
from lifegen.benchmark.discovery.entry_points import SourceModule
from lifegen.benchmark.discovery.index import describe, describe_one
from lifegen.benchmark.discovery.index_entry import IndexEntry
from lifegen.benchmark.errors import InputError, unknown

from .commands import lifegen


class First:
    """What it does.

    And more.
    """


class Second:
    """Another."""


def test_a_name_is_found_again_with_its_summary():
    registry = Registry("method", "[a-z-]+")
    registry.add("my-method", 3, First, None, uses=["labels"])
    entry = registry["my-method"]
    assert (entry.version, entry.summary, entry.target, entry.facts) == (
        3,
        "What it does.",
        First,
        {"uses": ["labels"]},
    )
    assert [one.name for one in registry] == ["my-method"]


def test_two_things_of_one_name_are_refused_with_both_origins():
    registry = Registry("method", "[a-z-]+")
    registry.add("same", 1, First, None)
    registry.add("same", 1, First, None)  # imported twice: harmless
    with pytest.raises(ValueError, match=r"test_registry\.First.*test_registry\.Second"):
        registry.add("same", 1, Second, None)


@pytest.mark.parametrize("name", ["../evil", "Naive", "a b", "", "a/b"])
def test_a_name_that_no_file_can_carry_is_refused(name):
    with pytest.raises(ValueError, match="must match"):
        Registry("method", r"[a-z0-9]+(-[a-z0-9]+)*").add(name, 1, First, None)


def test_an_unknown_name_is_told_what_exists_and_what_was_meant():
    registry = Registry("method", "[a-z-]+")
    registry.add("lifelong-vae", 1, First, None)
    registry.add("naive", 1, Second, None)
    with pytest.raises(
        InputError, match=r"unknown method 'lifelong-vea'. Did you mean 'lifelong-vae'\? There are: lifelong-vae, naive"
    ):
        registry["lifelong-vea"]


def test_the_catalogue_knows_the_built_in_things():
    assert {"naive", "batch", "generative-replay", "lifelong-vae"} <= set(describe("method"))
    assert {"split-digits", "split-mnist", "split-fashion-mnist"} <= set(describe("scenario"))
    assert {"negative_elbo", "forgetting"} <= set(describe("metric"))
    lifelong = describe_one("method", "lifelong-vae")
    assert lifelong.facts["uses"] == ["boundaries"]
    assert lifelong.options["mutual_information_weight"]["default"] == 0.3
    for kind in ("method", "scenario"):
        for entry in describe(kind).values():
            assert entry.summary
            undescribed = [name for name, schema in entry.options.items() if not schema.get("description")]
            assert not undescribed, f"{entry.name}: options without a line of meaning: {undescribed}"


def test_reading_the_catalogue_imports_neither_torch_nor_avalanche():
    describe("method")  # so that the cache is there
    code = (
        "import sys; from lifegen.benchmark.discovery.index import describe;"
        "from lifegen.benchmark.cells.spec import parse_spec;"
        "describe('method'); parse_spec('method', 'naive:codes=3');"
        "sys.exit(sum(name in sys.modules for name in ('torch', 'avalanche')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_catalogue_is_made_anew_when_a_file_changes(monkeypatch, tmp_path):
    calls = []
    entries = [{"kind": "method", "name": "naive", "version": 1, "summary": "s", "module": "m"}]
    digests = iter("aab")
    monkeypatch.setattr(describing, "describe_in_subprocess", lambda modules: calls.append(1) or entries)
    monkeypatch.setattr(index, "_digest", lambda: next(digests))
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / "cache")
    for expected in (1, 1, 2):
        assert index._index.__wrapped__()[0].name == "naive"
        assert len(calls) == expected
    next(iter((tmp_path / "cache").glob("catalogue-*"))).write_text("{torn")
    monkeypatch.setattr(index, "_digest", lambda: "b")
    index._index.__wrapped__()
    assert len(calls) == 3


def test_an_import_error_is_remembered_for_minutes_or_until_it_is_looked_at(monkeypatch, tmp_path):
    """Its cause may be mended where the digest doesn't look, such as a library that is installed later."""
    broken = {"kind": "method", "name": "mine", "version": 0, "summary": "", "module": "m", "error": "ImportError: x",
              "provider": "a-package"}  # fmt: skip
    mended = {**broken, "version": 1, "error": None}
    answers = iter([[broken], [broken], [mended]])
    monkeypatch.setattr(describing, "describe_in_subprocess", lambda modules: next(answers))
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / "cache")
    for _ in range(2):
        assert index._index.__wrapped__()[0].error
    index.forget_failures()
    assert index._index.__wrapped__()[0].error
    later = time.time() + 3600
    monkeypatch.setattr(index.time, "time", lambda: later)
    assert not index._index.__wrapped__()[0].error
    index.forget_failures()  # there is none: nothing is looked at again
    assert not index._index.__wrapped__()[0].error


PASSING = {
    "raise MemoryError": True,
    "open('absent.csv')": True,
    'raise RuntimeError("can\'t start new thread")': True,
    "raise ImportError('libtorch_cpu.so: failed to map', path='/a/_C.cpython-311-x86_64-linux-gnu.so')": True,
    "try:\n    raise MemoryError\nexcept MemoryError as e:\n    raise ImportError('numpy') from e": True,
    "import a_library_that_nobody_has": False,
    "from json import a_name_that_is_gone": False,
    "x =": False,
    "import sys; sys.exit(3)": False,
}


def test_failures_of_the_moment_are_told_from_errors_of_code(monkeypatch, tmp_path):
    modules = [SourceModule("method", f"module_{i}", "a-package", "1", text) for i, text in enumerate(PASSING)]
    for module in modules:
        (tmp_path / f"{module.module}.py").write_text(module.name)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    entries = describing.describe_in_subprocess(modules)
    assert all(one["error"] for one in entries)
    assert {one["name"]: one["passing"] for one in entries} == PASSING


@pytest.mark.parametrize(
    ("failure", "passing"),
    [("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", True), ("import os; os._exit(3)", False)],
)
def test_a_failure_of_the_moment_is_not_kept(failure, passing, monkeypatch, tmp_path):
    """Such as too little memory: the next command looks again. An error of code is kept for minutes."""
    (tmp_path / "failing.py").write_text(failure)
    (tmp_path / "fine.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    modules = (SourceModule("method", "fine"), SourceModule("method", "failing", "a-package", "1", "mine"))
    monkeypatch.setattr(index, "_provided", lambda: modules)
    monkeypatch.setattr(index, "_digest", lambda: "a")
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / "cache")
    (found,) = index._index.__wrapped__()
    assert found.error
    assert found.passing == passing
    assert bool(cache.kept("catalogue")) != passing


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (
            "raise ImportError('libtorch_cpu.so: failed to map segment')",
            r"importing own fails: ImportError: libtorch_cpu",
        ),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "Python ended with exit code -9"),
        ("import a_library_that_nobody_has", "ModuleNotFoundError: No module named 'a_library_that_nobody_has'"),
    ],
)
def test_why_lifegens_own_cannot_be_imported_is_said_and_not_kept(failure, reason, monkeypatch, tmp_path):
    (tmp_path / "own.py").write_text(failure)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(index, "_provided", lambda: (SourceModule("scenario", "own"),))
    monkeypatch.setattr(index, "_digest", lambda: "a")
    monkeypatch.setattr(index, "_index", index._index.__wrapped__)
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / "cache")
    with pytest.raises(InputError, match=f"lifegen's own scenarios can't be imported: .*{reason}"):
        parse_spec("scenario", "split-digits")
    assert "own scenarios can't be imported" in _problems("scenario")["all scenarios"]  # as the doctor says it
    (tmp_path / "own.py").write_text("")
    assert describe("scenario") == {}


def test_a_process_that_cannot_be_started_is_a_reason_too(monkeypatch):
    def full(*_, **__):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(describing.subprocess, "run", full)
    monkeypatch.setattr(index, "_index", index._index.__wrapped__)
    monkeypatch.setattr(index, "kept", lambda name: {})
    with pytest.raises(InputError, match="own methods can't be imported: OSError: .*Cannot allocate memory"):
        describe("method")


def test_a_full_disk_leaves_no_pieces_of_a_cache(monkeypatch, tmp_path):
    def full(content, file):
        file.write("{")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path)
    monkeypatch.setattr(cache.json, "dump", full)
    cache.keep("catalogue", {})
    assert list(tmp_path.iterdir()) == []


PACKAGE_B = """
from lifegen.benchmark import register_method
from lifegen.benchmark.options import Options, schemas_of

@register_method("of-b", version=1)
class OfB:
    "Of package b."
    Config = Options
"""
PACKAGE_A = """
print("a module may print")
from lifegen.benchmark import register_method
from package_b import OfB

register_method("of-a", version=2)(OfB)
register_method("bad-options", version=1)(type("Bad", (), {"Config": object, "__module__": "package_b"}))
"""


def test_a_package_provides_what_it_registers_and_not_what_it_imports(monkeypatch, tmp_path):
    """An imported class that it registers under another name is its own, and its import registers it."""
    (tmp_path / "package_a.py").write_text(PACKAGE_A)
    (tmp_path / "package_b.py").write_text(PACKAGE_B)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    modules = [SourceModule("method", f"package_{name}", f"p-{name}", "1", name) for name in "ab"]
    entries = {one["name"]: one for one in describing.describe_in_subprocess(modules)}
    facts = {name: (one["provider"], one["module"], one["origin"]) for name, one in entries.items()}
    assert facts == {
        "of-b": ("p-b", "package_b", "package_b.OfB"),
        "of-a": ("p-a", "package_a", "package_a.OfB"),
        "bad-options": ("p-a", "package_a", "package_a.Bad"),
    }
    assert "the options of package_a.Bad can't be described" in entries.pop("bad-options")["error"]
    assert not any(one["error"] for one in entries.values())


def test_a_file_in_the_current_folder_does_not_stand_in_for_a_library(monkeypatch, tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('not the real one')")
    monkeypatch.chdir(tmp_path)
    modules = [SourceModule("metric", name) for name in ("torch", "lifegen.benchmark.measuring.derived")]
    entries = describing.describe_in_subprocess(modules)
    assert entries
    assert not [entry["error"] for entry in entries if entry["error"]]


def test_a_home_that_cannot_be_written_to_only_costs_time(monkeypatch):
    monkeypatch.setattr(describing, "describe_in_subprocess", lambda modules: [])
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: Path("/proc/nowhere"))
    assert index._index.__wrapped__() == ()


def test_a_broken_module_is_a_row_with_its_error(tmp_path):
    (tmp_path / "broken_method.py").write_text("raise RuntimeError('no such thing')")
    code = """
import json
from dataclasses import asdict
from lifegen.benchmark.discovery.describing import describe_here
from lifegen.benchmark.discovery.entry_points import SourceModule
modules = [SourceModule("method", "broken_method"), SourceModule("metric", "lifegen.benchmark.measuring.derived")]
print(json.dumps([asdict(entry) for entry in describe_here(modules)]))
"""
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    entries = {entry["name"]: entry for entry in json.loads(done.stdout)}
    assert entries["broken_method"]["error"] == "importing broken_method fails: RuntimeError: no such thing"
    assert entries["forgetting"]["error"] is None


def test_a_broken_thing_cannot_be_chosen(monkeypatch):
    broken = IndexEntry("method", "mine", 0, "", "some.module", error="importing some.module fails: ImportError: x")
    monkeypatch.setattr(index, "_index", lambda: (broken,))
    with pytest.raises(InputError, match=r"importing some\.module fails: ImportError: x"):
        describe_one("method", "mine")


def test_an_import_that_fails_although_the_catalogue_knows_the_thing_is_said():
    """Such as for want of memory, or of a library that was uninstalled."""
    gone = IndexEntry("method", "mine", 1, "", "a_module_that_is_gone")
    with pytest.raises(InputError, match="method 'mine' can't be used: importing a_module_that_is_gone fails: Module"):
        gone.entry()


class Config(Options):
    steps: int = 5
    rate: float | None = None
    order: tuple[int, ...] | str = "sorted"


THING = IndexEntry("method", "thing", 2, "", "m", schemas_of(Config))


def test_a_choice_has_the_whole_configuration_and_a_label_of_what_was_changed():
    plain = parse_spec("method", "lifelong-vae")
    assert plain.label == "lifelong-vae"
    assert plain.config["learning_rate"] == 1e-3
    changed = parse_spec("method", "lifelong-vae:mutual_information_weight=0,learning_rate=1e-4")
    assert changed.label == "lifelong-vae:learning_rate=0.0001,mutual_information_weight=0"
    assert parse_spec("method", "lifelong-vae:learning_rate=0.001").label == "lifelong-vae"


def test_lists_and_words_as_values():
    assert parse_spec("scenario", "split-digits:class_order=[3,1],steps=10").config["class_order"] == [3, 1]
    assert parse_spec("scenario", "split-digits:class_order=random").config["class_order"] == "random"


def test_overrides_yield_to_the_text():
    assert parse_spec("scenario", "split-digits", {"steps": 10}).config["steps"] == 10
    assert parse_spec("scenario", "split-digits:steps=20", {"steps": 10}).config["steps"] == 20


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("method", "lifelong", "unknown method 'lifelong'.*Did you mean 'lifelong-vae'"),
        ("method", "naive:code=3", "unknown option of method 'naive': 'code'.*mean 'codes'"),
        ("method", "naive:codes=0", "option 'codes'.*integer above 0 or null"),
        ("method", "naive:codes=three", "'three' doesn't fit"),
        ("method", "naive:codes", "isn't of the form option=value"),
        ("method", "naive:learning_rate=-1", "number above 0"),
        ("scenario", "split-digits:class_order=upside-down", "one of sorted, random"),
        ("scenario", "split-digits:validation=1", "below 1"),
    ],
)
def test_what_cannot_be_chosen(kind, text, message):
    with pytest.raises(InputError, match=message) as caught:
        parse_spec(kind, text)
    assert "\n" not in str(caught.value)


@given(st.permutations(["steps", "rate", "order"]))
def test_the_order_of_options_does_not_matter(order):
    given_options = {"steps": 7, "rate": 0.5, "order": [1, 2]}
    choice = configure(THING, {key: given_options[key] for key in order})
    assert choice == configure(THING, given_options)
    assert choice.label == "thing:steps=7,rate=0.5,order=[1,2]"


def test_equal_lists_make_equal_choices():
    one, other = (parse_spec("scenario", f"rotated-mnist:angles={angles}") for angles in ("[0,30]", "[0.0,30.0]"))
    assert one == other


def test_many_names_are_left_to_the_command_that_lists_them():
    many = [f"method-{i}" for i in range(30)]
    told = str(unknown("method", "metod-7", many))
    assert told.startswith("unknown method 'metod-7'. Did you mean 'method-7' or ")
    assert told.endswith("? `lifegen list methods` shows them all.")
    assert str(unknown("suite", "?", many)) == "unknown suite '?'; `lifegen list suites` shows them all."
    assert str(unknown("cell", "?", many)).endswith(", and 10 more.")  # nothing else lists cells
    assert str(unknown("method", "b", "ac")) == "unknown method 'b'; there are: a, c."


def test_what_check_is_to_check_is_looked_for_before_libraries_are_imported(tmp_path):
    for name, message in (("nive", "Did you mean 'naive'"), (str(tmp_path / "a.py"), "No such file or directory")):
        done = lifegen("check", name)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
        assert message in done.stderr
