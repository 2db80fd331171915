"""Figures of label assignment: each network's positives, their number per level, and the mixtures of costs."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from lad.analysis.assignment import AssignmentAnalysis, agreement
from lad.assigners import PAA
from lad.figures.captions import draw_captions
from lad.figures.dots import LEVELS, MARKER_SIZE, draw_lines, draw_markers
from lad.figures.style import (
    BOTH,
    DPI,
    GT,
    IMAGE_SHARE,
    LEGEND_ROW,
    NEITHER,
    PAGE,
    PANEL,
    TEACHER,
    TITLE,
    WIDTH,
    add_legend_rows,
    crowd_scale,
    draw_boxes,
    image_grid,
    network_color,
    panel_width,
    show_image,
    wrapped,
)
from lad.figures.text import plain_text
from lad.geometry import STRIDES, Anchors
from lad.structures import Targets
from lad.utils.class_labels import shorten

MAX_GT_NAME = 30  # letters of a gt's name in a title


@plain_text
def draw_assignments(
    images: Tensor, targets: Targets, analyses: Mapping[str, AssignmentAnalysis], reference: str = "teacher"
) -> Figure:
    """Draw each network's positives in each image, and the agreement of the first network with `reference`.

    A dot marks the location of a positive, larger on coarser levels, with a line to its gt; the number at a gt counts
    its positives.

    Args:
        images: [N, 3, H, W], normalized and padded.
        targets: The gts of the images.
        analyses: By network, the analysis of the images.
        reference: The network to compare the first one with, in a last column; without it there is no such column.
    """
    names = list(analyses)
    other = names[0]
    compares = reference in analyses and reference != other
    columns = [*names, "agreement"] if compares else names
    width = panel_width(len(columns), len(images))
    lines = 1 + wrapped(f"{other} and {reference}: 100% agree" if compares else "", width).count("\n")
    num_legend_rows = 2 if compares else 1
    figure, axes = image_grid(columns, targets.image_hw, above=0.16 * lines + 0.15, below=num_legend_rows * LEGEND_ROW)
    for row, image in enumerate(images):
        for column, name in enumerate(columns):
            ax = axes[row, column]
            show_image(ax, image, targets.image_hw[row])
            if name == "agreement":
                _draw_agreement(ax, row, targets, analyses[other], analyses[reference], network_color(other), width)
                share = agreement(analyses[other].gt_index[row], analyses[reference].gt_index[row])
                title, color = f"{other} and {reference}: {share:.0%} agree", BOTH
            else:
                analysis, color = analyses[name], network_color(name)
                dots = _draw_positives(ax, analysis.anchors, analysis.gt_index[row], targets, color, width)
                _draw_gts(ax, row, targets, width, analysis.gt_index[row], dots)
                title = f"{name}'s positives" if row == 0 else ""
            ax.set_title(wrapped(title, width), color=color, fontsize=TITLE)
    _level_legend(figure, width, comparing=(other, reference) if compares else None)
    return figure


@plain_text
def draw_mixtures(analyses: Mapping[str, AssignmentAnalysis], gt: int, gt_name: str = "", subtitle: str = "") -> Figure:
    """Draw the costs of one gt's candidates: histogram, the two fitted Gaussians, and the cut.

    Candidates up to the cut are positive. Each network has its own axes, as the costs differ in scale.

    Args:
        analyses: By network, the analysis of the gt's image.
        gt: The row of the gt.
        gt_name: The name of the gt for the titles.
        subtitle: A second line of the titles.
    """
    columns = min(len(analyses), 2)
    width, height = WIDTH if columns == 1 else PAGE / columns, 3.08 if subtitle else 2.9  # inches of each panel
    total_width, total_height = width * columns, height * math.ceil(len(analyses) / columns)
    figure = Figure(figsize=(total_width, total_height), dpi=DPI)
    for place, (name, analysis) in enumerate(analyses.items()):
        row, column = divmod(place, columns)  # no automatic layout, which takes as long as drawing
        left, bottom = column * width + 0.5, total_height - (row + 1) * height + 0.48
        ax = figure.add_axes(
            (left / total_width, bottom / total_height, (width - 0.65) / total_width, 2.1 / total_height)
        )
        title = f"{name}: {shorten(gt_name, MAX_GT_NAME) or f'gt {gt}'}"
        ax.set_title(f"{title}\n{subtitle}" if subtitle else title, fontsize=TITLE)
        ax.spines[["top", "right"]].set_visible(False)
        if not analysis.count[gt]:
            ax.text(0.5, 0.5, "no candidates", ha="center", transform=ax.transAxes)
            ax.set_xticks([])
            ax.set_yticks([])
            continue
        _draw_costs(ax, analysis, gt, network_color(name))
    return figure


@plain_text
def draw_levels(per_level: Mapping[str, Sequence[float]]) -> Figure:
    """Draw the mean number of positives per gt on each level, as of `lad.analysis.assignment.positives_per_level`."""
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


def _cost_formula(paa: PAA) -> str:
    """Return the terms of a candidate's cost with their weights; a weight of 0 leaves its term out."""
    weights = {"focal loss": paa.class_weight, "GIoU loss": paa.box_weight}
    terms = [name if weight == 1 else f"{weight:g} · {name}" for name, weight in weights.items() if weight]
    return " + ".join(terms)


