"""Dots of positives on an image, in the color of their source, and the legend that explains them."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from lad.analysis.positives import SOURCES, Positives
from lad.figures.style import (
    BOTH,
    GT,
    MAX_VECTOR_SHAPES,
    NEITHER,
    STUDENT,
    TEACHER,
    add_legend_rows,
    crowd_scale,
    draw_box,
    draw_boxes,
    network_color,
)
from lad.geometry import STRIDES, Anchors, box_area
from lad.structures import Targets

ALL_LEVELS = range(len(STRIDES))
LEVELS = tuple(f"P{3 + level}" for level in ALL_LEVELS)
MARKER_SIZE = (16, 42, 90, 160, 250)  # by level, points²
DOT_SCALE = 1.6  # factor of the dots' areas in a figure of one image
PALE_ALPHA, BOLD_ALPHA = 0.3, 0.85
SOURCE_COLORS = dict(zip(SOURCES, (STUDENT, TEACHER, BOTH, NEITHER), strict=True))


def draw_dots(
    ax: Axes, anchors: Anchors, targets: Targets, positives: Positives, alpha: float, scale: float = DOT_SCALE
) -> None:
    """Draw a dot at each positive's location and a line to the center of its gt.

    Args:
        ax: The axes of the image.
        anchors: The anchors of the image.
        targets: The gts of the image.
        positives: The positives to draw.
        alpha: Opacity of the colors; the dots' white rims are opaque, so that a pale dot is visible on its own color.
        scale: A factor of the dots' areas.
    """
    if not len(positives.anchor):
        return
    colors, num_gts = source_colors(positives), len(targets.boxes)
    draw_lines(ax, anchors.center[positives.anchor], targets.boxes[positives.gt], colors, 0.7 * alpha, num_gts)
    x, y, sizes = dot_geometry(anchors, positives, scale).T
    draw_markers(ax, x, y, sizes, [to_rgba(color, alpha) for color in colors], num_gts)


def draw_lines(
    ax: Axes, points: Tensor, boxes: Tensor, colors: str | Sequence[str], alpha: float, num_gts: int
) -> None:
    """Draw a line from each point [P, 2] to the center of its box [P, 4], thinner in an image with many gts."""
    lines = torch.stack([points, (boxes[:, :2] + boxes[:, 2:]) / 2], dim=1)
    ax.add_collection(
        LineCollection(
            list(lines.numpy()), colors=colors, lw=0.6 * crowd_scale(num_gts), alpha=alpha,
            rasterized=len(lines) > MAX_VECTOR_SHAPES,
        )
    )  # fmt: skip


def draw_markers(
    ax: Axes, x: np.ndarray, y: np.ndarray, sizes: np.ndarray, colors: Sequence[Any], num_gts: int
) -> None:
    """Draw dots of the given areas in points², with a white rim that is thinner in an image with many gts."""
    ax.scatter(
        x, y, s=sizes, color=colors, lw=0.6 * crowd_scale(num_gts), edgecolors="white", zorder=3, clip_on=False,
        rasterized=len(x) > MAX_VECTOR_SHAPES,
    )  # fmt: skip


def draw_gts(ax: Axes, boxes: Sequence[Sequence[float]], chosen: int | None, width: float, chosen_width: float) -> None:
    """Draw gt boxes, lines in points wide; if one of them is chosen, it is drawn last and the others are dashed."""
    others = [box for row, box in enumerate(boxes) if row != chosen]
    draw_boxes(ax, others, GT, "-" if chosen is None else "--", width)
    if chosen is not None:
        draw_box(ax, boxes[chosen], GT, chosen_width)


def importance(targets: Targets, chosen: int | None) -> Tensor:
    """Return how important the caption of each gt is, [T]: its area, and infinite for the chosen one."""
    is_chosen = torch.arange(len(targets.boxes)) == (-1 if chosen is None else chosen)
    return torch.where(is_chosen, torch.inf, box_area(targets.boxes))


def dot_geometry(anchors: Anchors, positives: Positives, scale: float = DOT_SCALE) -> np.ndarray:
    """Return x, y and the area in points² of each positive's dot, [P, 3]."""
    size = scale * torch.tensor(MARKER_SIZE)[anchors.level[positives.anchor]]
    return torch.cat([anchors.center[positives.anchor], size[:, None]], dim=1).numpy()


def source_colors(positives: Positives) -> list[str]:
    """Return the color of each positive's source."""
    return [SOURCE_COLORS[SOURCES[source]] for source in positives.source.tolist()]


def add_positives_legend(
    figure: Figure,
    positives: Positives,
    levels: Collection[int],
    predicted: Sequence[str] = (),
    scale: float = DOT_SCALE,
) -> None:
    """Add a legend at the bottom of a figure: networks with predicted boxes, sources and levels, a row each.

    Args:
        figure: The figure, with `LEGEND_ROW` inches of room for each row.
        positives: The positives whose sources the legend explains.
        levels: The levels to explain, 0 for P3 … 4 for P7.
        predicted: The networks whose predicted boxes the figure shows.
        scale: A factor of the dots' areas.
    """
    marker = {"marker": "o", "ls": "", "markeredgecolor": "white"}
    names = [SOURCES[source] for source in positives.source.unique().tolist()]
    sources = [(SOURCE_COLORS[name], 7.0, name) for name in names]
    sizes = [("#BBBBBB", (scale * MARKER_SIZE[level]) ** 0.5, LEVELS[level]) for level in ALL_LEVELS if level in levels]
    dashed = [
        Line2D([], [], color=network_color(name), lw=1, ls="--", label=f"predicted by the {name}") for name in predicted
    ]
    dots = [
        [Line2D([], [], color=color, ms=size, label=label, **marker) for color, size, label in entries]  # type: ignore[arg-type]
        for entries in (sources, sizes)
    ]
    add_legend_rows(figure, [*([dashed] if dashed else []), *dots])
