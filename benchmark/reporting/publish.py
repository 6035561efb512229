"""A store's results as a folder for others: tables, figures, report, and how to repeat them."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from ..cells.suite import suites
from ..errors import InputError
from ..files import read
from ..reading import provenance
from ..reading.current import Current, current_of
from ..reading.leaderboard import leaderboard
from ..reading.scores import FACTS, scores_of
from ..reading.table import table
from ..store.record import Status
from ..store.store import PUBLISHED, Store
from . import tables
from .figure_kinds import FIGURE_KINDS, figure_name
from .figures.drawing import file_name
from .plots import drawings
from .report import report


def publish(source: Store | Current, folder: Path) -> list[Path]:
    """Write a store's results: ``measurements.parquet`` and ``.csv.gz`` (the tidy table), ``leaderboard.csv``, figures,
    ``report.html``, the files of extensions that aren't installed, and a ``README.md`` with the leaderboard, the
    commands, machines and versions.

    Args:
        source: the store, with at least one finished cell.
        folder: a new or empty folder, or one published before, whose published files are replaced and others stay.

    Returns:
        the files written.

    Raises:
        InputError: the store has nothing to show, or the folder holds something else or can't be written to.
    """
    current = current_of(source).readable(lambda cell: cell.rows)
    scores = scores_of(current)
    board = leaderboard(scores)
    if unreadable := [name for name, why in current.damaged.items() if why.status == Status.UNREADABLE]:
        why = current.damaged[unreadable[0]]
        raise InputError(
            f"{len(unreadable)} cells can't be read now, the first, {unreadable[0]}: {why}; publish again later"
        )
    try:
        if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not _is_ours(folder))):
            raise InputError(f"{folder} holds something other than published results; choose another --out")
        texts = provenance.files(current)
        former = _files_before(folder)
        if foreign := [name for name, text in texts.items() if name not in former and _differs(folder / name, text)]:
            raise InputError(f"{folder / foreign[0]} isn't a published file and would be overwritten; move it away")
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(f"{_PREFIX}*"):  # by a process that was killed
            shutil.rmtree(left)
        with TemporaryDirectory(dir=folder, prefix=_PREFIX) as unfinished:
            new = Path(unfinished)
            files = _tables(current, new)
            for name, text in texts.items():
                files.append(new / name)
                files[-1].write_text(text, encoding="utf-8")
            files += [new / "leaderboard.csv", new / FACTS]
            files[-2].write_text(tables.to_csv(board), encoding="utf-8")
            files[-1].write_text(tables.to_json(board, files=sorted(texts)), encoding="utf-8")
            figures = _figures(current, new / "figures", several=len(scores.scenarios) > 1)
            files += [*figures, report(current, new / "report.html"), new / "README.md"]
            page = _page(current, board, sorted(texts), [file.relative_to(new) for file in figures])
            files[-1].write_text(page, encoding="utf-8")
            _put(new, folder, former)
    except OSError as error:
        raise InputError(f"{folder} can't be written to: {error.strerror or error}") from None
    return [folder / file.relative_to(new) for file in files]


def _page(current: Current, board: pd.DataFrame, texts: Sequence[str], figures: Sequence[Path]) -> str:
    """The text of README.md.

    Args:
        current: the store.
        board: its leaderboard.
        texts: the published files of extensions.
        figures: the published figures, in the folder.
    """
    suite = provenance.suite_of(current)
    pages = Environment(
        loader=PackageLoader("lifegen.benchmark.reporting"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return pages.get_template("published.md.j2").render(
        title=tables.in_markdown(suite or current.store.path.resolve().name),
        summary=suites()[suite].summary if suite else "",
        commands=provenance.commands(current),
        out=provenance.out(current),
        leaderboard=tables.to_markdown(board),
        circumstances=_circumstances(current),
        versions={tables.in_markdown(part): number for part, number in provenance.versions(current).items()},
        plugin_files=[tables.in_markdown(name) for name in texts],
        figures=figures,
    )


def _is_ours(folder: Path) -> bool:
    """Whether a folder holds published results, or only what a publication that was cut off has left."""
    return (folder / PUBLISHED).exists() or all(file.name.startswith(_PREFIX) for file in folder.iterdir())


def _put(new: Path, place: Path, former: set[str]) -> None:
    """Put finished files in the place of a folder's earlier ones. What is gone goes last, so that a process that is
    killed takes no figure along, and the next publication mends what it leaves.

    Args:
        new: the folder that has the finished files, in the folder itself.
        place: the folder.
        former: earlier files of extensions.
    """
    files = {file.relative_to(new) for file in new.rglob("*") if file.is_file()}
    for file in sorted(files, key=lambda file: (file.name == "README.md", file.name == FACTS, str(file))):
        (place / file).parent.mkdir(parents=True, exist_ok=True)
        (new / file).replace(place / file)
    for old in sorted((place / "figures").rglob("*"), reverse=True):
        if old.is_dir() and not old.is_symlink():
            with suppress(OSError):  # it isn't empty
                old.rmdir()
        elif old.relative_to(place) not in files:
            old.unlink()
    for name in former - {str(file) for file in files}:
        (place / name).unlink(missing_ok=True)


_PREFIX = ".unfinished-"
_CSV = "measurements.csv.gz"
_NAMED_IN_README = re.compile(r"^with (.+) of this folder in the current one\.$", re.MULTILINE)


def _files_before(folder: Path) -> set[str]:
    """The files of extensions published into a folder before. ``leaderboard.json`` lists them; an older folder's
    README.md names them."""
    names: list[object] = []
    with suppress(OSError, ValueError, RecursionError):
        content = json.loads(read(folder / FACTS))
        if isinstance(content, dict) and isinstance(content.get("files"), list):
            names = content["files"]
        elif match := _NAMED_IN_README.search(read(folder / "README.md").decode()):
            names = list(match[1].split(", "))
    return {name for name in names if isinstance(name, str) and name.endswith(".py") and Path(name).name == name}


def _differs(file: Path, text: str) -> bool:
    """Whether a file exists with other content."""
    return file.exists() and not (file.is_file() and file.read_bytes() == text.encode())


def _circumstances(current: Current) -> str:
    """Machines and versions as a Markdown table."""
    table = provenance.circumstances(current).round({"hours": 2}).rename(columns=tables.in_markdown)
    return str(table.map(lambda value: tables.in_markdown(value) if isinstance(value, str) else value).T.to_markdown())


def _tables(current: Current, folder: Path) -> list[Path]:
    tidy = table(current)
    parquet, csv = folder / PUBLISHED, folder / _CSV
    tidy.to_parquet(parquet, index=False)
    tidy.to_csv(csv, index=False, compression={"method": "gzip", "mtime": 0})  # equal tables are equal files
    return [parquet, csv]


def _figures(current: Current, folder: Path, several: bool) -> list[Path]:
    """Draw the figures published for every store and those of the suite; several scenarios get a folder each."""
    suite = provenance.suite_of(current)
    wanted = {"negative_elbo", *(kind for kind, facts in FIGURE_KINDS.items() if facts.is_published)}
    wanted |= {figure_name(figure, current.metrics) for figure in (suites()[suite].figures if suite else ())}
    files = []
    for drawing in drawings(current):
        if wanted.isdisjoint((drawing.kind, drawing.name)):
            continue
        file = folder / (file_name(drawing.scenario) if several else "") / f"{drawing.name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        drawing.save(file, "png")
        files.append(file)
    return files
