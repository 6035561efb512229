"""Published results: complete, recomputable, repeatable."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from markdown_it import MarkdownIt

from lifegen.benchmark import load
from lifegen.benchmark.cells.suite import _built_in, cells_of, suites
from lifegen.benchmark.discovery.plugin_file import PluginFile
from lifegen.benchmark.errors import InputError
from lifegen.benchmark.reading.leaderboard import leaderboard
from lifegen.benchmark.reading.scores import FACTS, scores_of
from lifegen.benchmark.reporting.plots import plot
from lifegen.benchmark.reporting.publish import publish
from lifegen.benchmark.reporting.tables import to_csv, to_markdown
from lifegen.benchmark.store.cell_writer import write_record
from lifegen.benchmark.store.store import PUBLISHED, Store

from .stores import unseal, write

ROOT = Path(__file__).parents[1]
FOLDERS = sorted(file.parent for file in (ROOT / "results").glob(f"*/{PUBLISHED}"))


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    store = Store.create(tmp_path_factory.mktemp("stores") / "mine")
    for seed in range(3):
        write(store, "naive", seed, 50 + seed, reference="lower")
        write(store, "lifelong-vae", seed, 30 + seed**2)
        write(store, "batch", seed, 20 - seed, reference="upper", intervals=1, uses=("past-data",))
    write(store, "ewc", 0, 1, status="failed")
    write(store, "anchored", 0, 40, options="strength=2", suite="mine.toml", uses=("labels",), threshold="off")
    write(store, "anchored", 0, 41, options="strength=3", threshold="on")  # a plug-in, with options of its own
    torn = store.cell("split-x-anchored-1-0-strength=3")
    unseal(torn)
    (torn.folder / "pictures.npz").write_bytes(b"torn")
    return store


@pytest.fixture(scope="module")
def folder(store, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("results") / "mine"
    assert all(file.stat().st_size for file in publish(store, folder))
    return folder


def test_a_folder_has_all_that_it_promises(folder):
    page = (folder / "README.md").read_text()
    for file in re.findall(r"!\[.*?\]\((.*?)\)", page):
        assert (folder / file).stat().st_size > 1000
    assert "lifegen run -s split-x -m" in page
    assert "lifelong-vae" in page
    assert "left out: split-x-ewc-1-0: failed: ValueError: boom" in page
    drawn = {file.name for file in (folder / "figures").iterdir()}
    assert drawn == {f"{name}.png" for name in ("negative_elbo", "final", "matrix", "forgetting", "consistency")}


def test_its_table_and_its_cells_are_the_stores(store, folder):
    expected = load(store.path)
    pd.testing.assert_frame_equal(load(folder), expected)
    pd.testing.assert_frame_equal(load(folder / PUBLISHED), expected)
    pd.testing.assert_frame_equal(pd.read_parquet(folder / PUBLISHED), expected)
    only = load(folder, methods={"naive"})
    assert set(only["method"]) == {"naive"}


def test_publishing_again_replaces_it_and_changes_nothing(store, tmp_path, few_figures):
    folder = tmp_path / "mine"
    publish(store, folder)
    (folder / "figures" / "old.png").write_text("of an older version")
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file() and file.name != "old.png"}
    publish(store, folder)
    after = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    assert after.keys() == before.keys()
    assert [file.name for file in after if after[file] != before[file]] == []


def content_of(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("where", ["pack", "_check", "tables.to_csv", "_put"])
def test_a_publication_that_is_cut_off_leaves_the_one_before(store, tmp_path, monkeypatch, few_figures, where):
    folder = tmp_path / "mine"
    publish(store, folder)
    (folder / "notes.txt").write_text("mine")
    before = content_of(folder)

    def cut_off(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(f"lifegen.benchmark.reporting.publish.{where}", cut_off)
        with pytest.raises(KeyboardInterrupt):
            publish(store, folder)
    assert content_of(folder) == before


@pytest.mark.parametrize("replaced", [0, 2, 5])
def test_a_publication_that_is_killed_loses_no_figure_and_the_next_one_mends_it(
    store, tmp_path, few_figures, replaced, monkeypatch
):
    """At each replacement of a file."""
    folder = tmp_path / "mine"
    publish(store, folder)
    (folder / "notes.txt").write_text("mine")
    whole = content_of(folder)
    killed = """
