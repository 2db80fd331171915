"""Transforms: sizes, flips, normalization, and their key in the cache of teacher assignments."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision import tv_tensors
from torchvision.transforms import v2

from lad.data.transforms import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    RandomFlip,
    ResizeKeepRatio,
    eval_transform,
    resized_hw,
    train_transform,
    transform_cache_key,
)


@pytest.mark.parametrize(
    ("hw", "expected"),
    [((480, 640), (800, 1067)), ((640, 480), (1067, 800)), ((400, 1000), (533, 1333)), ((800, 1333), (800, 1333))],
)
def test_sizes_are_those_of_the_published_recipe(hw, expected):
    assert resized_hw(hw, 800, 1333) == expected


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(32, 1000))
def test_no_side_exceeds_its_limit_and_the_ratio_is_kept(height, width, short_side):
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


def test_every_short_side_is_drawn():
    transform = train_transform([32, 48, 64], 640)
    torch.manual_seed(0)
    image = tv_tensors.Image(torch.zeros((3, 64, 64), dtype=torch.uint8))
    boxes = tv_tensors.BoundingBoxes(torch.zeros((0, 4)), format="XYXY", canvas_size=(64, 64))
    assert {transform(image, boxes)[0].shape[-1] for _ in range(40)} == {32, 48, 64}


@pytest.mark.parametrize("probability", [0, 0.5, 1])
def test_a_flip_mirrors_image_and_boxes_and_is_recorded(probability):
    image = tv_tensors.Image(torch.arange(4.0).expand(3, 2, 4))
    boxes = tv_tensors.BoundingBoxes([[0.0, 0, 1, 2]], format="XYXY", canvas_size=(2, 4))
    torch.manual_seed(0)
    flips = set()
    for _ in range(30):
        mirrored, mirrored_boxes, is_flipped = RandomFlip(probability)(image, boxes, False)
        assert mirrored[0, 0].tolist() == ([3, 2, 1, 0] if is_flipped else [0, 1, 2, 3])
        assert mirrored_boxes.tolist() == ([[3, 0, 4, 2]] if is_flipped else [[0, 0, 1, 2]])
        flips.add(is_flipped)
    assert flips == ({True, False} if probability == 0.5 else {probability == 1})


def test_colors_are_normalized_by_imagenet_statistics():
    image = tv_tensors.Image(torch.full((3, 64, 64), 255, dtype=torch.uint8))
    boxes = tv_tensors.BoundingBoxes(torch.zeros((0, 4)), format="XYXY", canvas_size=(64, 64))
    normalized, _, is_flipped = eval_transform(64, 64)(image, boxes, False)
    assert is_flipped is False
    expected = (1 - torch.tensor(IMAGENET_MEAN)) / torch.tensor(IMAGENET_STD)
    torch.testing.assert_close(normalized.as_subclass(torch.Tensor).mean(dim=(1, 2)), expected)


def test_equal_settings_have_equal_cache_keys():
    assert transform_cache_key(train_transform([800], 1333)) == transform_cache_key(train_transform([800], 1333))
    assert transform_cache_key(None) == transform_cache_key(None)


def test_every_setting_that_decides_pixels_or_boxes_changes_the_cache_key():
    transforms = [
        None,
        train_transform([800], 1333),
        train_transform([640], 1333),
        train_transform([800], 1000),
        v2.Compose([ResizeKeepRatio([800], 1333)]),
        v2.Compose([RandomFlip(0.5)]),
        v2.Compose([v2.ToDtype(torch.float32, scale=True)]),
        v2.Compose([v2.ToDtype(torch.float16, scale=True)]),
        v2.Compose([v2.ToDtype(torch.float32, scale=False)]),
        v2.Compose([v2.Normalize(IMAGENET_MEAN, IMAGENET_STD)]),
        v2.Compose([v2.Normalize((0.5, 0.5, 0.5), IMAGENET_STD)]),
        v2.Compose([v2.Normalize(IMAGENET_MEAN, (0.5, 0.5, 0.5))]),
        v2.Compose([ResizeKeepRatio([800], 1333), RandomFlip(0.5)]),
        v2.Compose([RandomFlip(0.5), ResizeKeepRatio([800], 1333)]),
    ]
    assert len({transform_cache_key(transform) for transform in transforms}) == len(transforms)


def test_the_flip_probability_is_not_in_the_cache_key():
    """The recorded flip is part of the key of each image instead."""
    assert transform_cache_key(train_transform([800], 1333, 0)) == transform_cache_key(train_transform([800], 1333, 1))


def test_several_short_sides_have_no_cache_key():
    assert ResizeKeepRatio([800, 800], 1333).is_deterministic
    with pytest.raises(ValueError, match=r"'ResizeKeepRatio' is random \(.*\[640, 800\].*or set cache_teacher=False"):
        transform_cache_key(train_transform([640, 800], 1333))


class Darker(v2.Transform):
    """A transform of a user that says how to cache it."""

    is_deterministic = True

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def cache_key(self) -> str:
        return f"Darker({self.factor})"


class RandomNormalize(v2.Normalize):
    """A subclass of a known transform that may do anything."""


@pytest.mark.parametrize(
    ("transform", "name"),
    [
        (v2.ColorJitter(0.1), "ColorJitter"),
        (v2.RandomHorizontalFlip(0), "RandomHorizontalFlip"),
        (RandomNormalize(IMAGENET_MEAN, IMAGENET_STD), "RandomNormalize"),
        (v2.RandomApply([ResizeKeepRatio([800], 1333)]), "RandomApply"),
        (resized_hw, "resized_hw"),
    ],
)
def test_a_transform_that_does_not_describe_itself_is_refused_by_name(transform, name):
    for composed in (v2.Compose([RandomFlip(0.5), transform]), v2.Compose([v2.Compose([transform])]), transform):
        with pytest.raises(ValueError, match=rf"transform '{name}' does not say .* or set cache_teacher=False"):
            transform_cache_key(composed)


def test_a_users_own_transform_takes_part_by_its_cache_key():
    keys = {
        transform_cache_key(v2.Compose([Darker(factor), *train_transform([800], 1333).transforms])) for factor in (1, 2)
    }
    assert len(keys) == 2 and all("Darker(" in key and "long_side=1333" in key for key in keys)
