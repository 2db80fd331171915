"""A film of one image's assignment: as a strip of panels, and as a moving picture in a file."""

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
from lad.figures.explorer import ALL_LEVELS, BOLD, PALE, dots_of, draw_dots, positives_legend
from lad.figures.style import (
    DPI,
    GT,
    LEGEND_ROW,
    TALLEST,
    TITLE,
    WIDTH,
    captions,
    outline,
    plain_text,
    show_image,
    to_image,
    wrapped,
)
from lad.geometry import Anchors
from lad.structures import Targets
from lad.utils.atomic_io import atomic_write

COLUMNS = 3  # of a strip half a page wide
DOT_SCALE = 0.6  # of the dots' areas, as the panels are small
LAST_FRAME = 3  # times as long as the others
FILM_DPI = 200
COLORS = 255  # of a GIF, which keeps one for itself


@plain_text
def draw_history(
    image: Tensor | np.ndarray,
    targets: Targets,
    anchors: Anchors,
    history: Mapping[str, Positives],
    gt: int | None = None,
    columns: int = COLUMNS,
) -> Figure:
    """A film strip: one image as in `draw_positives`, and a panel per entry of `history` with its title and positives. The
    number counts a gt's positives; the other gts' are pale where one `gt` is chosen. columns: panels in a row; three of
    them are as wide as the picture of `draw_positives`."""
    anchor, gts, by = (
        torch.cat([getattr(positives, field) for positives in history.values()]) for field in ("anchor", "gt", "by")
    )
    nobody = bool((by == NEITHER).all())  # was asked: colors have nothing to say
    height, width = targets.image_hw[0].tolist()
    side = WIDTH / COLUMNS
    titles = [wrapped(title, side) for title in history]
    heading = 0.06 + 0.16 * (1 + max((title.count("\n") for title in titles), default=0))
    high = side * min(TALLEST, height / width) + heading
    legend = LEGEND_ROW if nobody else 2 * LEGEND_ROW
    wide, total = max(WIDTH, columns * side), math.ceil(len(history) / columns) * high + legend
    margin = (wide - min(columns, len(history)) * side) / 2
    figure = Figure(figsize=(wide, total), dpi=DPI)
    for place, (title, positives) in enumerate(zip(titles, history.values(), strict=True)):
        row, column = divmod(place, columns)
        left, bottom = margin + column * side + 0.03, total - (row + 1) * high
        ax = figure.add_axes((left / wide, bottom / total, (side - 0.06) / wide, (high - heading) / total))
        show_image(ax, image, targets.image_hw[0])
        _draw_panel(ax, targets, anchors, positives, gt, side - 0.06)
        ax.set_title(title, fontsize=TITLE, pad=3)
    every = Positives(anchor, gts, by)
    told = every.where(by != NEITHER) if nobody else every
    positives_legend(figure, told, ALL_LEVELS, scale=DOT_SCALE)
    return figure


def save_animation(frames: Iterable[Figure], path: str | Path, seconds_per_frame: float = 0.6) -> Path:
    """Write figures one after the other as a film: a GIF that goes round and round, or an MP4, which needs ffmpeg. The
    last is held longer. Smaller ones stand in the upper left corner of white frames; the file is there once complete.

    Raises ValueError for another suffix, for no frames, and for an MP4 where ffmpeg is missing or fails.
    """
    path = Path(path)
    if path.suffix.lower() not in (".gif", ".mp4"):
        raise ValueError(f"animation '{path}': give a name that ends in .gif or .mp4")
    if not 0 < seconds_per_frame < math.inf:
        raise ValueError(f"seconds_per_frame={seconds_per_frame} must be more than 0")
    ffmpeg = _find_ffmpeg(path) if path.suffix.lower() == ".mp4" else None
    pictures = _of_one_size([to_image(figure, FILM_DPI) for figure in frames])
    if not pictures:
        raise ValueError(f"animation '{path}': there are no frames")
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as unfinished:
        if ffmpeg is None:
            _write_gif(pictures, unfinished, seconds_per_frame)
        else:
            _write_mp4(pictures, unfinished, seconds_per_frame, ffmpeg)
    return path


def _draw_panel(
    ax: Axes, targets: Targets, anchors: Anchors, positives: Positives, gt: int | None, width: float
) -> None:
    is_chosen = torch.ones_like(positives.gt, dtype=torch.bool) if gt is None else positives.gt == gt
    draw_dots(ax, anchors, targets, positives.where(~is_chosen), PALE, DOT_SCALE)
    draw_dots(ax, anchors, targets, positives.where(is_chosen), BOLD, DOT_SCALE)
    boxes = targets.boxes.tolist()
    for one, box in enumerate(boxes):
        outline(ax, box, GT, is_dashed=gt is not None and one != gt, width=1.6 if one == gt else 0.9)
    counts = torch.bincount(positives.gt, minlength=len(boxes)).tolist()
    captions(ax, boxes, list(map(str, counts)), [GT] * len(boxes), width, dots_of(anchors, positives, DOT_SCALE))


def _of_one_size(pictures: list[Image.Image]) -> list[Image.Image]:
    """The pictures on white of the largest width and height, both even, as MP4 wants them."""
    size = tuple(-(-max(lengths) // 2) * 2 for lengths in zip(*(picture.size for picture in pictures), strict=True))
    pages = [Image.new("RGB", (size[0], size[1]), "white") for _ in pictures]
    for page, picture in zip(pages, pictures, strict=True):
        page.paste(picture)
    return pages


def _write_gif(pictures: list[Image.Image], path: Path, seconds: float) -> None:
    milliseconds = [round(1000 * seconds)] * (len(pictures) - 1) + [round(LAST_FRAME * 1000 * seconds)]
    first, *others = _in_the_same_colors(pictures)
    palette = bytes(first.getpalette() or [])
    first.save(
        path, format="GIF", save_all=True, append_images=others, duration=milliseconds, loop=0, palette=palette
    )  # fmt: skip


def _in_the_same_colors(pictures: list[Image.Image]) -> list[Image.Image]:
    """With one palette for all, so that what does not move does not flicker."""
    width, height = pictures[0].size
    all_of_them = Image.new("RGB", (width, height * len(pictures)))
    for place, picture in enumerate(pictures):
        all_of_them.paste(picture, (0, place * height))
    palette = all_of_them.quantize(COLORS)
    return [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]


def _write_mp4(pictures: list[Image.Image], path: Path, seconds: float, ffmpeg: str) -> None:
    pictures = [*pictures, *pictures[-1:] * (LAST_FRAME - 1)]
    width, height = pictures[0].size
    rate = f"{1 / seconds:.6f}"
    given = f"-f rawvideo -pix_fmt rgb24 -s {width}x{height} -framerate {rate} -i -".split()
    # Players stumble over a frame rate below one or two, and know no other pixel format.
    made = ["-r", "25", "-pix_fmt", "yuv420p", "-movflags", "+faststart", "-f", "mp4"]
    whole_path = str(path.resolve())  # else a name like -i or tcp:… is an option
    command = [ffmpeg, "-y", "-loglevel", "error", *given, *made, whole_path]
    done = subprocess.run(command, input=b"".join(picture.tobytes() for picture in pictures), capture_output=True)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise ValueError(f"{ffmpeg} made no MP4 ({said[-1]}); give a name that ends in .gif")


def _find_ffmpeg(path: Path) -> str:
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError):  # not installed, or without a binary for this machine
        found = shutil.which("ffmpeg")
    if found is None:
        raise ValueError(
            f"animation '{path}': an MP4 needs ffmpeg; pip install imageio-ffmpeg, or give a name that ends in .gif"
        )
    return found
