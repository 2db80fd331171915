"""Figure of distillation: what each method passes from the teacher to the student, for one image."""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from lad.analysis.distillation import DistillationView
from lad.figures.captions import draw_captions
from lad.figures.dots import LEVELS, MARKER_SIZE, draw_lines, draw_markers
from lad.figures.style import (
    BOTH,
    CAPTION,
    CO_TEACHER,
    DISTILLED,
    DPI,
    GT,
    MAX_ASPECT,
    MAX_UNSMOOTHED,
    NEITHER,
    PAGE,
    PANEL,
    STUDENT,
    TEACHER,
    TITLE,
    crowd_scale,
    denormalize,
    draw_boxes,
    show_image,
)
from lad.figures.text import plain_text
from lad.structures import Targets

GT_COLORS = (STUDENT, TEACHER, BOTH, DISTILLED, CO_TEACHER, "#56B4E9")  # of gts, here, not of networks
HEAT = LinearSegmentedColormap.from_list(  # low values leave the image visible
    "heat", [(0.99, 0.91, 0.15, 0.0), (0.99, 0.75, 0.15, 0.75), (0.85, 0.2, 0.1, 0.85), (0.35, 0.0, 0.25, 0.95)]
)
WITHOUT_FEATURES = (
    "PKD and CrossKD are not shown: the networks have different numbers of channels, so that these methods compare "
    "them through adapters that are trained with the student."
)
COLUMNS = 2
MARGIN, GAP, ABOVE, BELOW = 0.05, 0.15, 0.52, 0.42  # inches: around the figure, between, above and below panels


class _Map(NamedTuple):
    title: str
    text: str
    scale: str
    values: Tensor  # [h, w]
    low: float = 0  # start of the scale


@plain_text
def draw_distillation(image: Tensor, targets: Targets, view: DistillationView) -> Figure:
    """Draw what each distillation method passes on for one image, a panel for each.

    The first shows the teacher's assignment: a dot for each positive in the color of its gt, larger on coarser levels,
    with a line to the gt; the number at a gt counts its positives. The others are maps over the dimmed image. Those of
    PKD and CrossKD are replaced by a sentence if the view has none.

    Args:
        image: [3, H, W], normalized and padded.
        targets: The gts of the batch, whose first image this is.
        view: Of `lad.analysis.distillation.compare_networks`.
    """
    what = "what the teacher recognizes, and how surely"
    maps = [_Map("Soft labels, BCKD", what, "highest class probability", view.probability)]
    if view.features is not None and view.cross is not None:
        what, low = "where the student's features differ from the teacher's", view.features.min().item()
        maps.append(_Map("PKD", what, "mean |difference|, standardized", view.features, low))
        what = "where the teacher's head differs on the student's features"
        maps.append(_Map("CrossKD", what, "largest |difference|, probability", view.cross))
    figure, axes = _panels(1 + len(maps), targets.image_hw[0], note=len(maps) == 1)
    _draw_assignment(axes[0], image, targets, view)
    for ax, shown in zip(axes[1:], maps, strict=True):
        _draw_map(ax, image, targets, shown)
    return figure


def _panels(count: int, image_hw: Tensor, note: bool) -> tuple[Figure, list[Axes]]:
    """Create the panels, two in a row, with room for a title above and a scale below; and the note, if there is one."""
    high, wide = image_hw.tolist()
    width = (PAGE - 2 * MARGIN - (COLUMNS - 1) * GAP) / COLUMNS
    height = width * min(MAX_ASPECT, high / wide)
    rows = math.ceil(count / COLUMNS)
    below = 0.4 if note else 0
    size = (PAGE, rows * (ABOVE + height + BELOW) + below)
    figure = Figure(figsize=size, dpi=DPI)
    axes = []
    for place in range(count):
        row, column = divmod(place, COLUMNS)
        left, top = MARGIN + column * (width + GAP), row * (ABOVE + height + BELOW) + ABOVE
        bottom = size[1] - top - height
        axes.append(figure.add_axes((left / size[0], bottom / size[1], width / size[0], height / size[1])))
    if note:
        figure.text(MARGIN / PAGE, 0.5 * below / size[1], WITHOUT_FEATURES, fontsize=CAPTION, va="center", wrap=True)
    return figure, axes


