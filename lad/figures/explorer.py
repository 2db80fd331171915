"""Figures of one image under the glass: anchors, positives, and what each anchor costs."""

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.colors import Normalize, to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from torch import Tensor

from lad.analysis.positives import SOURCES, Positives
from lad.figures.assignment import LEVELS, MARKER_SIZE
from lad.figures.style import (
    BOTH,
    DPI,
    GT,
    LEGEND_ROW,
    NEITHER,
    STUDENT,
    TALLEST,
    TEACHER,
    TITLE,
    WIDTH,
    captions,
    legend_rows,
    network_color,
    nothing_to_show,
    outline,
    plain_text,
    show_image,
)
from lad.geometry import STRIDES, Anchors, box_iou
from lad.structures import Targets

SOURCE_COLORS = dict(zip(SOURCES, (STUDENT, TEACHER, BOTH, NEITHER), strict=True))
DOT_SCALE = 1.6  # of the dots' areas
LETTERS = 66  # of a title that fits the width
ALL_LEVELS = range(len(STRIDES))
ANCHOR = "#56B4E9"  # no network's color
COSTS = "cividis_r"  # cheap is bright
PALE, BOLD = 0.3, 0.85  # how much of a dot's color there is


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
    """One image, [3, H, W] or its pixels [h, w, 3], with its positives at their locations, larger on coarser levels, in
    the color of who positives them, each tied to its gt; numbers count each gt's positives. The other gts' are pale
    where one `gt` is chosen. levels: which to show, 0 for P3 … 4 for P7. show_anchors: the anchor boxes of the chosen
    gt's positives. predicted: further boxes [P, 4], dashed, by the name of their network, student or teacher. title:
    what stands before the object and the number of its positives."""
    predicted = {name: boxes for name, boxes in (predicted or {}).items() if len(boxes)}
    height, width = targets.image_hw[0].tolist()
    high = WIDTH * min(TALLEST, height / width)
    legend = (2 + bool(predicted)) * LEGEND_ROW
    total = high + 0.3 + legend
    figure = Figure(figsize=(WIDTH, total), dpi=DPI)
    ax = figure.add_axes((0.01, (legend + 0.04) / total, 0.98, high / total))
    show_image(ax, image, targets.image_hw[0])
    shown = positives.where(torch.isin(anchors.level[positives.anchor], torch.tensor(list(levels))))
    is_chosen = torch.ones_like(shown.gt, dtype=torch.bool) if gt is None else shown.gt == gt
    chosen = shown.where(is_chosen)
    draw_dots(ax, anchors, targets, shown.where(~is_chosen), PALE)
    draw_dots(ax, anchors, targets, chosen, BOLD)
    if show_anchors:
        _draw_boxes(ax, anchors.boxes[chosen.anchor], _colors(chosen), "-")
    for name, boxes in predicted.items():
        _draw_boxes(ax, boxes, network_color(name), "--")
    rows = list(range(len(targets.boxes)))
    for row, box in enumerate(targets.boxes.tolist()):
        outline(ax, box, GT, is_dashed=gt is not None and row != gt, width=2.2 if row == gt else 1.2)
    rows.sort(key=lambda row: row != gt)  # the chosen one's words first
    counts = torch.bincount(shown.gt, minlength=len(rows)).tolist()
    texts = [f"{gt_names[row]}: {counts[row]}" if gt_names else str(counts[row]) for row in rows]
    captions(ax, targets.boxes[rows].tolist(), texts, [GT] * len(rows), WIDTH, dots_of(anchors, shown))
    name = "all objects" if gt is None else gt_names[gt] if gt_names else f"gt {gt}"
    words = f"{f'{title}, {name}' if title else name}: {_counted(chosen)}"
    ax.set_title(words, fontsize=min(9, 9 * LETTERS / len(words)), loc="left", pad=4)
    positives_legend(figure, shown, levels, list(predicted))
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
    """What each anchor would cost a network for one gt: a row per network, a map per level, brighter the cheaper, on a
    scale of its own for each network. Dots mark the positives, in the color of who positives them. costs: [A] each, NaN
    in the padding, as `lad.analysis.positives.cost_map` gives them."""
    shown = [level for level in ALL_LEVELS if level in levels]
    if not shown:
        return nothing_to_show("costs: no level is shown", WIDTH)
    height, width = targets.image_hw[targets.image[gt]].tolist()
    gap, line = 0.09 * width, 0.2 * width  # between maps, and for a line of text
    total_wide = line + len(ALL_LEVELS) * (width + gap) + 0.64 * width
    total_high = 1.4 * line + len(costs) * (height + gap) + line
    figure = Figure(figsize=(WIDTH, WIDTH * total_high / total_wide), dpi=DPI)
    ax = figure.add_axes((0, 0, 1, 1), xlim=(0, total_wide), ylim=(total_high, 0))  # one, as each takes its time
    ax.set_axis_off()
    mine = positives.where(positives.gt == gt)
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
            outline(ax, (targets.boxes[gt] + corner.repeat(2)).tolist(), GT, width=1.0)
            here = mine.where(anchors.level[mine.anchor] == level)
            x, y = (anchors.center[here.anchor] + corner).unbind(dim=1)
            ax.scatter(x, y, s=16, c=_colors(here), edgecolors="white", lw=0.7, zorder=3, clip_on=False)
            if row == 0:
                ax.text(corner[0] + width / 2, line, f"{LEVELS[level]} · {STRIDES[level]} px", ha="center", fontsize=9)
        _draw_scale(ax, norm, line + len(shown) * (width + gap), top, height, 0.08 * width)
    told = "cost of each location for this object: bright is cheap"
    ax.text(line, total_high - 0.3 * line, told, fontsize=9)
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
    """All locations of each level on an image [3, H, W], a panel per level, two in a row, and there the one anchor
    box that overlaps the gt most, with its IoU. levels: which to show, 0 for P3 … 4 for P7. margin: how much to show
    around the image, as a part of its width and height, for anchors that reach out of it."""
    shown = [level for level in ALL_LEVELS if level in levels]
    if not shown:
        return nothing_to_show("anchors: no level is shown", WIDTH)
    height, width = targets.image_hw[0].tolist()
    columns = min(len(shown), 2)
    rows = math.ceil(len(shown) / columns)
    side = WIDTH / 2
    high = side * min(TALLEST, height / width) + 0.45
    figure = Figure(figsize=(WIDTH, high * rows), layout="constrained", dpi=DPI)
    box = targets.boxes[gt]
    iou, away = box_iou(anchors.boxes, box), (anchors.center - (box[:2] + box[2:]) / 2).norm(dim=1)
    for place, level in enumerate(shown, start=1):
        ax = figure.add_subplot(rows, columns, place)
        show_image(ax, image, targets.image_hw[0])
        ax.set_xlim(-margin * width, (1 + margin) * width)
        ax.set_ylim((1 + margin) * height, -margin * height)
        places = (anchors.level == level).nonzero().flatten()
        is_best = iou[places] > iou[places].max() - 1e-4
        best = places[torch.where(is_best, away[places], torch.inf).argmin()]  # of equals, the closest to the gt
        center = anchors.center[places]
        ax.scatter(center[:, 0], center[:, 1], s=MARKER_SIZE[level] / 8 + 1, color=NEITHER, lw=0)
        outline(ax, box.tolist(), GT, width=1.6)
        outline(ax, anchors.boxes[best].tolist(), ANCHOR, width=1.8)
        x, y = anchors.center[best].tolist()
        ax.scatter(x, y, s=MARKER_SIZE[level] / 2 + 6, color=ANCHOR, lw=0, clip_on=False, zorder=3)
        ax.set_title(
            f"{LEVELS[level]}: {len(places)} anchors of\n{8 * STRIDES[level]} px, best IoU {iou[best]:.2f}",
            fontsize=TITLE,
        )
    return figure


