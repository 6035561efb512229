"""Plug-ins that are one file: named on the command line, kept with the numbers, told from other texts of themselves."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from unittest import mock

import pytest

from lifegen.benchmark import load
from lifegen.benchmark.authoring.scaffold import new
from lifegen.benchmark.cells.cell import Cell, cell_of, product
from lifegen.benchmark.cells.spec import parse_spec
from lifegen.benchmark.cells.suite import cells_of
from lifegen.benchmark.cli.main import cli
from lifegen.benchmark.contracts.registry import METHODS, METRICS
from lifegen.benchmark.discovery.describing import describe_safely
from lifegen.benchmark.discovery.entry_points import SourceModule, provided
from lifegen.benchmark.discovery.index import _all_of, describe_file, extension_metrics
from lifegen.benchmark.discovery.index_entry import IndexEntry
from lifegen.benchmark.discovery.plugin_file import PluginFile, code_digest, file_in, files_of
from lifegen.benchmark.errors import InputError
from lifegen.benchmark.reading.overview import overview
from lifegen.benchmark.reading.scores import scores_of
from lifegen.benchmark.reporting.publish import publish
from lifegen.benchmark.running.build import build_method
from lifegen.benchmark.running.local import missing
from lifegen.benchmark.running.rerun import rerun
from lifegen.benchmark.running.worker import run_cell
from lifegen.benchmark.store.plans import asked_for, planned, save_plan
from lifegen.benchmark.store.store import Store

from .commands import lifegen, lifegen_elsewhere
from .stores import shown
from .tiny_scenarios import chosen

METHOD = (Path(__file__).parent / "plugin_package" / "src" / "lifegen_test_plugins" / "methods.py").read_text()
SCENARIO = (Path(__file__).parent / "plugin_package" / "src" / "lifegen_test_plugins" / "scenarios.py").read_text()
METRIC = (Path(__file__).parent / "plugin_package" / "src" / "lifegen_test_plugins" / "metrics.py").read_text()
DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """An empty folder, in which a file of a method lies."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(METHOD)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mine.py", ("mine.py", None, "")),
        ("a/b c/mine.py:Class", ("a/b c/mine.py", "Class", "")),
        ("mine.py:Class:a=1,b=[1,2]", ("mine.py", "Class", "a=1,b=[1,2]")),
        ("mine.py:strength=0.1", ("mine.py", None, "strength=0.1")),
        ("mine.py:my-name:x=a:b", ("mine.py", "my-name", "x=a:b")),
        ("mine.py:2fast", ("mine.py", "2fast", "")),
        ("run_10:30/mine.py", ("run_10:30/mine.py", None, "")),
        ("2026-01-01T10:30:00/mine.py:Class:a=1", ("2026-01-01T10:30:00/mine.py", "Class", "a=1")),
        ("C:\\mine.py:Class", ("C:\\mine.py", "Class", "")),
        ("mine.py:Class:opt=other.py", ("mine.py", "Class", "opt=other.py")),
        ("mine.py:opt=a:b.py", ("mine.py", None, "opt=a:b.py")),
        ("folder.py/mine.py:Class", ("folder.py/mine.py", "Class", "")),
        ("folder.py:10/mine.py", ("folder.py:10/mine.py", None, "")),
        ("a.py:b.py", ("a.py:b.py", None, "")),
        ("a=b/mine.py", ("a=b/mine.py", None, "")),
        ("~/a:b/mine.py", ("~/a:b/mine.py", None, "")),
        ("mine.py:", ("mine.py", None, "")),
        ("mine.py:no option", ("mine.py", None, "no option")),
        ("naive", None),
        ("naive:codes=3", None),
        ("naive.pyc", None),
        ("naive:note=a.py", None),
        ("naive:note=a.py:b", None),
        ("naive: note = folder/a.py", None),
        ("naive:notes=[a.py,b.py:c]", None),
    ],
)
def test_a_file_a_class_and_options_are_told_apart(text, expected):
    assert file_in(text) == expected


def test_a_folder_that_looks_like_an_option_is_one_if_the_file_is_there(folder):
    assert file_in("naive:note=1/mine.py:width=8") is None
    (folder / "naive:note=1").mkdir()
    (folder / "naive:note=1" / "mine.py").write_text(METHOD)
    assert file_in("naive:note=1/mine.py:width=8") == ("naive:note=1/mine.py", None, "width=8")


