"""Figures made of images, from each method's lowest seed that has them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...reading.current import CurrentCell
from .drawing import Drawing, Scene, seeds_in_words
from .layout import text_width
from .panels import canvas
from .style import Style

_MOST_INTERVALS, _MOST_ROWS = 12, 20
"""Rows of intervals, and of codes or distributions. Where there are more, an even choice of them is shown."""
_NAMES = 0.38
"""Share of a figure's width that the names of rows may take."""


def samples(scene: Scene) -> Iterator[Drawing]:
    """Samples of each method's final model, one row per code."""
    for cell, images in _pictures(scene, "samples"):
        codes = spread(len(images), _MOST_ROWS)
        figure = image_rows(images[codes], [str(code) for code in codes], "code", scene.style)
        yield _drawing(scene, "samples", cell, figure, "samples", _origin(cell, code=codes))


def samples_over_intervals(scene: Scene) -> Iterator[Drawing]:
    """Samples of each method after each interval, all from the same noise, one row per interval."""
    for cell, images in _pictures(scene, "samples_over_intervals"):
        chosen = spread(len(images), _MOST_INTERVALS)
        figure = image_rows(images[chosen], [str(i) for i in chosen], "after interval", scene.style)
        data = _origin(cell, interval=chosen)
        yield _drawing(scene, "samples_over_intervals", cell, figure, "samples after each interval", data)


def replayed_over_intervals(scene: Scene) -> Iterator[Drawing]:
    """What each method's replay showed its student in each interval as the past, all from the same noise, one row per
    interval."""
    for cell, images in _pictures(scene, "replayed_over_intervals"):
        later = [i for i in range(len(images)) if images[: i + 1].any()]
        chosen = [later[i] for i in spread(len(later), _MOST_INTERVALS)]
        figure = image_rows(images[chosen], [str(i) for i in chosen], "in interval", scene.style)
        yield _drawing(
            scene, "replayed_over_intervals", cell, figure, "what was replayed", _origin(cell, interval=chosen)
        )


def samples_by_method(scene: Scene) -> Iterator[Drawing]:
    """Samples of every method after the last interval, from equal noise, a row per method, below test images."""
    return _by_method(scene, "samples", "samples of every method from equal noise")


def replayed_by_method(scene: Scene) -> Iterator[Drawing]:
    """What every method's replay showed its student in the last interval as the past, a row per method, below test
    images."""
    return _by_method(scene, "replayed", "what was replayed in the last interval")


