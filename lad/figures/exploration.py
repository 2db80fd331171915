"""Figures of one image under the glass: anchors, claims, and what each anchor costs. Half a page wide."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from torch import Tensor

from lad.data import Targets
from lad.exploration import CLAIMANTS, Claims
from lad.figures.assignment import LEVELS, MARKER_SIZE
from lad.figures.style import BOTH, DPI, GT, NEITHER, STUDENT, TEACHER, caption, network_colour, outline, show_image
from lad.geometry import STRIDES, Anchors, box_iou

CLAIM_COLOURS = dict(zip(CLAIMANTS, (STUDENT, TEACHER, BOTH, NEITHER), strict=True))
WIDTH = 4.6  # inches
LEGEND = 0.5  # height, inches
LETTERS = 66  # of a title that fits the width
ALL_LEVELS = range(len(STRIDES))
ANCHOR = "#56B4E9"  # no network's colour
COSTS = "cividis_r"  # cheap is bright
MOST_PREDICTED = 60  # boxes; more would hide the picture


def draw_claims(
    image: Tensor | np.ndarray,
    targets: Targets,
    anchors: Anchors,
    claims: Claims,
    gt: int | None = None,
    gt_names: Sequence[str] = (),
    levels: Collection[int] = ALL_LEVELS,
    show_anchors: bool = False,
    predicted: Mapping[str, Tensor] | None = None,
    title: str = "",
) -> Figure:
    """One image, [3, H, W] or its pixels [h, w, 3], with its positives at their locations, larger on coarser levels, in
    the colour of who claims them, each tied to its gt; numbers count each gt's positives. The other gts' are pale
    where one `gt` is chosen. levels: which to show, 0 for P3 … 4 for P7. show_anchors: the anchor boxes of the chosen
    gt's positives. predicted: further boxes [P, 4] by the name of their network, student or teacher. title: what stands
    before the object and the number of its positives."""
    height, width = targets.image_hw[0].tolist()
    high = WIDTH * min(1.6, height / width)
    total = high + 0.3 + LEGEND
    figure = Figure(figsize=(WIDTH, total), dpi=DPI)
    ax = figure.add_axes((0.01, (LEGEND + 0.04) / total, 0.98, high / total))
    show_image(ax, image, targets.image_hw[0])
    shown = claims.where(torch.isin(anchors.level[claims.anchor], torch.tensor(list(levels))))
    is_chosen = torch.ones_like(shown.gt, dtype=torch.bool) if gt is None else shown.gt == gt
    chosen = shown.where(is_chosen)
    draw_dots(ax, anchors, targets, shown.where(~is_chosen), alpha=0.25)
    draw_dots(ax, anchors, targets, chosen, alpha=0.85)
    if show_anchors:
        _draw_boxes(ax, anchors.boxes[chosen.anchor], _colours(chosen), "-")
    for name, boxes in (predicted or {}).items():
        _draw_boxes(ax, boxes[:MOST_PREDICTED], network_colour(name), "--")
    counts = torch.bincount(shown.gt, minlength=len(targets.boxes)).tolist()
    for row, box in enumerate(targets.boxes.tolist()):
        outline(ax, box, GT, is_dashed=gt is not None and row != gt, width=2.2 if row == gt else 1.2)
        caption(ax, box, f"{gt_names[row]}: {counts[row]}" if gt_names else str(counts[row]), GT)
    name = "all objects" if gt is None else gt_names[gt] if gt_names else f"gt {gt}"
    words = f"{f'{title}, {name}' if title else name}: {_counted(chosen)}"
    ax.set_title(words, fontsize=min(9, 9 * LETTERS / len(words)), loc="left", pad=4)
    claim_legend(figure, shown, levels)
    return figure


def draw_cost_maps(
    costs: Mapping[str, Tensor],
    anchors: Anchors,
    targets: Targets,
    gt: int,
    claims: Claims,
    levels: Collection[int] = ALL_LEVELS,
) -> Figure:
    """What each anchor would cost a network for one gt: a row per network, a map per level, brighter the cheaper, on a
    scale of its own for each network. Dots mark the positives, in the colour of who claims them. costs: [A] each, NaN
    in the padding, as `lad.exploration.cost_map` gives them."""
    shown = [level for level in ALL_LEVELS if level in levels]
    height, width = targets.image_hw[targets.image[gt]].tolist()
    gap, line = 0.09 * width, 0.2 * width  # between maps, and for a line of text
    total_wide = line + len(ALL_LEVELS) * (width + gap) + 0.64 * width
    total_high = 1.4 * line + len(costs) * (height + gap) + line
    figure = Figure(figsize=(WIDTH, WIDTH * total_high / total_wide), dpi=DPI)
    ax = figure.add_axes((0, 0, 1, 1), xlim=(0, total_wide), ylim=(total_high, 0))  # one, as each takes its time
    ax.set_axis_off()
    mine = claims.where(claims.gt == gt)
    for row, (name, cost) in enumerate(costs.items()):
        top = 1.4 * line + row * (height + gap)
        values = cost.double().numpy()
        finite = values[np.isfinite(values)]
        norm = Normalize(finite.min(), max(np.quantile(finite, 0.95), finite.min() + 1e-6))
        ax.text(line / 2, top + height / 2, name, rotation=90, ha="center", va="center", fontsize=8.5,
                color=network_colour(name))  # fmt: skip
        for column, level in enumerate(shown):
            corner = torch.tensor([line + column * (width + gap), top])
            _draw_level(ax, values, anchors, level, norm, corner.tolist(), (height, width))
            outline(ax, (targets.boxes[gt] + corner.repeat(2)).tolist(), GT, width=1.0)
            here = mine.where(anchors.level[mine.anchor] == level)
            x, y = (anchors.center[here.anchor] + corner).unbind(dim=1)
            ax.scatter(x, y, s=16, c=_colours(here), edgecolors="white", lw=0.7, zorder=3, clip_on=False)
            if row == 0:
                ax.text(corner[0] + width / 2, line, f"{LEVELS[level]} · {STRIDES[level]} px", ha="center", fontsize=8)
        _draw_scale(ax, norm, line + len(shown) * (width + gap), top, height, 0.08 * width)
    told = "cost of each location for this object: bright is cheap"
    ax.text(line, total_high - 0.3 * line, told, fontsize=8)
    return figure


def draw_anchors(
    image: Tensor | np.ndarray,
    targets: Targets,
    anchors: Anchors,
    gt: int,
    levels: Collection[int] = ALL_LEVELS,
    margin: float = 0.0,
) -> Figure:
    """All locations of each level on an image [3, H, W], a panel per level, and there the one anchor box that overlaps
    the gt most, with its IoU. levels: which to show, 0 for P3 … 4 for P7. margin: how much to show around the image,
    as a part of its width and height, for anchors that reach out of it."""
    height, width = targets.image_hw[0].tolist()
    shown = [level for level in ALL_LEVELS if level in levels]
    side = 9.2 / max(len(shown), 4)
    wide, high = side * max(len(shown), 1), side * min(1.6, height / width) + 0.5
    figure = Figure(figsize=(wide, high), layout="constrained", dpi=DPI)
    box = targets.boxes[gt]
    iou, away = box_iou(anchors.boxes, box), (anchors.center - (box[:2] + box[2:]) / 2).norm(dim=1)
    for place, level in enumerate(shown, start=1):
        ax = figure.add_subplot(1, len(shown), place)
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
            f"{LEVELS[level]}: {len(places)} anchors of\n{8 * STRIDES[level]} px, best IoU {iou[best]:.2f}", fontsize=9
        )
    return figure


def draw_dots(ax: Axes, anchors: Anchors, targets: Targets, claims: Claims, alpha: float, scale: float = 1.6) -> None:
    """Each claim at its location, tied to the middle of its gt. scale: of the dots' areas."""
    if not len(claims.anchor):
        return
    place, box = anchors.center[claims.anchor], targets.boxes[claims.gt]
    middle = (box[:, :2] + box[:, 2:]) / 2
    colours = _colours(claims)
    ties = list(torch.stack([place, middle], dim=1).numpy())
    ax.add_collection(LineCollection(ties, colors=colours, lw=0.6, alpha=0.7 * alpha))
    sizes = [scale * MARKER_SIZE[level] for level in anchors.level[claims.anchor].tolist()]
    x, y = place.unbind(dim=1)
    ax.scatter(x, y, s=sizes, c=colours, alpha=alpha, lw=0.6, edgecolors="white", zorder=3, clip_on=False)


