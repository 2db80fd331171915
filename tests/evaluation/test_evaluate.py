"""Evaluation of a network: perfect predictions have AP 1, whatever the size and, if asked, the classes."""

import pytest
import torch
from lightning_fabric import Fabric

from lad.data.coco import CocoDataset
from lad.data.collate import collate
from lad.data.transforms import eval_transform
from lad.evaluation.coco_eval import EVALUATORS
from lad.evaluation.evaluate import coco_results, evaluate
from lad.geometry import encode_deltas, make_anchors
from lad.structures import Detections, HeadOutputs


class Oracle(torch.nn.Module):
    """A "network" that predicts the gts, the k-th gt of an image at anchor k."""

    def __init__(self, targets) -> None:
        super().__init__()
        self.targets = targets

    def forward(self, images: torch.Tensor) -> HeadOutputs:
        anchors = make_anchors(tuple(images.shape[-2:])).boxes
        logits = torch.full((len(images), len(anchors), 6), -20.0)
        deltas = torch.zeros(len(images), len(anchors), 4)
        for row in range(len(images)):
            boxes, labels = (field[self.targets.image == row] for field in (self.targets.boxes, self.targets.labels))
            for anchor, (box, label) in enumerate(zip(boxes, labels, strict=True)):
                logits[row, anchor, label] = 5.0
                deltas[row, anchor] = encode_deltas(anchors[anchor], box)
        return HeadOutputs(logits, deltas, torch.full((len(images), len(anchors)), 10.0))


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_predicting_the_gts_gives_ap_1_with_and_without_resizing(val_set, evaluator):
    doubled = CocoDataset(val_set.images, val_set.annotations, eval_transform(256, 256))
    for dataset in (val_set, doubled):
        batch = collate([dataset[index] for index in range(6)])
        fabric = Fabric(accelerator="cpu", devices=1)
        metrics = evaluate(Oracle(batch.targets), [batch], dataset.annotations, fabric, evaluator)
        assert metrics["AP"] == pytest.approx(1) and metrics["AR100"] == pytest.approx(1)


def test_detections_are_converted_to_cocos_results_format():
    detections = Detections(torch.tensor([[1.0, 2, 11, 22]]), torch.tensor([0.5]), torch.tensor([1]))
    assert coco_results(42, detections, category_ids=(3, 90)) == [
        {"image_id": 42, "category_id": 90, "bbox": [1.0, 2.0, 10.0, 20.0], "score": 0.5}
    ]


class Misnaming(Oracle):
    """The oracle with other classes: nine of them, none of which is right."""

    def forward(self, images: torch.Tensor) -> HeadOutputs:
        outputs = super().forward(images)
        wrong = torch.full((*outputs.cls_logits.shape[:2], 9), -20.0)
        wrong[..., 7] = outputs.cls_logits.amax(dim=-1)
        wrong[..., 8] = wrong[..., 7] - 1  # a second class for the same object, which must not count as a second box
        return outputs._replace(cls_logits=wrong)


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_without_regard_to_classes_a_detector_of_other_classes_is_as_good_as_one_of_the_right_ones(val_set, evaluator):
    batch = collate([val_set[index] for index in range(6)])
    fabric = Fabric(accelerator="cpu", devices=1)
    arguments = ([batch], val_set.annotations, fabric, evaluator)
    metrics = evaluate(Misnaming(batch.targets), *arguments, class_agnostic=True)
    assert metrics["AP"] > 0.9  # not 1: overlapping objects of different classes vote for each other's boxes
    assert evaluate(Oracle(batch.targets), *arguments, class_agnostic=True) == pytest.approx(metrics, nan_ok=True)
