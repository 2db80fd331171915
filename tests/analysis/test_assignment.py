"""The analysis of an assignment agrees with the assignment that training uses."""

import dataclasses

import pytest
import torch

from lad.analysis.assignment import (  # fmt: skip
    agreement,
    agreement_summary,
    analyze,
    first_images,
    get_detections,
    gt_with_most_samples,
    load_image_batch,
    positives_per_level,
)
from lad.assigners import PAA
from lad.assigners.base import AssignmentContext
from lad.assigners.candidates import match_candidates
from lad.data.annotations import read_annotations
from lad.data.coco import CocoDataset, find_split
from lad.data.synthetic.folders import write_shapes
from lad.data.transforms import eval_transform
from lad.distillation.methods import baseline_loss
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


def test_the_analyzed_assignment_is_the_one_that_training_uses(val_set):
    batch = first_images(val_set, 3)
    analysis = analyze(build_detector("r18", 6, width=0.25, channels=64), batch)
    context = AssignmentContext(match_candidates(analysis.anchors, batch.targets), analysis.anchors, batch.targets)
    assert torch.equal(analysis.gt_index, baseline_loss(analysis.outputs, None, context).gt_index)
    per_gt = torch.bincount(analysis.gt_index[analysis.gt_index >= 0], minlength=len(analysis.count))
    assert torch.equal(analysis.positive.sum(dim=1), per_gt)
    assert ((analysis.cost[:, 1:] >= analysis.cost[:, :-1]) | analysis.cost[:, 1:].isinf()).all()


def test_agreement_counts_positives_of_the_same_gt():
    first = torch.tensor([[0, 0, 1, -1, -2]])
    second = torch.tensor([[0, 1, 1, 1, -2]])
    assert agreement(first, first) == 1
    assert agreement(first, second) == pytest.approx(2 / 4)
    assert agreement(torch.tensor([[-1]]), torch.tensor([[-1]])) == 0


def test_the_agreement_summary_has_a_line_for_each_network_but_the_reference(analyses):
    share = agreement(analyses["student"].gt_index, analyses["teacher"].gt_index)
    assert agreement_summary("teacher", analyses) == f"student: {share:.0%} agreement with the teacher"
    assert agreement_summary("missing", analyses) == ""


def test_positives_per_level_sum_to_the_mean_number_of_positives(analyses):
    for name, values in positives_per_level(analyses).items():
        positives = (analyses[name].gt_index >= 0).sum().item()
        assert sum(values) == pytest.approx(positives / len(analyses[name].count))


def test_the_gt_with_most_samples_has_the_highest_count(analyses):
    counts = analyses["teacher"].count
    assert counts[gt_with_most_samples(analyses)] == counts.max()


def test_first_images_skips_images_without_gts(val_set):
    assert len(first_images(val_set, 99).images) == len(val_set)
    records = tuple(dataclasses.replace(r, boxes=r.boxes[:0], labels=r.labels[:0]) for r in val_set.annotations.records)
    one_gt = (*records[:5], *val_set.annotations.records[5:])
    some = CocoDataset(val_set.images, dataclasses.replace(val_set.annotations, records=one_gt), val_set.transform)
    assert first_images(some, 2).image_id.tolist() == [6, 7]
    none = CocoDataset(val_set.images, dataclasses.replace(val_set.annotations, records=records), val_set.transform)
    with pytest.raises(ValueError, match="no image has a ground-truth box"):
        first_images(none, 2)


def test_an_image_is_loaded_with_its_anchors(val_set):
    batch, anchors = load_image_batch(val_set, 1)
    assert torch.equal(batch.images[0], val_set[1].image) and len(anchors.boxes) == 341
    with pytest.raises(ValueError, match=r"image 8 is out of range; give 0 … 7"):
        load_image_batch(val_set, 8)


def test_detections_stay_inside_their_image(val_set, analyses):
    batch = first_images(val_set, 3)
    for detections in get_detections(analyses["student"], batch):
        assert (detections.boxes >= 0).all() and (detections.boxes <= 128 + 1e-4).all()  # score voting rounds


@pytest.mark.parametrize("options", [{"separation": "a"}, {"separation": "b"}, {"normalize_cost": True}])
def test_positive_and_ignored_samples_are_those_of_the_assignment(val_set, options):
    batch = first_images(val_set, 3)
    torch.manual_seed(0)
    analysis = analyze(build_detector("r18", 6, width=0.25, channels=64), batch, PAA(**options))
    for gt, image in enumerate(batch.targets.image.tolist()):
        valid = slice(0, int(analysis.count[gt]))
        assigned = analysis.gt_index[image, analysis.anchor[gt, valid]]
        assert torch.equal(assigned == gt, analysis.positive[gt, valid])
        assert torch.equal(assigned == -2, analysis.ignored[gt, valid])
    assert analysis.ignored.any() == (options.get("separation") == "b")


def test_an_assigners_options_decide_the_assignment_and_the_pooled_samples(val_set):
    batch = first_images(val_set, 3)
    torch.manual_seed(0)
    detector = build_detector("r18", 6, width=0.25, channels=64)
    plain, few = analyze(detector, batch), analyze(detector, batch, PAA(topk=3))
    assert plain.cost.shape[1] == 45 and few.cost.shape[1] == 15
    assert (few.gt_index >= 0).sum() == few.positive.sum() < (plain.gt_index >= 0).sum()
