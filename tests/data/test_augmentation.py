"""Augmentations: boxes follow their objects, labels their boxes, and the seed alone decides."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors

from lad.data.annotations import read_annotations
from lad.data.augmentation import (
    AUGMENTATIONS,
    FILL,
    IoUCrop,
    ScaleJitter,
    ZoomOut,
    augmented_transform,
    resolve_augment,
)
from lad.data.coco import CocoDataset
from lad.data.collate import collate
from lad.data.samplers import SampleKey
from lad.data.transforms import IMAGENET_MEAN, IMAGENET_STD, train_transform, transform_cache_key

COLORS = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255], [255, 0, 255]])  # by label
GEOMETRIC = [name for name in AUGMENTATIONS if name != "photometric"]
SIDES = st.integers(40, 200)


def picture(height: int, width: int, columns: int = 3, rows: int = 2) -> tuple:
    """Return a black image with a rectangle in each cell of a grid, in the color of its label; boxes and labels."""
    pixels = torch.zeros(3, height, width, dtype=torch.uint8)
    boxes = []
    for label in range(columns * rows):
        row, column = divmod(label, columns)
        y0, x0 = row * height // rows + 2, column * width // columns + 2
        y1, x1 = (row + 1) * height // rows - 2, (column + 1) * width // columns - 2
        pixels[:, y0:y1, x0:x1] = COLORS[label][:, None, None].to(torch.uint8)
        boxes.append([x0, y0, x1, y1])
    corners = tv_tensors.BoundingBoxes(torch.tensor(boxes).float(), format="XYXY", canvas_size=(height, width))
    return tv_tensors.Image(pixels), corners, torch.arange(columns * rows)


def color_at_center(image: Tensor, box: Tensor) -> Tensor:
    x, y = ((box[:2] + box[2:]) / 2).long()
    mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    return 255 * (image[:, y, x] * std + mean)


@settings(deadline=None, max_examples=150)
@given(SIDES, SIDES, st.sets(st.sampled_from(GEOMETRIC)), st.integers(0, 2**62), st.sampled_from([48, 96]))
def test_every_box_that_remains_is_inside_its_image_on_an_object_of_its_label(height, width, names, seed, short_side):
    transform = augmented_transform(resolve_augment(sorted(names)), [short_side], 2 * short_side, 0.5)
    torch.manual_seed(seed)
    image, boxes, labels, is_flipped = transform(*picture(height, width), False)
    high, wide = image.shape[-2:]
    assert max(high, wide) <= 2 * short_side and min(high, wide) <= short_side
    assert image.dtype == boxes.dtype == torch.float32 and labels.dtype == torch.int64 and isinstance(is_flipped, bool)
    assert len(boxes) == len(labels) == len(set(labels.tolist())) and boxes.canvas_size == (high, wide)
    boxes = boxes.as_subclass(Tensor)
    assert (boxes >= 0).all() and (boxes[:, 2:] <= torch.tensor([wide, high])).all()
    assert (boxes[:, 2:] - boxes[:, :2] >= 1).all()
    for box, label in zip(boxes, labels, strict=True):
        if (box[2:] - box[:2]).min() >= 4:  # the center of a smaller one may be mixed with the background
            torch.testing.assert_close(color_at_center(image, box), COLORS[label].float(), rtol=0, atol=2)


@pytest.mark.parametrize("hw", [(60, 120), (120, 60)])
def test_an_image_keeps_its_orientation_and_exceeds_no_side(hw):
    """So that the memory of a batch stays bounded: a batch has images of one orientation."""
    transform = augmented_transform(resolve_augment(list(AUGMENTATIONS)), [64], 96, 0.5)
    torch.manual_seed(0)
    sizes = {tuple(transform(*picture(*hw), False)[0].shape[-2:]) for _ in range(200)}
    assert len(sizes) > 50
    assert all((wide >= high) == (hw[1] > hw[0]) or wide == high for high, wide in sizes)
    assert max(max(size) for size in sizes) <= 96 and max(min(size) for size in sizes) <= 64


def test_without_augmentations_images_are_those_of_the_plain_transform():
    plain, empty = train_transform([48, 64], 96), augmented_transform({}, [48, 64], 96, 0.5)
    for seed in range(20):
        torch.manual_seed(seed)
        expected = plain(*picture(50, 70), False)
        torch.manual_seed(seed)
        image, boxes, labels, is_flipped = empty(*picture(50, 70), False)
        assert torch.equal(image, expected[0]) and torch.equal(boxes, expected[1]) and torch.equal(labels, expected[2])
        assert is_flipped == expected[3]


def test_photometric_changes_colors_alone():
    plain = train_transform([64], 96, 0)(*picture(50, 70), False)
    transform = augmented_transform(resolve_augment(["photometric"]), [64], 96, 0)
    torch.manual_seed(0)
    images = [transform(*picture(50, 70), False) for _ in range(10)]
    assert all(torch.equal(boxes, plain[1]) and torch.equal(labels, plain[2]) for _, boxes, labels, _ in images)
    assert len({image.numpy().tobytes() for image, *_ in images}) > 5


def test_scale_jitter_zooms_in_to_the_size_without_it_or_makes_the_image_smaller():
    jitter = ScaleJitter([64], 96, min_scale=2, max_scale=2)
    image, boxes = jitter(*picture(64, 96)[:2])
    assert image.shape == (3, 64, 96)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
    assert areas.max() > 1.5 * (28 * 28) and (areas == 0).any()
    image, boxes = ScaleJitter([64], 96, min_scale=0.5, max_scale=0.5)(*picture(64, 96)[:2])
    assert image.shape == (3, 32, 48)
    torch.testing.assert_close(boxes.as_subclass(Tensor), picture(64, 96)[1].as_subclass(Tensor) / 2)


def test_zoom_out_shrinks_the_image_on_a_canvas_of_its_size():
    torch.manual_seed(0)
    image, boxes = ZoomOut(p=1, max_scale=4)(*picture(60, 90)[:2])
    assert image.shape == (3, 60, 90) and boxes.canvas_size == (60, 90)
    is_fill = (image == torch.tensor(FILL, dtype=torch.uint8)[:, None, None]).all(dim=0)
    assert 0.2 < is_fill.float().mean() < 0.95
    assert torch.equal(ZoomOut(p=0, max_scale=4)(*picture(60, 90)[:2])[0], picture(60, 90)[0])


def test_the_fill_is_almost_the_zero_of_the_padding_of_batches():
    normalized = (torch.tensor(FILL) / 255 - torch.tensor(IMAGENET_MEAN)) / torch.tensor(IMAGENET_STD)
    assert normalized.abs().max() < 0.01


def test_vertical_flip_mirrors_rows_and_leaves_the_recorded_flip():
    transform = augmented_transform(resolve_augment({"vertical_flip": {"p": 1}}), [60], 90, 0)
    image, boxes, labels, is_flipped = transform(*picture(60, 90), False)
    plain, plain_boxes, *_ = train_transform([60], 90, 0)(*picture(60, 90), False)
    assert torch.equal(image, plain.flip(1)) and is_flipped is False and labels.tolist() == list(range(6))
    torch.testing.assert_close(boxes[:, 1].as_subclass(Tensor), 60 - plain_boxes[:, 3].as_subclass(Tensor))


@pytest.mark.parametrize("hw", [(1, 1), (3, 200), (64, 64)])
def test_images_without_boxes_or_of_a_few_pixels_are_augmented_too(hw):
    """torchvision's crop would try forever, or divide by zero."""
    transform = augmented_transform(resolve_augment(list(AUGMENTATIONS)), [64], 96, 0.5)
    nothing = tv_tensors.BoundingBoxes(torch.zeros(0, 4), format="XYXY", canvas_size=hw)
    whole = tv_tensors.BoundingBoxes([[0.0, 0, hw[1], hw[0]]], format="XYXY", canvas_size=hw)
    for seed in range(20):
        torch.manual_seed(seed)
        for boxes in (nothing, whole):
            image = tv_tensors.Image(torch.zeros((3, *hw), dtype=torch.uint8))
            image, boxes, labels, _ = transform(image, boxes, torch.zeros(len(boxes), dtype=torch.int64), False)
            assert image.isfinite().all() and min(image.shape) >= 1 and len(boxes) == len(labels)


