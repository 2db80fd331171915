"""The figures of the notebooks. Each function takes what it draws and returns a matplotlib Figure; none is shown here.

Colours mean the same everywhere and are told apart by colour-blind readers (Okabe and Ito's palette).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from lad.data import Targets
from lad.data.transforms import IMAGENET_MEAN, IMAGENET_STD
from lad.explain import Opinion, agreement
from lad.geometry import STRIDES, Anchors
from lad.postprocess import Detections

STUDENT, TEACHER, BOTH, NEITHER, TAUGHT = "#0072B2", "#D55E00", "#009E73", "#7F7F7F", "#AA4499"
GT = "#111111"
LEVELS = tuple(f"P{3 + level}" for level in range(len(STRIDES)))
MOST_LABELS = 12  # of class names in one picture; more would hide it
MARKER_SIZE = (16, 42, 90, 160, 250)  # by level, points²


def network_colour(name: str) -> str:
    """The colour of a network named as in `lad.experiment.compare`."""
    return {"teacher": TEACHER, "plain student": STUDENT}.get(name, TAUGHT)


def draw_assignments(
    images: Tensor, targets: Targets, opinions: Mapping[str, Opinion], reference: str = "teacher"
) -> Figure:
    """One row per image, one column per network with its positives at their locations, marker size by level, a line to
    the gt; numbers count each gt's positives. Where `reference` is among the networks, a last column compares it with
    the first of them."""
    names = list(opinions)
    other = names[0]
    compares = reference in opinions and reference != other
    columns = [*names, "agreement"] if compares else names
    figure, axes = _image_grid(columns, targets.image_hw)
    for row, image in enumerate(images):
        for column, name in enumerate(columns):
            ax = axes[row, column]
            _show_image(ax, image, targets.image_hw[row])
            if name == "agreement":
                _draw_agreement(ax, row, targets, opinions[other], opinions[reference], network_colour(other))
                share = agreement(opinions[other].gt_index[row], opinions[reference].gt_index[row])
                ax.set_title(f"{other} and {reference}: {share:.0%} agree", color=BOTH, fontsize=10)
            else:
                one = opinions[name]
                _draw_positives(ax, one.anchors, one.gt_index[row], targets, network_colour(name))
                _draw_gts(ax, row, targets, one.gt_index[row])
                if row == 0:
                    ax.set_title(f"{name}'s positives", color=network_colour(name), fontsize=10)
    _level_legend(figure, comparing=(other, reference) if compares else None)
    return figure


def draw_mixtures(opinions: Mapping[str, Opinion], gt: int, gt_name: str = "") -> Figure:
    """One gt's candidate costs for each network: histogram of positives and background, the two fitted Gaussians, and
    the cut up to which component 0 is foreground. The networks keep their own axes: their costs differ in scale."""
    figure = Figure(figsize=(4.2 * len(opinions), 3.3), layout="constrained", dpi=110)
    axes = figure.subplots(1, len(opinions), squeeze=False)[0]
    for ax, (name, one) in zip(axes, opinions.items(), strict=True):
        valid = slice(0, int(one.count[gt]))
        cost, positive = one.cost[gt, valid].double().numpy(), one.positive[gt, valid].numpy()
        bins = np.linspace(cost.min(), cost.max() + 1e-9, 25)
        colour = network_colour(name)
        ax.hist(cost[~positive], bins, color="#C8C8C8", label=f"{(~positive).sum()} background")
        ax.hist(cost[positive], bins, color=colour, label=f"{positive.sum()} positive")
        grid = np.linspace(max(0, cost.min() - 0.2 * np.ptp(cost)), cost.max() + 0.1 * np.ptp(cost), 400)
        scale = len(cost) * (bins[1] - bins[0])
        for component, style in ((0, "-"), (1, "--")):
            weight, mean, variance = (
                float(field[gt, component]) for field in (one.mixture.weight, one.mixture.mean, one.mixture.variance)
            )
            density = weight * np.exp(-((grid - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
            ax.plot(grid, scale * density, style, color="#333333", lw=1.3, label=f"component {component}")
        if positive.any():
            cut = cost[positive].max()
            ax.axvline(cut, color=colour, lw=1.2, ls=":")
            ax.annotate("cut", (cut, 1), xycoords=("data", "axes fraction"), xytext=(3, -10),
                        textcoords="offset points", color=colour, fontsize=9)  # fmt: skip
        ax.set_ylim(0, 1.25 * max(1, np.histogram(cost, bins)[0].max()))
        ax.set_title(f"{name}: {gt_name or f'gt {gt}'}", fontsize=10)
        ax.yaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_xlabel("cost = focal loss + 1.3 · GIoU loss")
        ax.set_ylabel("candidates")
        ax.legend(fontsize=8, frameon=False)
        ax.spines[["top", "right"]].set_visible(False)
    return figure


def draw_levels(per_level: Mapping[str, Sequence[float]]) -> Figure:
    """Mean positives per gt on each level, by network, as `lad.explain.positives_per_level` counts them."""
    figure = Figure(figsize=(5.2, 2.8), layout="constrained", dpi=110)
    ax = figure.subplots()
    width = 0.8 / len(per_level)
    for position, (name, values) in enumerate(per_level.items()):
        offset = (position - (len(per_level) - 1) / 2) * width
        label = f"{name} ({sum(values):.1f} per object)"
        ax.bar(np.arange(len(values)) + offset, values, width * 0.92, color=network_colour(name), label=label)
    ax.set_xticks(
        range(len(LEVELS)), [f"{level}\nstride {stride}" for level, stride in zip(LEVELS, STRIDES, strict=True)]
    )
    ax.set_ylabel("positives per object")
    ax.legend(fontsize=8, frameon=False)
    ax.spines[["top", "right"]].set_visible(False)
    return figure


def draw_training(epochs_of: Mapping[str, Sequence[Mapping[str, float | None]]]) -> Figure:
    """Classification and box loss, positives per gt, and AP where it was evaluated, over the epochs of each run."""
    panels = {
        "cls": "classification loss",
        "box": "box loss",
        "positives_per_gt": "positives per object",
        "AP": "AP on the validation set",
    }
    figure = Figure(figsize=(11, 2.8), layout="constrained", dpi=110)
    axes = figure.subplots(1, len(panels))
    for ax, (key, title) in zip(axes, panels.items(), strict=True):
        for name, epochs in epochs_of.items():
            points = [(line["epoch"], line[key]) for line in epochs if line.get(key) is not None]
            if points:
                ax.plot(*zip(*points, strict=True), marker="o", ms=3, color=network_colour(name), label=name)
        ax.set_title(title, fontsize=10)
        ax.set_xlabel("epoch")
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.spines[["top", "right"]].set_visible(False)
    axes[-1].set_ylim(bottom=0)
    axes[0].legend(fontsize=8, frameon=False)
    return figure


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
    figure, axes = _image_grid(columns, targets.image_hw)
    for row, image in enumerate(images):
        for column, name in enumerate(columns):
            ax = axes[row, column]
            _show_image(ax, image, targets.image_hw[row])
            if name == "ground truth":
                here = targets.image == row
                boxes, labels = targets.boxes[here], targets.labels[here]
                texts, colour = [class_names[label] for label in labels], GT
            else:
                detections = found[name][row]
                shown = detections.scores >= min_score
                boxes, labels, scores = detections.boxes[shown], detections.labels[shown], detections.scores[shown]
                texts = [f"{class_names[label]} {score:.2f}" for label, score in zip(labels, scores, strict=True)]
                colour = network_colour(name)
            for box, text in reversed(list(zip(boxes.tolist(), texts, strict=True))):  # the best on top
                _box(ax, box, colour)
                if len(texts) <= MOST_LABELS:
                    _label(ax, box, text, colour)
            if row == 0:
                ax.set_title(name, color=colour, fontsize=10)
    return figure


def to_picture(image: Tensor) -> np.ndarray:
    """A normalised image [3, H, W] as [H, W, 3] in [0, 1]."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (image.cpu() * std + mean).clamp(0, 1).permute(1, 2, 0).numpy()


