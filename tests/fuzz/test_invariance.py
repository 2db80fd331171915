"""What must not matter to an assignment: the order of images and gts, an image without gts, padding, a mirror.

Each of an assigner's three steps is compared by itself: the candidates are the same pairs, a network's candidate_scores of each
pair is the same up to rounding, and the same candidate_scores makes the same assignment. Rounding may differ, since torch's
vectorized functions round by a number's place in its tensor, and any assigner has a knife's edge somewhere.
"""

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import CLASSES, FUZZ, ORDINARY, Scenario, head_outputs, scenes, seeds
from torch import Tensor

from lad.assigners.base import ASSIGNERS, own_assignment
from lad.assigners.center_candidates import TOPK_CLOSEST_PER_LEVEL
from lad.distillation.soft_label import soft_label_loss
from lad.geometry import STRIDES, Anchors, box_iou, inside_images, make_anchors
from lad.losses import detection_loss
from lad.structures import HeadOutputs, Targets


class Moved(NamedTuple):
    """A scene that differs from another in what must not matter. image [N], anchor [A], gt [T]: where the other's are
    in it; −1: not there."""

    scene: Scenario
    image: Tensor
    anchor: Tensor
    gt: Tensor


def each_field(change: Callable[[Tensor], Tensor], outputs: HeadOutputs) -> HeadOutputs:
    return HeadOutputs(*(None if field is None else change(field) for field in outputs))


def inverse(order: Tensor) -> Tensor:
    return torch.empty_like(order).scatter(0, order, torch.arange(len(order)))


def take_gts(targets: Targets, rows: Tensor) -> Targets:
    return Targets(targets.boxes[rows], targets.labels[rows], targets.image[rows], targets.image_hw)


def permute_images(scene: Scenario, generator: torch.Generator) -> Moved:
    hw, gts, outputs = scene
    order = torch.randperm(len(gts.image_hw), generator=generator)
    rows = inverse(order)[gts.image].argsort(stable=True)
    image = inverse(order)[gts.image][rows]
    targets = Targets(gts.boxes[rows], gts.labels[rows], image, gts.image_hw[order])
    moved = Scenario(hw, targets, each_field(lambda field: field[order], outputs))
    return Moved(moved, inverse(order), torch.arange(len(scene.anchors.boxes)), inverse(rows))


def insert_image(scene: Scenario, generator: torch.Generator) -> Moved:
    """One without gts."""
    hw, gts, outputs = scene
    place = int(torch.randint(len(gts.image_hw) + 1, (), generator=generator))
    size = torch.tensor([[int(torch.randint(1, side + 1, (), generator=generator)) for side in hw]])

    def insert(field: Tensor, row: Tensor) -> Tensor:
        return torch.cat([field[:place], row, field[place:]])

    image = torch.arange(len(gts.image_hw))
    image += image >= place
    targets = Targets(gts.boxes, gts.labels, image[gts.image], insert(gts.image_hw, size))
    added = each_field(lambda field: insert(field, torch.randn(1, *field.shape[1:], generator=generator)), outputs)
    return Moved(
        Scenario(hw, targets, added), image, torch.arange(len(scene.anchors.boxes)), torch.arange(len(gts.boxes))
    )


def pad(scene: Scenario, generator: torch.Generator) -> Moved:
    """Up to 128 pixels more, of which the network says something, too."""
    hw, gts, outputs = scene
    more = (32 * torch.randint(5, (2,), generator=generator)).tolist()
    larger = make_anchors((hw[0] + more[0], hw[1] + more[1]))
    place = {(level, *center): row for row, (level, *center) in enumerate(places(larger))}
    anchor = torch.tensor([place[(level, *center)] for level, *center in places(scene.anchors)])

    def spread(field: Tensor) -> Tensor:
        new = torch.randn(len(field), len(larger.boxes), *field.shape[2:], generator=generator)
        new[:, anchor] = field
        return new

    moved = Scenario((hw[0] + more[0], hw[1] + more[1]), gts, each_field(spread, outputs))
    return Moved(moved, torch.arange(len(gts.image_hw)), anchor, torch.arange(len(gts.boxes)))


def places(anchors: Anchors) -> list[list[float]]:
    return torch.cat([anchors.level[:, None], anchors.center], dim=1).tolist()


def permute_gts(scene: Scenario, generator: torch.Generator) -> Moved:
    """Within their images."""
    hw, gts, outputs = scene
    shuffled = torch.randperm(len(gts.boxes), generator=generator)
    rows = shuffled[gts.image[shuffled].argsort(stable=True)]
    moved = Scenario(hw, take_gts(gts, rows), outputs)
    return Moved(moved, torch.arange(len(gts.image_hw)), torch.arange(len(scene.anchors.boxes)), inverse(rows))


