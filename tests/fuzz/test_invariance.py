"""An assignment does not depend on the order of images and gts, on images without gts, on padding or on mirroring.

Each of an assigner's three steps is compared separately: the candidates are the same pairs, the network's scores of
each pair are the same up to rounding, and the same scores make the same assignment. Rounding may differ because
torch's vectorized functions round by a number's place in its tensor, and every assigner has thresholds at which
rounding decides.
"""

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import CLASSES, FUZZ, ORDINARY, Scenario, head_outputs, scenes, seeds
from torch import Tensor

from lad.assigners import ASSIGNERS, assign_by_predictions, build_assigner
from lad.assigners.atss import ATSS
from lad.assigners.center_candidates import TOPK_CLOSEST_PER_LEVEL
from lad.distillation.soft_label import soft_label_loss
from lad.geometry import STRIDES, Anchors, box_iou, inside_images, make_anchors
from lad.losses import detection_loss
from lad.structures import HeadOutputs, Targets


class Moved(NamedTuple):
    """A batch that differs from another one only in what must not change the assignment.

    Attributes:
        scene: The batch.
        image: [N], index here of each image of the other batch.
        anchor: [A], index here of each anchor of the other batch; −1: it has none.
        gt: [T], index here of each gt of the other batch.
    """

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
    """Insert an image without gts."""
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
    """Pad by up to 128 more pixels, for which the network has outputs as well."""
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
    """Permute the gts of each image."""
    hw, gts, outputs = scene
    shuffled = torch.randperm(len(gts.boxes), generator=generator)
    rows = shuffled[gts.image[shuffled].argsort(stable=True)]
    moved = Scenario(hw, take_gts(gts, rows), outputs)
    return Moved(moved, torch.arange(len(gts.image_hw)), torch.arange(len(scene.anchors.boxes)), inverse(rows))


def mirror(scene: Scenario, generator: torch.Generator) -> Moved:
    """Mirror images that are all as wide as the padded batch.

    A grid starts at x = 0 and ends a stride before the width: its first column has no mirror image.
    """
    hw, gts, outputs = scene
    x0, y0, x1, y1 = gts.boxes.unbind(dim=1)
    targets = Targets(torch.stack([hw[1] - x1, y0, hw[1] - x0, y1], dim=1), gts.labels, gts.image, gts.image_hw)
    place = {tuple(values): row for row, values in enumerate(places(scene.anchors))}
    anchor = torch.tensor([place.get((level, hw[1] - x, y), -1) for level, x, y in places(scene.anchors)])
    has_image = anchor >= 0
    turned = outputs._replace(box_deltas=outputs.box_deltas * torch.tensor([-1.0, 1, 1, 1]))

    def reflect(field: Tensor) -> Tensor:
        new = torch.randn(field.shape, generator=generator)
        new[:, anchor[has_image]] = field[:, has_image]
        return new

    moved = Scenario(hw, targets, each_field(reflect, turned))
    return Moved(moved, torch.arange(len(gts.image_hw)), anchor, torch.arange(len(gts.boxes)))


def check(name: str, scene: Scenario, moved: Moved, scores_of: Callable[[Tensor], Tensor] = torch.clone) -> None:
    """Assert that each of the assigner's three steps gives the same result for both batches.

    Args:
        name: Of the assigner.
        scene: The first batch.
        moved: The second one.
        scores_of: Returns the scores from which both assignments are made, given the network's scores of `scene`.
    """
    assigner = build_assigner(name)
    context, moved_context = scene.context(assigner), moved.scene.context(assigner)
    candidates, moved_candidates = context.candidates, moved_context.candidates
    num_anchors, num_gts = len(moved_context.anchors.boxes), moved_context.num_gts
    expected_key = (moved.image[candidates.image] * num_anchors + moved.anchor[candidates.anchor]) * num_gts
    expected_key, expected_order = (expected_key + moved.gt[candidates.gt]).sort()
    assert (moved.anchor[candidates.anchor] >= 0).all()
    location = moved_candidates.image * num_anchors + moved_candidates.anchor
    key, order = (location * num_gts + moved_candidates.gt).sort()
    assert torch.equal(key, expected_key)

    def move(scores: Tensor) -> Tensor:
        return torch.empty_like(scores).index_copy(0, order, scores[expected_order])

    scores = assigner.score(scene.outputs, context)
    moved_scores = assigner.score(moved.scene.outputs, moved_context)
    expected = move(scores)
    torch.testing.assert_close(moved_scores[:, 1:], expected[:, 1:], rtol=1e-3, atol=1e-3)
    overlaps = (expected[:, 1:] > 0.1).all(dim=1)  # a cost that is the logarithm of a smaller IoU is mostly rounding
    torch.testing.assert_close(moved_scores[overlaps, 0], expected[overlaps, 0], rtol=1e-3, atol=1e-3)

    scores = scores_of(scores)
    gt_index = assigner.assign(scores, context)
    moved_gt_index = assigner.assign(move(scores), moved_context)
    has_image = moved.anchor >= 0
    result = moved_gt_index[moved.image[:, None], moved.anchor[has_image]]
    gt = torch.cat([moved.gt, moved.gt.new_zeros(1)])  # indexable without a gt
    expected_gt_index = torch.where(gt_index >= 0, gt[gt_index.clamp(min=0)], gt_index)
    assert torch.equal(result, expected_gt_index[:, has_image])
    assert (gt_index[:, ~has_image] < 0).all() and (result >= 0).sum() == (moved_gt_index >= 0).sum()