def test_objects_whose_center_is_outside_a_crop_are_dropped():
    crop = IoUCrop(min_scale=0.3)
    torch.manual_seed(0)
    remaining = {int((boxes[:, 2] > boxes[:, 0]).sum()) for _, boxes in (crop(*picture(64, 96)[:2]) for _ in range(50))}
    assert 6 in remaining and min(remaining) >= 1 and len(remaining) > 3


@pytest.fixture
def dataset(tmp_path: Path) -> CocoDataset:
    """A data set of one image whose transform has every augmentation."""
    image, boxes, labels = picture(60, 90)
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / "a.png")
    corners = zip(boxes.tolist(), labels.tolist(), strict=True)
    content = {
        "images": [{"id": 7, "file_name": "a.png", "width": 90, "height": 60}],
        "annotations": [
            {"id": label, "image_id": 7, "category_id": label, "bbox": [x0, y0, x1 - x0, y1 - y0], "iscrowd": 0}
            for (x0, y0, x1, y1), label in corners
        ],
        "categories": [{"id": int(label), "name": f"color {label}"} for label in labels],
    }
    (tmp_path / "instances_train.json").write_text(json.dumps(content))
    annotations = read_annotations(tmp_path / "instances_train.json")
    return CocoDataset(tmp_path, annotations, augmented_transform(resolve_augment(list(AUGMENTATIONS)), [64], 96, 0.5))


