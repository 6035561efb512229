"""A store's results as a folder for others: tables, figures, report, and how to repeat them. No torch."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from . import provenance, tables
from .catalogue import describe
from .errors import InputError
from .figure_kinds import FIGURE_KINDS, figure_name
from .figures.drawing import file_name
from .leaderboard import leaderboard
from .plots import drawings
from .report import report
from .runs import FACTS, runs_of
from .store import PUBLISHED, Store
from .suite import suites


def publish(store: Store, folder: Path) -> list[Path]:
    """Write a store's results: ``measurements.parquet`` and ``.csv.gz`` (the tidy table), ``leaderboard.csv``, figures,
    ``report.html``, the files of plug-ins that aren't installed, and a ``README.md`` with the leaderboard, the
    commands, machines and versions.

    Args:
        store: with at least one finished cell.
        folder: new, empty, or published before: then it is replaced.

    Returns:
        the files written.

    Raises:
        InputError: the store has nothing to show, or the folder holds something else or can't be written to.
    """
    runs = runs_of(store)
    board = leaderboard(runs)
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / PUBLISHED).exists())):
        raise InputError(f"{folder} holds something other than published results; choose another --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files = _tables(store, folder)
        for file_of_plugin, text in provenance.files(store).items():
            (folder / file_of_plugin).write_text(text)
            files.append(folder / file_of_plugin)
        (folder / "leaderboard.csv").write_text(tables.to_csv(board))
        (folder / FACTS).write_text(tables.to_json(board))
        figures = _figures(store, folder / "figures", several=len(runs.scenarios) > 1)
        files += [
            folder / "leaderboard.csv",
            folder / FACTS,
            *figures,
            report(store, folder / "report.html"),
            folder / "README.md",
        ]
        name = provenance.suite_of(store)
        pages = Environment(
            loader=PackageLoader("lifegen.benchmark"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        page = pages.get_template("published.md.j2").render(
            title=name or store.path.name,
            summary=suites()[name].summary if name else "",
            commands=provenance.commands(store),
            out=provenance.out(store),
            leaderboard=tables.to_markdown(board),
            circumstances=provenance.circumstances(store).round({"hours": 2}).T.to_markdown(),
            versions=provenance.versions(store),
            plugin_files=sorted(provenance.files(store)),
            figures=[file.relative_to(folder) for file in figures],
        )
        (folder / "README.md").write_text(page)
    except OSError as error:
        raise InputError(f"{folder} can't be written to: {error.strerror or error}") from None
    return files


def _tables(store: Store, folder: Path) -> list[Path]:
    table = store.table()
    parquet, csv = folder / PUBLISHED, (folder / PUBLISHED).with_suffix(".csv.gz")
    table.to_parquet(parquet, index=False)
    table.to_csv(csv, index=False, compression={"method": "gzip", "mtime": 0})  # equal tables are equal files
    return [parquet, csv]


def _figures(store: Store, folder: Path, several: bool) -> list[Path]:
    """The figures that are published of every store, and those of the suite; in one folder per scenario where there are
    several.
    """
    name = provenance.suite_of(store)
    wanted = {"negative_elbo", *(kind for kind, facts in FIGURE_KINDS.items() if facts.is_published)}
    wanted |= {figure_name(figure, describe("metric")) for figure in (suites()[name].figures if name else ())}
    for old in sorted(folder.rglob("*"), reverse=True):
        old.unlink() if old.is_file() else old.rmdir()
    files = []
    for drawing in drawings(store):
        if wanted.isdisjoint((drawing.kind, drawing.name)):
            continue
        file = folder / (file_name(drawing.scenario) if several else "") / f"{drawing.name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        drawing.save(file, "png")
        files.append(file)
    return files
