"""Drawn detections: pictures of the same size, boxes where they are, labels inside, one color per class."""

import numpy as np
import pytest
import torch

from lad.inference.drawing import _place, _text_color, class_color, draw_boxes
from lad.structures import Detections


def detections(*boxes: tuple[float, float, float, float]) -> Detections:
    count = len(boxes)
    return Detections(torch.tensor(boxes).reshape(-1, 4), torch.linspace(0.9, 0.5, count), torch.arange(count) % 3)


def changed(height: int, width: int, found: Detections, names: tuple[str, ...] = ("a", "b", "c")) -> np.ndarray:
    """Return the drawn pixels, [H, W, 3], on gray, and check the picture's size."""
    pixels = np.full((height, width, 3), 100, dtype=np.uint8)
    picture = draw_boxes(pixels, found, names)
    assert picture.size == (width, height) and picture.mode == "RGB" and (pixels == 100).all()
    return np.asarray(picture)


def test_a_box_is_drawn_along_its_inner_edge_in_the_color_of_its_class():
    drawn = changed(200, 300, detections((50.0, 60.0, 250.0, 180.0)))
    color = list(class_color(0))
    assert drawn[100, 50].tolist() == drawn[100, 249].tolist() == drawn[179, 150].tolist() == color
    assert drawn[120, 150].tolist() == drawn[100, 253].tolist() == [100, 100, 100]


def test_lines_and_letters_grow_with_the_picture():
    share = []
    for scale in (1, 4):
        drawn = changed(
            200 * scale, 300 * scale, detections((50.0 * scale, 60.0 * scale, 250.0 * scale, 180.0 * scale))
        )
        share.append((drawn != 100).any(axis=2).mean())
    assert share[1] == pytest.approx(share[0], rel=0.5)


@pytest.mark.parametrize("size", [(200, 300), (40, 60), (12, 12), (1, 1), (3, 400)])
@pytest.mark.parametrize("names", [("person", "b", "c"), ("a very long name of a class " * 20, "", "線\n分")])
def test_any_picture_and_any_name_can_be_drawn(size, names):
    height, width = size
    whole, line = (0.0, 0.0, float(width), float(height)), (0.0, 0.0, 0.0, float(height))
    assert (changed(height, width, detections(whole, line, whole), names) != 100).any()
    assert (changed(height, width, detections(), names) == 100).all()


def test_a_label_is_above_its_box_and_inside_the_picture():
    size, picture = (60, 12), (300, 200)
    assert _place((100, 50, 200, 150), size, picture, []) == (100, 38, 159, 49)
    assert _place((280, 50, 300, 150), size, picture, [])[2] == 299
    for box in ((0, 0, 300, 200), (-5, -5, 10, 10), (290, 190, 300, 200)):
        x0, y0, x1, y1 = _place(box, size, picture, [])
        assert x0 >= 0 and y0 >= 0 and x1 < 300 and y1 < 200


def test_labels_of_boxes_in_one_place_do_not_cover_each_other():
    taken = []
    for _ in range(6):
        taken.append(_place((100, 60, 240, 150), (60, 12), (300, 200), taken))
    for index, (x0, y0, x1, y1) in enumerate(taken):
        for u0, v0, u1, v1 in taken[:index]:
            assert x1 <= u0 or u1 <= x0 or y1 <= v0 or v1 <= y0


def test_every_class_has_its_color_on_which_its_label_is_legible():
    def luminance(color: tuple[int, ...]) -> float:
        return sum(
            share * (channel / 255) ** 2.2 for share, channel in zip((0.2126, 0.7152, 0.0722), color, strict=True)
        )

    colors = [class_color(label) for label in range(80)]
    assert len(set(colors)) == 80
    for color in colors:
        text = 1.0 if _text_color(color) == "white" else 0.0
        bright, dark = sorted((text, luminance(color)), reverse=True)
        assert (bright + 0.05) / (dark + 0.05) >= 4.5  # WCAG AA
