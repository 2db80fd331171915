"""Figures of detections: next to the ground truth, colored by error type, error counts, and precision over recall."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from lad.evaluation.error_analysis import ERROR_TYPES, SIZES, EvaluatedImage
from lad.figures.captions import draw_captions
from lad.figures.style import (
    DPI,
    GT,
    IMAGE_SHARE,
    MAX_ASPECT,
    PAGE,
    STUDENT,
    TITLE,
    draw_boxes,
    empty_figure,
    image_grid,
    network_color,
    panel_width,
    show_image,
    wrapped,
)
from lad.figures.text import plain_text
from lad.geometry import box_area
from lad.structures import Detections, Targets
from lad.utils.class_labels import class_labels

KIND_COLORS = {
    "correct": "#009E73",
    "classification": "#AA4499",
    "localization": "#0072B2",
    "background": "#D55E00",
    "duplicate": "#E69F00",
    "missed": GT,
    "detection": STUDENT,
}
MAX_LABELS = 12  # captions with a class's name in one image; more would hide it


@plain_text
def draw_detections(
    images: Tensor,
    targets: Targets,
    detections: Mapping[str, Sequence[Detections]],
    class_names: Sequence[str],
    min_score: float = 0.5,
    network_class_names: Mapping[str, Sequence[str]] | None = None,
) -> Figure:
    """Draw a row for each image: its ground truth, then each network's detections.

    Class and score are written at up to `MAX_LABELS` boxes of each image, those of the highest scores and the largest
    gts.

    Args:
        images: [N, 3, H, W], normalized and padded.
        targets: The gts of the images.
        detections: By network, the detections in each image.
        class_names: The names of the classes.
        min_score: The lowest score to draw.
        network_class_names: By network, the names of its classes where they are others.
    """
    columns = ["ground truth", *detections]
    figure, axes = image_grid(columns, targets.image_hw, above=0.08, below=0.25)
    width = panel_width(len(columns), len(images))
    labels_of_classes = class_labels(class_names)
    for row, image in enumerate(images):
        for column, name in enumerate(columns):
            ax = axes[row, column]
            show_image(ax, image, targets.image_hw[row])
            if name == "ground truth":
                in_image = targets.image == row
                boxes, labels = targets.boxes[in_image], targets.labels[in_image]
                texts, color, importance = [labels_of_classes[label] for label in labels], GT, box_area(boxes).tolist()
            else:
                of_image = detections[name][row]
                shown = of_image.scores >= min_score
                boxes, labels, scores = of_image.boxes[shown], of_image.labels[shown], of_image.scores[shown]
                names = class_labels((network_class_names or {}).get(name, class_names))
                texts = [f"{names[label]} {score:.2f}" for label, score in zip(labels, scores, strict=True)]
                color, importance = network_color(name), scores.tolist()
            draw_boxes(ax, boxes.flip(0).tolist(), color)  # the highest score on top
            draw_captions(
                ax, boxes.tolist(), texts, [color] * len(texts), IMAGE_SHARE * width,
                importance=importance, max_captions=MAX_LABELS,
            )  # fmt: skip
            if row == 0:
                ax.set_title(wrapped(name, width), color=color, fontsize=TITLE)
    return figure


@plain_text
def draw_evaluated(images: Sequence[EvaluatedImage]) -> Figure:
    """Draw images with every detection in the color of its kind and missed objects dashed.

    Two images stand in a row, or three if there are more than four.
    """
    if not images:
        return empty_figure("no image has a ground-truth object")
    columns = min(len(images), 2 if len(images) <= 4 else 3)
    rows = math.ceil(len(images) / columns)
    heights = [
        max(
            min(MAX_ASPECT, image.pixels.shape[0] / image.pixels.shape[1])
            for image in images[row * columns : (row + 1) * columns]
        )
        for row in range(rows)
    ]
    width = PAGE / max(columns, 2)
    figure = Figure(figsize=(width * columns, width * sum(heights) + 0.45 * rows + 0.5), layout="constrained", dpi=DPI)
    axes = figure.subplots(rows, columns, squeeze=False, height_ratios=heights).ravel()
    for ax, image in zip(axes, images, strict=False):
        ax.imshow(image.pixels)
        colors = [KIND_COLORS[kind] for kind in image.kinds]
        draw_boxes(ax, image.boxes, colors, ["--" if kind == "missed" else "-" for kind in image.kinds])
        draw_captions(ax, image.boxes, image.texts, colors, IMAGE_SHARE * width, max_captions=MAX_LABELS)
        ax.set_title(_wrapped_at_dots(image.title, width), fontsize=TITLE)
    for ax in axes:
        ax.set_axis_off()
    handles = [
        Line2D([], [], color=color, lw=2, ls="--" if kind == "missed" else "-", label=kind)
        for kind, color in KIND_COLORS.items()
        if any(kind in image.kinds for image in images)
    ]
    legend_columns = max(1, min(len(handles), 2 * columns, 4))
    figure.legend(handles=handles, loc="outside lower center", ncols=legend_columns, frameon=False, fontsize=TITLE)
    return figure


@plain_text
def draw_errors(table: pd.DataFrame) -> Figure:
    """Draw a table of errors: their number by object size, and the AP50 that fixing each type would gain.

    Args:
        table: As of `lad.experiments.evaluation_report.error_table`.
    """
    figure = Figure(figsize=(PAGE, 2.6), layout="constrained", dpi=DPI)
    left, right = figure.subplots(1, 2)
    shades = dict(zip(SIZES, ("#BBBBBB", "#777777", "#333333"), strict=True))
    place = np.arange(len(ERROR_TYPES))
    start = np.zeros(len(ERROR_TYPES))
    for size, shade in shades.items():
        number = table.loc[list(ERROR_TYPES), size].to_numpy(dtype=float)
        left.barh(place, number, left=start, color=shade, label=size)
        start += number
    left.set_title("number of errors", fontsize=10)
    left.set_xlabel("wrong detections, missed objects", fontsize=9)
    left.legend(title="object size", title_fontsize=9, fontsize=9, frameon=False)
    gained = 100 * table.loc[list(ERROR_TYPES), "dAP50"]
    right.barh(place, gained, color=[KIND_COLORS[kind] for kind in ERROR_TYPES])
    right.set_title("effect on AP50", fontsize=10)
    right.set_xlabel("AP50 gained if fixed (points)", fontsize=9)
    for ax in (left, right):
        ax.set_yticks(place, ERROR_TYPES, fontsize=9)
        ax.invert_yaxis()
        ax.spines[["top", "right"]].set_visible(False)
    return figure


@plain_text
def draw_precision_recall(curves: Mapping[float, np.ndarray]) -> Figure:
    """Draw precision over recall, one curve for each IoU threshold.

    Args:
        curves: For each IoU, the precision at recall 0, .01 … 1, averaged over the classes.
    """
    figure = Figure(figsize=(5.2, 3.6), layout="constrained", dpi=DPI)
    ax = figure.subplots()
    shades = colormaps["viridis"](np.linspace(0, 0.92, len(curves)))
    for (iou, precision), shade in zip(curves.items(), shades, strict=True):
        line_width = 2.2 if iou in (0.5, 0.75) else 1.0
        ax.plot(
            np.linspace(0, 1, len(precision)),
            precision,
            color=shade,
            lw=line_width,
            label=f"{iou:.2f}: {precision.mean():.3f}",
        )
    ax.set_xlabel("recall")
    ax.set_ylabel("precision")
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1.02)
    ax.legend(title="IoU: AP", title_fontsize=8, fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    ax.spines[["top", "right"]].set_visible(False)
    return figure


def _wrapped_at_dots(title: str, width: float) -> str:
    """Wrap a title, with line breaks only after " · "."""
    parts = [part.replace(" ", "\N{NO-BREAK SPACE}") for part in title.split(" · ")]
    return wrapped("\N{NO-BREAK SPACE}· ".join(parts), width).replace("\N{NO-BREAK SPACE}", " ")
