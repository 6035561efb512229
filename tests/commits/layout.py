"""The layout of lifegen in some commits: ``python -m tests.commits.layout [COMMIT]...``; the working tree by default.

It prints the Python files and lines of each folder, the number of arrows (one for each pair of modules, or of folders),
and the circles: modules that import each other, directly or through others, in functions too.
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
    files = modules(root)
    arrows = {(one.importer, one.imported) for one in imports(files)}
    folder_of = {name: str(path.relative_to(root).parent) for name, path in files.items()}
    between = {(folder_of[a], folder_of[b]) for a, b in arrows if folder_of[a] != folder_of[b]}
    lines = []
    for folder in sorted(set(folder_of.values())):
        its = [path for name, path in files.items() if folder_of[name] == folder]
        lines.append(
            f"  {folder:36} {len(its):3} files {sum(len(path.read_text().splitlines()) for path in its):6,} lines"
        )
    lines.append(f"{len(files)} modules, {len(arrows)} arrows between modules, {len(between)} between folders")
    for what, pairs in (("modules", arrows), ("folders", between)):
        found = circles(pairs)
        lines.append(f"circles of {what}: {len(found) or 'none'}")
        lines += [f"  {', '.join(group)}" for group in found]
    return "\n".join(lines)


if __name__ == "__main__":
    main(*sys.argv[1:])
