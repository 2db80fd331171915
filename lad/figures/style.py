"""Style of all figures: colors with one meaning, grids of images, boxes, legends, and SVG for pages.

The colors can be distinguished by color-blind readers (Okabe and Ito's palette).
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
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from torch import Tensor

from lad.data.transforms import IMAGENET_MEAN, IMAGENET_STD

STUDENT, TEACHER, BOTH, NEITHER, DISTILLED = "#0072B2", "#D55E00", "#009E73", "#7F7F7F", "#AA4499"
CO_TEACHER = "#E69F00"
GT = "#111111"
DPI = 110
MAX_UNSMOOTHED = 200  # pixels; larger images are smoothed
IMAGE_SHARE = 0.94  # of a panel's width, where matplotlib finds the layout
PAGE = 7.0  # inches, the widest figure: 9-point text is 8 points high where a notebook has room for 600 pixels
WIDTH = 4.6  # inches, of a figure that may stand beside another
PANEL = 2.9  # inches, the widest image in a grid
MAX_ASPECT = 1.6  # height / width of an image's panel
TITLE = 9  # points, the font size of titles
CAPTION = 8
LEGEND_ROW = 0.25  # inches

CROWD = 60  # objects in one image; with more of them, lines are thinner and dots smaller
MIN_CROWD_SCALE = 0.35
MAX_VECTOR_SHAPES = 2000  # of one artist; more are an image in an SVG, which would be megabytes and slow to draw

ROW_COLORS = {"teacher": TEACHER, "baseline": STUDENT, "LAD": DISTILLED}  # rows of tables
PALETTE = (STUDENT, TEACHER, BOTH, DISTILLED, CO_TEACHER, "#56B4E9", NEITHER, GT)


def series_colors(names: Sequence[str]) -> dict[str, str]:
    """Return a color for each series of a figure.

    Networks that are named as in `lad.experiments.runner.compare` get their `network_color` if all differ. Otherwise,
    names in `ROW_COLORS` keep their color and the other names take the remaining colors of the palette in order.
    """
    of_networks = {name: network_color(name) for name in names}
    if "plain student" in names and len(set(of_networks.values())) == len(names):
        return of_networks
    fixed = {name: ROW_COLORS[name] for name in names if name in ROW_COLORS}
    free_colors = [color for color in PALETTE if color not in fixed.values()]
    free_names = [name for name in names if name not in fixed]
    return fixed | {name: free_colors[index % len(free_colors)] for index, name in enumerate(free_names)}


def network_color(name: str) -> str:
    """Return the color of a network, named as in `lad.experiments.runner.compare` or `run_store.networks_of`."""
    if name.endswith(" teacher"):  # the second network of co-learning
        return CO_TEACHER
    return {"teacher": TEACHER, "student": STUDENT, "plain student": STUDENT}.get(name, DISTILLED)


def denormalize(image: Tensor) -> np.ndarray:
    """Convert a normalized image [3, H, W] to RGB values in [0, 1], [H, W, 3]."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (image.cpu() * std + mean).clamp(0, 1).permute(1, 2, 0).numpy()


def to_svg(figure: Figure) -> str:
    """Convert a figure to an SVG element for a page.

    It is as wide as its container, but not wider than the figure; text and axes have the page's text color, so that
    the figure is legible on dark pages, too.
    """
    text = io.StringIO()
    # Reproducible ids and no date: an unchanged figure gives the same text and is not sent to the browser again.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "lad"}):
        figure.savefig(text, format="svg", dpi=2 * DPI, transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    max_width = figure.get_size_inches()[0] * 96  # CSS pixels
    opening = svg.index(">")
    head = re.sub(r' (width|height)="[^"]*"', "", svg[:opening])
    # A style element would apply to the whole page; the attribute below replaces matplotlib's.
    body = re.sub(r"<style.*?</style>", "", svg[opening + 1 :], count=1, flags=re.DOTALL)
    style = f"width: 100%; max-width: {max_width:.0f}px; height: auto; fill: currentColor"
    style += "; stroke-linejoin: round; stroke-linecap: butt"
    return f'{head} style="{style}">{body}'.replace("#000000", "currentColor")


def to_image(figure: Figure, dpi: int) -> Image.Image:
    """Render a figure to an RGB image."""
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=dpi)
    return Image.open(png).convert("RGB")


def empty_figure(message: str, width: float = WIDTH) -> Figure:
    """Return a figure, `width` inches wide, with nothing but a message."""
    figure = Figure(figsize=(width, 0.8), dpi=DPI)
    figure.text(0.5, 0.5, message, ha="center", va="center", fontsize=TITLE)
    return figure


def panel_width(num_columns: int, num_images: int) -> float:
    """Return the width in inches of each image of an `image_grid`."""
    return min(PANEL, PAGE / num_columns) if num_images > 1 else WIDTH / 2