def mirror(scene: Scenario, generator: torch.Generator) -> Moved:
    """At the middle of the images, which are all as wide as their padding. A grid begins at x = 0 and ends a stride
    before the width: its first column has no mirror image."""
    hw, gts, outputs = scene
    x0, y0, x1, y1 = gts.boxes.unbind(dim=1)
    targets = Targets(torch.stack([hw[1] - x1, y0, hw[1] - x0, y1], dim=1), gts.labels, gts.image, gts.image_hw)
    place = {tuple(one): row for row, one in enumerate(places(scene.anchors))}
    anchor = torch.tensor([place.get((level, hw[1] - x, y), -1) for level, x, y in places(scene.anchors)])
    has_image = anchor >= 0
    turned = outputs._replace(box_deltas=outputs.box_deltas * torch.tensor([-1.0, 1, 1, 1]))

    def reflect(field: Tensor) -> Tensor:
        new = torch.randn(field.shape, generator=generator)
        new[:, anchor[has_image]] = field[:, has_image]
        return new

    moved = Scenario(hw, targets, each_field(reflect, turned))
    return Moved(moved, torch.arange(len(gts.image_hw)), anchor, torch.arange(len(gts.boxes)))


def check(name: str, scene: Scenario, moved: Moved, evidence_of: Callable[[Tensor], Tensor] = torch.clone) -> None:
    """That the assigner's three steps do not mind the move. evidence_of: what the assignments are made from, given the
    network's candidate_scores of the scene."""
    assigner, there = ASSIGNERS[name], moved.scene
    candidates = assigner.find_candidates(scene.anchors, scene.targets)
    found = assigner.find_candidates(there.anchors, there.targets)
    num_anchors, num_gts = len(there.anchors.boxes), len(there.targets.boxes)
    expected_key = (moved.image[candidates.image] * num_anchors + moved.anchor[candidates.anchor]) * num_gts
    expected_key, expected_order = (expected_key + moved.gt[candidates.gt]).sort()
    assert (moved.anchor[candidates.anchor] >= 0).all()
    key, order = ((found.image * num_anchors + found.anchor) * num_gts + found.gt).sort()
    assert torch.equal(key, expected_key)

    def move(candidate_scores: Tensor) -> Tensor:
        return torch.empty_like(candidate_scores).index_copy(0, order, candidate_scores[expected_order])

    candidate_scores = assigner.score(scene.outputs, candidates, scene.anchors, scene.targets)
    said = assigner.score(there.outputs, found, there.anchors, there.targets)
    expected = move(candidate_scores)
    torch.testing.assert_close(said[:, 1:], expected[:, 1:], rtol=1e-3, atol=1e-3)
    overlaps = (expected[:, 1:] > 0.1).all(dim=1)  # a cost that is the logarithm of a smaller IoU is mostly rounding
    torch.testing.assert_close(said[overlaps, 0], expected[overlaps, 0], rtol=1e-3, atol=1e-3)

    candidate_scores = evidence_of(candidate_scores)
    gt_index = assigner.assign(candidates, candidate_scores, scene.anchors, scene.targets)
    result = assigner.assign(found, move(candidate_scores), there.anchors, there.targets)
    is_there = moved.anchor >= 0
    here = result[moved.image[:, None], moved.anchor[is_there]]
    of_gt = torch.cat([moved.gt, moved.gt.new_zeros(1)])  # indexable without a gt
    assert torch.equal(here, torch.where(gt_index >= 0, of_gt[gt_index.clamp(min=0)], gt_index)[:, is_there])
    assert (gt_index[:, ~is_there] < 0).all() and (here >= 0).sum() == (result >= 0).sum()


@pytest.mark.parametrize("move", [permute_images, insert_image, pad])
@pytest.mark.parametrize("name", ASSIGNERS)
@FUZZ
@given(scenes(), seeds())
def test_images_their_order_and_their_padding_do_not_matter(name, move, scene, generator):
    check(name, scene, move(scene, generator))


@pytest.mark.parametrize("name", ASSIGNERS)
@FUZZ
@given(scenes(kinds=("ordinary", "border", "nested", "tiny"), sides=(33, 64, 97, 128)), seeds())
def test_the_order_of_gts_does_not_matter(name, scene, generator):
    """Without ties, which a gt's place decides, as in the published code: no anchor overlaps two gts of its image
    equally or is the best of both, and no two candidates are equal to the network."""
    assume(not has_tied_gts(scene))
    check(
        name, scene, permute_gts(scene, generator), lambda candidate_scores: without_ties(candidate_scores, generator)
    )


