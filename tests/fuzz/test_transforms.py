"""Transforms and collating of images with boxes of every kind."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import CLASSES, FUZZ, KINDS, boxes_of, seeds
from torchvision import tv_tensors

from lad.data.collate import collate
from lad.data.transforms import IMAGENET_MEAN, IMAGENET_STD, RandomFlip, eval_transform, train_transform
from lad.structures import Batch, Sample

SIDE = st.one_of(st.integers(1, 8), st.integers(1, 120), st.sampled_from([1, 300]))
INSIDE = tuple(kind for kind in KINDS if kind != "outside")


@st.composite
def pictures(draw: st.DrawFn) -> tuple[tv_tensors.Image, tv_tensors.BoundingBoxes]:
    """Draw an image of any shape with boxes of every kind."""
    hw, generator = (draw(SIDE), draw(SIDE)), draw(seeds())
    kinds = draw(st.lists(st.sampled_from(INSIDE), max_size=3))
    corners = torch.cat([torch.zeros(0, 4), *(boxes_of(kind, 3, hw, generator) for kind in kinds)])
    pixels = torch.randint(256, (3, *hw), dtype=torch.uint8, generator=generator)
    return tv_tensors.Image(pixels), tv_tensors.BoundingBoxes(corners, format="XYXY", canvas_size=hw)


@FUZZ
@given(
    pictures(), st.lists(st.integers(32, 128), min_size=1, max_size=3), st.integers(0, 64), st.sampled_from([0, 0.5, 1])
)
def test_boxes_stay_inside_their_image_with_corners_in_order(picture, short_sides, longer, flip):
    """Up to rounding of an edge times the ratio of sides."""
    image, boxes = picture
    long_side = max(short_sides) + longer
    resized, moved, is_flipped = train_transform(short_sides, long_side, flip)(image, boxes, False)
    height, width = resized.shape[-2:]
    assert resized.dtype == torch.float32 and resized.isfinite().all() and moved.dtype == torch.float32
    assert 1 <= min(height, width) <= max(short_sides) and max(height, width) <= long_side
    assert flip == 0.5 or is_flipped == bool(flip)
    assert moved.shape == boxes.shape and moved.canvas_size == (height, width)
    corners, limit = moved.as_subclass(torch.Tensor), torch.tensor([width, height])
    assert (
        (corners >= -1e-3).all() and (corners[:, :2] <= limit + 1e-3).all() and (corners[:, 2:] <= limit + 1e-3).all()
    )
    assert (corners[:, 2:] >= corners[:, :2]).all()


@FUZZ
@given(pictures())
def test_flipping_twice_restores_the_image_and_its_boxes(picture):
    """Boxes up to rounding of coordinates as large as the image's width."""
    image, boxes = picture
    flip = RandomFlip(1)
    twice_image, twice, is_flipped = flip(*flip(image, boxes, False))
    assert torch.equal(twice_image, image) and is_flipped is False
    torch.testing.assert_close(twice.as_subclass(torch.Tensor), boxes.as_subclass(torch.Tensor), rtol=0, atol=1e-4)


@st.composite
def painted(draw: st.DrawFn) -> tuple[tv_tensors.Image, tv_tensors.BoundingBoxes]:
    """Draw a white box of whole pixels on black."""
    height, width = draw(SIDE), draw(SIDE)
    y0, x0 = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    y1, x1 = draw(st.integers(y0 + 1, height)), draw(st.integers(x0 + 1, width))
    pixels = torch.zeros(3, height, width, dtype=torch.uint8)
    pixels[:, y0:y1, x0:x1] = 255
    box = torch.tensor([[x0, y0, x1, y1]], dtype=torch.float32)
    return tv_tensors.Image(pixels), tv_tensors.BoundingBoxes(box, format="XYXY", canvas_size=(height, width))


@FUZZ
@given(painted(), st.integers(32, 128), st.integers(0, 128), st.booleans())
def test_a_box_moves_with_its_object(picture, short_side, longer, flip):
    """To one pixel: rows and columns at least half as bright as the brightest extend as far as the box.

    A box that shrinks below a pixel may vanish, since images are resized without antialiasing, as for the published
    checkpoints.
    """
    image, box = eval_transform(short_side, short_side + longer, flip)(*picture)
    colors = image.as_subclass(torch.Tensor) * torch.tensor(IMAGENET_STD)[:, None, None]
    brightness = (colors + torch.tensor(IMAGENET_MEAN)[:, None, None]).mean(dim=0)
    threshold = max(0.5 / 255, float(brightness.max()) / 2)
    rows, columns = ((brightness.amax(dim=other) > threshold).nonzero().flatten() for other in (1, 0))
    x0, y0, x1, y1 = box.as_subclass(torch.Tensor)[0].tolist()
    if len(rows) == 0:
        assert x1 - x0 <= 1 or y1 - y0 <= 1
        return
    extent = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    assert all(abs(float(edge) - corner) <= 1 for edge, corner in zip(extent, (x0, y0, x1, y1), strict=True))


@st.composite
def samples(draw: st.DrawFn) -> list[Sample]:
    generator, drawn = draw(seeds()), []
    for number in range(draw(st.integers(1, 4))):
        hw = draw(SIDE), draw(SIDE)
        kinds = draw(st.lists(st.sampled_from(INSIDE), max_size=2))
        boxes = torch.cat([torch.zeros(0, 4), *(boxes_of(kind, 2, hw, generator) for kind in kinds)])
        labels = torch.randint(CLASSES, (len(boxes),), generator=generator)
        original = draw(SIDE), draw(SIDE)
        drawn.append(
            Sample(torch.rand(3, *hw, generator=generator), boxes, labels, number, original, draw(st.booleans()))
        )
    return drawn


@FUZZ
@given(samples())
def test_a_batch_holds_its_samples_zero_padded(given_samples):
    batch = collate(given_samples)
    assert all(side % 32 == 0 for side in batch.padded_hw)
    assert_is(batch, given_samples)
    needed = [max(sample.image.shape[side] for sample in given_samples) for side in (1, 2)]
    assert all(0 <= padded - side < 32 for padded, side in zip(batch.padded_hw, needed, strict=True))


@FUZZ
@given(samples(), st.data())
def test_a_selection_of_a_batch_holds_the_selected_samples(given_samples, data):
    rows = sorted(data.draw(st.sets(st.integers(0, len(given_samples) - 1))))
    taken = collate(given_samples).take(rows)
    assert_is(taken, [given_samples[row] for row in rows])


def assert_is(batch: Batch, expected: list[Sample]) -> None:
    assert len(batch.images) == len(batch.image_id) == len(batch.original_hw) == len(batch.is_flipped) == len(expected)
    assert len(batch.targets.image_hw) == len(expected)
    assert len(batch.targets.boxes) == sum(len(sample.boxes) for sample in expected)
    for row, sample in enumerate(expected):
        _, height, width = sample.image.shape
        assert torch.equal(batch.images[row, :, :height, :width], sample.image)
        assert batch.images[row].count_nonzero() == sample.image.count_nonzero()
        is_of_row = batch.targets.image == row
        assert torch.equal(batch.targets.boxes[is_of_row], sample.boxes)
        assert torch.equal(batch.targets.labels[is_of_row], sample.labels)
        assert batch.targets.image_hw[row].tolist() == [height, width]
        assert tuple(batch.original_hw[row].tolist()) == sample.original_hw
        assert batch.image_id[row] == sample.image_id and batch.is_flipped[row] == sample.is_flipped