OWN_CALLS = """
from lifegen.benchmark import register_method, register_metric, register_scenario
from lifegen.methods.ewc import EWC
from lifegen.methods.generative_replay import GenerativeReplay
from lifegen.scenarios.avalanche import register_benchmark
from lifegen.scenarios.split import SplitDigitsConfig, split_digits


@register_method("calmer", version=1)
class Calmer(GenerativeReplay):
    "Generative replay that learns more slowly."

register_method("calmer2", version=1)(EWC)

def register_all():
    for name in ("backwards", "forwards"):
        register_scenario(name, version=1, config=SplitDigitsConfig)(split_digits)
    exec("register_metric('from_text', version=1)(lambda m: ())")

register_all()
register_benchmark("pairs", lambda data_root: None, version=1)
"""


def test_a_file_registers_what_its_own_text_registers(tmp_path):
    """In a fresh process, where its imports register methods, scenarios and metrics meanwhile; and in any order."""
    (tmp_path / "own.py").write_text(OWN_CALLS)
    texts = re.findall(r"```python\n(.*?)```", (DOCS / "add-a-method.md").read_text(), re.DOTALL)
    parts = [text for text in texts if re.search("^(def|class) ", text, re.MULTILINE)]
    (tmp_path / "keep_style.py").write_text("\n\n".join(parts))
    (tmp_path / "style_distillation.py").write_text((DOCS / "examples" / "style_distillation.py").read_text())
    new("metric", "my_metric", tmp_path)
    code = """
from lifegen.benchmark.checks.check import targets
for name in ("my_metric", "own", "keep_style", "style_distillation"):
    print(*sorted(one.origin + "=" + one.name for one, _ in targets(name + ".py")))
from lifegen.benchmark.registry import METHODS
print(METHODS["ewc"].origin, METHODS["generative-replay"].origin)
from lifegen.benchmark.plugin_file import PluginFile
print(PluginFile("after.py", PluginFile.read("own.py").text.replace("calmer", "later")).load()[0].name)
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.splitlines() == [
        "my_metric.py:my_metric=my_metric",
        "own.py:<lambda>=from_text own.py:Calmer=calmer own.py:EWC=calmer2 own.py:pairs=pairs "
        "own.py:split_digits=backwards own.py:split_digits=forwards",
        "keep_style.py:KeepStyle=keep-style",
        "style_distillation.py:StyleDistillation=style-distillation",
        "lifegen.methods.ewc.EWC lifegen.methods.generative_replay.GenerativeReplay",
        "later",
    ], done.stderr


def test_a_file_whose_text_fails_takes_nothing_with_it(folder):
    """What it imported is registered and stays so, since it isn't imported again; what it replaced is there again."""
    PluginFile.read("mine.py").load()
    (folder / "an_imported_module.py").write_text(METRIC.replace("negative_elbo_best", "of_the_import"))
    text = "import an_imported_module\n" + METHOD + METRIC.replace("negative_elbo_best", "of_the_file") + "\n1 / 0\n"
    sys.path.insert(0, str(folder))
    try:
        with pytest.raises(InputError, match="ZeroDivisionError"):
            PluginFile("mine.py", text).load()
        assert METRICS["of_the_import"].origin == "an_imported_module.of_the_import"
        assert METHODS["anchored"].module == PluginFile.read("mine.py").module
        assert "of_the_file" not in {entry.name for entry in METRICS}
    finally:
        sys.path.remove(str(folder))
        del sys.modules["an_imported_module"]
        METRICS.forget_unfinished()


def test_a_method_is_chosen_by_its_file_and_shown_by_its_name(folder):
    plain, by_class, by_name = (
        parse_spec("method", text) for text in ("mine.py", "mine.py:Anchored", "./mine.py:anchored")
    )
    assert plain == by_class == by_name
    assert (plain.label, plain.description.origin) == ("anchored", "mine.py:Anchored")
    changed = parse_spec("method", "mine.py:strength=2,width=8")
    assert changed.label == "anchored:width=8,strength=2"
    assert changed.config["strength"] == 2.0
    assert changed.entry().target(changed.config).config.strength == 2.0


