"""Figures of comparisons: the AP of each run, gains over the baseline, and the verdicts on claims."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lad.figures.style import BOTH, DISTILLED, DPI, GT, NEITHER, PAGE, TEACHER, series_colors, wrapped
from lad.figures.text import plain_text
from lad.utils.fonts import drawable

LABEL_WIDTH = 2.5  # inches
CLAIM_WIDTH = 3.4
UNDECIDED = "not distinguished"
VERDICT_COLORS = {"supported": BOTH, "contradicted": TEACHER, "differs": DISTILLED, UNDECIDED: NEITHER}


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
    _style_axis(ax, labels, unit)
    ax.margins(x=0.06)
    if not any(values_of.values()):
        ax.set_xticks([])
    return figure


@plain_text
def draw_gains(gains: Mapping[str, tuple[float | None, tuple[float, float, float] | None]]) -> Figure:
    """Draw the gain of each method over its baseline in AP points, as published and as measured.

    Args:
        gains: For each method, the published gain and the measured (mean, low, high) with the ends of the interval;
            None for what is unknown, and low = mean = high without an interval.
    """
    figure = Figure(figsize=(PAGE, 1.2 + 0.34 * len(gains)), layout="constrained", dpi=DPI)
    ax = figure.subplots()
    ax.axvline(0, color=NEITHER, lw=1, zorder=0)
    _style_axis(ax, list(map(drawable, gains)), "gain over the baseline (AP points)")
    for height, (published, measured) in enumerate(gains.values()):
        if published is not None:
            ax.plot(published, height, "D", ms=6, mfc="none", mec=GT)
        if measured is not None:
            _draw_interval(ax, height, measured, DISTILLED)
    handles = [
        Line2D([], [], ls="", marker="D", ms=6, mfc="none", mec=GT, label="published (COCO)"),
        Line2D([], [], marker="o", ms=6, color=DISTILLED, label="measured here (mean, 95% interval)"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2, fontsize=9, frameon=False)
    return figure


@plain_text
def draw_verdicts(differences: Sequence[tuple[str, str, tuple[float, float, float]]]) -> Figure:
    """Draw the difference in AP points behind each claim, in the color of its verdict.

    Args:
        differences: Each claim, its verdict, a key of `VERDICT_COLORS`, and the difference (mean, low, high) with the
            ends of its interval, positive in the direction of the claim. A dot is hollow if the verdict is "not
            distinguished".
    """
    labels = [wrapped(drawable(claim), CLAIM_WIDTH) for claim, _, _ in differences]
    lines = sum(max(1.0, 0.6 * (label.count("\n") + 1)) for label in labels)
    figure = Figure(figsize=(PAGE, 0.9 + 0.31 * lines), layout="constrained", dpi=DPI)
    ax = figure.subplots()
    ax.axvline(0, color=NEITHER, lw=1, zorder=0)
    _style_axis(ax, labels, "difference in AP points; positive: as claimed")
    for height, (_, verdict, interval) in enumerate(differences):
        _draw_interval(ax, height, interval, VERDICT_COLORS[verdict], verdict != UNDECIDED)
    present = {verdict for _, verdict, _ in differences}
    handles = [
        Line2D([], [], marker="o", ms=6, color=color, mfc="white" if verdict == UNDECIDED else color, label=verdict)
        for verdict, color in VERDICT_COLORS.items()
        if verdict in present
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=4, fontsize=9, frameon=False)
    return figure


def _draw_interval(
    ax: Axes, height: float, interval: tuple[float, float, float], color: str, is_filled: bool = True
) -> None:
    mean, low, high = interval
    ax.plot([low, high], [height, height], color=color, lw=2)
    ax.plot(mean, height, "o", ms=6, color=color, mfc=color if is_filled else "white")


def _style_axis(ax: Axes, labels: Sequence[str], title: str) -> None:
    """Label the rows, from top to bottom, and the axis."""
    ax.set_yticks(range(len(labels)), labels, fontsize=9)
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.set_xlabel(title)
    ax.grid(axis="y", alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)
