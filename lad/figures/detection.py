"""Figures of detections: beside the ground truth, coco_eval one by one, and summed up in curves."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from lad.evaluation.error_analysis import ERRORS, SIZES, EvaluatedImage
from lad.figures.style import (
    DPI,
    FILLED,
    GT,
    PAGE,
    STUDENT,
    TALLEST,
    TITLE,
    captions,
    image_grid,
    network_color,
    nothing_to_show,
    outline,
    panel_width,
    plain_text,
    show_image,
    wrapped,
)
from lad.structures import Detections, Targets

KIND_COLORS = {
    "correct": "#009E73",
    "classification": "#AA4499",
    "localization": "#0072B2",
    "background": "#D55E00",
    "duplicate": "#E69F00",
    "missed": GT,
    "detection": STUDENT,
}
MAX_LABELS = 12  # of class names in one picture; more would hide it


@plain_text
def draw_detections(
    images: Tensor,
    targets: Targets,
    found: Mapping[str, Sequence[Detections]],
    class_names: Sequence[str],
    min_score: float = 0.5,
) -> Figure:
    """One row per image: the ground truth, then each network's detections of at least `min_score`, with class and score
    where they are few enough to be read."""
    columns = ["ground truth", *found]
    figure, axes = image_grid(columns, targets.image_hw, above=0.08, below=0.25)
    width = panel_width(len(columns), len(images))
    for row, image in enumerate(images):
        for column, name in enumerate(columns):
            ax = axes[row, column]
            show_image(ax, image, targets.image_hw[row])
            if name == "ground truth":
                here = targets.image == row
                boxes, labels = targets.boxes[here], targets.labels[here]
                texts, color = [class_names[label] for label in labels], GT
            else:
                detections = found[name][row]
                shown = detections.scores >= min_score
                boxes, labels, scores = detections.boxes[shown], detections.labels[shown], detections.scores[shown]
                texts = [f"{class_names[label]} {score:.2f}" for label, score in zip(labels, scores, strict=True)]
                color = network_color(name)
            for box in reversed(boxes.tolist()):  # the best on top
                outline(ax, box, color)
            if len(texts) <= MAX_LABELS:
                captions(ax, boxes.tolist(), texts, [color] * len(texts), FILLED * width)
            if row == 0:
                ax.set_title(wrapped(name, width), color=color, fontsize=TITLE)
    return figure


@plain_text
def draw_evaluated(images: Sequence[EvaluatedImage]) -> Figure:
    """Photographs with every detection in the color of what it is, and missed objects dashed; two in a row, or three
    where there are more than four."""
    if not images:
        return nothing_to_show("no picture with an object")
    columns = min(len(images), 2 if len(images) <= 4 else 3)
    rows = math.ceil(len(images) / columns)
    heights = [
        max(
            min(TALLEST, one.pixels.shape[0] / one.pixels.shape[1])
            for one in images[row * columns : (row + 1) * columns]
        )
        for row in range(rows)
    ]
    width = PAGE / max(columns, 2)
    figure = Figure(figsize=(width * columns, width * sum(heights) + 0.45 * rows + 0.5), layout="constrained", dpi=DPI)
    axes = figure.subplots(rows, columns, squeeze=False, height_ratios=heights).ravel()
    for ax, one in zip(axes, images, strict=False):
        ax.imshow(one.pixels)
        for box, kind in zip(one.boxes, one.kinds, strict=True):
            outline(ax, box, KIND_COLORS[kind], is_dashed=kind == "missed")
        if len(one.boxes) <= MAX_LABELS:
            captions(ax, one.boxes, one.texts, [KIND_COLORS[kind] for kind in one.kinds], FILLED * width)
        ax.set_title(_wrapped(one.title, width), fontsize=TITLE)
    for ax in axes:
        ax.set_axis_off()
    handles = [
        Line2D([], [], color=color, lw=2, ls="--" if kind == "missed" else "-", label=kind)
        for kind, color in KIND_COLORS.items()
        if any(kind in one.kinds for one in images)
    ]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=max(1, min(len(handles), 4)), frameon=False, fontsize=TITLE
    )
    return figure


@plain_text
def draw_errors(table: pd.DataFrame) -> Figure:
    """`lad.experiments.evaluate.error_table`: left the number of errors of each kind, by size of object; right the AP50 that
    each kind costs."""
    figure = Figure(figsize=(PAGE, 2.6), layout="constrained", dpi=DPI)
    left, right = figure.subplots(1, 2)
    shades = dict(zip(SIZES, ("#BBBBBB", "#777777", "#333333"), strict=True))
    place = np.arange(len(ERRORS))
    start = np.zeros(len(ERRORS))
    for size, shade in shades.items():
        number = table.loc[list(ERRORS), size].to_numpy(dtype=float)
        left.barh(place, number, left=start, color=shade, label=size)
        start += number
    left.set_title("how many", fontsize=10)
    left.set_xlabel("detections, or objects missed", fontsize=9)
    left.legend(fontsize=9, frameon=False)
    lost = 100 * table.loc[list(ERRORS), "AP50 lost"]
    right.barh(place, lost, color=[KIND_COLORS[kind] for kind in ERRORS])
    right.set_title("what they cost", fontsize=10)
    right.set_xlabel("AP50 gained if mended (points)", fontsize=9)
    for ax in (left, right):
        ax.set_yticks(place, ERRORS, fontsize=9)
        ax.invert_yaxis()
        ax.spines[["top", "right"]].set_visible(False)
    return figure


@plain_text
def draw_precision_recall(curves: Mapping[float, np.ndarray]) -> Figure:
    """Precision at each recall 0, .01 … 1, mean over the classes, from IoU .5 (dark) to .95 (pale)."""
    figure = Figure(figsize=(5.2, 3.6), layout="constrained", dpi=DPI)
    ax = figure.subplots()
    shades = colormaps["viridis"](np.linspace(0, 0.92, len(curves)))
    for (iou, precision), shade in zip(curves.items(), shades, strict=True):
        wide = 2.2 if iou in (0.5, 0.75) else 1.0
        ax.plot(
            np.linspace(0, 1, len(precision)),
            precision,
            color=shade,
            lw=wide,
            label=f"{iou:.2f}: {precision.mean():.3f}",
        )
    ax.set_xlabel("recall")
    ax.set_ylabel("precision")
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1.02)
    ax.legend(title="IoU: AP", title_fontsize=8, fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    ax.spines[["top", "right"]].set_visible(False)
    return figure


def _wrapped(title: str, width: float) -> str:
    """Broken after a " · ", if it is long."""
    parts = [part.replace(" ", "\N{NO-BREAK SPACE}") for part in title.split(" · ")]
    return wrapped("\N{NO-BREAK SPACE}· ".join(parts), width).replace("\N{NO-BREAK SPACE}", " ")
