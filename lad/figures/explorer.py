"""Figures of one image: its anchors, its positives, and the cost of every anchor."""

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from lad.analysis.positives import SOURCES, Positives
from lad.figures.captions import draw_captions
from lad.figures.dots import (
    ALL_LEVELS,
    BOLD_ALPHA,
    DOT_SCALE,
    LEVELS,
    MARKER_SIZE,
    PALE_ALPHA,
    add_positives_legend,
    dot_geometry,
    draw_dots,
    draw_gts,
    importance,
    source_colors,
)
from lad.figures.style import (
    DPI,
    GT,
    LEGEND_ROW,
    MAX_ASPECT,
    NEITHER,
    TITLE,
    WIDTH,
    crowd_scale,
    draw_box,
    draw_boxes,
    empty_figure,
    network_color,
    show_image,
)
from lad.figures.text import plain_text
from lad.geometry import STRIDES, Anchors, box_iou
from lad.structures import Targets

MAX_TITLE_LETTERS = 66  # of a title at full size that fits the width
ANCHOR = "#56B4E9"  # no network has this color
COST_COLORMAP = "cividis_r"  # low costs are bright


@plain_text
def draw_positives(
    image: Tensor | np.ndarray,
    targets: Targets,
    anchors: Anchors,
    positives: Positives,
    gt: int | None = None,
    gt_names: Sequence[str] = (),
    levels: Collection[int] = ALL_LEVELS,
    show_anchors: bool = False,
    predicted: Mapping[str, Tensor] | None = None,
    title: str = "",
) -> Figure:
    """Draw the positives of one image, in the color of the networks they belong to.

    A dot marks the location of a positive, larger on coarser levels, with a line to its gt; the number at a gt counts
    its positives.

    Args:
        image: Normalized and padded [3, H, W], or its pixels [h, w, 3] uint8.
        targets: The gts of the image.
        anchors: The anchors of the padded image.
        positives: The positives to draw.
        gt: The row of a gt to highlight; the positives of the others are pale.
        gt_names: The name of each gt.
        levels: The levels to show, 0 for P3 … 4 for P7.
        show_anchors: Whether to draw the anchor boxes of the highlighted gt's positives.
        predicted: Predicted boxes [P, 4] by network, "student" or "teacher"; they are dashed.
        title: The beginning of the title, before the name of the gt and the number of its positives.
    """
    predicted = {name: boxes for name, boxes in (predicted or {}).items() if len(boxes)}
    height, width = targets.image_hw[0].tolist()
    image_height = WIDTH * min(MAX_ASPECT, height / width)  # inches
    legend_height = (2 + bool(predicted)) * LEGEND_ROW
    total_height = image_height + 0.3 + legend_height
    figure = Figure(figsize=(WIDTH, total_height), dpi=DPI)
    ax = figure.add_axes((0.01, (legend_height + 0.04) / total_height, 0.98, image_height / total_height))
    show_image(ax, image, targets.image_hw[0])
    shown = positives.select(torch.isin(anchors.level[positives.anchor], torch.tensor(list(levels))))
    is_chosen = torch.ones_like(shown.gt, dtype=torch.bool) if gt is None else shown.gt == gt
    chosen = shown.select(is_chosen)
    rows = sorted(range(len(targets.boxes)), key=lambda row: row != gt)  # the caption of the chosen gt is placed first
    scale = DOT_SCALE * crowd_scale(len(rows))
    draw_dots(ax, anchors, targets, shown.select(~is_chosen), PALE_ALPHA, scale)
    draw_dots(ax, anchors, targets, chosen, BOLD_ALPHA, scale)
    if show_anchors:
        draw_boxes(ax, anchors.boxes[chosen.anchor].tolist(), source_colors(chosen), "-", 0.8, alpha=0.8, zorder=2)
    for name, boxes in predicted.items():
        draw_boxes(ax, boxes.tolist(), network_color(name), "--", 0.8, alpha=0.8, zorder=2)
    draw_gts(ax, targets.boxes.tolist(), gt, 1.2, 2.2)
    counts = torch.bincount(shown.gt, minlength=len(rows)).tolist()
    texts = [f"{gt_names[row]}: {counts[row]}" if gt_names else str(counts[row]) for row in rows]
    dots = dot_geometry(anchors, shown, scale)
    draw_captions(
        ax, targets.boxes[rows].tolist(), texts, [GT] * len(rows), WIDTH, dots, importance(targets, gt)[rows].tolist()
    )
    name = "all objects" if gt is None else gt_names[gt] if gt_names else f"gt {gt}"
    heading = f"{f'{title}, {name}' if title else name}: {_count_by_source(chosen)}"
    ax.set_title(heading, fontsize=min(TITLE, TITLE * MAX_TITLE_LETTERS / len(heading)), loc="left", pad=4)
    add_positives_legend(figure, shown, levels, list(predicted))
    return figure