def test_the_seed_of_a_sample_alone_decides_every_augmentation(dataset):
    first = [dataset[SampleKey(0, seed)] for seed in range(20)]
    state = torch.get_rng_state()
    torch.manual_seed(99)
    again = [dataset[SampleKey(0, seed)] for seed in reversed(range(20))][::-1]
    for sample, other in zip(first, again, strict=True):
        assert torch.equal(sample.image, other.image) and torch.equal(sample.boxes, other.boxes)
        assert torch.equal(sample.labels, other.labels) and sample.is_flipped == other.is_flipped
    torch.set_rng_state(state)
    assert len({sample.image.numpy().tobytes() for sample in first}) == 20


def test_a_batch_holds_the_labels_of_the_boxes_that_remain(dataset):
    samples = [dataset[SampleKey(0, seed)] for seed in range(8)]
    assert any(len(sample.boxes) < 6 for sample in samples)
    targets = collate(samples).targets
    assert len(targets.boxes) == len(targets.labels) == len(targets.image) == sum(len(s.labels) for s in samples)


def test_options_are_completed_and_the_order_of_names_does_not_matter():
    assert resolve_augment(["zoom_out", "iou_crop"]) == resolve_augment({"iou_crop": {}, "zoom_out": None})
    assert list(resolve_augment(["zoom_out", "iou_crop"])) == ["iou_crop", "zoom_out"]
    assert resolve_augment({"zoom_out": {"p": "0.3"}}) == {"zoom_out": {"p": 0.3, "max_scale": 4.0}}
    assert resolve_augment([]) == resolve_augment({}) == {}
    every = resolve_augment(list(AUGMENTATIONS))
    assert resolve_augment(every) == every


@pytest.mark.parametrize(
    ("given_value", "message"),
    [
        (3, "parameter 'augment' = 3 must be a list of names, or map names to options.*names: iou_crop, scale_jitter"),
        ("photometric", "parameter 'augment' = 'photometric' must be a list of names"),
        (["zoomout"], "'zoomout' is not one of iou_crop, .*, vertical_flip; did you mean 'zoom_out'"),
        ([["zoom_out"]], "is not one of iou_crop"),
        ({"zoom_out": 0.5}, "zoom_out = 0.5 must map options to values"),
        ({"zoom_out": {"q": 1}}, "parameter 'augment': 'q' is unknown for 'zoom_out'; it has p, max_scale"),
        ({"photometric": {"hues": 1}}, "did you mean 'hue'"),
        ({"vertical_flip": {"p": 2}}, "p = 2 of 'vertical_flip': input should be less than or equal to 1"),
        ({"vertical_flip": {"p": True}}, "p = True of 'vertical_flip' cannot be true or false"),
        ({"scale_jitter": {"min_scale": 3}}, "'scale_jitter': min_scale = 3.0 is more than max_scale = 2.0"),
    ],
)
def test_a_wrong_name_or_option_is_refused_in_one_line(given_value, message):
    with pytest.raises(ValueError, match=message) as caught:
        resolve_augment(given_value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_no_augmentation_has_a_cache_key(name):
    with pytest.raises(ValueError, match="cannot be cached"):
        transform_cache_key(augmented_transform(resolve_augment([name]), [64], 96, 0.5))