@pytest.mark.parametrize("move", [permute_images, insert_image, pad])
@pytest.mark.parametrize("name", ASSIGNERS)
@FUZZ
@given(scenes(), seeds())
def test_the_order_of_images_their_padding_and_images_without_gts_do_not_matter(name, move, scene, generator):
    check(name, scene, move(scene, generator))


@pytest.mark.parametrize("name", ASSIGNERS)
@FUZZ
@given(scenes(kinds=("ordinary", "border", "nested", "tiny"), sides=(33, 64, 97, 128)), seeds())
def test_the_order_of_gts_does_not_matter(name, scene, generator):
    """Except for ties, which a gt's place decides, as in the published code.

    No anchor overlaps two gts of its image equally or is the best of both, and no two candidates have equal scores.
    """
    assume(not has_tied_gts(scene))
    check(name, scene, permute_gts(scene, generator), lambda scores: without_ties(scores, generator))


@st.composite
def mirrored_scenes(draw: st.DrawFn) -> Scenario:
    """Draw gts near the middle of images of 1408 pixels, eleven of the largest stride, on eighths of a pixel.

    The first column of a grid, which has no mirror image, is a candidate of no assigner: gts are at least four strides
    of any level away from it. On eighths of a pixel, mirrored coordinates and overlaps are exact.
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
    image_hw = torch.tensor([[height, 1408] for height in heights])
    targets = Targets(boxes, labels, torch.tensor(image, dtype=torch.int64), image_hw)
    return Scenario(padded, targets, draw(head_outputs(padded, targets, ORDINARY[:3])))


@pytest.mark.parametrize("name", ASSIGNERS)
@FUZZ
@given(mirrored_scenes(), seeds())
def test_a_mirrored_batch_has_the_mirrored_assignment(name, scene, generator):
    """Except for ties, which an anchor's place decides.

    On each level, the ninth closest anchor of a gt is closer than the tenth, and no two candidates have equal scores.
    """
    assume(name != "atss" or not has_tied_anchors(scene))
    check(name, scene, mirror(scene, generator), lambda scores: without_ties(scores, generator))


@pytest.mark.parametrize("move", [permute_images, pad])
@FUZZ
@given(scenes(), st.data(), seeds())
def test_the_order_of_images_and_their_padding_do_not_matter_to_losses(move, scene, data, generator):
    """Except to the class term of soft labels, which includes the padding, as in the published code."""
    teacher = scene._replace(outputs=data.draw(head_outputs(scene.padded_hw, scene.targets)))
    state = generator.get_state()
    moved = move(scene, generator)
    generator.set_state(state)
    moved_teacher = move(teacher, generator).scene
    before = assign_by_predictions(ATSS(), scene.outputs, scene.anchors, scene.targets)
    after = assign_by_predictions(ATSS(), moved.scene.outputs, moved.scene.anchors, moved.scene.targets)
    losses, moved_losses = (
        detection_loss(student.outputs, gt_index, student.anchors, student.targets, "iou")
        | soft_label_loss(student.outputs, its_teacher.outputs, student.anchors, student.targets, 10, 10, 1.3, 0.1)
        for student, gt_index, its_teacher in ((scene, before, teacher), (moved.scene, after, moved_teacher))
    )
    if move is pad:
        del losses["soft_cls"], moved_losses["soft_cls"]
    for name, loss in losses.items():
        torch.testing.assert_close(moved_losses[name], loss, rtol=1e-3, atol=1e-4)


def without_ties(scores: Tensor, generator: torch.Generator) -> Tensor:
    """Return costs from 0 to 30 and IoUs in the shape of `scores`, no two of them equal.

    They do not lie on a grid, where sums would often be whole numbers: SimOTA's positives are as many as ten IoUs add
    up to.
    """
    size = len(scores)
    rank = torch.stack([torch.randperm(size, generator=generator) for _ in range(2)], dim=1)
    part = (rank + 0.9 * torch.rand(size, 2, generator=generator)) / max(1, size)
    return (part * torch.tensor([30.0, 1.0]))[:, : scores.shape[1]]


def has_tied_gts(scene: Scenario) -> bool:
    """Return whether an anchor overlaps two gts of its image equally, or is the best of both."""
    gts = scene.targets
    iou = box_iou(gts.boxes[:, None], scene.anchors.boxes)
    iou = iou.masked_fill(~inside_images(scene.anchors, gts.image_hw)[gts.image], 0)
    is_best = (iou == iou.amax(dim=1, keepdim=True)) & (iou > 0)
    for image in range(len(gts.image_hw)):
        of_image = gts.image == image
        ascending = iou[of_image].sort(dim=0).values
        if (is_best[of_image].sum(dim=0) > 1).any() or ((ascending.diff(dim=0) == 0) & (ascending[1:] > 0)).any():
            return True
    return False


def has_tied_anchors(scene: Scenario) -> bool:
    """Return whether the ninth and tenth closest anchors of a gt on a level are equally close."""
    gts, anchors = scene.targets, scene.anchors
    center = (gts.boxes[:, :2] + gts.boxes[:, 2:]) / 2
    for level in range(len(STRIDES)):
        distance = (anchors.center[anchors.level == level] - center[:, None]).square().sum(dim=-1).sort(dim=1).values
        boundary = distance[:, TOPK_CLOSEST_PER_LEVEL - 1 : TOPK_CLOSEST_PER_LEVEL + 1]
        if boundary.shape[1] == 2 and (boundary[:, 0] == boundary[:, 1]).any():
            return True
    return False