@plain_text
def draw_cost_maps(
    costs: Mapping[str, Tensor],
    anchors: Anchors,
    targets: Targets,
    gt: int,
    positives: Positives,
    levels: Collection[int] = ALL_LEVELS,
) -> Figure:
    """Draw the cost of every anchor for one gt: a row for each network, a map for each level, low costs bright.

    Each network has its own color scale. Dots mark the positives of the gt.

    Args:
        costs: By network, the cost of each anchor [A], NaN in the padding; as of `lad.analysis.positives.cost_map`.
        anchors: The A anchors of the padded image.
        targets: The gts of the image.
        gt: The row of the gt.
        positives: The positives of the image.
        levels: The levels to show, 0 for P3 … 4 for P7.
    """
    shown = [level for level in ALL_LEVELS if level in levels]
    if not shown:
        return empty_figure("costs: no level is selected")
    height, width = targets.image_hw[targets.image[gt]].tolist()
    gap, line = 0.09 * width, 0.2 * width  # between maps, and for a line of text
    total_width = line + len(ALL_LEVELS) * (width + gap) + 0.64 * width
    total_height = 1.4 * line + len(costs) * (height + gap) + line
    figure = Figure(figsize=(WIDTH, WIDTH * total_height / total_width), dpi=DPI)
    # One axes for all maps: each further one would slow down drawing.
    ax = figure.add_axes((0, 0, 1, 1), xlim=(0, total_width), ylim=(total_height, 0))
    ax.set_axis_off()
    of_gt = positives.select(positives.gt == gt)
    for row, (name, cost) in enumerate(costs.items()):
        top = 1.4 * line + row * (height + gap)
        values = cost.double().numpy()
        finite = values[np.isfinite(values)]
        norm = Normalize(finite.min(), max(np.quantile(finite, 0.95), finite.min() + 1e-6))
        ax.text(line / 2, top + height / 2, name, rotation=90, ha="center", va="center", fontsize=9,
                color=network_color(name))  # fmt: skip
        for column, level in enumerate(shown):
            corner = torch.tensor([line + column * (width + gap), top])
            _draw_level(ax, values, anchors, level, norm, corner.tolist(), (height, width))
            draw_box(ax, (targets.boxes[gt] + corner.repeat(2)).tolist(), GT, width=1.0)
            of_level = of_gt.select(anchors.level[of_gt.anchor] == level)
            x, y = (anchors.center[of_level.anchor] + corner).unbind(dim=1)
            ax.scatter(x, y, s=16, c=source_colors(of_level), edgecolors="white", lw=0.7, zorder=3, clip_on=False)
            if row == 0:
                ax.text(corner[0] + width / 2, line, f"{LEVELS[level]} · {STRIDES[level]} px", ha="center", fontsize=9)
        _draw_scale(ax, norm, line + len(shown) * (width + gap), top, height, 0.08 * width)
    caption = "cost of each location for this object (bright = low cost)"
    ax.text(line, total_height - 0.3 * line, caption, fontsize=9)
    return figure


