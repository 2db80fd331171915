"""Tensors that travel together: targets, samples, batches, head outputs and detections."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

BACKGROUND, IGNORED = -1, -2  # what an assignment says of an anchor that is no gt's positive


@dataclass(frozen=True)
class Targets:
    """The gts of a batch, concatenated image after image.

    boxes: [T, 4] xyxy pixels of the resized image, float32. labels: [T] int64, 0 … C−1.
    image: [T] int64, each gt's image within the batch. image_hw: [N, 2] int64, unpadded (height, width).
    """

    boxes: Tensor
    labels: Tensor
    image: Tensor
    image_hw: Tensor

    def to(self, device: torch.device | str) -> "Targets":
        fields = (self.boxes, self.labels, self.image, self.image_hw)
        return Targets(*(send(field, device) for field in fields))

    def pin_memory(self) -> "Targets":
        fields = (self.boxes, self.labels, self.image, self.image_hw)
        return Targets(*(field.pin_memory() for field in fields))


@dataclass(frozen=True)
class Sample:
    """One image of a data set after its transforms.

    image: [3, h, w] float32, normalized. boxes: [t, 4] xyxy pixels of this image. labels: [t] int64.
    image_id: the COCO image id. original_hw: (height, width) of the image as annotated. is_flipped: whether it is
    mirrored.
    """

    image: Tensor
    boxes: Tensor
    labels: Tensor
    image_id: int
    original_hw: tuple[int, int]
    is_flipped: bool = False


@dataclass(frozen=True)
class Batch:
    """N images and their gts.

    images: [N, 3, H, W] float32, normalized, zero-padded right and bottom to multiples of 32. targets: their gts.
    image_id: [N] int64 COCO image ids. original_hw: [N, 2] int64, (height, width) before resizing.
    is_flipped: [N] bool, whether the image is mirrored.
    """

    images: Tensor
    targets: Targets
    image_id: Tensor
    original_hw: Tensor
    is_flipped: Tensor

    @property
    def padded_hw(self) -> tuple[int, int]:
        return self.images.shape[-2], self.images.shape[-1]

    def to(self, device: torch.device | str) -> "Batch":
        images, *others = (
            send(field, device) for field in (self.images, self.image_id, self.original_hw, self.is_flipped)
        )
        return Batch(images, self.targets.to(device), *others)

    def pin_memory(self) -> "Batch":  # asked for by the data loader, which knows only the containers of Python
        images, *others = (
            field.pin_memory() for field in (self.images, self.image_id, self.original_hw, self.is_flipped)
        )
        return Batch(images, self.targets.pin_memory(), *others)

    def take(self, rows: Sequence[int]) -> "Batch":
        """The images of these rows, ascending, padded as they are."""
        chosen = torch.tensor(rows, dtype=torch.int64, device=self.image_id.device)
        is_theirs = torch.isin(self.targets.image, chosen)
        targets = Targets(
            self.targets.boxes[is_theirs],
            self.targets.labels[is_theirs],
            torch.searchsorted(chosen, self.targets.image[is_theirs]),
            self.targets.image_hw[chosen],
        )
        return Batch(
            self.images[chosen], targets, self.image_id[chosen], self.original_hw[chosen], self.is_flipped[chosen]
        )


def send(value: Tensor, device: torch.device | str) -> Tensor:
    """A host's tensor on a device, without waiting for what the device is still at: only pinned memory allows that."""
    is_sent = torch.device(device).type == "cuda" and value.device.type == "cpu"
    if is_sent and not value.is_pinned():
        value = value.pin_memory()
    return value.to(device, non_blocking=is_sent)  # what comes back has to be waited for


@dataclass(frozen=True)
class Detections:
    """D detections of one image, best first where nothing else is said.

    boxes: [D, 4] xyxy pixels. scores: [D] in (0, 1). labels: [D] int64.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor


class HeadOutputs(NamedTuple):  # a tuple, not a frozen dataclass: Fabric rebuilds what a wrapped network returns
    """Flat over the levels P3 … P7, each row-major; A anchors of N images, C classes.

    cls_logits: [N, A, C]. box_deltas: [N, A, 4]. iou_logits: [N, A], or None for a head without the IoU branch.
    """

    cls_logits: Tensor
    box_deltas: Tensor
    iou_logits: Tensor | None
