"""Figures of training and of comparisons: curves over the epochs, AP of each run, gains over the baseline."""

import math
from collections.abc import Collection, Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from lad.figures.style import DISTILLED, DPI, GT, NEITHER, PAGE, TITLE, series_colors, wrapped
from lad.figures.text import plain_text
from lad.utils.fonts import drawable

LABEL_WIDTH = 2.5  # inches
TRAINING_PANELS = {
    "cls": "classification loss",
    "box": "box loss",
    "positives_per_gt": "positives per object",
    "AP": "AP on the validation set",
}
ZERO_BASED = ("AP", "teacher_AP", "agreement", "teacher_chosen", "positives_per_gt")  # their axes begin at 0


@plain_text
def draw_training(
    epochs_of: Mapping[str, Sequence[Mapping[str, float | None]]],
    panels: Mapping[str, str] = TRAINING_PANELS,
    among: Collection[str] = (),
) -> Figure:
    """Draw the logged numbers of several runs over their epochs.

    Args:
        epochs_of: The log lines of each run, each with "epoch" and the numbers of that epoch.
        panels: The titles of the numbers to draw, by default the losses, positives per gt and AP.
        among: Names of a table's rows; those of the runs have the same colors as in `draw_comparison` of all of them.
    """
    colors = series_colors(list(among or epochs_of))
    columns = len(panels) if len(panels) <= 3 else 2 if len(panels) == 4 else 3
    rows = math.ceil(len(panels) / columns)
    fits_panel = 1 <= len(epochs_of) <= 3  # the legend; a longer one stands below the figure
    below = 0 if fits_panel else 0.2 * math.ceil(len(epochs_of) / 2)
    figure = Figure(figsize=(PAGE if columns > 1 else 5.5, 2.5 * rows + below), layout="constrained", dpi=DPI)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    for ax, (key, title) in zip(axes, panels.items(), strict=False):
        for name, epochs in epochs_of.items():
            points = [(line["epoch"], line[key]) for line in epochs if line.get(key) is not None]
            if points:
                ax.plot(*zip(*points, strict=True), marker="o", ms=3, color=colors[name], label=name)
        ax.set_title(title, fontsize=TITLE)
        ax.set_xlabel("epoch", fontsize=9)
        ax.tick_params(labelsize=9)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        ax.spines[["top", "right"]].set_visible(False)
        if key in ZERO_BASED and ax.lines:
            ax.set_ylim(0, 1.05 * ax.dataLim.y1 or 1)
        if not ax.lines:  # a cached teacher has no costs, for instance
            ax.text(0.5, 0.5, "not logged", transform=ax.transAxes, ha="center", va="center", color=NEITHER)
    filled = [ax for ax in axes if ax.lines]
    if fits_panel and filled:
        lines = filled[0].get_lines()  # given explicitly, as a name may begin with _, which otherwise hides it
        filled[0].legend(lines, [str(line.get_label()) for line in lines], fontsize=9, frameon=False)
    elif epochs_of and not fits_panel:
        handles = [Line2D([], [], color=colors[name], marker="o", ms=3, label=name) for name in epochs_of]
        figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    return figure


@plain_text
def draw_comparison(values_of: Mapping[str, Sequence[float]], unit: str = "AP, %") -> Figure:
    """Draw the rows of a table: a dot for each seed, a bar at their mean, and the mean as text.

    Args:
        values_of: The values of each row's seeds; a row without any is labeled "not run".
        unit: The label of the axis. The means have one decimal if it contains %, otherwise three.
    """
    labels = [wrapped(drawable(name), LABEL_WIDTH) for name in values_of]
    lines = sum(max(1.0, 0.6 * (label.count("\n") + 1)) for label in labels)
    figure = Figure(figsize=(6.5, 0.9 + 0.36 * lines), layout="constrained", dpi=DPI)
    ax = figure.subplots()
    colors = series_colors(list(values_of))
    for height, (name, values) in enumerate(values_of.items()):
        if values:
            mean = sum(values) / len(values)
            ax.plot(values, [height] * len(values), "o", ms=5, alpha=0.6, color=colors[name], mec="none")
            ax.plot([mean, mean], [height - 0.3, height + 0.3], color=colors[name], lw=2)
        text = (f"{mean:.1f}" if "%" in unit else f"{mean:.3f}") if values else "not run"
        ax.annotate(
            text, (1.02, height), xycoords=("axes fraction", "data"), va="center", fontsize=9,
            color=colors[name] if values else NEITHER, annotation_clip=False,
        )  # fmt: skip
    ax.set_yticks(range(len(values_of)), labels, fontsize=9)
    ax.set_ylim(len(values_of) - 0.5, -0.5)
    ax.set_xlabel(unit)
    ax.margins(x=0.06)
    ax.grid(axis="y", alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)
    if not any(values_of.values()):
        ax.set_xticks([])
    return figure


@plain_text
def draw_gains(gains: Mapping[str, tuple[float | None, tuple[float, float, float] | None]]) -> Figure:
    """Draw the gain of each method over its baseline in AP points, as published and as measured.

    Args:
        gains: For each method, the published gain and the measured (mean, low, high) with the ends of the interval;
            either is None if it is unknown, and low = mean = high without an interval.
    """
    figure = Figure(figsize=(PAGE, 1.2 + 0.34 * len(gains)), layout="constrained", dpi=DPI)
    ax = figure.subplots()
    ax.axvline(0, color=NEITHER, lw=1)
    for height, (published, measured) in enumerate(gains.values()):
        if published is not None:
            ax.plot(published, height, "D", ms=6, mfc="none", mec=GT)
        if measured is not None:
            mean, low, high = measured
            ax.plot([low, high], [height, height], color=DISTILLED, lw=2)
            ax.plot(mean, height, "o", ms=6, color=DISTILLED)
    ax.set_yticks(range(len(gains)), list(map(drawable, gains)), fontsize=9)
    ax.set_ylim(len(gains) - 0.5, -0.5)
    ax.set_xlabel("gain over the baseline (AP points)")
    ax.grid(axis="y", alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)
    handles = [
        Line2D([], [], ls="", marker="D", ms=6, mfc="none", mec=GT, label="published (COCO)"),
        Line2D([], [], marker="o", ms=6, color=DISTILLED, label="measured here (mean, 95% interval)"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2, fontsize=9, frameon=False)
    return figure
