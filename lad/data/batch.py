"""What one batch holds: images padded to a common size, and the ground truths of all of them in one list."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

SIZE_DIVISOR = 32
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

    image: [3, h, w] float32, normalised. boxes: [t, 4] xyxy pixels of this image. labels: [t] int64.
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

    images: [N, 3, H, W] float32, normalised, zero-padded right and bottom to multiples of 32. targets: their gts.
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


def padded_hw(hw: Sequence[int]) -> tuple[int, int]:
    """(height, width) rounded up to multiples of 32."""
    height, width = (-(-int(side) // SIZE_DIVISOR) * SIZE_DIVISOR for side in hw)
    return height, width


def batches_of_one_size(sizes: Sequence[Sequence[int]], batch_size: int) -> list[list[int]]:
    """Indices of `sizes` (unpadded height, width) in batches whose images are all padded to the same size."""
    groups: dict[tuple[int, int], list[int]] = {}
    for index, hw in enumerate(sizes):
        groups.setdefault(padded_hw(hw), []).append(index)
    return [group[i : i + batch_size] for group in groups.values() for i in range(0, len(group), batch_size)]


def collate(samples: Sequence[Sample]) -> Batch:
    """Pad the images right and bottom with zeros to one size, a multiple of 32, and concatenate their gts."""
    image_hw = torch.tensor([sample.image.shape[-2:] for sample in samples])
    height, width = padded_hw(image_hw.amax(dim=0).tolist())
    images = torch.stack(
        [F.pad(s.image, (0, width - s.image.shape[-1], 0, height - s.image.shape[-2])) for s in samples]
    )
    counts = torch.tensor([len(sample.boxes) for sample in samples])
    targets = Targets(
        boxes=torch.cat([sample.boxes for sample in samples]),
        labels=torch.cat([sample.labels for sample in samples]),
        image=torch.repeat_interleave(torch.arange(len(samples)), counts),
        image_hw=image_hw,
    )
    return Batch(
        images,
        targets,
        torch.tensor([sample.image_id for sample in samples]),
        torch.tensor([sample.original_hw for sample in samples]),
        torch.tensor([sample.is_flipped for sample in samples]),
    )