def test_the_text_counts_and_not_where_it_lies(folder):
    """An edited file makes other cells; a moved one doesn't."""
    before = product([chosen()], [parse_spec("method", "mine.py")], [0])[0]
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "mine.py").write_text(METHOD)
    assert product([chosen()], [parse_spec("method", "elsewhere/mine.py")], [0])[0].name == before.name
    (folder / "mine.py").write_text(METHOD + "\nanother = 1\n")
    after = product([chosen()], [parse_spec("method", "mine.py")], [0])[0]
    assert after.name != before.name
    assert str(after) == str(before)


def test_the_text_that_was_read_is_what_runs(folder):
    """Also where the file has been edited since, or isn't there: on another machine, a day later."""
    (cell,) = product([chosen()], [parse_spec("method", "mine.py:width=8")], [0])
    (folder / "mine.py").write_text("raise RuntimeError")
    store = Store.create(folder / "s")
    assert run_cell(cell, store.path, folder, "cpu") == "done", store.cell(cell.name).record.get("error")
    record = store.cell(cell.name).record
    assert record["files"] == {record["method"]["file"]: {"name": "mine.py", "text": METHOD}}
    assert record["method"]["provider"] == {"name": "mine.py", "version": record["method"]["file"]}
    assert load(folder / "s")["method"].unique().tolist() == ["anchored:width=8"]


def test_a_cell_of_a_file_is_computed_again_from_its_record(folder):
    cells = cells_of(None, ["split-digits:steps=2,classes_per_interval=5"], ["mine.py:width=8"], [0])
    store = Store.create(folder / "s")
    (cell,) = cells
    assert run_cell(cell, store.path, folder, "cpu") == "done"
    (folder / "mine.py").unlink()
    again = cell_of(store.cell(cell.name).record)
    assert again == cell
    assert rerun(store, again, folder / "scratch", folder, "cpu").equal


@pytest.mark.parametrize("hours", [1, -1])
def test_texts_of_one_file_are_never_mixed_whatever_the_clock_does(folder, monkeypatch, hours):
    """Neither two seeds of two texts, nor after going back to the first one."""
    store = Store.create(folder / "s")
    clock = mock.Mock()
    clock.now.side_effect = (datetime(2026, 1, 1, tzinfo=UTC) + i * timedelta(hours=hours) for i in count())
    for module in ("plans", "cell_writer"):
        monkeypatch.setattr(f"lifegen.benchmark.store.{module}.datetime", clock)

    def run(text: str, *seeds: int) -> list[Cell]:
        (folder / "mine.py").write_text(text)
        cells = product([chosen()], [parse_spec("method", "mine.py:width=8")], seeds)
        save_plan(store, cells, "lifegen run")
        for cell in missing(cells, store)[0]:
            assert run_cell(cell, store.path, folder, "cpu") == "done"
        return cells

    first = run(METHOD, 0, 1)
    second = run(METHOD + "edited = True\n", 0)
    cells, left_out = shown(store)
    assert [cell.name for cell in cells] == [second[0].name]
    assert set(left_out) == {cell.name for cell in first}
    assert all("method anchored is of another text of its file" in why for why in left_out.values())
    assert overview(store).counts == {"done": 1, "stale": 2}
    run(METHOD, 0, 1)
    cells, left_out = shown(store)
    assert {cell.name for cell in cells} == {cell.name for cell in first}
    assert all(cell.facts.work_seconds < 3600 for cell in cells)


@pytest.mark.parametrize("file", sorted((DOCS / "examples").glob("*.py")), ids=lambda file: file.stem)
def test_comments_docstrings_and_lines_are_no_code_and_everything_else_is(file):
    text = file.read_text()
    plain = code_digest(text)
    assert plain == code_digest(ast.unparse(ast.parse(text)))  # without comments and blank lines
    assert plain == code_digest(text.replace('"""', '"""Another word. ', 1) + "\n\n# A thought\n")
    assert plain == code_digest(text.replace("\nclass ", "\n# A thought\n\n\nclass "))
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            node.value += 1
            assert code_digest(ast.unparse(tree)) != plain
            node.value -= 1
    assert code_digest(text + "pass\n") != plain


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ('def f():\n    "It does."', 'def f():\n    """It did.\n\n    Once."""  # or not', True),
        ("class A:\n    a: int = 1\n    'What a is.'", "class A:\n    a: int = 1\n    'Another.'", True),
        ("x = 'a'  # why", "x = 'a'", True),
        ("x = 'a'", "x = 'b'", False),
        ("def f():\n    return 'a'", "def f():\n    return 'b'", False),
        ("x = 1", "x = 1.0", False),
        ("x = ", "x =  ", False),  # not Python: the characters count
        ("x = 1\0", "x = 1 \0", False),
        ("(" * 500 + ")" * 500, "(" * 500 + ")" * 501, False),
    ],
)
def test_the_digest_of_code(one, other, same):
    assert (code_digest(one) == code_digest(other)) == same


