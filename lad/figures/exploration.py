"""Figures of one image under the glass: anchors, claims, and what each anchor costs. Half a page wide."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
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
ALL_LEVELS = range(len(STRIDES))
COSTS = "cividis_r"  # cheap is bright
MOST_PREDICTED = 60  # boxes; more would hide the picture


def draw_claims(
    image: Tensor,
    targets: Targets,
    anchors: Anchors,
    claims: Claims,
    gt: int | None = None,
    class_names: Sequence[str] = (),
    levels: Collection[int] = ALL_LEVELS,
    show_anchors: bool = False,
    predicted: Mapping[str, Tensor] | None = None,
    title: str = "",
) -> Figure:
    """One image [3, H, W] with its positives at their locations, larger on coarser levels, in the colour of who claims
    them, each tied to its gt. The other gts' are pale where one `gt` is chosen. levels: which to show, 0 for P3 … 4.
    show_anchors: the anchor boxes of the chosen gt's positives. predicted: further boxes [P, 4] by the name of their
    network, student or teacher."""
    height, width = targets.image_hw[0].tolist()
    high = WIDTH * min(1.6, height / width)
    figure = Figure(figsize=(WIDTH, high + 0.62), dpi=DPI)
    ax = figure.add_axes((0.01, 0.36 / (high + 0.62), 0.98, high / (high + 0.62)))
    show_image(ax, image, targets.image_hw[0])
    shown = claims.where(torch.isin(anchors.level[claims.anchor], torch.tensor(list(levels))))
    is_chosen = torch.ones_like(shown.gt, dtype=torch.bool) if gt is None else shown.gt == gt
    chosen = shown.where(is_chosen)
    _draw_dots(ax, anchors, targets, shown.where(~is_chosen), alpha=0.25)
    _draw_dots(ax, anchors, targets, chosen, alpha=0.85)
    if show_anchors:
        _draw_boxes(ax, anchors.boxes[chosen.anchor], _colours(chosen), "-")
    for name, boxes in (predicted or {}).items():
        _draw_boxes(ax, boxes[:MOST_PREDICTED], network_colour(name), "--")
    for row, box in enumerate(targets.boxes.tolist()):
        outline(ax, box, GT, is_dashed=gt is not None and row != gt, width=2.2 if row == gt else 1.2)
        caption(ax, box, f"{_name(targets, row, class_names)} {int((shown.gt == row).sum())}", GT)
    name = "all objects" if gt is None else _name(targets, gt, class_names)
    ax.set_title(title or f"{name}: {_counted(chosen)}", fontsize=9, loc="left", pad=4)
    _claim_legend(figure, shown, levels)
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
    scale of its own for each network. Rings mark the positives, in the colour of who claims them. costs: [A] each, NaN
    in the padding, as `lad.exploration.cost_map` gives them."""
    shown = [level for level in ALL_LEVELS if level in levels]
    height, width = targets.image_hw[targets.image[gt]].tolist()
    side = (WIDTH - 0.62) / max(len(shown), 1)
    high = side * min(1.6, height / width)
    total = len(costs) * (high + 0.22) + 0.42
    figure = Figure(figsize=(WIDTH, total), dpi=DPI)
    mine = claims.where(claims.gt == gt)
    for row, (name, cost) in enumerate(costs.items()):
        values = cost.double().numpy()
        finite = values[np.isfinite(values)]
        norm = Normalize(finite.min(), max(np.quantile(finite, 0.95), finite.min() + 1e-6))
        bottom = (total - 0.38 - row * (high + 0.22) - high) / total
        mesh = None
        for column, level in enumerate(shown):
            ax = figure.add_axes(((0.2 + column * side) / WIDTH, bottom, (side - 0.06) / WIDTH, high / total))
            mesh = _draw_level(ax, values, anchors, level, norm)
            ax.set_xlim(0, width)
            ax.set_ylim(height, 0)
            outline(ax, targets.boxes[gt].tolist(), GT, width=1.0)
            _draw_rings(ax, anchors, mine.where(anchors.level[mine.anchor] == level))
            if row == 0:
                ax.set_title(f"{LEVELS[level]} · {STRIDES[level]} px", fontsize=8, pad=3)
            if column == 0:
                ax.set_ylabel(name, fontsize=8, labelpad=2, color=network_colour(name))
        if mesh is not None:
            bar = figure.colorbar(
                mesh, cax=figure.add_axes(((WIDTH - 0.4) / WIDTH, bottom, 0.08 / WIDTH, high / total))
            )
            bar.ax.tick_params(labelsize=7, length=2, pad=1)
            bar.ax.locator_params(nbins=4)
    figure.text(0.2 / WIDTH, 0.07 / total, "cost of each location for this object: bright is cheap", fontsize=8)
    return figure


