"""Maps of what each distillation method passes on agree with the outputs and losses of the networks."""

import dataclasses

import pytest
import torch

from lad.analysis.assignment import analyze
from lad.analysis.distillation import compare_networks
from lad.assigners import PAA
from lad.data.collate import collate
from lad.distillation.pkd import pkd_per_level
from lad.models.detector import build_detector
from lad.structures import Sample


def detector(seed: int, channels: int = 64):
    torch.manual_seed(seed)
    return build_detector("r18", 6, width=0.25, channels=channels)


@pytest.fixture(scope="module")
def batch():
    """Two images: the first smaller than the padded size."""
    generator = torch.Generator().manual_seed(0)
    boxes = torch.tensor([[10.0, 10, 60, 50], [30, 40, 90, 95]])
    return collate(
        [
            Sample(torch.rand(3, *hw, generator=generator), boxes, torch.tensor([0, 1]), number, hw)
            for number, hw in enumerate([(100, 150), (128, 192)])
        ]
    )


@pytest.fixture(scope="module")
def networks():
    return detector(0), detector(1)


def test_the_assignment_is_the_teachers_own(batch, networks):
    student, teacher = networks
    view = compare_networks(student, teacher, batch, PAA(topk=3))
    assert torch.equal(view.gt_index, analyze(teacher, batch, PAA(topk=3)).gt_index[0])


def test_every_map_covers_the_image_without_its_padding(batch, networks):
    view = compare_networks(*networks, batch, PAA())
    for values in (view.probability, view.features, view.cross):
        assert values.shape == (100, 150) and values.min() >= 0 and values.isfinite().all()
    assert view.probability.max() <= 1 and view.cross.max() <= 1


def test_the_probability_at_a_location_is_at_least_that_of_its_anchor(batch, networks):
    view = compare_networks(*networks, batch, PAA())
    outputs = networks[1](batch.images)
    of_anchor = outputs.cls_logits[0].sigmoid().amax(dim=-1)
    x, y = view.anchors.center.long().unbind(dim=1)
    inside = (y < 100) & (x < 150) & (view.anchors.level == 4)  # at 128 pixels' stride half a pixel changes little
    assert (view.probability[y[inside], x[inside]] >= 0.98 * of_anchor[inside]).all()
    assert view.probability.max() <= of_anchor.max() + 1e-6


def test_a_value_is_drawn_at_the_location_of_its_anchor(batch, networks, monkeypatch):
    student, teacher = networks
    outputs = teacher(batch.images, with_features=True)
    logits = torch.full_like(outputs.outputs.cls_logits, -20)
    anchors = compare_networks(student, teacher, batch, PAA()).anchors
    places = [(0, 40, 64), (2, 96, 32)]  # level, x, y
    for level, x, y in places:
        anchor = ((anchors.level == level) & (anchors.center == torch.tensor([x, y])).all(dim=1)).nonzero().item()
        changed = logits.clone()
        changed[0, anchor, 3] = 20
        with_one = outputs._replace(outputs=outputs.outputs._replace(cls_logits=changed))
        monkeypatch.setattr(teacher, "forward", lambda *_, result=with_one, **__: result)
        probability = compare_networks(student, teacher, batch, PAA()).probability
        rows, columns = (probability > 0.5 * probability.max()).nonzero().float().add(0.5).unbind(dim=1)
        assert (columns.mean().item(), rows.mean().item()) == pytest.approx((x, y), abs=0.5)


def test_a_copy_of_the_teacher_has_nothing_to_learn(batch, networks):
    view = compare_networks(networks[1], networks[1], batch, PAA())
    assert view.features.max() == 0
    assert view.cross.max() < 1e-4  # the features are rescaled to their own statistics, up to rounding
    student = compare_networks(*networks, batch, PAA())
    assert student.features.max() > 0.1 and student.cross.max() > 1e-4
    assert pkd_per_level(*(network(batch.images, with_features=True).pyramid for network in networks)).sum() > 0


def test_networks_of_different_width_have_no_common_features(batch, networks):
    view = compare_networks(detector(0, channels=96), networks[1], batch, PAA())
    assert view.features is None and view.cross is None and view.probability.shape == (100, 150)


def test_an_image_without_gts_has_no_positives(batch, networks):
    targets = batch.targets
    empty = dataclasses.replace(
        targets, boxes=targets.boxes[:0], labels=targets.labels[:0], image=targets.image[:0]
    )  # fmt: skip
    view = compare_networks(*networks, dataclasses.replace(batch, targets=empty), PAA())
    assert (view.gt_index < 0).all()