def test_an_edited_comment_makes_no_cell_stale(folder):
    """Also in a store that has both texts, as one of two machines has."""
    asked = ["-s", "split-digits:steps=2,classes_per_interval=5", "-m", "mine.py:width=8"]
    run = ["run", *asked, "--device", "cpu", "--out", "s"]
    assert lifegen(*run, "--seeds", 0).returncode == 0
    (folder / "mine.py").write_text("# A thought\n" + METHOD.replace('"""', '"""Better said: ', 1))
    assert "1 cell, all done" in lifegen(*run, "--seeds", 0).stdout
    assert "1 to run" in lifegen(*run, "--seeds", "0-1").stdout
    (cell,) = {file.text for cell in Store("s").cells() for file in files_of(cell.record).values()}
    assert cell == METHOD  # the text that ran first runs
    elsewhere = cells_of(None, [asked[1]], [asked[3]], [2])  # by a machine without this store
    save_plan(Store("s"), elsewhere, "lifegen run")
    assert run_cell(elsewhere[0], Path("s"), folder, "cpu") == "done"
    cells, left_out = shown(Store("s"))
    assert ({cell.seed for cell in cells}, left_out) == ({0, 1, 2}, {})
    (folder / "mine.py").write_text(METHOD + "# Again\n")
    assert "3 cells, all done" in lifegen(*run, "--seeds", "0-2").stdout
    (folder / "mine.py").write_text(METHOD.replace("0.01", "0.02"))
    assert len(lifegen("plan", *run[1:], "--seeds", "0-2", "--keys").stdout.split()) == 3


def test_a_cell_planned_with_two_comments_is_one_and_its_last_text_counts(folder):
    store = Store.create(folder / "s")
    for text in (METHOD, METHOD + "# A thought\n"):
        (folder / "mine.py").write_text(text)
        cells = product([chosen()], [parse_spec("method", "mine.py:width=8")], [0, 1])
        save_plan(store, cells, "lifegen run")
    assert list(planned(store)[0]) == [cell.name for cell in cells]


def test_cells_of_a_file_whose_method_is_now_installed_are_stale(folder, monkeypatch):
    store = Store.create(folder / "s")
    (cell,) = product([chosen()], [parse_spec("method", "mine.py:width=8")], [0])
    assert run_cell(cell, store.path, folder, "cpu") == "done"
    installed = IndexEntry("method", "anchored", 1, "", "some.module", origin="some.module.Anchored")
    monkeypatch.setattr("lifegen.benchmark.reading.current.describe", lambda kind: {"anchored": installed})
    assert "another text" in shown(store)[1][cell.name]