def _draw_boxes(ax: Axes, boxes: Tensor, colours: str | list[str], style: str) -> None:
    patches = [Rectangle((x0, y0), x1 - x0, y1 - y0) for x0, y0, x1, y1 in boxes.tolist()]
    ax.add_collection(
        PatchCollection(patches, facecolors="none", edgecolors=colours, lw=0.8, ls=style, alpha=0.8, zorder=2)
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
    """The colours from cheap to dear, with the costs at both ends."""
    shades = np.linspace(float(norm.vmin or 0), float(norm.vmax or 0), 64)[:, None]
    ax.imshow(shades, cmap=COSTS, norm=norm, extent=(left, left + width, top + height, top), aspect="auto")
    for cost, place, alignment in ((shades[0, 0], top, "top"), (shades[-1, 0], top + height, "bottom")):
        ax.text(left + 1.4 * width, place, f"{cost:.2g}", fontsize=7.5, va=alignment)


def _colours(claims: Claims) -> list[str]:
    return [CLAIM_COLOURS[CLAIMANTS[by]] for by in claims.by.tolist()]


def _counted(claims: Claims) -> str:
    """How many positives, and whose."""
    by = claims.by.tolist()
    parts = [f"{by.count(who)} {name}" for who, name in enumerate(CLAIMANTS) if by.count(who)]
    return f"{len(by)} positives" + (f" – {', '.join(parts)}" if parts else "")


def claim_legend(figure: Figure, claims: Claims, levels: Collection[int]) -> None:
    """In the lowest `LEGEND` inches of a figure: the colours of who claims and, below, the sizes of the levels."""
    marker = {"marker": "o", "ls": "", "markeredgecolor": "white"}
    whose = [(CLAIM_COLOURS[CLAIMANTS[who]], 7.0, CLAIMANTS[who]) for who in claims.by.unique().tolist()]
    sizes = [("#BBBBBB", MARKER_SIZE[level] ** 0.5, LEVELS[level]) for level in ALL_LEVELS if level in levels]
    for bottom, entries in ((LEGEND / 2, whose), (0.0, sizes)):
        handles = [Line2D([], [], color=colour, ms=size, label=label, **marker) for colour, size, label in entries]  # type: ignore[arg-type]
        figure.legend(
            handles=handles, loc="lower center", bbox_to_anchor=(0.5, bottom / figure.get_size_inches()[1]),
            ncols=max(1, len(handles)), frameon=False, fontsize=8, handletextpad=0.2, columnspacing=1.2, borderpad=0.2,
        )  # fmt: skip