def _image_grid(columns: Sequence[str], image_hw: Tensor) -> tuple[Figure, np.ndarray]:
    """A figure with a row of equal pictures per image and its axes [rows, columns], each as high as its image needs."""
    width = 2.9
    heights = [min(2.0, height / wide) * width for height, wide in image_hw.tolist()]
    size = (width * len(columns), sum(heights) + 0.3 * len(heights) + 0.3)
    figure = Figure(figsize=size, layout="constrained", dpi=110)
    return figure, figure.subplots(len(heights), len(columns), squeeze=False, height_ratios=heights)


def _show_image(ax: Axes, image: Tensor, image_hw: Tensor) -> None:
    height, width = image_hw.tolist()
    ax.imshow(to_picture(image)[:height, :width], extent=(0, width, height, 0), alpha=0.75)
    ax.set_xlim(0, width)
    ax.set_ylim(height, 0)
    ax.set_axis_off()


def _draw_positives(ax: Axes, anchors: Anchors, gt_of: Tensor, targets: Targets, colour: str) -> None:
    """The positives of one image, gt_of [A], each tied to its gt's centre."""
    for anchor in (gt_of >= 0).nonzero().flatten().tolist():
        x, y = anchors.center[anchor].tolist()
        gt_center = (targets.boxes[gt_of[anchor], :2] + targets.boxes[gt_of[anchor], 2:]) / 2
        ax.plot([x, gt_center[0]], [y, gt_center[1]], color=colour, lw=0.6, alpha=0.6)
        size = MARKER_SIZE[int(anchors.level[anchor])]
        ax.scatter(x, y, s=size, color=colour, alpha=0.75, linewidths=0.6, edgecolors="white", zorder=3, clip_on=False)


