"""Figures of label assignment: who calls which anchors positive, on which levels, and why."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from lad.analysis.assignment import AssignmentAnalysis, agreement
from lad.figures.style import (
    BOTH,
    DPI,
    FILLED,
    GT,
    LEGEND_ROW,
    NEITHER,
    PAGE,
    PANEL,
    TEACHER,
    TITLE,
    captions,
    image_grid,
    legend_rows,
    network_color,
    outline,
    panel_width,
    plain_text,
    show_image,
    wrapped,
)
from lad.geometry import STRIDES, Anchors
from lad.structures import Targets

LEVELS = tuple(f"P{3 + level}" for level in range(len(STRIDES)))
MARKER_SIZE = (16, 42, 90, 160, 250)  # by level, points²


@plain_text
def draw_assignments(
    images: Tensor, targets: Targets, analyses: Mapping[str, AssignmentAnalysis], reference: str = "teacher"
) -> Figure:
    """One row per image, one column per network with its positives at their locations, marker size by level, a line to
    the gt; numbers count each gt's positives. Where `reference` is among the networks, a last column compares it with
    the first of them."""
    names = list(analyses)
    other = names[0]
    compares = reference in analyses and reference != other
    columns = [*names, "agreement"] if compares else names
    width = panel_width(len(columns), len(images))
    lines = 1 + wrapped(f"{other} and {reference}: 100% agree" if compares else "", width).count("\n")
    rows_of_legend = 2 if compares else 1
    figure, axes = image_grid(columns, targets.image_hw, above=0.16 * lines + 0.15, below=rows_of_legend * LEGEND_ROW)
    for row, image in enumerate(images):
        for column, name in enumerate(columns):
            ax = axes[row, column]
            show_image(ax, image, targets.image_hw[row])
            if name == "agreement":
                _draw_agreement(ax, row, targets, analyses[other], analyses[reference], network_color(other), width)
                share = agreement(analyses[other].gt_index[row], analyses[reference].gt_index[row])
                title, color = f"{other} and {reference}: {share:.0%} agree", BOTH
            else:
                one, color = analyses[name], network_color(name)
                dots = _draw_positives(ax, one.anchors, one.gt_index[row], targets, color, width)
                _draw_gts(ax, row, targets, width, one.gt_index[row], dots)
                title = f"{name}'s positives" if row == 0 else ""
            ax.set_title(wrapped(title, width), color=color, fontsize=TITLE)
    _level_legend(figure, width, comparing=(other, reference) if compares else None)
    return figure


@plain_text
def draw_mixtures(analyses: Mapping[str, AssignmentAnalysis], gt: int, gt_name: str = "", what_if: str = "") -> Figure:
    """One gt's candidate costs for each network: histogram of positives and background, the two fitted Gaussians, and
    the cut up to which component 0 is foreground. The networks keep their own axes: their costs differ in scale.
    what_if: a second line of the titles, where another assignment is looked at than the one that is drawn."""
    columns = min(len(analyses), 2)
    wide, high, above = 4.6 if columns == 1 else PAGE / columns, 2.9, 0.18 if what_if else 0.0  # inches of each panel;
    across, down = wide * columns, (high + above) * math.ceil(len(analyses) / columns)
    figure = Figure(figsize=(across, down), dpi=DPI)
    for place, (name, one) in enumerate(analyses.items()):
        row, column = divmod(place, columns)  # placed by hand, as finding a layout takes as long as drawing
        left, bottom = column * wide + 0.5, down - (row + 1) * (high + above) + 0.48
        ax = figure.add_axes((left / across, bottom / down, (wide - 0.65) / across, 2.1 / down))
        ax.set_title(f"{name}: {gt_name or f'gt {gt}'}" + (f"\n{what_if}" if what_if else ""), fontsize=TITLE)
        ax.spines[["top", "right"]].set_visible(False)
        if not one.count[gt]:
            ax.text(0.5, 0.5, "no candidates", ha="center", transform=ax.transAxes)
            ax.set_xticks([])
            ax.set_yticks([])
            continue
        _draw_costs(ax, one, gt, network_color(name))
    return figure


@plain_text
def draw_levels(per_level: Mapping[str, Sequence[float]]) -> Figure:
    """Mean positives per gt on each level, by network, as `lad.analysis.assignment.positives_per_level` counts them."""
    figure = Figure(figsize=(5.2, 2.8), layout="constrained", dpi=DPI)
    ax = figure.subplots()
    width = 0.8 / len(per_level)
    for position, (name, values) in enumerate(per_level.items()):
        offset = (position - (len(per_level) - 1) / 2) * width
        label = f"{name} ({sum(values):.1f} per object)"
        ax.bar(np.arange(len(values)) + offset, values, width * 0.92, color=network_color(name), label=label)
    ax.set_xticks(
        range(len(LEVELS)), [f"{level}\nstride {stride}" for level, stride in zip(LEVELS, STRIDES, strict=True)]
    )
    ax.set_ylabel("positives per object")
    ax.legend(fontsize=8, frameon=False)
    ax.spines[["top", "right"]].set_visible(False)
    return figure


def _draw_costs(ax: Axes, one: AssignmentAnalysis, gt: int, color: str) -> None:
    """The costs of a gt's candidates, the mixture that is fitted to them, and the cut."""
    valid = slice(0, int(one.count[gt]))
    cost, positive = one.cost[gt, valid].double().numpy(), one.positive[gt, valid].numpy()
    bins = np.linspace(cost.min(), cost.max() + 1e-9, 25)
    parts = ((~positive, "#C8C8C8", "background"), (positive, color, "positive"))
    for part, shade, what in parts:
        ax.stairs(np.histogram(cost[part], bins)[0], bins, fill=True, color=shade, label=f"{part.sum()} {what}")
    grid = np.linspace(max(0, cost.min() - 0.2 * np.ptp(cost)), cost.max() + 0.1 * np.ptp(cost), 400)
    scale = len(cost) * (bins[1] - bins[0])
    for component, style in ((0, "-"), (1, "--")):
        weight, mean, variance = (
            float(field[gt, component]) for field in (one.mixture.weight, one.mixture.mean, one.mixture.variance)
        )
        density = weight * np.exp(-((grid - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
        ax.plot(grid, scale * density, style, color="black", lw=1.3, label=f"component {component}")
    if positive.any():
        cut = cost[positive].max()
        ax.axvline(cut, color=color, lw=1.2, ls=":")
        ax.annotate("cut", (cut, 1), xycoords=("data", "axes fraction"), xytext=(3, -10),
                    textcoords="offset points", color=color, fontsize=9)  # fmt: skip
    ax.set_ylim(0, 1.6 * max(1, np.histogram(cost, bins)[0].max()))
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.xaxis.set_major_locator(MaxNLocator(nbins=6))
    ax.tick_params(labelsize=9)
    ax.set_xlabel("cost = focal loss + 1.3 · GIoU loss", fontsize=9)
    ax.set_ylabel("candidates", fontsize=9)
    ax.legend(fontsize=8, frameon=False)


def _draw_positives(
    ax: Axes, anchors: Anchors, gt_of: Tensor, targets: Targets, color: str, width: float
) -> np.ndarray:
    """The positives of one image, gt_of [A], each tied to its gt's center, on a picture so many inches wide. Returns
    the dots as `captions` wants them."""
    dots = np.zeros((0, 3))
    for anchor in (gt_of >= 0).nonzero().flatten().tolist():
        x, y = anchors.center[anchor].tolist()
        gt_center = (targets.boxes[gt_of[anchor], :2] + targets.boxes[gt_of[anchor], 2:]) / 2
        ax.plot([x, gt_center[0]], [y, gt_center[1]], color=color, lw=0.6, alpha=0.6)
        size = _marker_size(int(anchors.level[anchor]), width)
        ax.scatter(x, y, s=size, color=color, alpha=0.75, linewidths=0.6, edgecolors="white", zorder=3, clip_on=False)
        dots = np.vstack([dots, (x, y, size)])
    return dots


def _draw_gts(
    ax: Axes,
    image: int,
    targets: Targets,
    width: float,
    gt_of: Tensor | None = None,
    dots: np.ndarray | None = None,
) -> None:
    gts = (targets.image == image).nonzero().flatten().tolist()
    boxes = targets.boxes[gts].tolist()
    for box in boxes:
        outline(ax, box, GT)
    if gt_of is not None:
        captions(ax, boxes, [str(int((gt_of == gt).sum())) for gt in gts], [GT] * len(gts), FILLED * width, dots)


def _draw_agreement(
    ax: Axes,
    image: int,
    targets: Targets,
    own: AssignmentAnalysis,
    taught: AssignmentAnalysis,
    color: str,
    width: float,
) -> None:
    first, second = own.gt_index[image], taught.gt_index[image]
    same = (first >= 0) & (first == second)
    for gt_of, part_color in (
        (torch.where(same, -1, first), color),
        (torch.where(same, -1, second), TEACHER),
        (torch.where(same, first, -1), BOTH),
    ):
        _draw_positives(ax, own.anchors, gt_of, targets, part_color, width)
    _draw_gts(ax, image, targets, width)


def _marker_size(level: int, width: float) -> float:
    """Points² in a picture of so many inches."""
    return MARKER_SIZE[level] * width / PANEL


def _level_legend(figure: Figure, width: float, comparing: tuple[str, str] | None) -> None:
    marker = {"marker": "o", "ls": "", "markeredgecolor": "white"}
    levels = [
        Line2D([], [], color=NEITHER, ms=_marker_size(place, width) ** 0.5, label=level, **marker)  # type: ignore[arg-type]
        for place, level in enumerate(LEVELS)
    ]
    rows = [levels]
    if comparing:
        own, reference = comparing
        colors = {f"{own} only": network_color(own), f"{reference} only": network_color(reference), "both": BOTH}
        rows.append([Line2D([], [], color=colors[label], ms=7, label=label, **marker) for label in colors])  # type: ignore[arg-type]
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    low = len(rows) * LEGEND_ROW / figure.get_size_inches()[1]
    engine.set(rect=(0, low, 1, 1 - low))
    legend_rows(figure, rows)
