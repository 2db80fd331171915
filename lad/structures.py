"""Tensors that travel together, in the order of the data flow: samples, targets, batches, head outputs, detections.

N images, A anchors, C classes, T ground truths (gts) of a batch. Boxes are xyxy in pixels of the resized image.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

BACKGROUND, IGNORED = -1, -2  # values of an assignment gt_index [N, A] for anchors that are not positive


@dataclass(frozen=True)
class Sample:
    """One image of a data set after its transforms.

    Attributes:
        image: [3, h, w] float32, normalized.
        boxes: [t, 4] float32, xyxy pixels of this image.
        labels: [t] int64, 0 … C−1.
        image_id: COCO image id.
        original_hw: (height, width) of the annotated image, before its transforms.
        is_flipped: Whether the image is mirrored horizontally.
    """

    image: Tensor
    boxes: Tensor
    labels: Tensor
    image_id: int
    original_hw: tuple[int, int]
    is_flipped: bool = False


@dataclass(frozen=True)
class Targets:
    """The gts of a batch, concatenated image after image.

    Attributes:
        boxes: [T, 4] float32, xyxy pixels of the resized image.
        labels: [T] int64, 0 … C−1.
        image: [T] int64, index of each gt's image in the batch.
        image_hw: [N, 2] int64, unpadded (height, width) of the resized images.
    """

    boxes: Tensor
    labels: Tensor
    image: Tensor
    image_hw: Tensor

    def to(self, device: torch.device | str) -> "Targets":
        """Return a copy on `device`; see `to_device`."""
        fields = (self.boxes, self.labels, self.image, self.image_hw)
        return Targets(*(to_device(field, device) for field in fields))

    def pin_memory(self) -> "Targets":
        """Return a copy in pinned memory."""
        fields = (self.boxes, self.labels, self.image, self.image_hw)
        return Targets(*(field.pin_memory() for field in fields))


@dataclass(frozen=True)
class Batch:
    """N images, padded to one size, and their gts.

    Attributes:
        images: [N, 3, H, W] float32, normalized, zero-padded right and bottom to multiples of 32.
        targets: Gts of all images.
        image_id: [N] int64, COCO image ids.
        original_hw: [N, 2] int64, (height, width) of the annotated images.
        is_flipped: [N] bool, whether each image is mirrored horizontally.
    """

    images: Tensor
    targets: Targets
    image_id: Tensor
    original_hw: Tensor
    is_flipped: Tensor

    @property
    def padded_hw(self) -> tuple[int, int]:
        """Return the (height, width) of the padded images."""
        return self.images.shape[-2], self.images.shape[-1]

    def to(self, device: torch.device | str) -> "Batch":
        """Return a copy on `device`; see `to_device`."""
        images, *rest = (
            to_device(field, device) for field in (self.images, self.image_id, self.original_hw, self.is_flipped)
        )
        return Batch(images, self.targets.to(device), *rest)

    def pin_memory(self) -> "Batch":
        """Return a copy in pinned memory; PyTorch's data loader calls this method by its name."""
        images, *rest = (
            field.pin_memory() for field in (self.images, self.image_id, self.original_hw, self.is_flipped)
        )
        return Batch(images, self.targets.pin_memory(), *rest)

    def split(self, parts: int) -> list["Batch"]:
        """Return the batch in parts as equal as possible, in order, with the same padding; at most one per image."""
        if parts == 1:
            return [self]
        return [self.take(rows.tolist()) for rows in torch.arange(len(self.image_id)).chunk(parts)]

    def take(self, rows: Sequence[int]) -> "Batch":
        """Return the images at these rows, ascending, with their gts and the same padding."""
        chosen = torch.tensor(rows, dtype=torch.int64, device=self.image_id.device)
        is_chosen = torch.isin(self.targets.image, chosen)  # [T]
        targets = Targets(
            self.targets.boxes[is_chosen],
            self.targets.labels[is_chosen],
            torch.searchsorted(chosen, self.targets.image[is_chosen]),
            self.targets.image_hw[chosen],
        )
        return Batch(
            self.images[chosen], targets, self.image_id[chosen], self.original_hw[chosen], self.is_flipped[chosen]
        )


class HeadOutputs(NamedTuple):  # not a frozen dataclass: Fabric rebuilds the outputs of a wrapped network, as tuples
    """Outputs of a detection head, flat over the levels P3 … P7, each level row-major.

    Attributes:
        cls_logits: [N, A, C] classification logits.
        box_deltas: [N, A, 4] deltas from each anchor; see `lad.geometry.decode_deltas`.
        iou_logits: [N, A] logits of the predicted IoU, or None for a head without the IoU branch.
    """

    cls_logits: Tensor
    box_deltas: Tensor
    iou_logits: Tensor | None


class DetectorFeatures(NamedTuple):  # a NamedTuple for the reason that `HeadOutputs` is one
    """Outputs of a detector together with the features behind them, for distillation.

    Attributes:
        outputs: Outputs of the head.
        pyramid: P3 … P7, each [N, channels, h, w]; empty, like the others, if features are not requested.
        cls_features: Per level, [N, channels, h, w] features within the classification tower; see `PAAHead`.
        reg_features: The same of the regression tower.
    """

    outputs: HeadOutputs
    pyramid: tuple[Tensor, ...] = ()
    cls_features: tuple[Tensor, ...] = ()
    reg_features: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class Detections:
    """D detections of one image, by descending score unless stated otherwise.

    Attributes:
        boxes: [D, 4] xyxy pixels.
        scores: [D] in (0, 1).
        labels: [D] int64, 0 … C−1.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor


def to_device(value: Tensor, device: torch.device | str) -> Tensor:
    """Return a tensor on `device`; host to CUDA copies are asynchronous, through pinned memory.

    Copies back to the host stay synchronous, since their values may be read at once.
    """
    is_async = torch.device(device).type == "cuda" and value.device.type == "cpu"
    if is_async and not value.is_pinned():
        value = value.pin_memory()  # a copy from pageable memory would wait for the device
    return value.to(device, non_blocking=is_async)
