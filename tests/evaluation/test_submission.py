"""Submissions to COCO's evaluation server: content, name, and what is rejected."""

import json
import zipfile
from pathlib import Path

import pytest

from lad.data.annotations import read_annotations
from lad.evaluation.submission import write_submission

VALID = {"image_id": 5, "category_id": 90, "bbox": [1.234567, 2.0, 3.0, 4.0], "score": 0.123456789}


@pytest.fixture
def test_dev(tmp_path) -> Path:
    """A list of test images as COCO publishes it, without annotations."""
    content = {
        "info": {},
        "images": [{"id": i, "file_name": f"{i:012d}.jpg", "width": 640, "height": 480} for i in (5, 6)],
        "licenses": [],
        "categories": [{"id": 1, "name": "person"}, {"id": 90, "name": "toothbrush"}],
    }
    path = tmp_path / "annotations" / "image_info_test-dev2017.json"
    path.parent.mkdir()
    path.write_text(json.dumps(content))
    return path


def test_zip_contains_one_json_with_the_name_that_coco_requires(test_dev, tmp_path):
    annotations = read_annotations(test_dev)
    assert not annotations.is_annotated
    path = write_submission(tmp_path / "out", [VALID, {**VALID, "image_id": 6}], annotations, "paa-r50")
    assert path.name == "detections_test-dev2017_paa-r50_results.zip"
    with zipfile.ZipFile(path) as file:
        assert file.namelist() == ["detections_test-dev2017_paa-r50_results.json"]
        results = json.loads(file.read(file.namelist()[0]))
    assert results[0] == {"image_id": 5, "category_id": 90, "bbox": [1.23, 2.0, 3.0, 4.0], "score": 0.12346}
    assert len(results) == 2 and [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 7}, "result 1: image_id 7 is not in "),
        ({"bbox": [0, 0, 5]}, r"result 1: bbox \[0.0, 0.0, 5.0\] must be"),
        ({"bbox": [0, 0, 5, 0]}, r"result 1: bbox \[0.0, 0.0, 5.0, 0.0\] must be .* with a positive area"),
        ({"image_id": True}, "result 1: image_id True is not in "),
        ({"image_id": [5]}, r"result 1: image_id \[5\] is not in "),
        ({"bbox": [1, 1, 0.004, 5]}, r"result 1: bbox \[1.0, 1.0, 0.0, 5.0\] must be .* with a positive area"),
        ({"image_id": "5"}, "result 1: image_id '5' is not in "),
        ({"category_id": 2}, "result 1: category_id 2 is not in "),
        ({"bbox": [0, 0, 5, float("nan")]}, "result 1: bbox .* must be"),
        ({"score": 1.5}, "result 1: score 1.5 must be a number from 0 to 1"),
        ({"score": None}, "result 1: score None must be"),
    ],
)
def test_results_that_the_server_would_reject_raise_and_nothing_is_written(test_dev, tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        write_submission(tmp_path / "out", [VALID, {**VALID, **change}], read_annotations(test_dev))
    assert not (tmp_path / "out").exists()


def test_more_results_per_image_than_the_server_evaluates_are_rejected(test_dev, tmp_path):
    with pytest.raises(ValueError, match="image 5 has 101 results; the server evaluates only the best 100"):
        write_submission(tmp_path, [VALID] * 101, read_annotations(test_dev))


def test_name_that_cannot_be_part_of_a_file_name_is_rejected(test_dev, tmp_path):
    with pytest.raises(ValueError, match=r"name='\.\./x' becomes part of the file name"):
        write_submission(tmp_path, [VALID], read_annotations(test_dev), "../x")