def test_a_record_with_another_text_is_damaged(folder):
    store = Store.create(folder / "s")
    (cell,) = product([chosen()], [parse_spec("method", "mine.py:width=8")], [0])
    assert run_cell(cell, store.path, folder, "cpu") == "done"
    file = store.cell(cell.name).folder / "run.json"
    record = json.loads(file.read_text())
    del record["seal"]
    record["files"][record["method"]["file"]]["text"] += "\n"
    file.write_text(json.dumps(record))
    assert store.cell(cell.name).status == "damaged"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = ", r"mine\.py, line 1: SyntaxError"),
        ("\n\n1 / 0", r"mine\.py, line 3: ZeroDivisionError: division by zero"),
        ("import my_helper", r"line 1: ModuleNotFoundError: .*my_helper.*not files beside it.*--package"),
        ("def f():\n    raise KeyError('a')\n\nf()", r"mine\.py, line 2: KeyError: 'a'"),
        ("x = 1", r"registers no method, but nothing; put @register_method"),
        (METRIC, "registers no method, but metric negative_elbo_best"),
        (METHOD + METHOD.replace("anchored", "other").replace("class Anchored", "class Other"),
         r"registers 2 methods: say which, mine\.py:Anchored, mine\.py:Other"),
        (METHOD.replace('"anchored"', '"naive"'),
         r"'naive' is registered twice: by lifegen\.methods\.naive\.Naive and by mine\.py:Anchored; rename one"),
        (METHOD + METHOD.replace("class Anchored", "class Other"),
         r"'anchored' is registered twice: by mine\.py:Anchored and by mine\.py:Other"),
        (METHOD + '\nregister_method("again", version=1)(Anchored)',
         r"registers 2 methods: say which, mine\.py:anchored, mine\.py:again"),
        ("from lifegen.methods.naive import Naive\nfrom lifegen.benchmark import register_method\n"
         'register_method("naive", version=7)(Naive)',
         r"'naive' is registered twice: by lifegen\.methods\.naive\.Naive and by mine\.py:Naive"),
        (METHOD + '\nimport torch\nregister_method("odd", version=1, inert={"a": torch.ones(1)})(Anchored)',
         r"mine\.py, line \d+: PydanticSerializationError: .*Tensor"),
        ("import sys\nsys.exit(3)", r"mine\.py, line 2: SystemExit: 3"),
        ("import os\nos._exit(3)", "it ends Python or takes too long"),
        ("import os\nos._exit(0)", "it ends Python or takes too long: it ended Python with exit code 0"),
        (METHOD.replace('"anchored"', '"My Method"'), r"'My Method' must match .*such as 'my-method'"),
        (METHOD.replace("strength: float", "strength: complicated"), "NameError|not defined|fully defined"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_file_is_said_with_its_line(folder, text, message):
    (folder / "mine.py").write_text(text)
    with pytest.raises(InputError, match=message):
        parse_spec("method", "mine.py")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("absent.py", "absent.py can't be read: No such file.*lifegen new-method NAME"),
        ("mine.py:Anchord", "unknown method in mine.py: 'Anchord'.*mean 'anchored'"),
        ("mine.py:strenth=1", "unknown option of method 'anchored': 'strenth'.*mean 'strength'"),
        ("mine.py:strength=much", "expected: number"),
        ("mine", "unknown method 'mine'.*A file of yours ends in .py: mine.py"),
    ],
)
def test_what_cannot_be_chosen_of_a_file(folder, asked, message):
    with pytest.raises(InputError, match=message):
        parse_spec("method", asked)


def test_two_files_cannot_have_one_name_in_a_table(folder):
    (folder / "copy.py").write_text(METHOD.replace("0.01", "0.02"))
    with pytest.raises(InputError, match=r"'anchored' is registered twice: by mine\.py:Anchored and by copy\.py:Anch"):
        cells_of(None, ["split-digits"], ["mine.py", "copy.py"])


def test_a_file_that_was_edited_and_loaded_again_in_a_notebook_is_the_new_one(folder):
    first = PluginFile.read("mine.py").load()[0]
    (folder / "mine.py").write_text(METHOD.replace("version=4", "version=5"))
    second = PluginFile.read("mine.py").load()[0]
    assert (first.version, second.version) == (4, 5)
    assert describe_file(PluginFile.read("mine.py"), "method").version == 5


def test_metrics_of_a_file_are_measured_beside_the_others(folder):
    (folder / "metric.py").write_text(METRIC)
    (cell,) = cells_of(
        None, ["split-digits:steps=2,classes_per_interval=5"], ["naive:width=8"], [0], metrics=["metric.py"]
    )
    (bare,) = cells_of(None, ["split-digits:steps=2,classes_per_interval=5"], ["naive:width=8"], [0])
    assert cell.name != bare.name  # its text is its version
    store = Store.create(folder / "s")
    assert run_cell(cell, store.path, folder, "cpu") == "done"
    record = store.cell(cell.name).record
    assert record["metrics"]["negative_elbo_best"] == 2
    assert cell_of(record) == cell
    values = load(store.path).query("metric == 'negative_elbo_best'")["value"]
    assert len(values) == 2
    (folder / "empty.py").write_text("")
    with pytest.raises(InputError, match="registers no metric"):
        extension_metrics([PluginFile.read("empty.py")])


