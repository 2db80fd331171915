"""Figure of training: curves over the epochs."""

import math
from collections.abc import Collection, Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from lad.figures.style import DPI, NEITHER, PAGE, TITLE, series_colors
from lad.figures.text import plain_text

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
