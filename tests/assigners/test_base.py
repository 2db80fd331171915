"""The assigners beside PAA against plain loops over images, gts and anchors."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lad.assigners.base import ASSIGNERS, own_assignment
from lad.config.experiment import make_parameters
from lad.distillation.methods import METHODS, find_method
from lad.geometry import STRIDES, box_iou, decode_deltas, inside_images, make_anchors
from lad.structures import BACKGROUND, IGNORED, HeadOutputs, Targets

PADDED_HW = (160, 192)
CLASSES = 3


def scene(seed: int) -> tuple[Targets, HeadOutputs]:
    """Three images of different sizes with none to six gts each, of all sizes; boxes that roughly fit."""
    generator = torch.Generator().manual_seed(seed)
    image_hw = torch.tensor([[160, 192], [100, 120], [64, 192]])
    counts = torch.randint(0, 7, (3,), generator=generator)
    image = torch.repeat_interleave(torch.arange(3), counts)
    wh = image_hw[image].flip(-1).float()
    size = 6 + torch.rand(len(image), 2, generator=generator) ** 2 * (0.8 * wh - 6)
    corner = torch.rand(len(image), 2, generator=generator) * (wh - size)
    labels = torch.randint(0, CLASSES, (len(image),), generator=generator)
    targets = Targets(torch.cat([corner, corner + size], dim=1), labels, image, image_hw)
    anchors = make_anchors(PADDED_HW)
    logits = torch.randn(3, len(anchors.boxes), CLASSES, generator=generator)
    deltas = torch.randn(3, len(anchors.boxes), 4, generator=generator) * torch.tensor([1.0, 1.0, 4.0, 4.0])
    return targets, HeadOutputs(logits, deltas, torch.randn(3, len(anchors.boxes), generator=generator))


def assignment(name: str, targets: Targets, outputs: HeadOutputs) -> np.ndarray:
    return own_assignment(ASSIGNERS[name], outputs, make_anchors(PADDED_HW), targets).numpy()


def by_loops(name: str, targets: Targets, outputs: HeadOutputs) -> np.ndarray:
    anchors = make_anchors(PADDED_HW)
    result = np.where(inside_images(anchors, targets.image_hw).numpy(), BACKGROUND, IGNORED)
    for image in range(3):
        gts = [row for row in range(len(targets.boxes)) if targets.image[row] == image]
        usable = [a for a in range(len(anchors.boxes)) if result[image, a] == BACKGROUND]
        boxes = decode_deltas(anchors.boxes, outputs.box_deltas[image])
        probability = outputs.cls_logits[image].sigmoid()
        score = (probability * outputs.iou_logits[image].sigmoid()[:, None]).sqrt()
        best: dict[int, tuple[float, int]] = {}  # of each anchor: priority and gt

        def offer(anchor: int, gt: int, priority: float, best: dict = best) -> None:
            if anchor not in best or priority > best[anchor][0]:
                best[anchor] = (priority, gt)

        def center(anchor: int) -> list[float]:
            return anchors.center[anchor].tolist()

        for gt in gts:
            x0, y0, x1, y1 = targets.boxes[gt].tolist()
            overlap = box_iou(boxes, targets.boxes[gt]).tolist()
            within = [a for a in usable if x0 < center(a)[0] < x1 and y0 < center(a)[1] < y1]
            near = [
                a
                for a in usable
                if abs(center(a)[0] - (x0 + x1) / 2) < 2.5 * anchors.stride[a]
                and abs(center(a)[1] - (y0 + y1) / 2) < 2.5 * anchors.stride[a]
            ]
            if name == "tal":
                own = probability[:, targets.labels[gt]].tolist()
                ranked = sorted(within, key=lambda a: -own[a] * overlap[a] ** 6)
                for a in ranked[:13]:
                    if overlap[a] > 0:
                        offer(a, gt, overlap[a])
            elif name == "simota":
                cost = {}
                for a in sorted({*within, *near}):
                    wanted = [float(c == targets.labels[gt]) for c in range(CLASSES)]
                    entropy = -sum(math.log(p if w else 1 - p) for p, w in zip(score[a].tolist(), wanted, strict=True))
                    cost[a] = entropy - 3 * math.log(overlap[a] + 1e-8) + 1e5 * (a not in within or a not in near)
                if cost:
                    number = max(1, int(sum(sorted((overlap[a] for a in cost), reverse=True)[:10])))
                    for a in sorted(cost, key=cost.__getitem__)[:number]:
                        offer(a, gt, -cost[a])
            elif name == "atss":
                closest = []
                for level in range(len(STRIDES)):
                    on_level = [a for a in usable if anchors.level[a] == level]
                    middle = [(x0 + x1) / 2, (y0 + y1) / 2]
                    closest += sorted(on_level, key=lambda a: math.dist(center(a), middle))[:9]
                fixed = box_iou(anchors.boxes, targets.boxes[gt]).numpy()
                threshold = fixed[closest].mean() + fixed[closest].std(ddof=1)
                for a in closest:
                    gap = min(center(a)[0] - x0, center(a)[1] - y0, x1 - center(a)[0], y1 - center(a)[1])
                    if fixed[a] >= threshold and gap > 0.01:
                        offer(a, gt, float(fixed[a]))
        for anchor, (_, gt) in best.items():
            result[image, anchor] = gt
        if name == "fixed_iou" and gts:
            fixed = box_iou(targets.boxes[gts][:, None], anchors.boxes).numpy()
            for a in usable:
                if fixed[:, a].max() >= 0.4:
                    result[image, a] = gts[int(fixed[:, a].argmax())] if fixed[:, a].max() >= 0.5 else IGNORED
            for row, gt in enumerate(gts):
                highest = max(fixed[row, a] for a in usable)
                for a in usable:
                    if highest > 0 and fixed[row, a] == highest:
                        result[image, a] = gt
    return result


@pytest.mark.parametrize("name", [name for name in ASSIGNERS if name != "paa"])
@pytest.mark.parametrize("seed", range(6))
def test_it_is_what_plain_loops_find(name, seed):
    targets, outputs = scene(seed)
    ours, expected = assignment(name, targets, outputs), by_loops(name, targets, outputs)
    assert (ours >= 0).sum() > 0
    different = np.argwhere(ours != expected)
    assert len(different) == 0, different[:5]


@pytest.mark.parametrize("name", ASSIGNERS)
@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 10_000))
def test_an_image_is_assigned_as_if_it_were_alone(name, seed):
    targets, outputs = scene(seed)
    whole = assignment(name, targets, outputs)
    here = targets.image == 1
    alone = Targets(targets.boxes[here], targets.labels[here], targets.image[here], targets.image_hw)
    rows = here.nonzero().flatten().numpy()
    found = assignment(name, alone, outputs)[1]
    assert np.array_equal(np.where(found >= 0, rows[found.clip(min=0)] if len(rows) else found, found), whole[1])


@pytest.mark.parametrize("name", ASSIGNERS)
def test_a_batch_without_gts_has_no_positive(name):
    targets, outputs = scene(0)
    nothing = Targets(targets.boxes[:0], targets.labels[:0], targets.image[:0], targets.image_hw)
    assert not (assignment(name, nothing, outputs) >= 0).any()


@pytest.mark.parametrize("name", ASSIGNERS)
def test_a_teacher_changes_what_it_can_and_nothing_else(name):
    """A static assigner gives the same positives whoever is asked; a dynamic one does not."""
    targets, outputs = scene(1)
    _, others = scene(2)
    same = np.array_equal(assignment(name, targets, outputs), assignment(name, targets, others))
    assert same == ASSIGNERS[name].is_static


@pytest.mark.parametrize("name", ASSIGNERS)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_with_every_assigner_that_a_teacher_can_change(name, method):
    taught = method in ("lad", "solad", "colad")
    if taught and ASSIGNERS[name].is_static:
        with pytest.raises(ValueError, match=f"assigner '{name}' asks no network, so that a teacher cannot change it"):
            make_parameters({"method": method, "assigner": name})
        return
    assert make_parameters({"method": method, "assigner": name}).assigner == name
    targets, student = scene(3)
    student = HeadOutputs(*(tensor.clone().requires_grad_() for tensor in student))
    anchors = make_anchors(PADDED_HW)
    candidates = ASSIGNERS[name].find_candidates(anchors, targets)
    learned = find_method(method, name)(student, scene(4)[1], candidates, anchors, targets)
    sum(learned.terms.values()).backward()
    assert all(tensor.grad.isfinite().all() and tensor.grad.any() for tensor in student)
    assert len(learned.cost) > 0 and learned.cost.isfinite().all()
