"""Training, evaluation and the validator read the same values from the same file."""

import json
import logging
import math
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lad.data.annotations import read_annotations
from lad.data.instances import read_instances
from lad.data.validation.checker import validate
from lad.evaluation.coco_eval import EVALUATORS, coco_metrics, read_ground_truth


def content(images: int = 3) -> dict[str, Any]:
    """Return images with two gts each."""
    return {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 40, "height": 30} for i in range(1, images + 1)],
        "categories": [{"id": 2, "name": "zebra"}, {"id": 5, "name": "car"}],
        "annotations": [
            {
                "id": number,
                "image_id": 1 + number // 2,
                "category_id": (2, 5)[number % 2],
                "bbox": [4 + number, 5, 10, 12],
                "area": 120,
                "iscrowd": 0,
            }
            for number in range(2 * images)
        ],
    }


def write(folder: Path, document: Any, encoding: str = "utf-8") -> Path:
    path = folder / "instances_val.json"
    path.write_bytes(json.dumps(document).encode(encoding))
    return path


def every(document: dict[str, Any], section: str, field: str, change) -> dict[str, Any]:
    for entry in document[section]:
        entry[field] = change(entry[field])
    return document


def detections(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return detections near the gts, of falling score."""
    return [
        {"image_id": gt["image_id"], "category_id": gt["category_id"], "score": 0.9 - 0.1 * row,
         "bbox": [gt["bbox"][0] + row % 3, *gt["bbox"][1:]]}
        for row, gt in enumerate(document["annotations"])
    ]  # fmt: skip


def assert_reads_as(path: Path, plain: Path) -> None:
    """Compare records, and metrics under both evaluators, digit by digit."""
    records, expected = read_annotations(path).records, read_annotations(plain).records
    assert all(
        (one.boxes == other.boxes).all() and (one.labels == other.labels).all()
        for one, other in zip(records, expected, strict=True)
    )
    results = detections(content())
    for evaluator in EVALUATORS:
        metrics, reference = (coco_metrics(file, results, None, evaluator) for file in (path, plain))
        assert {name: repr(value) for name, value in metrics.items()} == {
            name: repr(value) for name, value in reference.items()
        }


CHANGES = {
    "ids of images as text": ("images", "id", str),
    "sizes as text": ("images", "width", str),
    "sizes with decimals": ("images", "height", float),
    "ids of categories as text": ("categories", "id", str),
    "image_id as text": ("annotations", "image_id", str),
    "category_id as text": ("annotations", "category_id", str),
    "category_id with decimals": ("annotations", "category_id", float),
    "bbox as text": ("annotations", "bbox", lambda box: [str(side) for side in box]),
    "iscrowd as text": ("annotations", "iscrowd", str),
    "iscrowd false": ("annotations", "iscrowd", bool),
    "iscrowd null": ("annotations", "iscrowd", lambda _: None),
    "area as text": ("annotations", "area", str),
    "area null": ("annotations", "area", lambda _: None),
    "area negative": ("annotations", "area", lambda area: -area),
    "area NaN": ("annotations", "area", lambda _: math.nan),
    "area in words": ("annotations", "area", lambda _: "large"),
}
SILENT = ("iscrowd false", "iscrowd null")


@pytest.mark.parametrize("name", CHANGES)
def test_a_value_in_another_form_gives_the_same_records_and_metrics_and_one_line(tmp_path, name, caplog):
    (tmp_path / "plain").mkdir()
    plain, path = write(tmp_path / "plain", content()), write(tmp_path, every(content(), *CHANGES[name]))
    assert_reads_as(path, plain)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        read_annotations(path)
    assert len(caplog.messages) == (name not in SILENT)
    assert all(str(path) in line and "(first: " in line for line in caplog.messages)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_a_json_in_another_unicode_encoding_is_read(tmp_path, encoding):
    (tmp_path / "plain").mkdir()
    assert_reads_as(write(tmp_path, content(), encoding), write(tmp_path / "plain", content()))


def test_ids_beyond_the_whole_numbers_of_floats_give_the_same_metrics(tmp_path):
    """As ids made of a date and a time; faster_coco_eval holds ids as floats."""
    plain, results = content(), detections(content())
    (tmp_path / "plain").mkdir()
    expected = coco_metrics(write(tmp_path / "plain", plain), results)
    shift = 20240105123045000
    shifted = every(every(content(), "images", "id", shift.__add__), "annotations", "image_id", shift.__add__)
    path = write(tmp_path, shifted)
    results = [{**result, "image_id": result["image_id"] + shift} for result in results]
    for evaluator in EVALUATORS:
        assert coco_metrics(path, results, None, evaluator) == pytest.approx(expected, abs=1e-15, nan_ok=True)
        some = [shift + 1, shift + 3]
        assert coco_metrics(path, [r for r in results if r["image_id"] in some], some, evaluator)["AP"] > 0


def test_boxes_without_area_are_not_trained_on_and_count_as_missed(tmp_path, caplog):
    document = content()
    document["annotations"][0]["bbox"][2] = 0
    path = write(tmp_path, document)
    with caplog.at_level(logging.WARNING):
        assert len(read_annotations(path).records.labels) == 5
    (line,) = caplog.messages
    assert "1 boxes have no area and are not trained on; evaluation counts them as missed" in line
    assert coco_metrics(path, detections(content()))["AP"] < 1
    assert len(read_ground_truth(path).dataset["annotations"]) == 6


def test_crowds_are_counted_in_one_line(tmp_path, caplog):
    document = content()
    for annotation in document["annotations"][::2]:
        annotation["iscrowd"] = 1
    with caplog.at_level(logging.WARNING):
        read_annotations(write(tmp_path, document))
    (line,) = caplog.messages
    assert "3 of 6 annotations are crowds and not trained on" in line


def test_boxes_that_seem_to_be_corners_are_named_so(tmp_path, caplog):
    path = write(tmp_path, every(content(), "annotations", "bbox", lambda b: [b[0] + 16, b[1] + 3, 38, 28]))
    with caplog.at_level(logging.WARNING):
        read_annotations(path)
    assert "they seem to be corners [x0, y0, x1, y1], expected [x, y, width, height]" in caplog.messages[0]


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 50), st.floats(), st.sampled_from([2**63, 10**400, 1e308, 5e-324]),
    st.sampled_from(["", "0", "1", "2", "5", "3.0", "no", "nan", "1e999", "\ud800"]),
    st.lists(st.one_of(st.integers(-50, 50), st.floats(), st.sampled_from(["3", "x", None])), max_size=5),
)  # fmt: skip
FIELDS = [
    ("images", "id"), ("images", "width"), ("images", "height"), ("categories", "id"), ("categories", "name"),
    ("annotations", "image_id"), ("annotations", "category_id"), ("annotations", "bbox"), ("annotations", "iscrowd"),
    ("annotations", "area"), ("annotations", "id"),
]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(FIELDS), st.integers(0, 5), VALUES), min_size=1, max_size=4))
def test_training_evaluation_and_validator_agree_on_any_damage(damages):
    document = content()
    for (section, field), row, value in damages:
        document[section][row % len(document[section])][field] = value
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), document)
        errors = [str(finding) for finding in validate(Path(folder), path, decode=False) if finding.severity == "error"]
        errors = [line for line in errors if "missing-file" not in line]  # there are no image files
        try:
            records = read_annotations(path).records
        except ValueError as error:
            assert errors and str(path) in str(error)
            return
        assert not errors, errors
        gts = [gt for gt in read_instances(path).annotations if not gt.iscrowd]
        for evaluator in EVALUATORS:
            metrics = coco_metrics(path, [], None, evaluator)
            assert math.isnan(metrics["AP"]) == (not gts), "AP is NaN only where there are no gts"
        assert len(records.labels) <= len(gts)
