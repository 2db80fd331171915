"""Curves of training."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from lad.figures.style import DPI, network_colour


def draw_training(epochs_of: Mapping[str, Sequence[Mapping[str, float | None]]]) -> Figure:
    """Classification and box loss, positives per gt, and AP where it was evaluated, over the epochs of each run."""
    panels = {
        "cls": "classification loss",
        "box": "box loss",
        "positives_per_gt": "positives per object",
        "AP": "AP on the validation set",
    }
    figure = Figure(figsize=(11, 2.8), layout="constrained", dpi=DPI)
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