def draw_dots(
    ax: Axes, anchors: Anchors, targets: Targets, positives: Positives, alpha: float, scale: float = DOT_SCALE
) -> None:
    """Each claim at its location, tied to the middle of its gt. alpha: of the dots' colors; their white rims are
    opaque, so that a pale dot is seen on its own color. scale: of the dots' areas."""
    if not len(positives.anchor):
        return
    place, box = anchors.center[positives.anchor], targets.boxes[positives.gt]
    middle = (box[:, :2] + box[:, 2:]) / 2
    colors = _colors(positives)
    ties = list(torch.stack([place, middle], dim=1).numpy())
    ax.add_collection(LineCollection(ties, colors=colors, lw=0.6, alpha=0.7 * alpha))
    x, y, sizes = dots_of(anchors, positives, scale).T
    shades = [to_rgba(color, alpha) for color in colors]
    ax.scatter(x, y, s=sizes, c=shades, lw=0.6, edgecolors="white", zorder=3, clip_on=False)


def dots_of(anchors: Anchors, positives: Positives, scale: float = DOT_SCALE) -> np.ndarray:
    """The dots of the positives as [P, 3]: x, y and area in points²."""
    size = scale * torch.tensor(MARKER_SIZE)[anchors.level[positives.anchor]]
    return torch.cat([anchors.center[positives.anchor], size[:, None]], dim=1).numpy()