@plain_text
def draw_anchors(
    image: Tensor | np.ndarray,
    targets: Targets,
    anchors: Anchors,
    gt: int,
    levels: Collection[int] = ALL_LEVELS,
    margin: float = 0.0,
) -> Figure:
    """Draw the anchors of one image: a panel for each level, with all locations and the anchor of the highest IoU.

    Args:
        image: Normalized and padded [3, H, W], or its pixels [h, w, 3] uint8.
        targets: The gts of the image.
        anchors: The anchors of the padded image.
        gt: The row of the gt whose IoU counts.
        levels: The levels to show, 0 for P3 … 4 for P7.
        margin: The space to show around the image, as a share of its width and height.
    """
    shown = [level for level in ALL_LEVELS if level in levels]
    if not shown:
        return empty_figure("anchors: no level is selected")
    height, width = targets.image_hw[0].tolist()
    columns = min(len(shown), 2)
    rows = math.ceil(len(shown) / columns)
    row_height = WIDTH / 2 * min(MAX_ASPECT, height / width) + 0.45
    figure = Figure(figsize=(WIDTH, row_height * rows), layout="constrained", dpi=DPI)
    box = targets.boxes[gt]
    iou, distance = box_iou(anchors.boxes, box), (anchors.center - (box[:2] + box[2:]) / 2).norm(dim=1)
    for place, level in enumerate(shown, start=1):
        ax = figure.add_subplot(rows, columns, place)
        show_image(ax, image, targets.image_hw[0])
        ax.set_xlim(-margin * width, (1 + margin) * width)
        ax.set_ylim((1 + margin) * height, -margin * height)
        places = (anchors.level == level).nonzero().flatten()
        is_best = iou[places] > iou[places].max() - 1e-4
        best = places[torch.where(is_best, distance[places], torch.inf).argmin()]  # the closest one, if several are
        center = anchors.center[places]
        ax.scatter(center[:, 0], center[:, 1], s=MARKER_SIZE[level] / 8 + 1, color=NEITHER, lw=0)
        draw_box(ax, box.tolist(), GT, width=1.6)
        draw_box(ax, anchors.boxes[best].tolist(), ANCHOR, width=1.8)
        x, y = anchors.center[best].tolist()
        ax.scatter(x, y, s=MARKER_SIZE[level] / 2 + 6, color=ANCHOR, lw=0, clip_on=False, zorder=3)
        ax.set_title(
            f"{LEVELS[level]}: {len(places)} anchors of\n{8 * STRIDES[level]} px, best IoU {iou[best]:.2f}",
            fontsize=TITLE,
        )
    return figure


def _draw_level(
    ax: Axes,
    values: np.ndarray,
    anchors: Anchors,
    level: int,
    norm: Normalize,
    corner: Sequence[float],
    image_hw: tuple[int, int],
) -> None:
    """Draw the cost map of a level with its upper left corner at (x, y), clipped to the unpadded image."""
    rows, columns = anchors.level_hw[level].tolist()
    first = sum(anchors.level_counts[:level])
    grid = values[first : first + rows * columns].reshape(rows, columns)
    stride, (left, top), (height, width) = STRIDES[level], corner, image_hw
    half = stride / 2  # a location is the center of its cell
    extent = (left - half, left + columns * stride - half, top + rows * stride - half, top - half)
    cells = ax.imshow(grid, cmap=COST_COLORMAP, norm=norm, extent=extent, interpolation="none", aspect="auto")
    frame = Rectangle((left, top), width, height, transform=ax.transData)
    cells.set_clip_path(frame)
    draw_box(ax, [left, top, left + width, top + height], NEITHER, width=0.5)


def _draw_scale(ax: Axes, norm: Normalize, left: float, top: float, height: float, width: float) -> None:
    """Draw a color bar with the costs at both ends."""
    shades = np.linspace(float(norm.vmin or 0), float(norm.vmax or 0), 64)[:, None]
    ax.imshow(shades, cmap=COST_COLORMAP, norm=norm, extent=(left, left + width, top + height, top), aspect="auto")
    for cost, place, alignment in ((shades[0, 0], top, "top"), (shades[-1, 0], top + height, "bottom")):
        ax.text(left + 1.4 * width, place, f"{cost:.2g}", fontsize=8, va=alignment)


def _count_by_source(positives: Positives) -> str:
    """Return the number of positives, in total and by source, as text."""
    sources = positives.source.tolist()
    parts = [f"{sources.count(source)} {name}" for source, name in enumerate(SOURCES) if source in sources]
    return f"{len(sources)} positives" + (f" – {', '.join(parts)}" if parts else "")
