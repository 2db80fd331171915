"""Drawing of detections into pictures: boxes and labels in one color per class, in proportion to the picture."""

import colorsys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lad.structures import Detections
from lad.utils.messages import one_line

Box = tuple[float, float, float, float]
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#AA4499", "#E69F00", "#56B4E9")  # of the first classes, as in the figures
GOLDEN_RATIO = 0.618034
LINE_SHARE, FONT_SHARE = 1 / 160, 1 / 32  # of the picture's size, the square root of its number of pixels
MIN_LINE, MIN_FONT = 2, 10  # pixels


def draw_boxes(pixels: np.ndarray, detections: Detections, class_names: Sequence[str]) -> Image.Image:
    """Draw detections into a copy of an image.

    Lines and letters grow with the image. A label, class and score, is inside the picture, where it covers as little as
    possible of those of higher scores.

    Args:
        pixels: [H, W, 3] uint8 RGB.
        detections: Detections in pixels of the image, best first.
        class_names: Name of each label.

    Returns:
        A picture of the same size.
    """
    picture = Image.fromarray(pixels).copy()
    draw = ImageDraw.Draw(picture)
    size = (picture.width * picture.height) ** 0.5
    line = max(MIN_LINE, round(LINE_SHARE * size))
    font = _font(max(MIN_FONT, round(FONT_SHARE * size)))
    boxes, labels = detections.boxes.tolist(), detections.labels.tolist()
    for box, label in reversed(list(zip(boxes, labels, strict=True))):  # the best on top
        _draw_outline(draw, box, class_color(label), line)
    plates: list[Box] = []
    texts = []
    for box, label, score in zip(boxes, labels, detections.scores.tolist(), strict=True):
        text = _shorten(one_line(f"{class_names[label]} {score:.2f}"), font, picture.width)
        plates.append(_place(box, _plate_size(text, font), picture.size, plates))
        texts.append(text)
    for plate, text, label in reversed(list(zip(plates, texts, labels, strict=True))):
        color = class_color(label)
        draw.rectangle(plate, fill=color)
        center = ((plate[0] + plate[2]) / 2, (plate[1] + plate[3]) / 2)
        draw.text(center, text, fill=_text_color(color), font=font, anchor="mm")
    return picture


@lru_cache(maxsize=4096)
def class_color(label: int) -> tuple[int, int, int]:
    """Return the RGB color of a class: the figures' palette for the first, then hues that are far from each other."""
    if label < len(PALETTE):
        red, green, blue = (int(PALETTE[label][i : i + 2], 16) for i in (1, 3, 5))
        return red, green, blue
    hue = (label * GOLDEN_RATIO) % 1
    value = 0.95 if label % 2 else 0.7
    red, green, blue = (round(255 * share) for share in colorsys.hsv_to_rgb(hue, 0.85, value))
    return red, green, blue


@lru_cache(maxsize=16)
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans, which comes with matplotlib and has Latin, Greek, Cyrillic, Arabic and other letters."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), size)


def _draw_outline(draw: ImageDraw.ImageDraw, box: Sequence[float], color: tuple[int, int, int], line: int) -> None:
    """Draw the outline of a box, inside of it; a thick one in a rim that makes it visible on any background."""
    x0, y0, x1, y1 = (round(value) for value in box)
    x1, y1 = max(x0, x1 - 1), max(y0, y1 - 1)  # the last pixels of the box
    rim = line // 3
    if rim:
        draw.rectangle((x0 - rim, y0 - rim, x1 + rim, y1 + rim), outline=_text_color(color), width=rim)
    draw.rectangle((x0, y0, x1, y1), outline=color, width=line)


def _text_color(background: tuple[int, int, int]) -> str:
    """Return black or white, whichever has the higher contrast on a background (WCAG's relative luminance)."""
    linear = [(channel / 255) ** 2.2 for channel in background]
    return "black" if 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > 0.179 else "white"


def _shorten(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """Return a label that fits the picture's width: the class name is cut, then the score alone is left."""
    name, score = text.rsplit(" ", maxsplit=1)
    for length in range(len(name), 0, -1):
        shown = name if length == len(name) else f"{name[:length].rstrip()}…"
        if _plate_size(f"{shown} {score}", font)[0] <= width:
            return f"{shown} {score}"
    return score


def _plate_size(text: str, font: ImageFont.FreeTypeFont) -> tuple[int, int]:
    """Return (width, height) of a label's background; the height is the same for all texts."""
    ascent, descent = font.getmetrics()
    return round(font.getlength(text) + 0.5 * font.size), ascent + descent


def _place(box: Sequence[float], size: tuple[int, int], picture_size: tuple[int, int], taken: Sequence[Box]) -> Box:
    """Return where to draw a label: above its box, or at another of its edges where it covers fewer other labels."""
    (x0, y0, x1, y1), (width, height) = box, size
    corners = [(x, y) for y in (y0 - height, y0, y1, y1 - height) for x in (x0, x1 - width)]

    def inside(x: float, y: float) -> Box:
        left = round(max(0, min(x, picture_size[0] - width)))
        top = round(max(0, min(y, picture_size[1] - height)))
        return left, top, left + width - 1, top + height - 1

    plates = [inside(x, y) for x, y in corners]
    return min(plates, key=lambda plate: sum(_overlap(plate, other) for other in taken))  # the first of equals


def _overlap(first: Box, second: Box) -> float:
    """Return the area that two rectangles share."""
    width, height = (min(first[i + 2], second[i + 2]) - max(first[i], second[i]) for i in (0, 1))
    return max(0, width) * max(0, height)
