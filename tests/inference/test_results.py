"""predictions.json and predictions.csv: COCO's results format, official category ids, valid after an interruption."""

import csv
import json

import pytest
import torch

from lad.inference.results import category_ids_of, class_names_of, open_results
from lad.models.detector import Configuration
from lad.structures import Detections

COCO_80 = [
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
]  # fmt: skip
UNUSED_IDS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}  # of COCO's 90
DETECTIONS = Detections(
    torch.tensor([[10.0, 20.0, 40.5, 60.0], [0.0, 0.0, 5.0, 5.0]]), torch.tensor([0.9, 0.1234567]), torch.tensor([1, 0])
)
EMPTY = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))


def test_cocos_classes_have_their_official_ids_in_any_order():
    expected = [number for number in range(1, 91) if number not in UNUSED_IDS]
    assert category_ids_of(COCO_80) == expected
    assert category_ids_of(COCO_80[::-1]) == expected[::-1]


def test_other_classes_are_numbered_from_one():
    assert category_ids_of(["person", "dog"]) == [1, 2]
    assert category_ids_of([*COCO_80[:-1], "other"]) == list(range(1, 81))


def test_classes_without_names_are_named_by_their_numbers():
    assert class_names_of(Configuration("r18", 3)) == ("0", "1", "2")
    assert class_names_of(Configuration("r18", 2, class_names=("a", "b"))) == ("a", "b")


def test_both_files_have_each_detection(tmp_path):
    with open_results(tmp_path, ["cat", 'a "dog", large']) as add:
        add("x/a.jpg", 7, None, DETECTIONS)
        add("b.gif", 8, 3, EMPTY)
        add("b.gif", 8, 4, DETECTIONS)
    results = json.loads((tmp_path / "predictions.json").read_text())
    assert results[0] == {
        "image_id": 7, "category_id": 2, "bbox": [10, 20, 30.5, 40], "score": 0.9, "file_name": "x/a.jpg",
    }  # fmt: skip
    assert results[3] == {
        "image_id": 8, "category_id": 1, "bbox": [0, 0, 5, 5], "score": 0.12346, "file_name": "b.gif", "frame": 4,
    }  # fmt: skip
    rows = list(csv.DictReader((tmp_path / "predictions.csv").open(encoding="utf-8")))
    assert len(rows) == len(results) == 4
    assert rows[0] == {
        "file": "x/a.jpg", "frame": "", "class": 'a "dog", large', "score": "0.9", "x": "10.0", "y": "20.0",
        "width": "30.5", "height": "40.0",
    }  # fmt: skip
    assert (rows[3]["frame"], rows[3]["class"]) == ("4", "cat")


def test_no_detections_are_an_empty_list_and_a_header(tmp_path):
    with open_results(tmp_path, ["cat"]) as add:
        add("a.jpg", 1, None, EMPTY)
    assert json.loads((tmp_path / "predictions.json").read_text()) == []
    assert (tmp_path / "predictions.csv").read_text() == "file,frame,class,score,x,y,width,height\n"


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_after_an_error_both_files_are_valid_and_have_what_was_added(tmp_path, error):
    with pytest.raises(error), open_results(tmp_path, ["cat", "dog"]) as add:
        add("a.jpg", 1, None, DETECTIONS)
        raise error
    assert len(json.loads((tmp_path / "predictions.json").read_text())) == 2
    assert len((tmp_path / "predictions.csv").read_text().splitlines()) == 3
    assert {path.name for path in tmp_path.iterdir()} == {"predictions.json", "predictions.csv"}


def test_a_file_name_that_is_no_unicode_can_be_written(tmp_path):
    with open_results(tmp_path, ["cat", "dog"]) as add:
        add("a\udcff.jpg", 1, None, DETECTIONS)
    assert json.loads((tmp_path / "predictions.json").read_text())[0]["file_name"] == "a\udcff.jpg"
    assert "a\\udcff.jpg" in (tmp_path / "predictions.csv").read_text(encoding="utf-8")
