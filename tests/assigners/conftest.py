"""Random batches for the assigners, and their reference: plain loops over images, gts and anchors."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from lad.assigners import Assigner, AssignmentContext, assign_by_predictions
from lad.geometry import Anchors, box_iou, decode_deltas, inside_images, make_anchors
from lad.structures import BACKGROUND, IGNORED, HeadOutputs, Targets

PADDED_HW, CLASSES = (160, 192), 3


@dataclass(frozen=True)
class Scene:
    """A batch of three images and the outputs of a network.

    Attributes:
        targets: The gts.
        outputs: The network's.
    """

    targets: Targets
    outputs: HeadOutputs

    @property
    def anchors(self) -> Anchors:
        return make_anchors(PADDED_HW)

    def context(self, assigner: Assigner) -> AssignmentContext:
        candidates = assigner.find_candidates(self.anchors, self.targets)
        return AssignmentContext(candidates, self.anchors, self.targets)

    def assignment(self, assigner: Assigner) -> np.ndarray:
        """Return gt_index [N, A]."""
        return assign_by_predictions(assigner, self.outputs, self.anchors, self.targets).numpy()


@dataclass(frozen=True)
class GtView:
    """One gt of a scene, with the anchors of its image as plain lists.

    Attributes:
        box: x0, y0, x1, y1.
        label: Class.
        usable: Anchors that are not in the padding.
        center: (x, y) of every anchor.
        stride: Of every anchor.
        level: Of every anchor.
        anchor_iou: IoU of every anchor with the gt.
        predicted_iou: IoU of every anchor's predicted box with the gt.
        probability: [A, C] of the class logits.
        score: [A, C], sqrt(σ(cls) · σ(iou)).
    """

    box: list[float]
    label: int
    usable: list[int]
    center: list[list[float]]
    stride: list[float]
    level: list[int]
    anchor_iou: list[float]
    predicted_iou: list[float]
    probability: list[list[float]]
    score: list[list[float]]

    @property
    def middle(self) -> tuple[float, float]:
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2

    def within(self) -> list[int]:
        """Return the usable anchors whose center lies in the box."""
        x0, y0, x1, y1 = self.box
        return [a for a in self.usable if x0 < self.center[a][0] < x1 and y0 < self.center[a][1] < y1]

    def near(self, radius: float) -> list[int]:
        """Return the usable anchors whose center is, per axis, within `radius` strides of the box's center."""
        x, y = self.middle
        return [
            a
            for a in self.usable
            if max(abs(self.center[a][0] - x), abs(self.center[a][1] - y)) < radius * self.stride[a]
        ]


Offers = Callable[[GtView], Iterable[tuple[int, float]]]


def _random_scene(seed: int) -> Scene:
    """Three images of different sizes with none to six gts of all sizes each; predicted boxes fit roughly."""
    generator = torch.Generator().manual_seed(seed)
    image_hw = torch.tensor([[160, 192], [100, 120], [64, 192]])
    counts = torch.randint(0, 7, (3,), generator=generator)
    image = torch.repeat_interleave(torch.arange(3), counts)
    wh = image_hw[image].flip(-1).float()
    size = 6 + torch.rand(len(image), 2, generator=generator) ** 2 * (0.8 * wh - 6)
    corner = torch.rand(len(image), 2, generator=generator) * (wh - size)
    labels = torch.randint(0, CLASSES, (len(image),), generator=generator)
    targets = Targets(torch.cat([corner, corner + size], dim=1), labels, image, image_hw)
    count = len(make_anchors(PADDED_HW).boxes)
    logits = torch.randn(3, count, CLASSES, generator=generator)
    deltas = torch.randn(3, count, 4, generator=generator) * torch.tensor([1.0, 1.0, 4.0, 4.0])
    return Scene(targets, HeadOutputs(logits, deltas, torch.randn(3, count, generator=generator)))


def _assign_by_loops(scene: Scene, offers: Offers) -> np.ndarray:
    """Return gt_index [N, A]: each anchor goes to the gt that offers the highest priority, the first of equals.

    Args:
        scene: The batch.
        offers: Returns the anchors that a gt selects and their priorities.
    """
    anchors, targets, outputs = scene.anchors, scene.targets, scene.outputs
    result = np.where(inside_images(anchors, targets.image_hw).numpy(), BACKGROUND, IGNORED)
    for image in range(len(result)):
        usable = np.flatnonzero(result[image] == BACKGROUND).tolist()
        boxes = decode_deltas(anchors.boxes, outputs.box_deltas[image])
        probability = outputs.cls_logits[image].sigmoid()
        score = (probability * outputs.iou_logits[image].sigmoid()[:, None]).sqrt()
        best: dict[int, float] = {}  # highest priority of each anchor
        for gt in np.flatnonzero(targets.image.numpy() == image).tolist():
            box: Tensor = targets.boxes[gt]
            view = GtView(
                box.tolist(), int(targets.labels[gt]), usable, anchors.center.tolist(), anchors.stride.tolist(),
                anchors.level.tolist(), box_iou(anchors.boxes, box).tolist(), box_iou(boxes, box).tolist(),
                probability.tolist(), score.tolist(),
            )  # fmt: skip
            for anchor, priority in offers(view):
                if anchor not in best or priority > best[anchor]:
                    best[anchor] = priority
                    result[image, anchor] = gt
    return result


@pytest.fixture(scope="session")
def random_scene() -> Callable[[int], Scene]:
    """A function from a seed to a batch."""
    return _random_scene


@pytest.fixture(scope="session")
def assign_by_loops() -> Callable[[Scene, Offers], np.ndarray]:
    """The reference assignment of a batch."""
    return _assign_by_loops
