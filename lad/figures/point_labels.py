"""Labels beside the points of a plot, placed where they hide no other label and little of the lines."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lad.figures.style import CAPTION, NEITHER

DISTANCES = (6, 12, 20, 30, 42)  # points between a label and its point
DIRECTIONS = 16
GRID = 24  # places along each side of the axes, for a label that fits nowhere near its point
NEAR = 20  # points; a label farther away has a line to its point
RADIUS = 5  # points around a point that labels leave free


def draw_point_labels(ax: Axes, labels: Sequence[tuple[float, float, str, str]]) -> None:
    """Write labels (x, y, text, color) beside their points; the axes must have their final place and limits.

    The first labels have the best places. A label far from its point gets a line to it.
    """
    assert isinstance(ax.figure, Figure)
    renderer = FigureCanvasAgg(ax.figure).get_renderer()
    point = ax.figure.dpi / 72  # in pixels, as everything below
    frame = np.array(ax.get_window_extent(renderer).extents)  # x0, y0, x1, y1
    places = ax.transData.transform([label[:2] for label in labels])
    lines = np.concatenate([_points_along(line) for line in ax.lines])
    taken = np.concatenate([places - RADIUS * point, places + RADIUS * point], axis=1)
    for place, (_, _, content, color) in zip(places, labels, strict=True):
        text = ax.text(0, 0, content, color=color, fontsize=CAPTION, ha="center", va="center", linespacing=1)
        half = np.array(text.get_window_extent(renderer).size) / 2 + 1.5 * point
        centers = _possible_centers(place, half, frame, point)  # [K, 2]
        boxes = np.concatenate([centers - half, centers + half], axis=1)
        distances = np.linalg.norm(np.maximum(np.abs(centers - place) - half, 0), axis=1)
        best = (_penalties(boxes, frame, taken, lines) + distances / point).argmin()
        taken = np.concatenate([taken, boxes[best : best + 1]])
        text.set_position(ax.transData.inverted().transform(centers[best]).tolist())
        if distances[best] > NEAR * point:
            edge = np.clip(place, boxes[best, :2], boxes[best, 2:])
            (x0, x1), (y0, y1) = ax.transData.inverted().transform([edge, place]).T.tolist()
            ax.plot([x0, x1], [y0, y1], color=NEITHER, lw=0.7, zorder=1)


def _possible_centers(place: np.ndarray, half: np.ndarray, frame: np.ndarray, point: float) -> np.ndarray:
    """Return possible centers [K, 2] of a label of size 2 · `half`: around its point, above first, and anywhere."""
    angle = np.arange(DIRECTIONS) * 2 * math.pi / DIRECTIONS
    direction = np.column_stack([np.sin(angle), np.cos(angle)])
    around = [place + direction * (half + distance * point) for distance in DISTANCES]
    x, y = (np.linspace(frame[side] + half[side], frame[side + 2] - half[side], GRID) for side in (0, 1))
    return np.concatenate([*around, np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)])


def _penalties(boxes: np.ndarray, frame: np.ndarray, taken: np.ndarray, lines: np.ndarray) -> np.ndarray:
    """Compute how bad each box [K, 4] is, [K]: hidden labels and points are worst, then to leave the frame, then lines.

    Args:
        boxes: Possible boxes of a label.
        frame: [4], box of the axes.
        taken: [T, 4], boxes of points and other labels.
        lines: [P, 2], points along the lines.
    """
    lower, upper = boxes[:, None, :2], boxes[:, None, 2:]
    hidden = ((lower < taken[:, 2:]) & (upper > taken[:, :2])).all(axis=2).sum(axis=1)
    leaves = (boxes[:, :2] < frame[:2] - 0.5).any(axis=1) | (boxes[:, 2:] > frame[2:] + 0.5).any(axis=1)
    on_lines = ((lines > lower) & (lines < upper)).all(axis=2).sum(axis=1)
    return 10_000 * hidden + 1000 * leaves + on_lines


def _points_along(line: Line2D) -> np.ndarray:
    """Return points along a line, [P, 2], in pixels."""
    corners = line.get_transform().transform(line.get_xydata())
    shares = np.linspace(0, 1, 100)[:, None]
    pieces = [start + shares * (end - start) for start, end in itertools.pairwise(corners)]
    return np.concatenate([corners, *pieces])