def _draw_costs(ax: Axes, analysis: AssignmentAnalysis, gt: int, color: str) -> None:
    """Draw the histogram of a gt's candidate costs, the fitted mixture and the cut."""
    valid = slice(0, int(analysis.count[gt]))
    cost, positive = analysis.cost[gt, valid].double().numpy(), analysis.positive[gt, valid].numpy()
    ignored = analysis.ignored[gt, valid].numpy()
    bins = np.linspace(cost.min(), cost.max() + 1e-9, 25)
    parts = [(~positive & ~ignored, "#C8C8C8", "background"), (positive, color, "positive")]
    if ignored.any():
        parts.insert(1, (ignored, "#EEEEEE", "ignored"))
    for mask, shade, label in parts:
        ax.stairs(np.histogram(cost[mask], bins)[0], bins, fill=True, color=shade, label=f"{mask.sum()} {label}")
    grid = np.linspace(max(0, cost.min() - 0.2 * np.ptp(cost)), cost.max() + 0.1 * np.ptp(cost), 400)
    scale = len(cost) * (bins[1] - bins[0])
    for component, style in ((0, "-"), (1, "--")):
        fields = (analysis.mixture.weight, analysis.mixture.mean, analysis.mixture.variance)
        weight, mean, variance = (float(field[gt, component]) for field in fields)
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
    ax.set_xlabel(f"cost = {_cost_formula(analysis.paa)}", fontsize=9)
    ax.set_ylabel("candidates", fontsize=9)
    ax.legend(fontsize=8, frameon=False)


def _draw_positives(
    ax: Axes, anchors: Anchors, gt_index: Tensor, targets: Targets, color: str, width: float
) -> np.ndarray:
    """Draw the positives of gt_index [A] in axes `width` inches wide; return the dots' x, y and area [P, 3]."""
    anchor = (gt_index >= 0).nonzero().flatten()
    if not len(anchor):
        return np.zeros((0, 3))
    num_gts = int((targets.image == targets.image[gt_index[anchor[0]]]).sum())
    draw_lines(ax, anchors.center[anchor], targets.boxes[gt_index[anchor]], color, 0.6, num_gts)
    sizes = np.array(MARKER_SIZE)[anchors.level[anchor].numpy()] * (width / PANEL) * crowd_scale(num_gts)
    x, y = anchors.center[anchor].numpy().T
    draw_markers(ax, x, y, sizes, to_rgba(color, 0.75), num_gts)
    return np.column_stack([x, y, sizes])


def _draw_gts(
    ax: Axes,
    image: int,
    targets: Targets,
    width: float,
    gt_index: Tensor | None = None,
    dots: np.ndarray | None = None,
) -> None:
    """Draw the gt boxes of one image and, given the gt index [A] of its anchors, the number of positives of each."""
    gts = (targets.image == image).nonzero().flatten().tolist()
    boxes = targets.boxes[gts].tolist()
    draw_boxes(ax, boxes, GT)
    if gt_index is not None:
        num_positives = torch.bincount(gt_index[gt_index >= 0], minlength=len(targets.boxes))[gts]
        draw_captions(ax, boxes, list(map(str, num_positives.tolist())), [GT] * len(gts), IMAGE_SHARE * width, dots)


def _draw_agreement(
    ax: Axes,
    image: int,
    targets: Targets,
    first: AssignmentAnalysis,
    second: AssignmentAnalysis,
    first_color: str,
    width: float,
) -> None:
    """Draw the positives of one image of the first network alone, the second alone, and both."""
    first_index, second_index = first.gt_index[image], second.gt_index[image]
    same = (first_index >= 0) & (first_index == second_index)
    for gt_index, color in (
        (torch.where(same, -1, first_index), first_color),
        (torch.where(same, -1, second_index), TEACHER),
        (torch.where(same, first_index, -1), BOTH),
    ):
        _draw_positives(ax, first.anchors, gt_index, targets, color, width)
    _draw_gts(ax, image, targets, width)


def _marker_size(level: int, width: float) -> float:
    """Return the area of a dot in points², in an image `width` inches wide."""
    return MARKER_SIZE[level] * width / PANEL


def _level_legend(figure: Figure, width: float, comparing: tuple[str, str] | None) -> None:
    """Add a legend of the levels' dots and, for two networks to compare, of their colors."""
    marker = {"marker": "o", "ls": "", "markeredgecolor": "white"}
    levels = [
        Line2D([], [], color=NEITHER, ms=_marker_size(place, width) ** 0.5, label=level, **marker)  # type: ignore[arg-type]
        for place, level in enumerate(LEVELS)
    ]
    rows = [levels]
    if comparing:
        first, second = comparing
        colors = {f"{first} only": network_color(first), f"{second} only": network_color(second), "both": BOTH}
        rows.append([Line2D([], [], color=colors[label], ms=7, label=label, **marker) for label in colors])  # type: ignore[arg-type]
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    bottom = len(rows) * LEGEND_ROW / figure.get_size_inches()[1]
    engine.set(rect=(0, bottom, 1, 1 - bottom))
    add_legend_rows(figure, rows)
