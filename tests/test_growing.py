"""Published folders that grow: by the cells of other stores, by runs in them, and by nothing that doesn't fit."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from lifegen.benchmark import load
from lifegen.benchmark.authoring.checks.results import check_results
from lifegen.benchmark.cells.cell import product
from lifegen.benchmark.cells.spec import parse_spec
from lifegen.benchmark.errors import InputError
from lifegen.benchmark.files import NotAFileError
from lifegen.benchmark.reading.current import current_of
from lifegen.benchmark.reading.leaderboard import leaderboard
from lifegen.benchmark.reading.scores import scores_of
from lifegen.benchmark.reporting.publish import publish
from lifegen.benchmark.running.rerun import compare_cells
from lifegen.benchmark.running.worker import run_cell
from lifegen.benchmark.store import packed
from lifegen.benchmark.store.cell_folder import StoredCell
from lifegen.benchmark.store.cell_writer import write_record
from lifegen.benchmark.store.packed import member_size, pack, read_member
from lifegen.benchmark.store.plans import save_plan
from lifegen.benchmark.store.store import CellDoneError, Store

from .commands import lifegen
from .stores import write


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    """Drawing is what takes time."""
    monkeypatch.setattr("lifegen.benchmark.reporting.publish.drawings", lambda current: iter(()))


def store_with(place: Path, *methods: str, seeds: tuple[int, ...] = (0, 1), **facts: Any) -> Store:
    """A store with cells of methods, in whose records some facts are changed."""
    store = Store.create(place)
    for method in methods:
        for seed in seeds:
            write(store, method, seed, 30 + seed + len(method))
    for cell in store.cells():
        write_record(cell.folder, cell.record | {"data": "of one", "machine": {"processor": "p"}} | facts)
    return Store(place)


def names(folder: Path) -> set[str]:
    return {file.name.removesuffix(".zip") for file in (folder / "cells").iterdir()}


def test_cells_of_several_stores_come_to_stand_in_one_table(tmp_path):
    one = store_with(tmp_path / "one", "naive", "good")
    two = store_with(tmp_path / "two", "naive", "better", seeds=(1, 2))
    both = store_with(tmp_path / "both", "naive", "good")
    for store in (one, two):
        publish(store, tmp_path / "published")
    for cell in two.cells():
        if not (both.path / "cells" / cell.name).exists():
            cell.folder.rename(both.path / "cells" / cell.name)
    expected = Store(both.path)
    pd.testing.assert_frame_equal(load(tmp_path / "published"), load(expected.path))
    pd.testing.assert_frame_equal(leaderboard(tmp_path / "published").table, leaderboard(expected).table)
    assert len(names(tmp_path / "published")) == 7
    page = (tmp_path / "published" / "README.md").read_text()
    assert "7 finished cells, " in page
    assert "better" in page


def test_publishing_twice_or_in_another_order_makes_equal_files(tmp_path):
    one, two = store_with(tmp_path / "one", "naive"), store_with(tmp_path / "two", "good")
    for store in (one, two, one):
        publish(store, tmp_path / "a" / "p")
    for store in (two, one):
        publish(store, tmp_path / "b" / "p")
    first, second = ({file.relative_to(place): file.read_bytes() for file in place.rglob("*") if file.is_file()}
                     for place in (tmp_path / "a", tmp_path / "b"))  # fmt: skip
    assert first == second


def test_a_result_that_is_there_stays(tmp_path):
    one, other = store_with(tmp_path / "one", "naive"), Store.create(tmp_path / "other")
    write(other, "naive", 0, 99)
    publish(one, tmp_path / "p")
    publish(other, tmp_path / "p")
    assert scores_of(tmp_path / "p").numbers.query("seed == 0 and metric == 'negative_elbo'")["value"].item() == 35


def test_a_failed_cell_is_published_and_a_result_replaces_it(tmp_path):
    store = store_with(tmp_path / "one", "naive", "good")
    write(store, "good", 2, 1, status="failed")
    publish(Store(store.path), tmp_path / "p")
    board = leaderboard(tmp_path / "p")
    assert board.scores.seeds["split-x", "good"] == (3, 1)
    assert "split-x-good-1-2: failed: ValueError: boom" in (tmp_path / "p" / "README.md").read_text()
    again = Store.create(tmp_path / "again")
    write(again, "good", 2, 5)
    publish(again, tmp_path / "p")
    assert leaderboard(tmp_path / "p").scores.seeds == {}
    publish(Store(store.path), tmp_path / "p")
    assert leaderboard(tmp_path / "p").scores.seeds == {}


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"data": "of another"}, "split-x: .* and .* were computed on different images"),
        ({"metrics": {"negative_elbo": 3}}, "metric negative_elbo is version 1, not 3"),
        ({"protocol": 2}, "the protocol is version 1, not 2"),
    ],
)
def test_cells_that_may_not_stand_in_one_table_are_refused_and_nothing_changes(tmp_path, other, message):
    publish(store_with(tmp_path / "one", "naive", metrics={"negative_elbo": 1}), tmp_path / "p")
    before = {file: file.read_bytes() for file in (tmp_path / "p").rglob("*") if file.is_file()}
    store = store_with(tmp_path / "two", "good", **other)
    with pytest.raises(InputError, match=rf"can't stand beside those published: .*({message}).*; publish into another"):
        publish(store, tmp_path / "p")
    assert {file: file.read_bytes() for file in (tmp_path / "p").rglob("*") if file.is_file()} == before


def test_a_newer_method_takes_the_place_of_the_older_one_whose_cells_stay(tmp_path):
    publish(store_with(tmp_path / "one", "mine", "naive"), tmp_path / "p")
    newer = Store.create(tmp_path / "two")
    for seed in (0, 1):
        write(newer, "mine", seed, 10, version=2)
    publish(newer, tmp_path / "p")
    values = scores_of(tmp_path / "p").numbers.query("metric == 'negative_elbo' and method == 'mine'")["value"]
    assert values.tolist() == [10, 10]
    assert {"split-x-mine-1-0", "split-x-mine-2-0"} <= names(tmp_path / "p")
    older = store_with(tmp_path / "three", "mine", seeds=(5,))
    with pytest.raises(InputError, match="method mine is version 1, not 2"):
        publish(older, tmp_path / "p")


def test_images_that_follow_the_seed_are_compared_by_seed(tmp_path):
    """The scenario isn't lifegen's own, so that its images may be others for each seed."""
    store = store_with(tmp_path / "one", "naive", "good", seeds=(0, 1, 2))
    for cell in store.cells():
        write_record(cell.folder, cell.record | {"data": f"of seed {cell.record['seed']}"})
    publish(Store(store.path), tmp_path / "p")
    with pytest.raises(InputError, match="were computed on different images"):
        publish(store_with(tmp_path / "two", "other", data="of seed 1"), tmp_path / "p")


def test_a_folder_is_published_in_place_and_keeps_models(tmp_path):
    publish(store_with(tmp_path / "one", "naive"), tmp_path / "p")
    store = Store.create(tmp_path / "p")
    write(store, "good", 0, 20)
    write(store, "kept", 0, 21)
    (store.cell("split-x-kept-1-0").folder / "model.safetensors").write_bytes(b"a model")
    publish(Store(store.path), tmp_path / "p")
    assert sorted(path.name for path in (tmp_path / "p" / "cells").iterdir()) == [
        "split-x-good-1-0.zip",
        "split-x-kept-1-0",
        "split-x-kept-1-0.zip",
        "split-x-naive-1-0.zip",
        "split-x-naive-1-1.zip",
    ]
    assert len(current_of(store.path).cells) == 4
    assert Store(store.path).cell("split-x-kept-1-0").model


def test_a_publication_of_other_cells_is_done_after_one_that_was_cut_off(tmp_path, monkeypatch):
    """Even the first one into a folder: what it leaves is known as its own."""
    left = 0
    replace = Path.replace

    def some(self: Path, target: Path) -> Path:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return replace(self, target)

    store = store_with(tmp_path / "one", "naive")
    for replacements in range(3):
        left = replacements
        with monkeypatch.context() as patched:
            patched.setattr(Path, "replace", some)
            with pytest.raises(KeyboardInterrupt):
                publish(store, tmp_path / "p")
        publish(store, tmp_path / "p")
        assert len(names(tmp_path / "p")) == 2


def damaged(content: bytes) -> list[bytes]:
    """What may happen to a zip file."""
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as members:
        members.writestr("run.json", "{}")
    return [b"", b"torn", content[:-30], content[: len(content) // 2], content[:40] + b"?" * 60 + content[100:],
            other.getvalue()]  # fmt: skip


@pytest.mark.parametrize("kind", range(6))
def test_a_damaged_file_is_named_and_a_run_sets_it_aside(tmp_path, kind):
    publish(store_with(tmp_path / "one", "naive", "good"), tmp_path / "p")
    file = tmp_path / "p" / "cells" / "split-x-good-1-0.zip"
    file.write_bytes(content := damaged(file.read_bytes())[kind])
    current = current_of(tmp_path / "p").readable(lambda cell: cell.rows)
    assert "damaged" in str(current.left_out[file.stem])
    assert len(current.cells) == 3
    found = {finding.promise: finding for finding in check_results(tmp_path / "p")}
    assert found["every cell is whole"].status == "broken"
    assert file.stem in found["every cell is whole"].seen
    if current_of(tmp_path / "p").left_out:  # else only its rows are damaged
        write(Store(tmp_path / "p"), "good", 0, 7)
        assert (tmp_path / "p" / "set-aside" / f"{file.stem}--0" / file.name).read_bytes() == content
        assert len(current_of(tmp_path / "p").cells) == 4


def test_a_file_that_claims_more_than_any_cell_has_is_not_unpacked(tmp_path, monkeypatch):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as members:
        members.writestr("run.json", "0" * 2000)
    (tmp_path / "a.zip").write_bytes(content.getvalue())
    assert member_size(tmp_path / "a.zip", "run.json") == 2000
    monkeypatch.setattr(packed, "_LARGEST", 1000)
    with pytest.raises(NotAFileError, match="2,000 bytes; at most 1,000"):
        read_member(tmp_path / "a.zip", "run.json")
    with pytest.raises(FileNotFoundError):
        read_member(tmp_path / "a.zip", "metrics.jsonl")
    os.mkfifo(tmp_path / "pipe.zip")
    with pytest.raises(NotAFileError):
        read_member(tmp_path / "pipe.zip", "run.json")


@given(st.dictionaries(st.sampled_from(["run.json", "metrics.jsonl", "pictures.npz"]), st.binary(max_size=200)))
def test_what_is_packed_comes_back(tmp_path_factory, files):
    def content_of(name: str) -> bytes:
        if name not in files:
            raise FileNotFoundError(name)
        return files[name]

    place = tmp_path_factory.mktemp("packed") / "a.zip"
    place.write_bytes(pack(content_of))
    assert pack(content_of) == place.read_bytes()
    for name, content in files.items():
        assert read_member(place, name) == content
        assert member_size(place, name) == len(content)
    assert not StoredCell(place).has("log.txt")


def test_a_packed_cell_is_done_and_a_failed_one_is_run_again(tmp_path):
    store = store_with(tmp_path / "one", "naive")
    write(store, "good", 0, 1, status="failed")
    publish(Store(store.path), tmp_path / "p")
    published = Store(tmp_path / "p")
    with pytest.raises(CellDoneError):
        write(published, "naive", 0, 3)
    published.fail("split-x-good-1-0", {}, "its process is gone")
    assert published.cell("split-x-good-1-0").is_packed
    write(published, "good", 0, 3)
    assert published.cell("split-x-good-1-0").status == "done"
    why = (tmp_path / "p" / "set-aside" / "split-x-good-1-0--0" / "why.txt").read_text()
    assert why == "failed, and was run again: ValueError: boom\n"


def test_a_run_goes_on_from_a_published_folder_and_every_command_reads_it(tmp_path):
    cells = product(
        [parse_spec("scenario", "split-digits:steps=3,classes_per_interval=5")],
        [parse_spec("method", f"{name}:width=8") for name in ("naive", "batch")],
        (0, 1),
    )
    store = Store.create(tmp_path / "runs" / "mine")
    save_plan(store, cells, "lifegen run ...")
    for cell in cells[:3]:
        assert run_cell(cell, store.path, tmp_path, "cpu") == "done"
    publish(store, tmp_path / "p")
    assert "1 of 2" in (tmp_path / "p" / "README.md").read_text()
    command = ["run", "-s", "split-digits:steps=3,classes_per_interval=5", "-m", "naive:width=8", "-m", "batch:width=8",
               "--seeds", "0-1", "--jobs", "1", "--out", tmp_path / "p"]  # fmt: skip
    told = lifegen(*command)
    assert told.returncode == 0, told
    assert "4 cells, 3 done, 1 to run" in told.stdout + told.stderr
    publish(Store(tmp_path / "p"), tmp_path / "p")
    assert {path.suffix for path in (tmp_path / "p" / "cells").iterdir()} == {".zip"}
    for words in (["leaderboard"], ["compare", "naive:width=8", "batch:width=8"], ["plot", "final"], ["status"]):
        told = lifegen(words[0], tmp_path / "p", *words[1:])
        assert told.returncode == 0, told
    judged = lifegen("check", tmp_path / "p")
    assert judged.returncode == 0, judged
    assert "kept    split-digits:steps=3,classes_per_interval=5 has the images of this machine" in judged.stdout
    again = compare_cells(Store(tmp_path / "p").cell(cells[0].name), store.cell(cells[0].name))
    assert again.equal
    assert again.numbers > 10


Change = Callable[[dict[str, Any]], dict[str, Any]]


@pytest.mark.parametrize(
    ("change", "promise"),
    [
        (lambda record: record | {"numbers": {"negative_elbo": 1.0}}, "the numbers in the records follow"),
        (lambda record: record | {"data": "of another"}, "the cells of each scenario were computed on the same images"),
        (lambda record: record | {"digest": "0" * 32}, "every cell is whole"),
        (lambda record: record | {"protocol": 2}, "every finished cell is of the installed versions"),
    ],
)
def test_what_is_wrong_with_offered_results_is_found(tmp_path, change: Change, promise: str):
    store = store_with(tmp_path / "one", "naive", "good")
    assert all(finding.status != "broken" for finding in check_results(store.path))
    cell = store.cell("split-x-good-1-0")
    write_record(cell.folder, change(cell.record))
    broken = [finding for finding in check_results(store.path) if finding.status == "broken"]
    assert any(finding.promise.startswith(promise) for finding in broken), broken
    assert all(finding.seen and finding.expected and finding.look for finding in broken)


def test_a_published_table_that_does_not_follow_from_its_cells_is_found(tmp_path):
    publish(store_with(tmp_path / "one", "naive"), tmp_path / "p")
    table = pd.read_parquet(tmp_path / "p" / "measurements.parquet")
    table.assign(value=table["value"] - 1).to_parquet(tmp_path / "p" / "measurements.parquet", index=False)
    told = lifegen("check", tmp_path / "p")
    assert told.returncode == 1
    assert "BROKEN  its table of measurements follows from the cells" in told.stdout + told.stderr


def test_a_folder_without_results_is_refused(tmp_path):
    told = lifegen("check", tmp_path)
    assert told.returncode == 2
    assert "isn't a lifegen store" in told.stdout + told.stderr
    Store.create(tmp_path / "empty")
    assert [one.promise for one in check_results(tmp_path / "empty") if one.status == "broken"] == ["it has results"]
    assert json.loads((tmp_path / "empty" / "lifegen.json").read_text())["schema"] == 4


def test_a_strangers_code_is_not_run(tmp_path):
    """A label is free text, which may name a file."""
    store = store_with(tmp_path / "one", "naive")
    evil = store.path / "evil.py"
    evil.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    cell = store.cells()[0]
    scenario = {"name": "split-digits", "label": str(evil), "version": 1, "config": {}, "track": "bernoulli-grey"}
    write_record(cell.folder, cell.record | {"scenario": scenario})
    promises = {finding.promise: finding.status for finding in check_results(store.path)}
    assert not (tmp_path / "ran").exists()
    assert promises["methods and scenarios have their own names"] == "broken"


def test_a_method_under_the_name_of_another_is_found(tmp_path):
    store = store_with(tmp_path / "one", "ewc")
    cell = store.cells()[0]
    method = cell.record["method"] | {"label": "naive", "config": {}}
    write_record(cell.folder, cell.record | {"method": method})
    (broken,) = [finding for finding in check_results(store.path) if finding.status == "broken"]
    assert "its method is called 'naive', and is 'ewc'" in broken.seen


def test_pictures_that_were_changed_and_numbers_without_measurements_are_found(tmp_path):
    store = store_with(tmp_path / "one", "naive", "good")
    (store.cell("split-x-good-1-0").folder / "pictures.npz").write_bytes(b"others")
    cell = store.cell("split-x-naive-1-0")
    write_record(cell.folder, cell.record | {"numbers": current_of(store).cells[0].numbers | {"iwae_nll": 1.0}})
    broken = {finding.promise: finding.seen for finding in check_results(store.path) if finding.status == "broken"}
    assert "pictures.npz: it has changed since" in broken["every cell is whole"]
    assert "iwae_nll is 1.0" in broken["the numbers in the records follow from the measurements"]


@pytest.mark.parametrize("name", ["cells", "plans", "figures"])
def test_links_lead_nowhere(tmp_path, name):
    publish(store_with(tmp_path / "one", "naive"), tmp_path / "p")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious.png").write_text("mine")
    if (tmp_path / "p" / name).exists():
        (tmp_path / "p" / name).rename(tmp_path / "moved")
    (tmp_path / "p" / name).symlink_to(elsewhere)
    with pytest.raises(InputError, match=f"{name} is a link; a published folder has everything in itself"):
        publish(store_with(tmp_path / "two", "good"), tmp_path / "p")
    assert (elsewhere / "precious.png").read_text() == "mine"


def test_files_of_the_users_stay_in_figures_and_in_cells(tmp_path):
    publish(store_with(tmp_path / "one", "naive"), tmp_path / "p")
    (tmp_path / "p" / "figures").mkdir(exist_ok=True)
    (tmp_path / "p" / "figures" / "notes.txt").write_text("mine")
    store = Store(tmp_path / "p")
    write(store, "good", 0, 20)
    (store.cell("split-x-good-1-0").folder / "notes.txt").write_text("mine")
    publish(Store(store.path), tmp_path / "p")
    assert (tmp_path / "p" / "figures" / "notes.txt").read_text() == "mine"
    assert (tmp_path / "p" / "cells" / "split-x-good-1-0" / "notes.txt").read_text() == "mine"


def test_a_damaged_published_cell_blocks_nothing_and_a_whole_one_replaces_it(tmp_path):
    one = store_with(tmp_path / "one", "naive", "good")
    publish(one, tmp_path / "p")
    file = tmp_path / "p" / "cells" / "split-x-good-1-0.zip"
    content = file.read_bytes()
    with zipfile.ZipFile(file) as members:
        parts = {name: members.read(name) for name in members.namelist()}
    with zipfile.ZipFile(file, "w") as members:
        for name, part in parts.items():
            members.writestr(name, part.replace(b"0.5", b"0.6") if name == "metrics.jsonl" else part)
    publish(store_with(tmp_path / "two", "other"), tmp_path / "p")
    publish(one, tmp_path / "p")
    assert file.read_bytes() == content
    assert len(current_of(tmp_path / "p").readable(lambda cell: cell.rows).cells) == 6


def test_streams_whose_visits_follow_the_seed_are_published(tmp_path):
    store = store_with(tmp_path / "one", "naive")
    for cell in store.cells():
        scenario = {"name": "rotated-digits", "label": "rotated-digits", "version": 1, "config": {"angles": [30]}}
        facts = {"scenario": cell.record["scenario"] | scenario, "data": f"of seed {cell.record['seed']}"}
        write_record(cell.folder, cell.record | facts)
    publish(Store(store.path), tmp_path / "p")
    assert len(names(tmp_path / "p")) == 2


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_only_what_lifegen_writes_is_unpacked(tmp_path, method):
    """The other ways have no bound on what a few bytes unpack to."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as members:
        members.writestr("run.json", "0" * 2000)
    with pytest.raises(NotAFileError, match="compressed in another way"):
        read_member(tmp_path / "a.zip", "run.json")


def test_one_process_at_a_time_publishes_into_a_folder(tmp_path):
    publish(store_with(tmp_path / "one", "naive"), tmp_path / "p")
    other = store_with(tmp_path / "two", "good")
    message = "another process publishes into it now; repeat the command"
    with FileLock(tmp_path / "p" / ".unfinished-lock"), pytest.raises(InputError, match=message):
        publish(other, tmp_path / "p")
    publish(other, tmp_path / "p")
    assert len(names(tmp_path / "p")) == 4
