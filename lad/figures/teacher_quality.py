"""Figure of teachers: the AP of a student over that of its teacher."""

import statistics
from collections.abc import Mapping, Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from lad.figures.point_labels import draw_point_labels
from lad.figures.style import (
    DISTILLED,
    DPI,
    NEITHER,
    PAGE,
    STUDENT,
    TEACHER,
    TITLE,
    add_legend_rows,
    empty_figure,
    wrapped,
)
from lad.figures.text import plain_text
from lad.utils.fonts import drawable

TEXT = "#000000"  # the page's text color in an SVG
HEIGHT = 4.4  # inches
LABEL_WIDTH = 1.3  # inches; a longer title has several lines


@plain_text
def draw_teacher_quality(points: Mapping[str, tuple[float, Sequence[float]]], alone: Sequence[float]) -> Figure:
    """Draw the AP of students over that of their teachers: does a better teacher make a better student?

    A dot is the mean over the student's seeds, with a bar from the lowest to the highest.

    Args:
        points: By title, the teacher's AP and the AP of its student by seed, in percent. Those without seeds are left
            out.
        alone: The AP of the student without a teacher by seed, in percent; without any there is no line.
    """
    shown = sorted(
        ((teacher, list(values), title) for title, (teacher, values) in points.items() if values),
        key=lambda point: point[0],
    )
    if not shown:
        return empty_figure("teachers: no student is trained")
    figure = Figure(figsize=(PAGE, HEIGHT), dpi=DPI)
    ax = figure.add_axes((0.09, 0.17, 0.89, 0.76))
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_title("Does a better teacher make a better student?", fontsize=TITLE + 1, loc="left")
    ax.set_xlabel("AP of the teacher, %", color=TEACHER)
    ax.set_ylabel("AP of the student, %")
    ax.tick_params(labelsize=9)
    teachers = [teacher for teacher, _, _ in shown]
    means = [statistics.fmean(values) for _, values, _ in shown]
    _set_limits(ax, teachers, [value for _, values, _ in shown for value in values], alone)
    labels = _draw_references(ax, alone)
    ax.plot(teachers, means, color=DISTILLED, lw=1.2, alpha=0.6)
    for teacher, values, _ in shown:
        if len(values) > 1:
            ax.plot([teacher, teacher], [min(values), max(values)], color=DISTILLED, lw=2)
    ax.plot(teachers, means, "o", ms=6, color=DISTILLED)
    handles: list[Artist] = [Line2D([], [], color=DISTILLED, marker="o", ms=6, label="student with this teacher")]
    if len(alone) > 1 or any(len(values) > 1 for _, values, _ in shown):
        handles.append(Patch(color=NEITHER, alpha=0.4, lw=0, label="lowest to highest seed"))
    add_legend_rows(figure, [handles])
    titles = [wrapped(drawable(title), LABEL_WIDTH) for _, _, title in shown]
    draw_point_labels(ax, [*labels, *zip(teachers, means, titles, [TEXT] * len(shown), strict=True)])
    return figure


def _draw_references(ax: Axes, alone: Sequence[float]) -> list[tuple[float, float, str, str]]:
    """Draw the student alone and the diagonal, and return their labels: x, y, text and color."""
    labels = []
    if alone:
        ax.axhspan(min(alone), max(alone), color=STUDENT, alpha=0.18, lw=0)
        ax.axhline(statistics.fmean(alone), color=STUDENT, lw=1.5)
        labels.append((ax.get_xlim()[1], statistics.fmean(alone), "student alone", STUDENT))
    ends = [max(ax.get_xlim()[0], ax.get_ylim()[0]), min(ax.get_xlim()[1], ax.get_ylim()[1])]
    if ends[0] < ends[1]:
        ax.plot(ends, ends, color=TEACHER, lw=1.2, ls="--")
        labels.append((ends[1], ends[1], "as good as\nits teacher", TEACHER))
    return labels


def _set_limits(ax: Axes, teachers: Sequence[float], students: Sequence[float], alone: Sequence[float]) -> None:
    """Set limits with room for labels around the points; the diagonal crosses the line of the student alone."""
    x, y = [*teachers, *([statistics.fmean(alone)] if alone else [])], [*students, *alone]
    for values, set_limits, share in ((x, ax.set_xlim, 0.12), (y, ax.set_ylim, 0.25)):
        room = share * max(max(values) - min(values), 1)  # one AP point at least: less is chance
        set_limits(min(values) - room, max(values) + room)
