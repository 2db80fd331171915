"""Segmentations are accepted exactly as the COCO API reads them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_mask

from lad.data.validation.entries import segmentation_problem


@settings(max_examples=200, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 300)), elements=st.integers(0, 1)))
def test_a_mask_encoded_by_the_coco_api_fits_its_image(mask):
    encoded = coco_mask.encode(np.asfortranarray(mask))
    segmentation = {"size": encoded["size"], "counts": encoded["counts"].decode()}
    assert segmentation_problem(segmentation, mask.shape) is None
    assert "unlike its image" in segmentation_problem(segmentation, (mask.shape[0] + 1, mask.shape[1]))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=30), st.integers(-3, 3))
def test_encoded_run_lengths_are_checked_like_the_numbers(runs, more):
    """Encoded by the API, with a sum that fits the size or not."""
    size = [1, max(1, sum(runs) + more)]
    encoded = coco_mask.frPyObjects({"size": [1, sum(runs)], "counts": runs}, 1, sum(runs))["counts"].decode()
    problems = {segmentation_problem({"size": size, "counts": counts}, None) for counts in (runs, encoded)}
    assert len(problems) == 1
    assert (problems == {None}) == (sum(runs) == size[1])


@given(st.text(max_size=30))
def test_any_text_as_run_lengths_is_accepted_or_refused(text):
    problem = segmentation_problem({"size": [3, 4], "counts": text}, (3, 4))
    assert problem is None or "run lengths" in problem


@pytest.mark.parametrize(
    ("segmentation", "problem"),
    [
        (None, None),
        ([], None),
        ([[0, 0, 3, 0, 3, 2.5]], None),
        ([[0, 0, 3, 0, 3]], "three or more finite points"),
        ([0, 0, 3, 0, 3, 2], "three or more finite points"),
        ([[0, 0, 3, 0, 3, float("nan")]], "three or more finite points"),
        ([[0, 0, 3, 0, 3, 10**400]], "three or more finite points"),
        ([[0, 0, 3, 0, 3, "2"]], "three or more finite points"),
        ({"size": [3, 4], "counts": [12]}, None),
        ({"size": [3, 4], "counts": [0, 12]}, None),
        ({"size": [3, 4], "counts": [5, 6]}, "add up to 11 pixels instead of 12"),
        ({"size": [3, 4], "counts": [13, -1]}, "malformed"),
        ({"size": [3, 4], "counts": [6.0, 6.0]}, "malformed"),
        ({"size": [3, 4], "counts": None}, "malformed"),
        ({"size": [4, 3], "counts": [12]}, "of 3 x 4 pixels, unlike its image of 4 x 3"),
        ({"size": [3, 2**63], "counts": [12]}, "neither polygons nor run lengths with a size"),
        ({"counts": [12]}, "neither polygons nor run lengths with a size"),
        ("x", "neither polygons nor run lengths with a size"),
    ],
)
def test_a_segmentation_that_does_not_fit_is_described(segmentation, problem):
    message = segmentation_problem(segmentation, (3, 4))
    assert message == problem if problem is None else problem in message