def _by_method(scene: Scene, of: str, what: str) -> Iterator[Drawing]:
    cells = [(cell, images[-1]) for cell, images in _pictures(scene, f"{of}_over_intervals")]
    if not cells:
        return
    means = scene.final.groupby("method")["negative_elbo"].mean().to_dict() if "negative_elbo" in scene.final else {}
    cells.sort(key=lambda pair: (means.get(pair[0].method, np.inf), pair[0].method))
    n = len(cells[0][1])
    originals = scene.pictures(cells[0][0])["originals"]
    chosen = spread(len(originals), n)
    tests = np.stack([originals[chosen[i % len(chosen)], i // len(chosen) % originals.shape[1]] for i in range(n)])
    rows = [
        ("test images", tests),
        *((scene.named(cell.method, _NAMES * scene.style.wide), images) for cell, images in cells),
    ]
    figure = image_rows(np.stack([images for _, images in rows]), [name for name, _ in rows], "", scene.style)
    data = pd.concat([_origin(cell, noise=["interval-samples"]) for cell, _ in cells])
    note = f"{seeds_in_words(cell for cell, _ in cells)}; best negative ELBO first"
    yield scene.drawing(f"{of}_by_method", figure, what, note, data)


def reconstructions(scene: Scene) -> Iterator[Drawing]:
    """Test images, their reconstructions by each method's final model, and the deviation of these over draws of the
    latent variables, one row per distribution (paper, figure 6)."""
    for cell, rebuilt in _pictures(scene, "reconstructions"):
        pictures = scene.pictures(cell)
        parts = [pictures["originals"], rebuilt]
        what = "test images (left), reconstructions (right)"
        if "deviations" in pictures:
            parts.append(pictures["deviations"])
            what = "test images, reconstructions, and their deviation over draws of z (white: a half)"
        images = np.concatenate(parts, axis=1)
        chosen = spread(len(images), _MOST_ROWS)
        names = [cell.distributions[i] for i in chosen]
        figure = image_rows(images[chosen], names, "", scene.style, parts=len(parts))
        yield _drawing(scene, "reconstructions", cell, figure, what, _origin(cell, distribution=names))


def style_grid(scene: Scene) -> Iterator[Drawing]:
    """Images of each code for styles on a square grid over [−3, 3]², one panel per code (paper, section 5.3)."""
    for cell, grids in _pictures(scene, "style_grid"):
        figure = style_panels(grids, scene)
        data = _origin(cell, code=range(len(grids)))
        yield _drawing(scene, "style_grid", cell, figure, "codes over styles in [−3, 3]²", data)


def spread(n: int, most: int) -> list[int]:
    """At most ``most`` of n indices, evenly spread, with the first and the last."""
    return [round(i) for i in np.linspace(0, n - 1, min(n, most))]


def image_rows(images: np.ndarray, names: Sequence[str], label: str, style: Style, parts: int = 1) -> Figure:
    """A row of images for each name.

    Args:
        images: uint8, (rows, images, channels, height, width).
        names: the names of the rows.
        label: what to write at the rows' axis.
        style: decides the size.
        parts: equal parts of each row, with lines between them.
    """
    rows, n, _, height, width = images.shape
    # On a screen letters are up to 5 % wider than in print.
    margin = 1.06 * max(text_width(name, 0.9 * style.font) for name in names) + 2.4 * style.font / 72
    lines = max(name.count("\n") + 1 for name in names)
    edge = 0.6 * style.font / 72
    across = min((style.wide if n > 10 else style.width) - margin - edge, 0.055 * style.font * n)
    scale = across / (n * width)  # inches of a pixel
    if lines > 1 and (lacking := 1.4 * lines * 0.9 * style.font / 72 / scale - height) > 0:
        # A row is as high as its name: there is white above and below its images.
        above = int(np.ceil(lacking / 2))
        images = np.pad(images, ((0, 0), (0, 0), (0, 0), (above, above), (0, 0)), constant_values=255)
        height += 2 * above
    tall = scale * rows * height
    # Placed by hand: a layout engine may cut names where images keep their shape.
    size = across + margin + edge, tall + 2 * edge
    figure = Figure(figsize=size)
    axes = figure.add_axes((margin / size[0], edge / size[1], across / size[0], tall / size[1]), anchor="SE")
    _show(axes, _tiled(images))
    axes.set_yticks((np.arange(rows) + 0.5) * height - 0.5, list(names))
    axes.set(xticks=[], ylabel=label if text_width(label, style.font) <= size[1] else "")
    axes.tick_params("y", length=0)
    for row in range(1, rows):
        axes.axhline(row * height - 0.5, color="white", linewidth=0.6 * style.line)
    for part in range(1, parts):
        axes.axvline(part * n // parts * width - 0.5, color="white", linewidth=2 * style.line)
    return figure


def style_panels(grids: np.ndarray, scene: Scene) -> Figure:
    """A panel for each code.

    Args:
        grids: uint8, (codes, points², channels, height, width), row by row.
        scene: the scenario, whose style decides the size.
    """
    points = round(np.sqrt(grids.shape[1]))
    columns = min(len(grids), 4)
    lines = -(-len(grids) // columns)
    side = (scene.style.wide if columns > 1 else scene.style.width) / columns
    figure, panels = canvas(scene, shape=(lines, columns), wide=columns > 1, height=1.1 * side * lines)
    for panel in panels.flat[len(grids) :]:
        panel.remove()
    for code, (panel, images) in enumerate(zip(panels.flat, grids, strict=False)):
        _show(panel, _tiled(images.reshape(points, points, *images.shape[1:])))
        panel.set(xticks=[], yticks=[], title=f"code {code}")
    return figure


def _pictures(scene: Scene, key: str) -> Iterator[tuple[CurrentCell, np.ndarray]]:
    """The cell of each method's lowest seed, with its pictures of this name. Where an older lifegen took none of that
    name, the next seed's; but no seed stands in for one whose pictures are damaged."""
    done: set[str] = set()
    for cell in sorted(scene.cells, key=lambda cell: (cell.method, cell.record["seed"])):
        if cell.method not in done:
            pictures = scene.pictures(cell)
            if key in pictures:
                yield cell, pictures[key]
            if key in pictures or not pictures:
                done.add(cell.method)


def _origin(cell: CurrentCell, **rows: Sequence[object]) -> pd.DataFrame:
    """The cell that each row of images is from."""
    return pd.DataFrame({"method": cell.method, "seed": cell.record["seed"], "cell": cell.name, **rows})


def _drawing(scene: Scene, kind: str, cell: CurrentCell, figure: Figure, what: str, data: pd.DataFrame) -> Drawing:
    name = f"{kind}-{scene.file_names[cell.method]}"
    who = scene.named(cell.method)
    note = f"seed {cell.record['seed']}" if scene.style.titled else f"{who}, seed {cell.record['seed']}"
    return scene.drawing(name, figure, f"{who}, {what}", note, data, kind)


def _tiled(images: np.ndarray) -> np.ndarray:
    """(rows, columns, channels, height, width) as one image, (rows · height, columns · width, channels)."""
    rows, columns, channels, height, width = images.shape
    return images.transpose(0, 3, 1, 4, 2).reshape(rows * height, columns * width, channels)


def _show(axes: Axes, image: np.ndarray) -> None:
    axes.imshow(image if image.shape[2] == 3 else image[..., 0], cmap="gray", vmin=0, vmax=255)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