def wrapped(title: str, width: float) -> str:
    """Wrap a title into as few and as even lines as fit a width in inches."""
    letters = max(8, int(72 * width / (0.58 * TITLE)))
    lines = textwrap.wrap(title, letters)
    while len(lines) > 1 and len(evener := textwrap.wrap(title, letters - 1, break_long_words=False)) == len(lines):
        letters, lines = letters - 1, evener
    return "\n".join(lines)


def image_grid(
    columns: Sequence[str], image_hw: Tensor, above: float = 0.3, below: float = 0.3
) -> tuple[Figure, np.ndarray]:
    """Create a figure with a row of panels for each image, or two panels in a row for a single image.

    Args:
        columns: The names of the panels of each image.
        image_hw: [N, 2], the (height, width) of each image.
        above: Inches of room above each row.
        below: Inches of room below the last row.

    Returns:
        The figure and its axes [N, columns].
    """
    width = panel_width(len(columns), len(image_hw))
    per_row = len(columns) if len(image_hw) > 1 else 2
    rows_per_image = math.ceil(len(columns) / per_row)
    heights = [min(MAX_ASPECT, high / wide) * width for high, wide in image_hw.tolist() for _ in range(rows_per_image)]
    size = (width * per_row, sum(heights) + above * len(heights) + below)
    figure = Figure(figsize=size, layout="constrained", dpi=DPI)
    axes = figure.subplots(len(heights), per_row, squeeze=False, height_ratios=heights).ravel()
    for unused in axes[len(image_hw) * len(columns) :]:
        unused.remove()
    return figure, axes[: len(image_hw) * len(columns)].reshape(len(image_hw), len(columns))


def add_legend_rows(figure: Figure, rows: Sequence[Sequence[Artist]]) -> None:
    """Add a centered legend at the bottom of a figure, each row `LEGEND_ROW` inches high, in the given order."""
    for place, handles in zip(reversed(range(len(rows))), rows, strict=True):
        figure.legend(
            handles=handles, loc="lower center", ncols=max(1, len(handles)), frameon=False, fontsize=TITLE,
            bbox_to_anchor=(0.5, place * LEGEND_ROW / figure.get_size_inches()[1]),
            handletextpad=0.5, columnspacing=1.2, borderpad=0.2,
        )  # fmt: skip


def show_image(ax: Axes, image: Tensor | np.ndarray, image_hw: Tensor) -> None:
    """Show an image in the coordinates of the unpadded, resized image.

    Args:
        ax: The axes to draw on.
        image: A normalized, padded image [3, H, W], or pixels [h, w, 3] uint8 of any resolution.
        image_hw: [2], the unpadded (height, width).
    """
    height, width = image_hw.tolist()
    rgb = denormalize(image)[:height, :width] if isinstance(image, Tensor) else image / 255
    pale = 0.25 + 0.75 * rgb  # so that boxes and dots stand out
    interpolation = "none" if max(rgb.shape) <= MAX_UNSMOOTHED else None
    ax.imshow(pale, extent=(0, width, height, 0), interpolation=interpolation)
    ax.set_xlim(0, width)
    ax.set_ylim(height, 0)
    ax.set_axis_off()


def draw_box(ax: Axes, box: Sequence[float], color: str, width: float = 1.2) -> None:
    """Draw the outline of a box [x0, y0, x1, y1], `width` points wide."""
    x0, y0, x1, y1 = box
    ax.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=color, lw=width))


def draw_boxes(
    ax: Axes,
    boxes: Sequence[Sequence[float]],
    colors: str | Sequence[str],
    styles: str | Sequence[str] = "-",
    widths: float | Sequence[float] = 1.2,
    alpha: float = 1,
    zorder: float = 1,
) -> None:
    """Draw the outlines of boxes [x0, y0, x1, y1] as one artist, as one for each would take seconds for hundreds.

    Lines are thinner and paler where boxes are many. Colors, styles and widths are one for all boxes, or one for each.
    """
    x0, y0, x1, y1 = np.asarray(boxes, dtype=float).reshape(-1, 4).T
    corners = np.stack([np.stack([x0, x1, x1, x0]), np.stack([y0, y0, y1, y1])]).transpose(2, 1, 0)  # [N, 4, 2]
    scale = crowd_scale(len(corners))
    ax.add_collection(
        PolyCollection(
            list(corners), facecolors="none", edgecolors=colors, linestyles=styles, joinstyle="miter", zorder=zorder,
            linewidths=scale * np.asarray(widths), alpha=alpha * math.sqrt(scale),
            rasterized=len(corners) > MAX_VECTOR_SHAPES,
        ),
        autolim=False,
    )  # fmt: skip


def crowd_scale(count: int) -> float:
    """Return the factor of line widths and of the dots' areas in an image with `count` objects."""
    return max(MIN_CROWD_SCALE, min(1.0, math.sqrt(CROWD / max(count, 1))))