def test_a_scenario_a_method_and_a_metric_of_files_on_the_command_line(folder):
    (folder / "stripes.py").write_text(SCENARIO)
    (folder / "metric.py").write_text(METRIC)
    (folder / "run_10:30").mkdir()
    (folder / "run_10:30" / "own.py").write_text(OWN_CALLS)
    run = ["run", "-s", "stripes.py:steps=3", "-m", "mine.py:width=8", "-m", "naive:width=8", "--metric", "metric.py",
           "-m", "run_10:30/own.py:calmer:width=8", "--seeds", "0", "--device", "cpu"]  # fmt: skip
    done = lifegen(*run)
    assert done.returncode == 0, done.stdout + done.stderr
    for label in ("anchored:width=8", "calmer:width=8"):
        assert f"stripes:steps=3 {label} seed 0: done in" in done.stdout
    assert "negative ELBO" in done.stdout
    board = lifegen("leaderboard", "runs/default", "--metric", "negative_elbo_best").stdout
    assert "anchored:width=8" in board
    for name in ("mine.py", "stripes.py", "metric.py", "run_10:30/own.py"):
        (folder / name).unlink()
    again = lifegen_elsewhere("worker", "runs/default")
    assert again.returncode == 0, again.stderr  # all is done, and known without the files


def test_one_package_that_ends_python_when_it_is_imported_spoils_nothing_else(tmp_path, monkeypatch):
    (tmp_path / "ends_python.py").write_text("import os; os._exit(3)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    ends = SourceModule("method", "ends_python", "a-package", "1.0", "ending")
    own = [module for module in provided() if module.module == "lifegen.benchmark.measuring.derived"]  # soon imported
    found = {entry["name"]: entry for entry in describe_safely([*own, ends])}
    assert found["forgetting"]["error"] is None
    assert "Python ended with exit code 3" in found["ending"]["error"]


def test_two_packages_with_one_name_are_both_refused(tmp_path):
    """Neither is the right one; the error names both."""
    for name in ("one", "two"):
        (tmp_path / f"package_{name}.py").write_text(METRIC)
    code = """
import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from itertools import count
from lifegen.benchmark.discovery.describing import describe_here
from lifegen.benchmark.discovery.entry_points import SourceModule
name = "negative_elbo_best"
modules = [SourceModule("metric", f"package_{one}", f"package-{one}", "1", name) for one in ("one", "two")]
print(json.dumps([asdict(entry) for entry in describe_here(modules)]))
"""
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    entries = json.loads(done.stdout)
    assert [entry["name"] for entry in entries] == ["negative_elbo_best"] * 2
    for entry in entries:
        assert "by package_one.negative_elbo_best and by package_two.negative_elbo_best" in entry["error"]


def test_texts_of_a_metric_are_never_mixed_either(folder):
    """Nor does a text that failed, or that a worker begins late, take the place of another."""
    store = Store.create(folder / "s")

    def run(factor: str, *seeds: int) -> list[Cell]:
        (folder / "metric.py").write_text(METRIC.replace("yield Row(min", f"yield Row({factor} * min"))
        asked = ["split-digits:steps=2,classes_per_interval=5"], ["naive:width=8"], seeds
        cells = cells_of(None, *asked, metrics=["metric.py"])
        save_plan(store, cells, "lifegen run")
        return [cell for cell in missing(cells, store, retry_failed=True)[0]
                if run_cell(cell, store.path, folder, "cpu") == "done"]  # fmt: skip

    first = run("1", 0)
    assert run("(1 / 0)", 0, 1) == []
    assert [cell.name for cell in shown(store)[0]] == [first[0].name]
    (third,) = run("100", 1)
    assert [cell.name for cell in shown(store)[0]] == [third.name]
    assert {cell.name for cell in asked_for(store)} == {third.name}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import torch; torch.rand(1); yield Row(1.0)", "negative_elbo_best changes the global generator of torch"),
        ("m.model.train(); yield Row(1.0)", "changes the model's training mode"),
        ("m.strategy.optimizer.param_groups[0]['lr'] /= 2; yield Row(1.0)", r"changes the optimiser \(group 0\.lr\)"),
        ("next(m.model.parameters()).add_(1); yield Row(1.0)", "changes the model's weights"),
        ('yield Row(1.0, "zebra")', "isn't a measurement of this cell: .*zebra"),
        ("yield 1.0", "negative_elbo_best yields 1.0, which isn't a Row"),
        ("yield Row(1.0); yield Row(2.0)", "metric negative_elbo_best yields several rows of distribution None, step"),
        ('yield Row(float("nan"))', "negative_elbo_best is nan"),
    ],
)
def test_a_metric_that_changes_something_or_yields_nonsense_ends_its_cell(folder, text, message):
    lines = METRIC.splitlines()
    (folder / "metric.py").write_text("\n".join([*lines[:-1], f"    {text}"]))
    asked = ["split-digits:steps=2,classes_per_interval=5"], ["naive:width=8"], [0]
    (cell,) = cells_of(None, *asked, metrics=["metric.py"])
    store = Store.create(folder / "s")
    assert run_cell(cell, store.path, folder, "cpu") == "failed"
    assert re.search(message, store.cell(cell.name).reason)