def _draw_boxes(ax: Axes, boxes: Tensor, colors: str | list[str], style: str) -> None:
    patches = [Rectangle((x0, y0), x1 - x0, y1 - y0) for x0, y0, x1, y1 in boxes.tolist()]
    ax.add_collection(
        PatchCollection(patches, facecolors="none", edgecolors=colors, lw=0.8, ls=style, alpha=0.8, zorder=2)
    )


def _draw_level(
    ax: Axes,
    values: np.ndarray,
    anchors: Anchors,
    level: int,
    norm: Normalize,
    corner: Sequence[float],
    image_hw: tuple[int, int],
) -> None:
    """A level's map at a corner (x, y) of the axes, cut off where the image ends."""
    rows, columns = anchors.level_hw[level].tolist()
    first = sum(anchors.level_counts[:level])
    grid = values[first : first + rows * columns].reshape(rows, columns)
    stride, (left, top), (height, width) = STRIDES[level], corner, image_hw
    half = stride / 2  # a location is the middle of its cell
    extent = (left - half, left + columns * stride - half, top + rows * stride - half, top - half)
    image = ax.imshow(grid, cmap=COSTS, norm=norm, extent=extent, interpolation="none", aspect="auto")
    frame = Rectangle((left, top), width, height, transform=ax.transData)
    image.set_clip_path(frame)
    outline(ax, [left, top, left + width, top + height], NEITHER, width=0.5)


def _draw_scale(ax: Axes, norm: Normalize, left: float, top: float, height: float, width: float) -> None:
    """The colors from cheap to dear, with the costs at both ends."""
    shades = np.linspace(float(norm.vmin or 0), float(norm.vmax or 0), 64)[:, None]
    ax.imshow(shades, cmap=COSTS, norm=norm, extent=(left, left + width, top + height, top), aspect="auto")
    for cost, place, alignment in ((shades[0, 0], top, "top"), (shades[-1, 0], top + height, "bottom")):
        ax.text(left + 1.4 * width, place, f"{cost:.2g}", fontsize=8, va=alignment)


def _colors(positives: Positives) -> list[str]:
    return [SOURCE_COLORS[SOURCES[by]] for by in positives.by.tolist()]


def _counted(positives: Positives) -> str:
    """How many positives, and whose."""
    by = positives.by.tolist()
    parts = [f"{by.count(who)} {name}" for who, name in enumerate(SOURCES) if by.count(who)]
    return f"{len(by)} positives" + (f" – {', '.join(parts)}" if parts else "")


def positives_legend(
    figure: Figure,
    positives: Positives,
    levels: Collection[int],
    predicted: Sequence[str] = (),
    scale: float = DOT_SCALE,
) -> None:
    """In the lowest `LEGEND_ROW` inches of a figure the sizes of the levels and, in a row above each, the colors of
    who positives, and the networks whose boxes are `predicted`, if there are any. scale: of the dots' areas."""
    marker = {"marker": "o", "ls": "", "markeredgecolor": "white"}
    whose = [(SOURCE_COLORS[SOURCES[who]], 7.0, SOURCES[who]) for who in positives.by.unique().tolist()]
    sizes = [("#BBBBBB", (scale * MARKER_SIZE[level]) ** 0.5, LEVELS[level]) for level in ALL_LEVELS if level in levels]
    dashed = [
        Line2D([], [], color=network_color(name), lw=1, ls="--", label=f"predicted by the {name}") for name in predicted
    ]
    dots = [
        [Line2D([], [], color=color, ms=size, label=label, **marker) for color, size, label in entries]  # type: ignore[arg-type]
        for entries in (whose, sizes)
    ]
    legend_rows(figure, [*([dashed] if dashed else []), *dots])
