"""Sizes, flips and normalization."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision import tv_tensors

from lad.data.transforms import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    RandomFlip,
    ResizeKeepRatio,
    eval_transform,
    resized_hw,
    train_transform,
)


@pytest.mark.parametrize(
    ("hw", "expected"),
    [((480, 640), (800, 1067)), ((640, 480), (1067, 800)), ((400, 1000), (533, 1333)), ((800, 1333), (800, 1333))],
)
def test_sizes_are_those_of_the_published_recipe(hw, expected):
    assert resized_hw(hw, 800, 1333) == expected


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(32, 1000))
def test_neither_side_passes_its_limit_and_the_ratio_is_kept(height, width, short_side):
    new_height, new_width = resized_hw((height, width), short_side, 1333)
    assert min(new_height, new_width) <= short_side and max(new_height, new_width) <= 1333
    scale = min(short_side / min(height, width), 1333 / max(height, width))
    assert abs(new_height - height * scale) <= 0.5 or new_height == 1
    assert abs(new_width - width * scale) <= 0.5 or new_width == 1


def test_boxes_are_resized_with_their_image():
    image = tv_tensors.Image(torch.zeros((3, 100, 200), dtype=torch.uint8))
    boxes = tv_tensors.BoundingBoxes([[20.0, 10, 60, 50]], format="XYXY", canvas_size=(100, 200))
    resized, resized_boxes = ResizeKeepRatio([50], 400)(image, boxes)
    assert resized.shape == (3, 50, 100) and resized_boxes.tolist() == [[10, 5, 30, 25]]


def test_several_short_sides_are_all_drawn():
    transform = train_transform([32, 48, 64], 640)
    torch.manual_seed(0)
    image = tv_tensors.Image(torch.zeros((3, 64, 64), dtype=torch.uint8))
    boxes = tv_tensors.BoundingBoxes(torch.zeros((0, 4)), format="XYXY", canvas_size=(64, 64))
    assert {transform(image, boxes)[0].shape[-1] for _ in range(40)} == {32, 48, 64}


@pytest.mark.parametrize("probability", [0, 0.5, 1])
def test_a_flip_mirrors_image_and_boxes_and_says_so(probability):
    image = tv_tensors.Image(torch.arange(4.0).expand(3, 2, 4))
    boxes = tv_tensors.BoundingBoxes([[0.0, 0, 1, 2]], format="XYXY", canvas_size=(2, 4))
    torch.manual_seed(0)
    seen = set()
    for _ in range(30):
        mirrored, mirrored_boxes, is_flipped = RandomFlip(probability)(image, boxes, False)
        assert mirrored[0, 0].tolist() == ([3, 2, 1, 0] if is_flipped else [0, 1, 2, 3])
        assert mirrored_boxes.tolist() == ([[3, 0, 4, 2]] if is_flipped else [[0, 0, 1, 2]])
        seen.add(is_flipped)
    assert seen == ({True, False} if probability == 0.5 else {probability == 1})


def test_colors_are_normalized_to_imagenets():
    image = tv_tensors.Image(torch.full((3, 64, 64), 255, dtype=torch.uint8))
    boxes = tv_tensors.BoundingBoxes(torch.zeros((0, 4)), format="XYXY", canvas_size=(64, 64))
    normalized, _, is_flipped = eval_transform(64, 64)(image, boxes, False)
    assert is_flipped is False
    expected = (1 - torch.tensor(IMAGENET_MEAN)) / torch.tensor(IMAGENET_STD)
    torch.testing.assert_close(normalized.as_subclass(torch.Tensor).mean(dim=(1, 2)), expected)
