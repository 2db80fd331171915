"""Records of the annotated images of a data set, as flat tensors that worker processes share."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import overload

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

UTF8 = ("utf-8", "surrogatepass")  # JSON can escape file names that are not valid Unicode


@dataclass(frozen=True)
class ImageRecord:
    """One annotated image with its t gts.

    Attributes:
        image_id: COCO image id.
        file_name: Path of the image file within the images folder.
        hw: (height, width).
        boxes: [t, 4] float32 xyxy pixels, inside the image.
        labels: [t] int64, 0 … C−1.
    """

    image_id: int
    file_name: str
    hw: tuple[int, int]
    boxes: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True, eq=False)
class ImageRecords(Sequence[ImageRecord]):
    """The records of I images with T gts, each created on access.

    Worker processes would copy Python objects, by pickling or by their reference counts; they share tensors.

    Attributes:
        image_id: [I] int64, COCO image ids.
        hw: [I, 2] int64, (height, width).
        boxes: [T, 4] float32 xyxy pixels.
        labels: [T] int64.
        gt_start: [I + 1] int64; the gts of image i are gt_start[i] … gt_start[i + 1] − 1.
        names: uint8, the UTF-8 bytes of all file names.
        name_start: [I + 1] int64; the bytes of file name i are name_start[i] … name_start[i + 1] − 1.
    """

    image_id: Tensor
    hw: Tensor
    boxes: Tensor
    labels: Tensor
    gt_start: Tensor
    names: Tensor
    name_start: Tensor

    def __len__(self) -> int:
        return len(self.image_id)

    @overload
    def __getitem__(self, index: int) -> ImageRecord: ...
    @overload
    def __getitem__(self, index: slice) -> "ImageRecords": ...
    def __getitem__(self, index: int | slice) -> "ImageRecord | ImageRecords":
        chosen = range(len(self))[index]
        if isinstance(chosen, range):
            return self.take(chosen)
        gts, name = (slice(*start[chosen : chosen + 2].tolist()) for start in (self.gt_start, self.name_start))
        height, width = self.hw[chosen].tolist()
        # Copies: a NumPy view dangles once torch moves its tensor to shared memory, as it does for new workers.
        return ImageRecord(
            image_id=int(self.image_id[chosen]),
            file_name=self.names[name].numpy().tobytes().decode(*UTF8),
            hw=(height, width),
            boxes=self.boxes[gts].numpy().copy(),
            labels=self.labels[gts].numpy().copy(),
        )

    def file_names(self) -> list[str]:
        """Return the file names of all images."""
        content, ends = self.names.numpy().tobytes(), self.name_start.tolist()
        return [content[start:end].decode(*UTF8) for start, end in pairwise(ends)]

    def renamed(self, file_names: Sequence[str]) -> "ImageRecords":
        """Return the records with other file names."""
        names = [name.encode(*UTF8) for name in file_names]
        joined = torch.from_numpy(np.array(bytearray().join(names), dtype=np.uint8))
        return replace(self, names=joined, name_start=torch.tensor([0, *map(len, names)]).cumsum(dim=0))

    def take(self, indices: Iterable[int]) -> "ImageRecords":
        """Return the records of these images, in this order."""
        chosen = torch.tensor(list(indices), dtype=torch.int64)
        gts, gt_start = _members(chosen, self.gt_start)
        name_bytes, name_start = _members(chosen, self.name_start)
        return ImageRecords(
            self.image_id[chosen],
            self.hw[chosen],
            self.boxes[gts],
            self.labels[gts],
            gt_start,
            self.names[name_bytes],
            name_start,
        )


def _members(groups: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows start[g] … start[g + 1] − 1 of each group g, concatenated, and each group's start."""
    sizes = start.diff()[groups]
    new_start = F.pad(sizes.cumsum(dim=0), (1, 0))
    shift = start[:-1][groups] - new_start[:-1]
    return torch.arange(int(new_start[-1])) + shift.repeat_interleave(sizes), new_start
