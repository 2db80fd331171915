"""A network that finds a red and a blue rectangle, so that tests of predictions know the boxes."""

import numpy as np
import torch
from PIL import Image
from torch import nn

from lad.geometry import encode_deltas, make_anchors
from lad.models.detector import Configuration
from lad.structures import HeadOutputs

RED, BLUE = (255, 0, 0), (0, 0, 255)
RED_SCORE, BLUE_SCORE = 0.976, 0.519


class RectangleOracle(nn.Module):
    """Detects the red rectangle of an image as a "person", the blue one as a "Straße"."""

    def __init__(self, class_names: tuple[str, ...] = ("person", "Straße")) -> None:
        super().__init__()
        num_classes = len(class_names) or 2
        self.configuration = Configuration(
            "r18", num_classes=num_classes, class_names=class_names, short_side=128, long_side=256
        )
        self.anything = nn.Parameter(torch.zeros(()))

    def forward(self, images: torch.Tensor) -> HeadOutputs:
        anchors = make_anchors(tuple(images.shape[-2:])).boxes
        logits = torch.full((len(images), len(anchors), self.configuration.num_classes), -20.0)
        deltas = torch.zeros(len(images), len(anchors), 4)
        for row, (red, green, blue) in enumerate(images):
            for label, logit, is_inside in ((0, 3.0, (red > 1) & (blue < -1)), (1, -1.0, (blue > 1) & (red < -1))):
                rows, columns = (is_inside & (green < -1)).nonzero(as_tuple=True)
                if len(rows):
                    box = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()
                    logits[row, label, label], deltas[row, label] = logit, encode_deltas(anchors[label], box)
        return HeadOutputs(logits, deltas, torch.full((len(images), len(anchors)), 10.0))


def draw_rectangles(
    red: tuple[int, int, int, int] | None = (10, 20, 40, 50),
    blue: tuple[int, int, int, int] | None = None,
    size: tuple[int, int] = (96, 64),
) -> Image.Image:
    """Return a gray picture of a size (width, height) with rectangles (x0, y0, x1, y1)."""
    pixels = np.full((size[1], size[0], 3), 128, dtype=np.uint8)
    for box, color in ((red, RED), (blue, BLUE)):
        if box is not None:
            pixels[box[1] : box[3], box[0] : box[2]] = color
    return Image.fromarray(pixels)
