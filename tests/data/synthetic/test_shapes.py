"""Embedded data sets: identical everywhere, with tight boxes, and nothing hidden."""

import hashlib

import numpy as np
import pytest

from lad.data.synthetic import shapes
from lad.data.synthetic.difficulties import DIFFICULTIES
from lad.data.synthetic.drawing import fill, outlines
from lad.data.synthetic.folders import shapes_folder
from lad.data.synthetic.shapes import Layer, Shape, compose, render_shapes

PIXELS = {  # sha256 of the RGB bytes; increment VERSION when they change
    ("toy", "train", 0): "4e5a162adb79ee79d0b5f6832aa80288a8efa42ead75be779f3fdecb3df48c2e",
    ("toy", "train", 799): "9c0c4ccc7d07f223d5459a544159a7a9581dc1a587c32dfd5b3deeb85873e80d",
    ("toy", "val", 0): "f6cc6ab9c99aceb2e82aa3a07695a035ce5eb33323be2c299c6b83825cc1633e",
    ("mini", "train", 0): "ddbe4e1d5a9ee953caf37992086cbb41a43ecd8ee8b385ec15be3d0178fb1944",
    ("mini", "val", 999): "665ef039fdca5f3363f848ccff29b5966b78c0584eb68b0f29c4693cea19251f",
}


def rectangle(category: int | None, x0: int, y0: int, x1: int, y1: int, color: int) -> Layer:
    window = (slice(y0, y1), slice(x0, x1))
    coverage = np.full((y1 - y0, x1 - x0), 16, dtype=np.uint8)
    return Layer(category, window, coverage, np.full((*coverage.shape, 3), color, dtype=np.uint8))


def canvas() -> np.ndarray:
    return np.zeros((40, 40, 3), dtype=np.uint8)


@pytest.mark.parametrize("key", PIXELS)
def test_pixels_are_identical_on_every_machine(key: tuple[str, str, int]) -> None:
    assert hashlib.sha256(render_shapes(*key)[0].tobytes()).hexdigest() == PIXELS[key]


def test_an_image_does_not_depend_on_those_drawn_before_it() -> None:
    first, first_shapes = render_shapes("mini", "train", 7)
    render_shapes("mini", "val", 7)
    again, again_shapes = render_shapes("mini", "train", 7)
    assert np.array_equal(first, again) and first_shapes == again_shapes
    assert not np.array_equal(first, render_shapes("mini", "val", 7)[0])


@pytest.mark.parametrize(("difficulty", "classes"), [("toy", 6), ("mini", 12)])
def test_images_follow_the_settings_of_their_difficulty(difficulty: str, classes: int) -> None:
    settings, categories = DIFFICULTIES[difficulty], set()
    for index in range(150):
        image, visible = render_shapes(difficulty, "train", index)
        assert image.shape == (settings.side, settings.side, 3) and image.dtype == np.uint8
        assert 1 <= len(visible) <= settings.objects[1]
        for shape in visible:
            x0, y0, x1, y1 = shape.box
            assert 0 <= x0 < x1 <= settings.side and 0 <= y0 < y1 <= settings.side
            assert shapes.MIN_PIXELS <= shape.area <= (x1 - x0) * (y1 - y0)
            categories.add(shape.category)
    assert categories == set(range(classes)) and len(settings.classes) == classes


def test_the_smallest_objects_are_kept_at_any_rotation() -> None:
    for name, outline in outlines().items():
        for rotation in np.linspace(0, 2 * np.pi, 30):
            corner = complex(0.35 * 8, 0.35 * 8)  # as far out as an object of 8 px is ever placed
            _, coverage = fill(corner + 4 * outline * np.exp(1j * rotation), side=256)
            assert (coverage >= 8).sum() >= shapes.MIN_PIXELS, name


def test_coverage_sums_to_the_area_of_the_outline() -> None:
    circle, ring = (outlines()[name] for name in ("circle", "ring"))
    for outline, area in ((circle, np.pi * 30**2), (ring, np.pi * 30**2 * (1 - 0.58**2))):
        window, coverage = fill(50.3 + 49.8j + 30 * outline, side=100)
        assert window == (slice(19, 80), slice(20, 81))
        assert coverage.sum() / 16 == pytest.approx(area, rel=0.005)
    window, coverage = fill(30 * circle, side=100)  # a quarter of it lies inside the image
    assert window == (slice(0, 31), slice(0, 31))
    assert coverage.sum() / 16 == pytest.approx(np.pi * 30**2 / 4, rel=0.01)


def test_boxes_shrink_to_what_the_object_in_front_leaves_visible() -> None:
    image, visible = compose(canvas(), [rectangle(0, 2, 4, 22, 14, 100), rectangle(1, 12, 0, 32, 20, 200)], 0.3)
    assert visible == [Shape(0, (2, 4, 12, 14), 100), Shape(1, (12, 0, 32, 20), 400)]
    for shape, color in zip(visible, (100, 200), strict=True):
        rows, columns = np.nonzero(image[..., 0] == color)
        assert shape.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert shape.area == len(rows)


def test_hidden_objects_are_neither_drawn_nor_annotated() -> None:
    hidden, front = rectangle(0, 2, 4, 22, 14, 100), rectangle(1, 7, 0, 32, 20, 200)
    image, visible = compose(canvas(), [hidden, front], 0.3)  # a quarter of the first would show
    assert [shape.category for shape in visible] == [1]
    assert not (image == 100).any()


def test_a_hidden_object_hides_no_other() -> None:
    back, hidden, front = (rectangle(i, x, 0, 20, 10, 50 * (i + 1)) for i, x in enumerate((0, 9, 10)))
    _, visible = compose(canvas(), [back, hidden, front], 0.3)
    assert visible == [Shape(0, (0, 0, 10, 10), 100), Shape(2, (10, 0, 20, 10), 100)]


def test_clutter_occludes_but_is_not_annotated() -> None:
    _, visible = compose(canvas(), [rectangle(3, 0, 0, 20, 10, 100), rectangle(None, 15, 0, 30, 10, 200)], 0.3)
    assert visible == [Shape(3, (0, 0, 15, 10), 150)]


def test_default_sizes_are_the_documented_ones() -> None:
    assert DIFFICULTIES["toy"].images == {"train": 800, "val": 200}
    assert DIFFICULTIES["mini"].images == {"train": 4000, "val": 1000}


@pytest.mark.parametrize(("name", "message"), [("minny", "mean 'mini'?"), ("coco", "'toy' or 'mini'")])
def test_an_unknown_difficulty_is_refused_with_the_nearest_names(name: str, message: str) -> None:
    for call in (lambda: shapes_folder(name), lambda: render_shapes(name, "train", 0)):
        with pytest.raises(ValueError, match=message):
            call()


def test_an_unknown_split_or_a_negative_index_is_refused() -> None:
    with pytest.raises(ValueError, match="split='test' is unknown"):
        render_shapes("toy", "test", 0)
    with pytest.raises(ValueError, match="index=-1"):
        render_shapes("toy", "train", -1)
