"""Figures of an assignment over time: a strip of panels, and an animation as a GIF or MP4 file."""

import math
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from lad.analysis.positives import NEITHER, Positives
from lad.figures.captions import draw_captions
from lad.figures.dots import (
    ALL_LEVELS,
    BOLD_ALPHA,
    PALE_ALPHA,
    add_positives_legend,
    dot_geometry,
    draw_dots,
    draw_gts,
    importance,
)
from lad.figures.style import (
    DPI,
    GT,
    LEGEND_ROW,
    MAX_ASPECT,
    TITLE,
    WIDTH,
    crowd_scale,
    show_image,
    to_image,
    wrapped,
)
from lad.figures.text import plain_text
from lad.geometry import Anchors
from lad.structures import Targets
from lad.utils.atomic_io import atomic_write

COLUMNS = 3  # of a strip of width WIDTH
DOT_SCALE = 0.6  # factor of the dots' areas, as the panels are small
LAST_FRAME = 3  # the duration of the last frame, in frames
ANIMATION_DPI = 200
GIF_COLORS = 255  # of 256: one is reserved for transparency


@plain_text
def draw_history(
    image: Tensor | np.ndarray,
    targets: Targets,
    anchors: Anchors,
    history: Mapping[str, Positives],
    gt: int | None = None,
    columns: int = COLUMNS,
) -> Figure:
    """Draw several assignments of one image as a strip of panels, each as in `draw_positives`.

    Args:
        image: Normalized and padded [3, H, W], or its pixels [h, w, 3] uint8.
        targets: The gts of the image.
        anchors: The anchors of the padded image.
        history: The positives of each panel by title.
        gt: The row of a gt to highlight; the positives of the others are pale.
        columns: The number of panels in a row; three are as wide as `draw_positives`.
    """
    fields = ("anchor", "gt", "source")
    every = Positives(*(torch.cat([getattr(positives, field) for positives in history.values()]) for field in fields))
    has_sources = not bool((every.source == NEITHER).all())  # otherwise a legend of colors would explain nothing
    height, width = targets.image_hw[0].tolist()
    panel = WIDTH / COLUMNS  # inches
    titles = [wrapped(title, panel) for title in history]
    title_height = 0.06 + 0.16 * (1 + max((title.count("\n") for title in titles), default=0))
    row_height = panel * min(MAX_ASPECT, height / width) + title_height
    legend_height = 2 * LEGEND_ROW if has_sources else LEGEND_ROW
    total_width = max(WIDTH, columns * panel)
    total_height = math.ceil(len(history) / columns) * row_height + legend_height
    margin = (total_width - min(columns, len(history)) * panel) / 2
    figure = Figure(figsize=(total_width, total_height), dpi=DPI)
    for place, (title, positives) in enumerate(zip(titles, history.values(), strict=True)):
        row, column = divmod(place, columns)
        left, bottom = margin + column * panel + 0.03, total_height - (row + 1) * row_height
        size = ((panel - 0.06) / total_width, (row_height - title_height) / total_height)
        ax = figure.add_axes((left / total_width, bottom / total_height, *size))
        show_image(ax, image, targets.image_hw[0])
        _draw_panel(ax, targets, anchors, positives, gt, panel - 0.06)
        ax.set_title(title, fontsize=TITLE, pad=3)
    explained = every if has_sources else every.select(every.source != NEITHER)
    add_positives_legend(figure, explained, ALL_LEVELS, scale=DOT_SCALE)
    return figure


def save_animation(frames: Iterable[Figure], path: str | Path, seconds_per_frame: float = 0.6) -> Path:
    """Save figures as an animation, a looping GIF or an MP4; the last frame is shown longer.

    Args:
        frames: The figures. Smaller ones are padded with white at the right and bottom.
        path: The file to write, .gif or .mp4; an MP4 needs ffmpeg. It is written atomically.
        seconds_per_frame: The duration of each frame.

    Returns:
        The path of the file.

    Raises:
        ValueError: The suffix or duration is invalid, there are no frames, or ffmpeg is missing or fails.
    """
    path = Path(path)
    if path.suffix.lower() not in (".gif", ".mp4"):
        raise ValueError(f"animation '{path}': unknown format; give a name that ends in .gif or .mp4")
    if not 0 < seconds_per_frame < math.inf:
        raise ValueError(f"seconds_per_frame={seconds_per_frame} must be greater than 0 and finite")
    ffmpeg = _find_ffmpeg(path) if path.suffix.lower() == ".mp4" else None
    images = [to_image(figure, ANIMATION_DPI) for figure in frames]
    if not images:
        raise ValueError(f"animation '{path}': there are no frames; give at least one figure")
    padded = _pad_to_same_size(images)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as unfinished:
        if ffmpeg is None:
            _write_gif(padded, unfinished, seconds_per_frame)
        else:
            _write_mp4(padded, unfinished, seconds_per_frame, ffmpeg)
    return path