def draw_anchors(image: Tensor, targets: Targets, anchors: Anchors, gt: int) -> Figure:
    """All locations of each level on an image [3, H, W], a panel per level, and there the one anchor box that overlaps
    the gt most, with its IoU."""
    height, width = targets.image_hw[0].tolist()
    columns = len(ALL_LEVELS)
    side = 9.2 / columns
    figure = Figure(figsize=(9.2, side * min(1.6, height / width) + 0.5), layout="constrained", dpi=DPI)
    iou = box_iou(anchors.boxes, targets.boxes[gt])
    for level, ax in enumerate(figure.subplots(1, columns)):
        show_image(ax, image, targets.image_hw[0])
        places = (anchors.level == level).nonzero().flatten()
        best = places[iou[places].argmax()]
        center = anchors.center[places]
        ax.scatter(center[:, 0], center[:, 1], s=MARKER_SIZE[level] / 8 + 1, color=NEITHER, lw=0)
        outline(ax, targets.boxes[gt].tolist(), GT, width=1.6)
        _draw_boxes(ax, anchors.boxes[best][None], TEACHER, "-")
        x, y = anchors.center[best].tolist()
        ax.scatter(x, y, s=MARKER_SIZE[level] / 2 + 6, color=TEACHER, lw=0, clip_on=False, zorder=3)
        ax.set_title(
            f"{LEVELS[level]}: {len(places)} anchors of\n{8 * STRIDES[level]} px, best IoU {iou[best]:.2f}", fontsize=9
        )
    return figure


def _draw_dots(ax: Axes, anchors: Anchors, targets: Targets, claims: Claims, alpha: float) -> None:
    """Each claim at its location, tied to the middle of its gt."""
    if not len(claims.anchor):
        return
    place, box = anchors.center[claims.anchor], targets.boxes[claims.gt]
    middle = (box[:, :2] + box[:, 2:]) / 2
    colours = _colours(claims)
    ties = list(torch.stack([place, middle], dim=1).numpy())
    ax.add_collection(LineCollection(ties, colors=colours, lw=0.6, alpha=0.7 * alpha))
    sizes = [1.6 * MARKER_SIZE[level] for level in anchors.level[claims.anchor].tolist()]
    x, y = place.unbind(dim=1)
    ax.scatter(x, y, s=sizes, c=colours, alpha=alpha, lw=0.6, edgecolors="white", zorder=3, clip_on=False)


def _draw_boxes(ax: Axes, boxes: Tensor, colours: str | list[str], style: str) -> None:
    patches = [Rectangle((x0, y0), x1 - x0, y1 - y0) for x0, y0, x1, y1 in boxes.tolist()]
    ax.add_collection(
        PatchCollection(patches, facecolors="none", edgecolors=colours, lw=0.8, ls=style, alpha=0.8, zorder=2)
    )


def _draw_level(ax: Axes, values: np.ndarray, anchors: Anchors, level: int, norm: Normalize) -> AxesImage:
    rows, columns = anchors.level_hw[level].tolist()
    first = sum(anchors.level_counts[:level])
    grid = values[first : first + rows * columns].reshape(rows, columns)
    half = STRIDES[level] / 2  # a location is the middle of its cell
    extent = (-half, columns * STRIDES[level] - half, rows * STRIDES[level] - half, -half)
    mesh = ax.imshow(grid, cmap=COSTS, norm=norm, extent=extent, interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    return mesh


def _draw_rings(ax: Axes, anchors: Anchors, claims: Claims) -> None:
    x, y = anchors.center[claims.anchor].unbind(dim=1)
    ax.scatter(x, y, s=16, c=_colours(claims), edgecolors="white", lw=0.7, zorder=3, clip_on=False)


def _colours(claims: Claims) -> list[str]:
    return [CLAIM_COLOURS[CLAIMANTS[by]] for by in claims.by.tolist()]


def _name(targets: Targets, gt: int, class_names: Sequence[str]) -> str:
    return class_names[int(targets.labels[gt])] if len(class_names) else f"gt {gt}"


def _counted(claims: Claims) -> str:
    """How many positives, and whose."""
    by = claims.by.tolist()
    parts = [f"{by.count(who)} {name}" for who, name in enumerate(CLAIMANTS) if by.count(who)]
    return f"{len(by)} positives" + (f" – {', '.join(parts)}" if parts else "")


def _claim_legend(figure: Figure, claims: Claims, levels: Collection[int]) -> None:
    marker = {"marker": "o", "ls": "", "markeredgecolor": "white"}
    entries = [(CLAIM_COLOURS[CLAIMANTS[who]], 7.0, CLAIMANTS[who]) for who in claims.by.unique().tolist()]
    entries += [("#BBBBBB", 0.8 * MARKER_SIZE[level] ** 0.5, LEVELS[level]) for level in ALL_LEVELS if level in levels]
    handles = [Line2D([], [], color=colour, ms=size, label=label, **marker) for colour, size, label in entries]  # type: ignore[arg-type]
    figure.legend(
        handles=handles, loc="lower center", ncols=max(1, len(handles)), frameon=False, fontsize=7.5,
        handletextpad=0.1, columnspacing=0.8, borderpad=0.1,
    )  # fmt: skip
