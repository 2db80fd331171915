"""What all figures share: colors that mean the same everywhere, and pictures with boxes.

The colors are told apart by color-blind readers (Okabe and Ito's palette).
"""

import io
import math
import re
import textwrap
from collections.abc import Sequence

import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.textpath import text_to_path
from PIL import Image
from torch import Tensor

from lad.data.transforms import IMAGENET_MEAN, IMAGENET_STD

STUDENT, TEACHER, BOTH, NEITHER, TAUGHT = "#0072B2", "#D55E00", "#009E73", "#7F7F7F", "#AA4499"
CO_TEACHER = "#E69F00"
GT = "#111111"
DPI = 110
FEW_PIXELS = 200
FILLED = 0.94  # of a panel by its picture, where matplotlib finds the layout
PAGE = 7.0  # inches, the widest figure: letters of 9 points are 8 high where a notebook has room for 600 pixels
WIDTH = 4.6  # inches, of a figure that may stand beside another
PANEL = 2.9  # inches, the widest picture in a grid
TALLEST = 1.6  # a picture's height at most, in its widths
TITLE = 9  # points, the size of its letters
CAPTION = 8
LEGEND_ROW = 0.25  # inches

# Names of classes, runs and files are no formulas, whatever they hold: decorates a function that draws them.
plain_text = rc_context({"text.parse_math": False})

ROWS = {"teacher": TEACHER, "baseline": STUDENT, "LAD": TAUGHT}  # of tables
OTHERS = (STUDENT, TEACHER, BOTH, TAUGHT, CO_TEACHER, "#56B4E9", NEITHER, GT)


def series_colors(names: Sequence[str]) -> dict[str, str]:
    """A color for each line of a figure: a network's own if they are named as in `lad.experiments.runner.compare`; else those
    that mean something keep theirs, and the others take what is left, one after the other."""
    if "plain student" in names:
        return {name: network_color(name) for name in names}
    own = {name: ROWS[name] for name in names if name in ROWS}
    left = [color for color in OTHERS if color not in own.values()]
    return own | {name: left[index % len(left)] for index, name in enumerate(name for name in names if name not in own)}


def network_color(name: str) -> str:
    """The color of a network named as in `lad.experiments.runner.compare` or `lad.experiments.run_store.networks_of`."""
    if name.endswith(" teacher"):  # the second network of co-learning
        return CO_TEACHER
    return {"teacher": TEACHER, "student": STUDENT, "plain student": STUDENT}.get(name, TAUGHT)