import os, sys
from pathlib import Path
from lifegen.benchmark.reporting import publish as module
from lifegen.benchmark.reporting.plots import drawings
from lifegen.benchmark.store.store import Store
module.drawings = lambda store: drawings(store, ["forgetting"])
left, replace = int(sys.argv[3]), Path.replace
def counted(self, target):
    global left
    if not left:
        os._exit(9)
    left -= 1
    return replace(self, target)
Path.replace = counted
module.publish(Store.open(sys.argv[1]), Path(sys.argv[2]))
"""
    done = subprocess.run([sys.executable, "-c", killed, store.path, folder, str(replaced)], check=False)
    there = content_of(folder)
    assert "figures/final.png" in there or done.returncode == 0
    assert whole.keys() - there.keys() <= {"figures/final.png"}
    publish(store, folder)
    assert content_of(folder) == whole
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]
    monkeypatch.chdir(folder)
    publish(store, Path())
    assert content_of(Path()) == whole


ENDS = ("run.json", "metrics.jsonl", "pictures.npz", "lifegen.json", ".toml", "plans/a.json")


@pytest.fixture(scope="module")
def opened() -> Iterator[Counter[str]]:
    """The files that are opened to be read while the counter has a key "on", by name."""
    counts: Counter[str] = Counter()

    def audit(event: str, arguments: tuple[object, ...]) -> None:
        is_read = event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if is_read and "on" in counts and isinstance(arguments[0], str | Path):
            counts[str(arguments[0])] += 1

    sys.addaudithook(audit)  # for good: Python has no way to take it away
    yield counts
    counts.clear()


def test_each_file_of_a_store_is_read_once(tmp_path, few_figures, opened):
    _built_in.cache_clear()
    store = Store.create(tmp_path / "s")
    for seed in range(2):
        write(store, "naive", seed, 50, reference="lower")
        write(store, "ewc", seed, 30 + seed, options="strength=1")
    (store.path / "plans").mkdir()
    (store.path / "plans" / "a.json").write_text(json.dumps({"cells": {"x": store.cells()[0].record}}))
    opened["on"] = 1
    publish(store, tmp_path / "published")
    counts = {name: number for name, number in opened.items() if name.endswith(ENDS)}
    opened.clear()
    most = {"run.json": 2, "metrics.jsonl": 2, "a.json": 2}  # once to see what is there, and once to be copied
    assert {name for name, number in counts.items() if number > most.get(Path(name).name, 1)} == set()
    per_end = Counter(end for name in counts for end in ENDS if name.endswith(end))
    assert per_end["run.json"] == per_end["metrics.jsonl"] == per_end["pictures.npz"] == 4
    assert per_end["plans/a.json"] == 2  # and the copy is read
    assert per_end[".toml"] == len(suites())


def with_file(store: Store, method: str, name: str, text: str) -> None:
    """Let the cells of a method be of such a file."""
    file = PluginFile(name, text)
    for cell in store.cells():
        if (part := cell.record["method"])["name"] == method:
            files = {file.digest: {"name": name, "text": text}}
            write_record(cell.folder, cell.record | {"files": files, "method": part | {"file": file.digest}})


def test_files_of_extensions_are_published_and_no_file_of_the_user_is_overwritten(tmp_path, few_figures):
    store, folder = Store.create(tmp_path / "s"), tmp_path / "published"
    for name in ("one", "two"):
        write(store, name, 0, 30)
        with_file(store, name, f"{name}.py", f"# {name}")
    publish(Store(store.path), folder)
    assert (folder / "one.py").read_text() == "# one"
    (folder / "notes.py").write_text("mine")
    shutil.rmtree(next(store.path.glob("cells/*one*")))
    publish(Store(store.path), folder)  # it has one's cell still
    assert {file.name for file in folder.glob("*.py")} == {"one.py", "two.py", "notes.py"}
    write(store, "three", 0, 30)
    with_file(store, "three", "notes.py", "# three")
    before = content_of(folder)
    with pytest.raises(InputError, match=r"notes\.py isn't a published file and would be overwritten; move it away"):
        publish(Store(store.path), folder)
    assert content_of(folder) == before
    (folder / "notes.py").unlink()
    publish(Store(store.path), folder)
    assert (folder / "notes.py").read_text() == "# three"
    write(store, "four", 0, 30)
    with_file(store, "four", "notes.py", "# another text")
    publish(Store(store.path), folder)
    texts = {file.name: file.read_text() for file in folder.glob("notes*.py")}
    assert "notes.py" not in texts
    assert sorted(texts.values()) == ["# another text", "# three"]


def test_a_readme_shows_names_as_they_are(tmp_path, few_figures):
    store, folder = Store.create(tmp_path / "store"), tmp_path / "a|b <i>_x_"
    write(store, "noted", 0, 30, options="note=a|<b>")
    with_file(store, "noted", "_odd_|<b>.py", "")
    for cell in store.cells():
        write_record(cell.folder, cell.record | {"machine": {"a|b": "c|d <i>"}})
    publish(Store(store.path), folder)
    text = (folder / "README.md").read_text()
    page = MarkdownIt("commonmark").enable("table").render(text)
    tags = "h1 h2 p pre code table thead tbody tr th td ul li strong img"
    assert set(re.findall(r"<([a-z][a-z0-9]*)", page)) <= set(tags.split())
    for shown in ("<h1>a|b &lt;i&gt;_x_</h1>", "Copy _odd_|&lt;b&gt;.py of this folder",
                  ">noted:note=a|&lt;b&gt; ✎</td>", ">c|d &lt;i&gt;</td>", ">a|b</td>"):  # fmt: skip
        assert shown in page


@pytest.mark.parametrize(
    "content", ["", "[]", "3", "null", '{"references": 3}', '{"metrics": {"a": {}}}', "\0", '{"seeds": [{}]}']
)
def test_damaged_facts_of_a_published_folder_are_named(folder, tmp_path, content):
    shutil.copy(folder / PUBLISHED, tmp_path)
    (tmp_path / FACTS).write_text(content)
    with pytest.raises(
        InputError, match=r"leaderboard\.json isn't what `lifegen publish` writes .*; publish the store ag"
    ):
        scores_of(tmp_path)
    (tmp_path / FACTS).unlink()
    assert not scores_of(tmp_path).left_out


def test_a_published_table_that_cannot_be_one_is_refused(folder, tmp_path):
    table = load(folder)
    for change in ({"value": "x"}, {"seed": None}, {"interval": None}, {"value": float("inf")}):
        table.assign(**change).to_csv(tmp_path / "t.csv", index=False)
        with pytest.raises(InputError, match="isn't a published table"):
            scores_of(tmp_path / "t.csv")
    pd.concat([table, table.assign(cell="other")]).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(InputError, match="has two cells of split-x, .* and seed"):
        scores_of(tmp_path / "t.csv")


def test_a_folder_of_something_else_is_left_alone(store, tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match="holds something other than published results"):
        publish(store, tmp_path)
    with pytest.raises(InputError, match="can't be written to"):
        publish(store, Path("/proc/results"))


def test_what_is_no_published_table_is_refused(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="isn't a published table"):
        load(tmp_path / "t.csv")
    with pytest.raises(InputError, match="isn't a published table"):
        load(tmp_path / "missing.parquet")


def test_a_file_cut_off_is_refused_and_a_name_is_no_missing_value(folder, tmp_path):
    load(folder).to_csv(tmp_path / "whole.csv.gz", index=False)
    for name in (tmp_path / "whole.csv.gz", folder / PUBLISHED):
        cut = tmp_path / f"cut-{name.name}"
        cut.write_bytes(name.read_bytes()[:-1000])
        with pytest.raises(InputError, match="isn't a published table"):
            load(cut)
    table = load(folder).assign(distribution="None")
    table.to_csv(tmp_path / "named.csv", index=False)
    assert (load(tmp_path / "named.csv")["distribution"] == "None").all()


@pytest.fixture
def earlier(folder, tmp_path) -> Path:
    """A folder that an earlier lifegen published, without cells."""
    shutil.copy(folder / PUBLISHED, tmp_path)
    return tmp_path


def test_a_folder_without_cells_says_what_reads_it_and_takes_none(earlier, store):
    with pytest.raises(InputError, match="published by an earlier lifegen, without its cells; leaderboard, compare"):
        Store.open(earlier)
    with pytest.raises(InputError, match="without its cells, so that none can be added; delete it, or choose another"):
        publish(store, earlier)
    pd.testing.assert_frame_equal(load(earlier), load(store.path))


def test_a_published_table_ranks_as_the_store_does(store, folder):
    """Also of plug-ins that aren't installed, with the user's own suites, and what is left out."""
    published, stored = scores_of(folder), scores_of(store)
    pd.testing.assert_frame_equal(leaderboard(published).table, leaderboard(store).table)
    assert stored.custom == {"anchored:strength=3"}
    for name in ("references", "uses", "custom", "left_out"):
        assert getattr(published, name) == getattr(stored, name)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_published_leaderboards_follow_from_the_published_measurements(folder):
    made = pd.read_csv(io.StringIO(to_csv(leaderboard(scores_of(folder)))))
    pd.testing.assert_frame_equal(made, pd.read_csv(folder / "leaderboard.csv"), rtol=1e-12)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_published_folders_hold_their_suite(folder):
    """All of it, or those cells that have been computed so far."""
    assert set(load(folder)["cell"]) <= {cell.name for cell in cells_of(folder.name)}
    assert "lifegen run " in (folder / "README.md").read_text()


def test_the_readmes_table_is_the_published_one():
    name, page = "split-mnist", (ROOT / "README.md").read_text()
    (command,) = re.findall(rf"lifegen leaderboard results/{name} (.*) -->", page)
    table = to_markdown(leaderboard(scores_of(ROOT / "results" / name), re.findall(r"--metric (\S+)", command)))
    assert "\n".join(line for line in table.splitlines() if line.startswith("|")) in page


def test_a_result_gives_way_to_one_with_more_metrics_alone(tmp_path, few_figures):
    stores = {name: Store.create(tmp_path / name) for name in ("without", "with", "other")}
    write(stores["without"], "good", 0, 30)
    write(stores["with"], "good", 0, 30, expert="x")
    write(stores["other"], "good", 0, 31, expert="x")
    folder = tmp_path / "published"

    def published(name: str) -> set[tuple[str, float]]:
        publish(stores[name], folder)
        table = leaderboard(folder).table
        return set(zip(table["metric"], table["mean"], strict=True))

    assert published("without").isdisjoint({("frechet_distance", 3.0)})
    assert published("with") >= {("negative_elbo", 30.0), ("frechet_distance", 3.0)}
    assert published("without") >= {("frechet_distance", 3.0)}
    assert published("other") >= {("negative_elbo", 30.0), ("frechet_distance", 3.0)}  # equally many: the former stays


def test_a_figure_over_budgets_is_drawn_beside_those_of_each(tmp_path):
    """Its scenario is none of the store's, since it has no steps."""
    files = plot(Store(ROOT / "results" / "budget"), tmp_path, ["budget"], formats=["png"])
    assert tmp_path / "split-mnist" / "budget.png" in files
