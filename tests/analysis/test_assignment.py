"""What is shown of an assignment is the assignment."""

import dataclasses

import pytest
import torch

from lad.analysis.assignment import (  # fmt: skip
    agreement,
    agreement_with,
    analyze,
    clearest_gt,
    detections_of,
    first_images,
    positives_per_level,
)
from lad.assigners.candidates import match_candidates
from lad.data.annotations import read_annotations
from lad.data.coco import CocoDataset, find_split
from lad.data.synthetic.shapes import write_shapes
from lad.data.transforms import eval_transform
from lad.distillation.methods import METHODS
from lad.models.detector import build_detector


@pytest.fixture(scope="module")
def val_set(tmp_path_factory) -> CocoDataset:
    folder = tmp_path_factory.mktemp("data") / "shapes"
    write_shapes(folder, "toy", {"train": 1, "val": 8})
    images, path = find_split(folder, "val")
    return CocoDataset(images, read_annotations(path), eval_transform(128, 128))


@pytest.fixture(scope="module")
def analyses(val_set):
    batch = first_images(val_set, 3)
    torch.manual_seed(0)
    return {name: analyze(build_detector("r18", 6, width=0.25, channels=64), batch) for name in ("teacher", "student")}


def test_an_opinion_is_what_the_method_would_learn_from(val_set):
    batch = first_images(val_set, 3)
    one = analyze(build_detector("r18", 6, width=0.25, channels=64), batch)
    candidates = match_candidates(one.anchors, batch.targets)
    learned = METHODS["baseline"](one.outputs, None, candidates, one.anchors, batch.targets)
    assert torch.equal(one.gt_index, learned.gt_index)
    per_gt = torch.bincount(one.gt_index[one.gt_index >= 0], minlength=len(one.count))
    assert torch.equal(one.positive.sum(dim=1), per_gt)
    assert ((one.cost[:, 1:] >= one.cost[:, :-1]) | one.cost[:, 1:].isinf()).all()


def test_agreement_counts_positives_of_the_same_object():
    first = torch.tensor([[0, 0, 1, -1, -2]])
    second = torch.tensor([[0, 1, 1, 1, -2]])
    assert agreement(first, first) == 1
    assert agreement(first, second) == pytest.approx(2 / 4)
    assert agreement(torch.tensor([[-1]]), torch.tensor([[-1]])) == 0


def test_agreement_is_told_for_all_but_the_reference(analyses):
    assert agreement_with("teacher", analyses).startswith("student: ")
    assert agreement_with("nobody", analyses) == ""


def test_positives_per_level_sum_to_the_mean_number_of_positives(analyses):
    for name, values in positives_per_level(analyses).items():
        positives = (analyses[name].gt_index >= 0).sum().item()
        assert sum(values) == pytest.approx(positives / len(analyses[name].count))


def test_the_clearest_gt_has_the_most_samples(analyses):
    counts = analyses["teacher"].count
    assert counts[clearest_gt(analyses)] == counts.max()


def test_first_images_are_those_with_gts(val_set):
    assert len(first_images(val_set, 99).images) == len(val_set)
    records = tuple(dataclasses.replace(r, boxes=r.boxes[:0], labels=r.labels[:0]) for r in val_set.annotations.records)
    one_gt = (*records[:5], *val_set.annotations.records[5:])
    some = CocoDataset(val_set.images, dataclasses.replace(val_set.annotations, records=one_gt), val_set.transform)
    assert first_images(some, 2).image_id.tolist() == [6, 7]
    none = CocoDataset(val_set.images, dataclasses.replace(val_set.annotations, records=records), val_set.transform)
    with pytest.raises(ValueError, match="no image with a gt to show"):
        first_images(none, 2)


def test_detections_stay_inside_their_image(val_set, analyses):
    batch = first_images(val_set, 3)
    for found in detections_of(analyses["student"], batch):
        assert (found.boxes >= 0).all() and (found.boxes <= 128 + 1e-4).all()  # a voted mean is rounded