def test_readers_know_a_metric_of_a_file_from_the_records(folder, few_figures):
    """Its direction and how it is put together over intervals, in the store and in what is published from it."""
    text = METRIC.replace('unit="nats", better="lower"', 'unit="nats", better="higher", over_intervals="sum"')
    (folder / "metric.py").write_text(text)
    asked = ["split-digits:steps=2,classes_per_interval=5"], ["naive:width=8", "ewc:width=8"], [0]
    store = Store.create(folder / "s")
    for cell in cells_of(None, *asked, metrics=["metric.py"]):
        assert run_cell(cell, store.path, folder, "cpu") == "done"
    in_store = scores_of(store)
    publish(store, folder / "published")
    assert (folder / "published" / "metric.py").read_text() == text
    assert "--metric metric.py" in (folder / "published" / "README.md").read_text()
    published = scores_of(folder / "published")
    values = [
        scores.numbers.query("metric == 'negative_elbo_best'")["value"].tolist() for scores in (in_store, published)
    ]
    assert values[0] == pytest.approx(values[1])
    assert in_store.better("negative_elbo_best") == published.better("negative_elbo_best") == "higher"

    # Another store's metric of the same name, read by the same process.
    (folder / "metric.py").write_text(METRIC)
    other = Store.create(folder / "other")
    (cell, _) = cells_of(None, *asked, metrics=["metric.py"])
    assert run_cell(cell, other.path, folder, "cpu") == "done"
    assert scores_of(other).better("negative_elbo_best") == "lower"
    assert scores_of(store).better("negative_elbo_best") == "higher"


def test_a_model_whose_class_is_in_a_file_is_loaded_again(folder):
    text = METHOD.replace(
        "@register_method",
        """class Own(CodeStyleVAE):
    pass


@register_method""",
        1,
    )
    text = f"from lifegen.methods.models.vae import CodeStyleVAE\n{text}"
    text += """
    def model(self, stream, seeds):
        model = super().model(stream, seeds)
        model.__class__ = Own
        return model
"""
    (folder / "mine.py").write_text(text)
    (cell,) = product([chosen()], [parse_spec("method", "mine.py:width=8")], [0])
    store = Store.create(folder / "s")
    assert run_cell(cell, store.path, folder, "cpu", keep_model=True) == "done", store.cell(cell.name).reason
    file = str(store.cell(cell.name).model)
    code = f"from lifegen.benchmark import load_model; print(type(load_model({file!r})).__name__)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "Own"


@pytest.mark.parametrize("name", ["../escaped.py", "a.sh", 3, ""])
def test_a_record_cannot_name_a_file_elsewhere(folder, name):
    record = {"files": {PluginFile("x.py", "").digest: {"name": name, "text": ""}}}
    with pytest.raises((ValueError, TypeError)):
        files_of(record)


SUITE = """
summary = "Mine"
budget = "a minute"
scenarios = ["stripes.py:steps=3"]
methods = ["mine.py:width=8", "naive"]
seeds = [0]

[smoke]
method = { width = 4, strength = 1 }
"""


@pytest.mark.parametrize("place", [".", "run_10:30", "suite.py:x=1"])
def test_a_suite_names_files_that_lie_beside_it(place, folder, monkeypatch):
    there = folder / place
    there.mkdir(exist_ok=True)
    for name, text in {"stripes.py": SCENARIO, "mine.py": METHOD, "mine.toml": SUITE, "metric.py": METRIC}.items():
        (there / name).write_text(text)
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    cells = cells_of(f"../{place}/mine.toml", metrics=[f"../{place}/metric.py"])
    assert [cell.method.label for cell in cells] == ["anchored:width=8", "naive"]
    small = cells_of(f"../{place}/mine.toml", smoke=True)
    assert [cell.method.label for cell in small] == ["anchored:width=4,strength=1", "naive:width=4"]
    with pytest.raises(InputError, match="all metrics of a file are measured; write --metric .*metric.py"):
        cells_of(f"../{place}/mine.toml", metrics=[f"../{place}/metric.py:negative_elbo_best"])


