"""The layout of lifegen in some commits: ``python -m tests.commits.layout [COMMIT]...``; the working tree by default.

It prints the Python files and lines of each folder, the number of arrows between modules and between rooms,
and the circles: modules or rooms that import each other, directly or through others, in functions too. A room is a
folder, or a file that lies beside folders.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from .checkout import checked_out
from .imports import imports, modules


def main(*commits: str) -> None:
    """Print the layout of each commit."""
    for commit in commits or ("",):
        with TemporaryDirectory() as scratch:
            checkout = checked_out(commit, Path(scratch, "commit"))
            print(f"{checkout.commit}\n{_described(checkout.folder)}\n")


def circles(arrows: Iterable[tuple[str, str]]) -> list[list[str]]:
    """The groups of things that point at each other, directly or through others."""
    pairs = sorted(set(arrows))
    names = sorted({name for pair in pairs for name in pair})
    rows, columns = ([names.index(pair[end]) for pair in pairs] for end in (0, 1))
    graph = coo_array((np.ones(len(pairs)), (rows, columns)), shape=(len(names), len(names)))
    _, groups = connected_components(graph, directed=True, connection="strong")
    sizes = Counter(groups.tolist())
    return [[name for name, its in zip(names, groups, strict=True) if its == group]
            for group in sizes if sizes[group] > 1]  # fmt: skip


def _described(root: Path) -> str:
    files = {name: path.relative_to(root) for name, path in modules(root).items()}
    arrows = {(one.importer, one.imported) for one in imports(modules(root))}
    lines = []
    for folder in sorted({file.parent for file in files.values()}):
        its = [root / file for file in files.values() if file.parent == folder]
        length = sum(len(file.read_text().splitlines()) for file in its)
        lines.append(f"  {folder!s:36} {len(its):3} files {length:6,} lines")
    with_folders = {file.parent.parent for file in files.values()}
    room_of = {name: file if file.parent in with_folders else file.parent for name, file in files.items()}
    between = {(str(room_of[a]), str(room_of[b])) for a, b in arrows if room_of[a] != room_of[b]}
    rooms = len(set(room_of.values()))
    lines.append(f"{len(files)} modules, {len(arrows)} arrows; {rooms} rooms, {len(between)} arrows")
    for what, pairs in (("modules", arrows), ("rooms", between)):
        found = circles(pairs)
        lines.append(f"circles of {what}: {len(found) or 'none'}")
        lines += [f"  {', '.join(group)}" for group in found]
    return "\n".join(lines)


if __name__ == "__main__":
    main(*sys.argv[1:])
