"""The twelve numbers, judged by pycocotools."""

import json
import math

import pytest
import torch
from lightning.fabric import Fabric

from lad.data import CocoDataset, collate, eval_transform, find_split, read_annotations
from lad.data.shapes import write_shapes
from lad.evaluation import METRICS, coco_metrics, coco_results, evaluate
from lad.geometry import encode_deltas, make_anchors
from lad.models import HeadOutputs
from lad.postprocess import Detections

PUBLISHED = {
    "AP": 0.504581, "AP50": 0.696973, "AP75": 0.572982, "APs": 0.585626, "APm": 0.519400, "APl": 0.501398,
    "AR1": 0.386813, "AR10": 0.593680, "AR100": 0.595353, "ARs": 0.639811, "ARm": 0.566421, "ARl": 0.564291,
}  # fmt: skip


def test_the_published_numbers_of_cocos_own_example(real_data):
    folder = real_data("coco_eval_fixture")
    results = json.loads((folder / "instances_val2014_fakebbox100_results.json").read_text())
    for truth in ("instances_val2014_100.json", "instances_val2014_100_bboxonly.json"):
        metrics = coco_metrics(folder / truth, results)
        assert tuple(metrics) == METRICS
        for name, value in PUBLISHED.items():
            assert metrics[name] == pytest.approx(value, abs=1e-6), name


@pytest.fixture(scope="module")
def val_set(tmp_path_factory) -> CocoDataset:
    folder = tmp_path_factory.mktemp("data") / "shapes"
    write_shapes(folder, "toy", {"train": 1, "val": 6})
    images, path = find_split(folder, "val")
    return CocoDataset(images, read_annotations(path), eval_transform(128, 128))


class Oracle(torch.nn.Module):
    """A "network" that predicts the gts: each on the anchor that has its number."""

    def __init__(self, targets) -> None:
        super().__init__()
        self.targets = targets

    def forward(self, images: torch.Tensor) -> HeadOutputs:
        anchors = make_anchors(tuple(images.shape[-2:])).boxes
        logits = torch.full((len(images), len(anchors), 6), -20.0)
        deltas = torch.zeros(len(images), len(anchors), 4)
        for row in range(len(images)):
            mine = self.targets.image == row
            for slot, (box, label) in enumerate(zip(self.targets.boxes[mine], self.targets.labels[mine], strict=True)):
                logits[row, slot, label] = 5.0
                deltas[row, slot] = encode_deltas(anchors[slot], box)
        return HeadOutputs(logits, deltas, torch.full((len(images), len(anchors)), 10.0))


def test_a_detector_that_knows_the_answers_has_ap_1_also_after_resizing(val_set):
    doubled = CocoDataset(val_set.images, val_set.annotations, eval_transform(256, 256))
    for dataset in (val_set, doubled):
        batch = collate([dataset[index] for index in range(6)])
        metrics = evaluate(Oracle(batch.targets), [batch], dataset.annotations, Fabric(accelerator="cpu", devices=1))
        assert metrics["AP"] == pytest.approx(1) and metrics["AR100"] == pytest.approx(1)


def test_without_detections_ap_is_zero_and_sizes_that_do_not_occur_are_nan(val_set):
    metrics = coco_metrics(val_set.annotations.path, [])
    assert metrics["AP"] == 0 and metrics["AR100"] == 0
    only_first = coco_metrics(val_set.annotations.path, [], [val_set.annotations.records[0].image_id])
    assert any(math.isnan(only_first[name]) for name in ("APs", "APm", "APl"))


def test_results_are_in_cocos_format():
    found = Detections(torch.tensor([[1.0, 2, 11, 22]]), torch.tensor([0.5]), torch.tensor([1]))
    assert coco_results(42, found, category_ids=(3, 90)) == [
        {"image_id": 42, "category_id": 90, "bbox": [1.0, 2.0, 10.0, 20.0], "score": 0.5}
    ]


@pytest.mark.parametrize("first_id", [0, 1, 17])
def test_annotation_ids_do_not_matter_and_fields_may_be_missing(tmp_path, first_id):
    """pycocotools takes a match to id 0 for none, and fails without iscrowd, area and id."""
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 99, "height": 99}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [
            {"image_id": 1, "category_id": 1, "bbox": [x, 10, 20, 20], "id": first_id + i}
            for i, x in enumerate((5, 60))
        ],
    }
    results = [{"image_id": 1, "category_id": 1, "bbox": gt["bbox"], "score": 0.9} for gt in content["annotations"]]
    path = tmp_path / "truth.json"
    for leave_out in ((), ("id",)):
        for gt in content["annotations"]:
            for field in leave_out:
                del gt[field]
        path.write_text(json.dumps(content))
        assert coco_metrics(path, results)["AP"] == pytest.approx(1)


def test_real_coco_images_are_judged(real_data):
    """The gts of coco_ccby320 as detections: AP 1, with crowds, gaps in the category ids and images without boxes."""
    _, path = find_split(real_data("coco_ccby320"), "val")
    content = json.loads(path.read_text())
    results = [
        {"image_id": one["image_id"], "category_id": one["category_id"], "bbox": one["bbox"], "score": 0.9}
        for one in content["annotations"]
        if not one["iscrowd"]
    ]
    assert coco_metrics(path, results)["AP"] == pytest.approx(1, abs=1e-3)