def _set_title(ax: Axes, title: str, text: str) -> None:
    ax.set_title(title, fontsize=TITLE + 1, fontweight="bold", loc="left", pad=18)
    ax.annotate(text, (0, 1), (0, 5), xycoords="axes fraction", textcoords="offset points", fontsize=CAPTION)


def _draw_assignment(ax: Axes, image: Tensor, targets: Targets, view: DistillationView) -> None:
    """Draw the teacher's positives in the color of their gts, the gts with their numbers, and the levels' legend."""
    show_image(ax, image, targets.image_hw[0])
    _set_title(ax, "LAD", "which locations learn which object, says the teacher")
    gts = (targets.image == 0).nonzero().flatten()
    boxes, colors = targets.boxes[gts].tolist(), [GT_COLORS[row % len(GT_COLORS)] for row in range(len(gts))]
    anchor = (view.gt_index >= 0).nonzero().flatten()
    gt = view.gt_index[anchor]
    color_of = dict(zip(gts.tolist(), colors, strict=True))
    shades = [color_of[row] for row in gt.tolist()]
    x, y = view.anchors.center[anchor].numpy().T
    inches = ax.get_position().width * PAGE
    scale = inches / PANEL * crowd_scale(len(gts))
    sizes = scale * np.array(MARKER_SIZE)[view.anchors.level[anchor].numpy()]
    if len(anchor):
        draw_lines(ax, view.anchors.center[anchor], targets.boxes[gt], shades, 0.8, len(gts))
        draw_markers(ax, x, y, sizes, shades, len(gts))
    draw_boxes(ax, boxes, colors, widths=1.6)
    counts = torch.bincount(gt, minlength=len(targets.boxes))[gts].tolist()
    draw_captions(ax, boxes, list(map(str, counts)), [GT] * len(gts), inches, np.column_stack([x, y, sizes]))
    sizes_of_levels = zip(LEVELS, np.sqrt(scale * np.array(MARKER_SIZE)), strict=True)
    marker: dict[str, Any] = {"color": NEITHER, "ls": "", "marker": "o", "mec": "white"}
    levels = [Line2D([], [], ms=size, label=level, **marker) for level, size in sizes_of_levels]
    ax.legend(
        handles=levels, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=len(levels), frameon=False,
        fontsize=CAPTION, handletextpad=0.6, columnspacing=1.2,
    )  # fmt: skip


def _draw_map(ax: Axes, image: Tensor, targets: Targets, shown: _Map) -> None:
    """Draw a map over the gray image with the outlines of the gts, and its scale below."""
    height, width = targets.image_hw[0].tolist()
    gray = 0.45 + 0.55 * denormalize(image)[:height, :width].mean(axis=2)
    extent, smoothing = (0, width, height, 0), "none" if max(height, width) <= MAX_UNSMOOTHED else None
    ax.imshow(gray, cmap="gray", vmin=0, vmax=1, extent=extent, interpolation=smoothing)
    values = shown.values.numpy()
    low, high = shown.low, max(float(values.max()), shown.low + 1e-6)
    ax.imshow(values, cmap=HEAT, vmin=low, vmax=high, extent=extent, interpolation=smoothing)
    ax.set_axis_off()
    draw_boxes(ax, targets.boxes[targets.image == 0].tolist(), GT, widths=0.8)
    _set_title(ax, shown.title, shown.text)
    inches = ax.get_window_extent().height / DPI
    scale = ax.inset_axes((0, -0.2 / inches, 0.4, 0.1 / inches))
    scale.imshow(np.linspace(0, 1, 64)[None], cmap=HEAT, aspect="auto", extent=(low, high, 0, 1))
    scale.set_facecolor("#E8E8E8")  # of a gray image, for low values are transparent
    scale.set_yticks([])
    scale.set_xticks([low, high], [f"{low:.2g}", f"{high:.2g}"], fontsize=CAPTION)
    scale.tick_params(length=0, pad=2)
    first, last = scale.get_xticklabels()
    first.set_horizontalalignment("left")
    last.set_horizontalalignment("right")
    ax.annotate(shown.scale, (0.43, -0.15 / inches), xycoords="axes fraction", fontsize=CAPTION, va="center")