def test_paths_of_a_home_and_of_nobody(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.chdir("/")
    (folder / "mine.toml").write_text(
        SUITE.replace("stripes.py:steps=3", "split-digits").replace("mine.py", "~/mine.py")
    )
    assert [cell.method.label for cell in cells_of("~/mine.toml")] == ["anchored:width=8", "naive"]
    for path in ("~a-user-that-nobody-is/mine.py", "~\0/mine.py", "a\0b/mine.py"):
        with pytest.raises(InputError, match="can't be read"):
            parse_spec("method", path)


OPTIONS = METHOD.replace(
    "@register_method",
    """from enum import Enum
from pydantic import BaseModel

class Mode(Enum):
    SLOW = "slow"
    HALF = "0.5"

class Network(BaseModel):
    depth: int = 2
    mode: Mode = Mode.SLOW

@register_method""",
    1,
).replace(
    "        strength: float",
    """        mode: Mode = Mode.SLOW
        "How."
        network: Network = Network()
        "What."
        note: str = ""
        "Why."
        fast: bool = True
        "When."
        strength: float""",
)


def test_options_that_are_enums_and_models_of_a_file(folder, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    (folder / "mine.py").write_text(OPTIONS)
    asked = 'mine.py:mode=0.5,network={"mode":0.5},note=a/b//c.py,width=8'
    choice = parse_spec("method", asked)
    assert choice.label == 'anchored:width=8,mode=0.5,network={"depth":2,"mode":"0.5"},note=a/b//c.py'
    assert build_method(choice).config.network.mode.name == "HALF"
    (cell,) = product([parse_spec("scenario", "split-digits:steps=2,classes_per_interval=5")], [choice], [0])
    assert cell_of(json.loads(json.dumps(cell.record()))) == cell
    store = Store.create(folder / "s")
    assert run_cell(cell, store.path, folder, "cpu") == "done", store.cell(cell.name).reason

    suite = f"""
summary = "Mine"
budget = "a minute"
scenarios = ["split-digits"]
methods = ['{asked}']
seeds = [0]

[smoke]
method = {{ mode = "slow", network = {{ depth = 1 }}, note = "0.5", fast = false }}
"""
    (folder / "mine.toml").write_text(suite)
    assert cells_of("mine.toml")[0].method == choice
    (small,) = cells_of("mine.toml", smoke=True)
    assert small.method.label == 'anchored:width=8,network={"depth":1,"mode":"slow"},note=0.5,fast=false'
    (folder / "mine.toml").write_text(suite.replace("depth", "dept"))
    with pytest.raises(InputError, match="smoke.method.network: unknown option .*'network.dept'.*mean 'network.depth'"):
        cells_of("mine.toml")

    cli(["list", "mine.py"], standalone_mode=False)
    said = " ".join(capsys.readouterr().out.split())
    assert 'mode "slow" one of slow, 0.5 How.' in said
    assert 'network {"depth": 2, ' in said
    assert "{depth: integer, " in said


def test_a_file_that_registers_nothing_is_looked_at_again(folder, monkeypatch):
    """It may lack a library that is installed later."""
    answers = iter([[], [], [asdict(IndexEntry("method", "late", 1, "", "m"))]])
    monkeypatch.setattr("lifegen.benchmark.discovery.index.describe_file_elsewhere", lambda file: next(answers))
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: folder / "cache")
    file = PluginFile("late.py", "import late")
    found = [_all_of.__wrapped__(file) for _ in range(4)]
    assert [len(one) for one in found] == [0, 0, 1, 1]


def test_that_no_process_can_be_started_is_said(folder, monkeypatch):
    def broken(workers):
        raise BrokenProcessPool("all workers expired")

    monkeypatch.setattr("lifegen.benchmark.processes.pool", broken)
    with pytest.raises(InputError, match=r"mine\.py can't be run: no process can be started .*BrokenProcessPool"):
        _all_of.__wrapped__(PluginFile("mine.py", "x = 1"))