def to_picture(image: Tensor) -> np.ndarray:
    """A normalized image [3, H, W] as [H, W, 3] in [0, 1]."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (image.cpu() * std + mean).clamp(0, 1).permute(1, 2, 0).numpy()


def to_svg(figure: Figure) -> str:
    """The figure as an SVG element to stand within a page: sharp at any size, as wide as its place allows but not wider
    than it was made, text and axes in the color of the page's text, so that a dark page is as legible as a light one.
    """
    text = io.StringIO()
    # Ids that follow from what they name, and no date: the same figure is the same text, and nothing is sent anew.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "lad"}):
        figure.savefig(text, format="svg", dpi=2 * DPI, transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    wide = figure.get_size_inches()[0] * 96  # CSS pixels
    opening = svg.index(">")
    head = re.sub(r' (width|height)="[^"]*"', "", svg[:opening])
    # A style element would be the whole page's; what matplotlib writes into it, this element hands down.
    body = re.sub(r"<style.*?</style>", "", svg[opening + 1 :], count=1, flags=re.DOTALL)
    style = f"width: 100%; max-width: {wide:.0f}px; height: auto; fill: currentColor"
    style += "; stroke-linejoin: round; stroke-linecap: butt"
    return f'{head} style="{style}">{body}'.replace("#000000", "currentColor")


def to_image(figure: Figure, dpi: int) -> Image.Image:
    """The figure as pixels."""
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=dpi)
    return Image.open(png).convert("RGB")


def nothing_to_show(why: str, width: float = WIDTH) -> Figure:
    """An empty figure that says why it is one. width: in inches."""
    figure = Figure(figsize=(width, 0.8), dpi=DPI)
    figure.text(0.5, 0.5, why, ha="center", va="center", fontsize=TITLE)
    return figure


def panel_width(columns: int, images: int) -> float:
    """Inches of each picture of an `image_grid`."""
    return min(PANEL, PAGE / columns) if images > 1 else WIDTH / 2


def wrapped(title: str, width: float) -> str:
    """A title in lines of at most so many inches, as few and as even as can be."""
    letters = max(8, int(72 * width / (0.58 * TITLE)))
    lines = textwrap.wrap(title, letters)
    while len(lines) > 1 and len(evener := textwrap.wrap(title, letters - 1, break_long_words=False)) == len(lines):
        letters, lines = letters - 1, evener
    return "\n".join(lines)


def image_grid(
    columns: Sequence[str], image_hw: Tensor, above: float = 0.3, below: float = 0.3
) -> tuple[Figure, np.ndarray]:
    """A figure with a row of equal pictures per image and its axes [images, columns], each as high as its image needs.
    Those of a single image stand two by two. above, below: inches of room over each row and under the last."""
    width = panel_width(len(columns), len(image_hw))
    across = len(columns) if len(image_hw) > 1 else 2
    rows = math.ceil(len(columns) / across)  # of each image
    heights = [min(TALLEST, height / wide) * width for height, wide in image_hw.tolist() for _ in range(rows)]
    size = (width * across, sum(heights) + above * len(heights) + below)
    figure = Figure(figsize=size, layout="constrained", dpi=DPI)
    axes = figure.subplots(len(heights), across, squeeze=False, height_ratios=heights).ravel()
    for empty in axes[len(image_hw) * len(columns) :]:
        empty.remove()
    return figure, axes[: len(image_hw) * len(columns)].reshape(len(image_hw), len(columns))


def legend_rows(figure: Figure, rows: Sequence[Sequence[Artist]]) -> None:
    """A legend at the bottom of a figure, centerd, each row `LEGEND_ROW` inches high; the last row is the lowest."""
    for place, handles in zip(reversed(range(len(rows))), rows, strict=True):
        figure.legend(
            handles=handles, loc="lower center", ncols=max(1, len(handles)), frameon=False, fontsize=TITLE,
            bbox_to_anchor=(0.5, place * LEGEND_ROW / figure.get_size_inches()[1]),
            handletextpad=0.5, columnspacing=1.2, borderpad=0.2,
        )  # fmt: skip


def show_image(ax: Axes, image: Tensor | np.ndarray, image_hw: Tensor) -> None:
    """A normalized, padded image [3, H, W], or the pixels [h, w, 3] uint8 it was made from, in the coordinates of the
    unpadded (height, width)."""
    height, width = image_hw.tolist()
    picture = to_picture(image)[:height, :width] if isinstance(image, Tensor) else image / 255
    pale = 0.25 + 0.75 * picture  # so that what is drawn upon it stands out
    smoothing = "none" if max(picture.shape) <= FEW_PIXELS else None  # few pixels are shown as they are
    ax.imshow(pale, extent=(0, width, height, 0), interpolation=smoothing)
    ax.set_xlim(0, width)
    ax.set_ylim(height, 0)
    ax.set_axis_off()


def outline(ax: Axes, box: Sequence[float], color: str, is_dashed: bool = False, width: float = 1.2) -> None:
    """The frame of a box [x0, y0, x1, y1]."""
    x0, y0, x1, y1 = box
    line = {"edgecolor": color, "lw": width, "ls": "--" if is_dashed else "-"}
    ax.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, **line))  # type: ignore[arg-type]


def captions(
    ax: Axes,
    boxes: Sequence[Sequence[float]],
    texts: Sequence[str],
    colors: Sequence[str],
    inches: float,
    dots: np.ndarray | None = None,
) -> None:
    """A few words at each box, within the picture: in its upper left corner, or at another side of it where they would
    hide those of an earlier box or more dots. inches: the width of the axes. dots: [P, 3], x, y and area in points²."""
    dots = np.zeros((0, 3)) if dots is None else dots
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    point = max(right - left, (bottom - top) / TALLEST) / (72 * inches)
    reach = np.sqrt(dots[:, 2]) / 2 * point
    high = (1.2 * CAPTION + 2) * point
    taken: list[tuple[float, float, float, float]] = []
    for (x0, y0, x1, y1), text, color in zip(boxes, texts, colors, strict=True):
        wide = (_text_width(text) + 3) * point
        corners = [(x0, y0), (x0, y0 - high), (x0, y1), (x1, y0), (x0 - wide, y0), (x0, y1 - high)]
        beside = [y for other in taken for y in (other[3], other[1] - high)]  # what is taken
        corners += [(x, y) for y in sorted(beside, key=lambda y: abs(y - y0)) for x in (x0, x1 - wide)]
        best, least = (0.0, 0.0, 0.0, 0.0), math.inf
        for x, y in corners:
            x, y = max(left, min(x, right - wide)), max(top, min(y, bottom - high))
            place = (x, y, x + wide, y + high)
            hidden = sum(_overlap(place, other) for other in taken)
            outside = np.maximum(np.abs(dots[:, :2] - (x + wide / 2, y + high / 2)) - (wide / 2, high / 2), 0)
            worse = 1000 * hidden + float((np.hypot(*outside.T) < reach).sum())
            if worse < least:
                best, least = place, worse
        taken.append(best)
        frame = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.8}
        ax.text(
            best[0] + point, best[1] + point, text, color=color, fontsize=CAPTION, va="top", ha="left", bbox=frame
        )  # fmt: skip


def _text_width(text: str) -> float:
    """Points of a caption."""
    return float(text_to_path.get_text_width_height_descent(text, FontProperties(size=CAPTION), False)[0])


def _overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """The part of the first rectangle (x0, y0, x1, y1) that the second covers."""
    wide, high = (max(0.0, min(one[2 + i], other[2 + i]) - max(one[i], other[i])) for i in (0, 1))
    return wide * high / ((one[2] - one[0]) * (one[3] - one[1]))
