"""Where the maximal number of detections cuts: images with more objects, images with as many detections."""

import json

import pytest

from lad.data.annotations import read_annotations
from lad.evaluation.detection_limit import count_full_images, describe_crowded_images, describe_full_images


@pytest.fixture
def annotations(tmp_path):
    """Three images with 0, 3 and 5 objects."""
    path = tmp_path / "instances_val.json"
    images = [{"id": number, "file_name": f"{number}.png", "width": 9, "height": 9} for number in (1, 2, 3)]
    of_images = [(2, x) for x in range(3)] + [(3, x) for x in range(5)]
    objects = [
        {"id": number, "image_id": image, "category_id": 1, "bbox": [x, 0, 2, 2], "area": 4, "iscrowd": 0}
        for number, (image, x) in enumerate(of_images, 1)
    ]
    content = {"images": images, "annotations": objects, "categories": [{"id": 1, "name": "ant"}]}
    path.write_text(json.dumps(content))
    return read_annotations(path)


def test_images_with_more_objects_than_detections_are_counted(annotations):
    assert describe_crowded_images(annotations, 5) == ""
    assert describe_crowded_images(annotations, 4).startswith(
        "max_detections 4: 1 of 3 images in instances_val.json have more objects, up to 5,"
    )
    assert describe_crowded_images(annotations, 2).startswith("max_detections 2: 2 of 3 images")


def test_images_with_as_many_detections_as_allowed_are_counted():
    results = [{"image_id": image} for image in (1, 1, 1, 2, 2, 3)]
    assert [count_full_images(results, limit) for limit in (1, 2, 3, 4)] == [3, 2, 1, 0]
    assert count_full_images([], 1) == 0


def test_the_limit_is_mentioned_only_for_crowded_images(annotations):
    """A new network has many detections of low scores in every image: that is not worth a line."""
    assert describe_full_images(2, annotations, 10) == "2 of 3 images have 10 detections, the limit max_detections"
    assert describe_full_images(0, annotations, 10) == describe_full_images(3, annotations, 11) == ""
