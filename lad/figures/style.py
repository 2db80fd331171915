"""What all figures share: colours that mean the same everywhere, and pictures with boxes.

The colours are told apart by colour-blind readers (Okabe and Ito's palette).
"""

import io
import re
from collections.abc import Sequence

import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from torch import Tensor

from lad.data.transforms import IMAGENET_MEAN, IMAGENET_STD

STUDENT, TEACHER, BOTH, NEITHER, TAUGHT = "#0072B2", "#D55E00", "#009E73", "#7F7F7F", "#AA4499"
CO_TEACHER = "#E69F00"
GT = "#111111"
DPI = 110
FEW_PIXELS = 200
PANEL = 2.9  # inches, the width of a picture in a grid
CAPTION = 7  # points, the size of its letters


ROWS = {"teacher": TEACHER, "baseline": STUDENT, "LAD": TAUGHT}  # of tables
OTHERS = (STUDENT, TEACHER, BOTH, TAUGHT, CO_TEACHER, "#56B4E9", NEITHER, GT)


def series_colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each line of a figure: a network's own if they are named as in `lad.experiment.compare`; else those
    that mean something keep theirs, and the others take what is left, one after the other."""
    if "plain student" in names:
        return {name: network_colour(name) for name in names}
    own = {name: ROWS[name] for name in names if name in ROWS}
    left = [colour for colour in OTHERS if colour not in own.values()]
    return own | {name: left[index % len(left)] for index, name in enumerate(name for name in names if name not in own)}


def network_colour(name: str) -> str:
    """The colour of a network named as in `lad.experiment.compare` or `lad.runs.networks_of`."""
    if name.endswith(" teacher"):  # the second network of co-learning
        return CO_TEACHER
    return {"teacher": TEACHER, "student": STUDENT, "plain student": STUDENT}.get(name, TAUGHT)


def to_picture(image: Tensor) -> np.ndarray:
    """A normalised image [3, H, W] as [H, W, 3] in [0, 1]."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (image.cpu() * std + mean).clamp(0, 1).permute(1, 2, 0).numpy()


def to_svg(figure: Figure) -> str:
    """The figure as an SVG element to stand within a page: sharp at any size, as wide as its place allows but not wider
    than it was made, text and axes in the colour of the page's text, so that a dark page is as legible as a light one.
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
    style = f"width: 100%; max-width: {wide:.0f}px; height: auto; fill: currentColor"
    return f'{head} style="{style}">{svg[opening + 1 :]}'.replace("#000000", "currentColor")


def to_image(figure: Figure, dpi: int) -> Image.Image:
    """The figure as pixels."""
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=dpi)
    return Image.open(png).convert("RGB")


def image_grid(
    columns: Sequence[str], image_hw: Tensor, above: float = 0.3, below: float = 0.3
) -> tuple[Figure, np.ndarray]:
    """A figure with a row of equal pictures per image and its axes [rows, columns], each as high as its image needs.
    above, below: inches of room over each row and under the last."""
    width = PANEL
    heights = [min(2.0, height / wide) * width for height, wide in image_hw.tolist()]
    size = (width * len(columns), sum(heights) + above * len(heights) + below)
    figure = Figure(figsize=size, layout="constrained", dpi=DPI)
    return figure, figure.subplots(len(heights), len(columns), squeeze=False, height_ratios=heights)


def show_image(ax: Axes, image: Tensor | np.ndarray, image_hw: Tensor) -> None:
    """A normalised, padded image [3, H, W], or the pixels [h, w, 3] uint8 it was made from, in the coordinates of the
    unpadded (height, width)."""
    height, width = image_hw.tolist()
    picture = to_picture(image)[:height, :width] if isinstance(image, Tensor) else image / 255
    pale = 0.25 + 0.75 * picture  # so that what is drawn upon it stands out
    smoothing = "none" if max(picture.shape) <= FEW_PIXELS else None  # few pixels are shown as they are
    ax.imshow(pale, extent=(0, width, height, 0), interpolation=smoothing)
    ax.set_xlim(0, width)
    ax.set_ylim(height, 0)
    ax.set_axis_off()


def outline(ax: Axes, box: Sequence[float], colour: str, is_dashed: bool = False, width: float = 1.2) -> None:
    """The frame of a box [x0, y0, x1, y1]."""
    x0, y0, x1, y1 = box
    line = {"edgecolor": colour, "lw": width, "ls": "--" if is_dashed else "-"}
    ax.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, **line))  # type: ignore[arg-type]


def caption(ax: Axes, box: Sequence[float], text: str, colour: str) -> None:
    """A few words in the upper left corner of a box."""
    frame = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.8}
    ax.text(box[0] + 1, box[1] + 1, text, color=colour, fontsize=CAPTION, va="top", ha="left", bbox=frame, clip_on=True)


def captions(
    ax: Axes, boxes: Sequence[Sequence[float]], texts: Sequence[str], colours: Sequence[str], inches: float
) -> None:
    """`caption` for many boxes: those that would hide an earlier one stand below it. inches: the width of the axes."""
    left, right = ax.get_xlim()
    point = (right - left) / (72 * inches)
    high = (1.2 * CAPTION + 2) * point
    taken: list[tuple[float, float, float]] = []  # x from, x to, y from
    for (x, y, *_), text, colour in zip(boxes, texts, colours, strict=True):
        end = x + (0.6 * CAPTION * len(text) + 2) * point
        for begun, ended, top in sorted(taken, key=lambda place: place[2]):
            if x < ended and begun < end and abs(y - top) < high:
                y = top + high
        taken.append((x, end, y))
        caption(ax, (x, y), text, colour)