def _draw_gts(ax: Axes, image: int, targets: Targets, gt_of: Tensor | None = None) -> None:
    for gt in (targets.image == image).nonzero().flatten().tolist():
        box = targets.boxes[gt].tolist()
        _box(ax, box, GT)
        if gt_of is not None:
            _label(ax, box, str(int((gt_of == gt).sum())), GT)


def _draw_agreement(ax: Axes, image: int, targets: Targets, own: Opinion, taught: Opinion, colour: str) -> None:
    first, second = own.gt_index[image], taught.gt_index[image]
    same = (first >= 0) & (first == second)
    for gt_of, part_colour in (
        (torch.where(same, -1, first), colour),
        (torch.where(same, -1, second), TEACHER),
        (torch.where(same, first, -1), BOTH),
    ):
        _draw_positives(ax, own.anchors, gt_of, targets, part_colour)
    _draw_gts(ax, image, targets)


def _level_legend(figure: Figure, comparing: tuple[str, str] | None) -> None:
    marker = {"marker": "o", "ls": "", "markeredgecolor": "white"}
    handles = [
        Line2D([], [], color=NEITHER, ms=size**0.5, label=level, **marker)  # type: ignore[arg-type]
        for level, size in zip(LEVELS, MARKER_SIZE, strict=True)
    ]
    if comparing:
        own, reference = comparing
        for label, colour in (
            (f"{own} only", network_colour(own)),
            (f"{reference} only", network_colour(reference)),
            ("both", BOTH),
        ):
            handles.append(Line2D([], [], color=colour, ms=7, label=label, **marker))  # type: ignore[arg-type]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)


def _box(ax: Axes, box: Sequence[float], colour: str) -> None:
    x0, y0, x1, y1 = box
    ax.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=colour, lw=1.2))


def _label(ax: Axes, box: Sequence[float], text: str, colour: str) -> None:
    frame = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.8}
    ax.text(box[0] + 1, box[1] + 1, text, color=colour, fontsize=7, va="top", ha="left", bbox=frame, clip_on=True)
