"""Collating samples into batches: images padded to one size, ground truths (gts) concatenated."""

from collections.abc import Sequence

import torch
from torch.nn import functional as F

from lad.structures import Batch, Sample, Targets

SIZE_DIVISOR = 32


def padded_hw(hw: Sequence[int]) -> tuple[int, int]:
    """Return (height, width) rounded up to multiples of 32."""
    height, width = (-(-int(side) // SIZE_DIVISOR) * SIZE_DIVISOR for side in hw)
    return height, width


def batches_of_one_size(sizes: Sequence[Sequence[int]], batch_size: int) -> list[list[int]]:
    """Return indices of images in batches whose images are all padded to the same size.

    Args:
        sizes: Unpadded (height, width) of each image.
        batch_size: Maximal number of images in a batch.
    """
    groups: dict[tuple[int, int], list[int]] = {}
    for index, hw in enumerate(sizes):
        groups.setdefault(padded_hw(hw), []).append(index)
    return [group[i : i + batch_size] for group in groups.values() for i in range(0, len(group), batch_size)]


def collate(samples: Sequence[Sample]) -> Batch:
    """Zero-pad the images right and bottom to one size, a multiple of 32, and concatenate their gts."""
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
