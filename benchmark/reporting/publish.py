"""A store's results as a folder for others: tables, figures, report, and how to repeat them."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from ..cells.suite import suites
from ..errors import InputError
from ..files import read
from ..reading import provenance
from ..reading.current import Current, CurrentCell, current_of
from ..reading.leaderboard import leaderboard
from ..reading.scores import FACTS, scores_of
from ..reading.table import table
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
    current = current_of(source).readable(CurrentCell.rows)
    scores = scores_of(current)
    board = leaderboard(scores)
    place = folder.resolve()
    try:
        _repair(place)
        if place.exists() and (not place.is_dir() or (any(place.iterdir()) and not (place / PUBLISHED).exists())):
            raise InputError(f"{folder} holds something other than published results; choose another --out")
        texts = provenance.files(current)
        former = _files_before(place)
        if foreign := [name for name, text in texts.items() if name not in former and _differs(place / name, text)]:
            raise InputError(f"{folder / foreign[0]} isn't a published file and would be overwritten; move it away")
        with _replacing(place, former) as new:
            files = _tables(current, new)
            for name, text in texts.items():
                files.append(new / name)
                files[-1].write_text(text, encoding="utf-8")
            files += [new / "leaderboard.csv", new / FACTS]
            files[-2].write_text(tables.to_csv(board), encoding="utf-8")
            files[-1].write_text(tables.to_json(board, files=sorted(texts)), encoding="utf-8")
            suite = provenance.suite_of(current)
            figures = _figures(current, new / "figures", suite, several=len(scores.scenarios) > 1)
            files += [*figures, report(current, new / "report.html"), new / "README.md"]
            pages = Environment(
                loader=PackageLoader("lifegen.benchmark.reporting"),
                undefined=StrictUndefined,
                trim_blocks=True,
                lstrip_blocks=True,
            )
            page = pages.get_template("published.md.j2").render(
                title=tables.in_markdown(suite or current.store.path.resolve().name),
                summary=suites()[suite].summary if suite else "",
                commands=provenance.commands(current),
                out=provenance.out(current),
                leaderboard=tables.to_markdown(board),
                circumstances=_circumstances(current),
                versions={tables.in_markdown(part): number for part, number in provenance.versions(current).items()},
                plugin_files=[tables.in_markdown(name) for name in sorted(texts)],
                figures=[file.relative_to(new) for file in figures],
            )
            files[-1].write_text(page, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{folder} can't be written to: {error.strerror or error}") from None
    return [folder / file.relative_to(new) for file in files]


@contextmanager
def _replacing(place: Path, former: Collection[str]) -> Iterator[Path]:
    """Give an empty folder beside a published one, which takes its place at the end. A process that is killed leaves
    the old one, or :func:`_repair` brings it back.

    Args:
        place: the published folder, or where it comes to be.
        former: published files of extensions in it; files that were never published are copied.
    """
    new, old = _beside(place)
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    try:
        yield new
        if place.exists():
            ours = {PUBLISHED, _CSV, "leaderboard.csv", FACTS, "figures", "report.html", "README.md", *former}
            for other in (
                other for other in place.iterdir() if other.name not in ours and not (new / other.name).exists()
            ):
                if other.is_dir() and not other.is_symlink():
                    shutil.copytree(other, new / other.name, symlinks=True)
                else:
                    shutil.copy2(other, new / other.name, follow_symlinks=False)
            place.rename(old)
        new.rename(place)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _repair(place: Path) -> None:
    """Bring back a folder whose replacement was cut off between its two renames."""
    _, old = _beside(place)
    if old.exists() and not place.exists():
        old.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def _beside(place: Path) -> tuple[Path, Path]:
    """The places of a folder's successor and predecessor while it is replaced."""
    return place.with_name(f".{place.name}.new"), place.with_name(f".{place.name}.old")


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


def _figures(current: Current, folder: Path, suite: str | None, several: bool) -> list[Path]:
    """Draw the figures published for every store and those of the suite; several scenarios get a folder each."""
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