@st.composite
def mirrored_scenes(draw: st.DrawFn) -> Scenario:
    """Gts near the middle of images of 1408 pixels, eleven of the largest stride, on eighths of a pixel.

    There a grid's first column, which has no mirror image, is no candidate of any assigner: gts are at least four
    strides of any level away from it. On eighths mirrored coordinates and overlaps are exact.
    """
    heights = draw(st.lists(st.sampled_from([20, 32, 64]), min_size=1, max_size=2))
    padded = (64 if 64 in heights else 32, 1408)
    generator = draw(seeds())
    image = [row for row, _ in enumerate(heights) for _ in range(draw(st.integers(0, 5)))]
    height = torch.tensor(heights)[torch.tensor(image, dtype=torch.int64)]
    center = torch.randint(8 * 640, 8 * 768, (len(image),), generator=generator)
    half = torch.randint(8, 8 * 100, (len(image),), generator=generator)
    y = (torch.rand(len(image), 2, generator=generator) * (8 * height[:, None] + 1)).long().sort(dim=1).values
    boxes = torch.stack([center - half, y[:, 0], center + half, y[:, 1]], dim=1) / 8
    labels = torch.randint(CLASSES, (len(image),), generator=generator)
    image_hw = torch.tensor([[one, 1408] for one in heights])
    targets = Targets(boxes, labels, torch.tensor(image, dtype=torch.int64), image_hw)
    return Scenario(padded, targets, draw(head_outputs(padded, targets, ORDINARY[:3])))


@pytest.mark.parametrize("name", ASSIGNERS)
@FUZZ
@given(mirrored_scenes(), seeds())
def test_a_mirrored_batch_is_assigned_in_mirror_image(name, scene, generator):
    """Without ties, which an anchor's place decides: on each level of each gt the ninth closest anchor is closer than
    the tenth, and no two candidates are equal to the network."""
    assume(name != "atss" or not has_tied_anchors(scene))
    check(name, scene, mirror(scene, generator), lambda candidate_scores: without_ties(candidate_scores, generator))


@pytest.mark.parametrize("move", [permute_images, pad])
@FUZZ
@given(scenes(), st.data(), seeds())
def test_the_order_of_images_and_their_padding_do_not_matter_to_losses(move, scene, data, generator):
    """But to the classes of the soft labels, which a student learns in the padding, too, as in the published code."""
    teacher = scene._replace(outputs=data.draw(head_outputs(scene.padded_hw, scene.targets)))
    state = generator.get_state()
    moved = move(scene, generator)
    generator.set_state(state)
    moved_teacher = move(teacher, generator).scene
    before = own_assignment(ASSIGNERS["atss"], scene.outputs, scene.anchors, scene.targets)
    after = own_assignment(ASSIGNERS["atss"], moved.scene.outputs, moved.scene.anchors, moved.scene.targets)
    losses, moved_losses = (
        detection_loss(one.outputs, gt_index, one.anchors, one.targets, "iou")
        | soft_label_loss(one.outputs, taught_by.outputs, one.anchors, one.targets, 10, 10, 1.3, 0.1)
        for one, gt_index, taught_by in ((scene, before, teacher), (moved.scene, after, moved_teacher))
    )
    if move is pad:
        del losses["soft_cls"], moved_losses["soft_cls"]
    for name, loss in losses.items():
        torch.testing.assert_close(moved_losses[name], loss, rtol=1e-3, atol=1e-4)


def without_ties(candidate_scores: Tensor, generator: torch.Generator) -> Tensor:
    """Costs from 0 to 30 and IoUs, no two of them equal. Not on a grid, on which sums would be whole numbers, too: as
    many as ten IoUs add up to are SimOTA's positives."""
    size = len(candidate_scores)
    rank = torch.stack([torch.randperm(size, generator=generator) for _ in range(2)], dim=1)
    part = (rank + 0.9 * torch.rand(size, 2, generator=generator)) / max(1, size)
    return (part * torch.tensor([30.0, 1.0]))[:, : candidate_scores.shape[1]]


def has_tied_gts(scene: Scenario) -> bool:
    """Whether an anchor overlaps two gts of its image equally, or is the best of both."""
    gts = scene.targets
    iou = box_iou(gts.boxes[:, None], scene.anchors.boxes)
    iou = iou.masked_fill(~inside_images(scene.anchors, gts.image_hw)[gts.image], 0)
    is_best = (iou == iou.amax(dim=1, keepdim=True)) & (iou > 0)
    for image in range(len(gts.image_hw)):
        here = gts.image == image
        ascending = iou[here].sort(dim=0).values
        if (is_best[here].sum(dim=0) > 1).any() or ((ascending.diff(dim=0) == 0) & (ascending[1:] > 0)).any():
            return True
    return False


def has_tied_anchors(scene: Scenario) -> bool:
    gts, anchors = scene.targets, scene.anchors
    center = (gts.boxes[:, :2] + gts.boxes[:, 2:]) / 2
    for level in range(len(STRIDES)):
        distance = (anchors.center[anchors.level == level] - center[:, None]).square().sum(dim=-1).sort(dim=1).values
        boundary = distance[:, TOPK_CLOSEST_PER_LEVEL - 1 : TOPK_CLOSEST_PER_LEVEL + 1]
        if boundary.shape[1] == 2 and (boundary[:, 0] == boundary[:, 1]).any():
            return True
    return False