def _draw_panel(
    ax: Axes, targets: Targets, anchors: Anchors, positives: Positives, gt: int | None, width: float
) -> None:
    """Draw the positives, boxes and counts of a panel, `width` inches wide."""
    is_chosen = torch.ones_like(positives.gt, dtype=torch.bool) if gt is None else positives.gt == gt
    boxes = targets.boxes.tolist()
    scale = DOT_SCALE * crowd_scale(len(boxes))
    draw_dots(ax, anchors, targets, positives.select(~is_chosen), PALE_ALPHA, scale)
    draw_dots(ax, anchors, targets, positives.select(is_chosen), BOLD_ALPHA, scale)
    draw_gts(ax, boxes, gt, 0.9, 1.6)
    counts = torch.bincount(positives.gt, minlength=len(boxes)).tolist()
    dots = dot_geometry(anchors, positives, scale)
    texts, colors = list(map(str, counts)), [GT] * len(boxes)
    draw_captions(ax, boxes, texts, colors, width, dots, importance(targets, gt).tolist())


def _pad_to_same_size(images: list[Image.Image]) -> list[Image.Image]:
    """Pad images with white to the largest width and height, rounded up to even numbers as MP4 requires."""
    width, height = (-(-max(lengths) // 2) * 2 for lengths in zip(*(image.size for image in images), strict=True))
    padded = [Image.new("RGB", (width, height), "white") for _ in images]
    for background, image in zip(padded, images, strict=True):
        background.paste(image)
    return padded


def _write_gif(images: list[Image.Image], path: Path, seconds: float) -> None:
    """Write a GIF that loops forever."""
    milliseconds = [round(1000 * seconds)] * (len(images) - 1) + [round(LAST_FRAME * 1000 * seconds)]
    first, *rest = _quantize(images)
    palette = bytes(first.getpalette() or [])
    first.save(path, format="GIF", save_all=True, append_images=rest, duration=milliseconds, loop=0, palette=palette)


def _quantize(images: list[Image.Image]) -> list[Image.Image]:
    """Reduce the colors of all images to one palette, so that still parts do not flicker."""
    width, height = images[0].size
    stacked = Image.new("RGB", (width, height * len(images)))
    for place, image in enumerate(images):
        stacked.paste(image, (0, place * height))
    palette = stacked.quantize(GIF_COLORS)
    return [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]


def _write_mp4(images: list[Image.Image], path: Path, seconds: float, ffmpeg: str) -> None:
    """Write an MP4 by sending the frames to ffmpeg."""
    frames = [*images, *images[-1:] * (LAST_FRAME - 1)]
    width, height = frames[0].size
    input_options = f"-f rawvideo -pix_fmt rgb24 -s {width}x{height} -framerate {1 / seconds:.6f} -i -".split()
    # Some players fail on frame rates below 2 and support no other pixel format.
    output_options = ["-r", "25", "-pix_fmt", "yuv420p", "-movflags", "+faststart", "-f", "mp4"]
    absolute_path = str(path.resolve())  # a relative name such as -i or tcp:… would be read as an option or a URL
    command = [ffmpeg, "-y", "-loglevel", "error", *input_options, *output_options, absolute_path]
    result = subprocess.run(command, input=b"".join(frame.tobytes() for frame in frames), capture_output=True)  # noqa: S603  a list of words, no shell
    if result.returncode:
        lines = result.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise ValueError(f"{ffmpeg} could not write the MP4 ({lines[-1]}); give a name that ends in .gif")


def _find_ffmpeg(path: Path) -> str:
    """Return the executable of ffmpeg, of the package imageio-ffmpeg or of the system."""
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError):  # not installed, or without a binary for this platform
        executable = shutil.which("ffmpeg")
    if executable is None:
        raise ValueError(
            f"animation '{path}': an MP4 needs ffmpeg; pip install imageio-ffmpeg, or give a name that ends in .gif"
        )
    return executable
