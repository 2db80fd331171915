"""Captions at boxes: placed where they hide little; of many boxes, only the most important have one."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from lad.figures.style import CAPTION, MAX_ASPECT
from lad.utils.fonts import drawable, font_families

CAPTIONS_PER_INCH = 13  # of an image's width, 60 in a figure of one image; more would hide it
MAX_COVERED = 0.25  # share of an image, where not all boxes have captions
NOTE = "#555555"  # color of the note
MARGIN = 3  # points of a caption's white background, left and right of its text together


def draw_captions(
    ax: Axes,
    boxes: Sequence[Sequence[float]],
    texts: Sequence[str],
    colors: Sequence[str],
    inches: float,
    dots: np.ndarray | None = None,
    importance: Sequence[float] | np.ndarray | None = None,
    max_captions: int | None = None,
) -> None:
    """Draw a caption at each box, within the image.

    A caption is in the upper left corner of its box, or at another side where it would hide fewer captions and dots.
    Of more than `max_captions` boxes, the most important ones have a caption, as many as cover `MAX_COVERED` of the
    image, and a note in the lower left corner of the image says how many.

    Args:
        ax: The axes to draw on.
        boxes: The boxes, [x0, y0, x1, y1] each.
        texts: The caption of each box.
        colors: The color of each caption.
        inches: The width of the axes.
        dots: [P, 3], x, y and area in points² of dots to keep visible.
        importance: Of each box, for example its score; by default its area.
        max_captions: The largest number of captions, by default `CAPTIONS_PER_INCH` for each inch.
    """
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    point = max(right - left, (bottom - top) / MAX_ASPECT) / (72 * inches)
    height = (1.2 * CAPTION + 2) * point
    dots = np.zeros((0, 3)) if dots is None else dots
    discs = np.column_stack([dots[:, :2], np.sqrt(dots[:, 2]) / 2 * point])
    max_captions = round(CAPTIONS_PER_INCH * inches) if max_captions is None else max_captions
    shown, taken = range(len(boxes)), []
    if len(boxes) > max_captions:
        importance = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes] if importance is None else importance
        ranked = np.argsort(-np.asarray(importance), kind="stable")[:max_captions].tolist()
        covered = np.cumsum([_caption_width(drawable(texts[row])) * point * height for row in ranked])
        shown = ranked[: max(1, int((covered <= MAX_COVERED * (right - left) * (bottom - top)).sum()))]
        note = f"{len(shown)} of {len(boxes):,} labels shown"
        place = (left, bottom - height, left + _caption_width(note) * point, bottom)
        taken.append(place)
        _draw_caption(ax, place, note, NOTE, point)
    lines = {row: " ".join(drawable(texts[row]).split()) for row in shown}
    for row in shown:
        size = (_caption_width(lines[row]) * point, height)
        places = _possible_places(boxes[row], size, (left, top, right, bottom), np.array(taken).reshape(-1, 4))
        penalty = 1000 * _covered_shares(places, np.array(taken).reshape(-1, 4)) + _num_covered(places, discs)
        best = places[penalty.argmin()].tolist()
        taken.append(best)
        _draw_caption(ax, best, lines[row], colors[row], point)


def _draw_caption(ax: Axes, place: Sequence[float], text: str, color: str, point: float) -> None:
    """Draw a caption with its upper left corner at a place; `point` is the length of a point in data units."""
    frame = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.8}
    ax.text(place[0] + point, place[1] + point, text, color=color, fontsize=CAPTION, va="top", ha="left", bbox=frame)


def _possible_places(
    box: Sequence[float], size: tuple[float, float], image: Sequence[float], taken: np.ndarray
) -> np.ndarray:
    """Return the places of a caption within the image, [K, 4]: at its box's corners, and beside other captions.

    Args:
        box: The box, [x0, y0, x1, y1].
        size: The width and height of the caption.
        image: The image's box.
        taken: [T, 4], the places of the captions so far.
    """
    (x0, y0, x1, y1), (width, height), (left, top, right, bottom) = box, size, image
    corners = [(x0, y0), (x0, y0 - height), (x0, y1), (x1, y0), (x0 - width, y0), (x0, y1 - height)]
    beside = np.column_stack([taken[:, 3], taken[:, 1] - height]).ravel()
    beside = beside[np.abs(beside - y0).argsort(kind="stable")]
    beside_x, beside_y = np.tile([x0, x1 - width], len(beside)), beside.repeat(2)
    x, y = np.concatenate([np.array(corners), np.column_stack([beside_x, beside_y])]).T
    x = np.maximum(left, np.minimum(x, right - width))
    y = np.maximum(top, np.minimum(y, bottom - height))
    return np.column_stack([x, y, x + width, y + height])


def _covered_shares(places: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """Compute the share of each place [K, 4] that the taken ones [T, 4] cover, one after the other, [K]."""
    lower = np.maximum(places[:, None, :2], taken[:, :2])
    upper = np.minimum(places[:, None, 2:], taken[:, 2:])
    area = np.maximum(upper - lower, 0).prod(axis=2).sum(axis=1)
    return area / (places[:, 2:] - places[:, :2]).prod(axis=1)


def _num_covered(places: np.ndarray, discs: np.ndarray) -> np.ndarray:
    """Count the discs [P, 3] (x, y, radius) that each place [K, 4] touches, [K]."""
    count = np.zeros(len(places))
    if not len(discs):
        return count
    reach = discs[:, 2].max()
    for left in np.unique(places[:, 0]):  # few: most places lie above each other
        rows = np.flatnonzero(places[:, 0] == left)
        right = places[rows[0], 2]
        near = discs[(discs[:, 0] > left - reach) & (discs[:, 0] < right + reach)]
        outside_x = np.maximum(np.maximum(left - near[:, 0], near[:, 0] - right), 0)
        outside_y = np.maximum(np.maximum(places[rows, 1, None] - near[:, 1], near[:, 1] - places[rows, 3, None]), 0)
        count[rows] = (np.hypot(outside_x, outside_y) < near[:, 2]).sum(axis=1)
    return count


@lru_cache(maxsize=4096)
def _caption_width(text: str) -> float:
    """Return the width of a caption in points."""
    font = FontProperties(family=font_families(text), size=CAPTION)
    return float(text_to_path.get_text_width_height_descent(text, font, False)[0]) + MARGIN
