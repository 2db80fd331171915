"""A teacher's assignments, kept on disk: under fixed transforms they follow from the image and its flip, so that each
is made once and the teacher need not look again. LAD asks nothing else of its teacher.
"""

import json
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lad.geometry import Anchors, inside_images
from lad.structures import BACKGROUND, IGNORED, Batch
from lad.utils.atomic_io import write_text

CACHE_FILES = "assignments.*.bin"  # one of each process, with its rank
FORMAT = 1
RECORD = struct.Struct("<q?II")  # image id, flipped, number of positives, CRC-32 of all that
POSITIVE = np.dtype([("level", "u1"), ("row", "<u2"), ("column", "<u2"), ("gt", "<u4")])  # gt: of the image's own

Key = Mapping[str, str | int]
ImageKey = tuple[int, bool]  # an image's id, and whether it is flipped


class AssignmentCache:
    """The positives of each (image, flip) as they were at its first image_key. Each process that trains writes a file of
    its own, which is only ever appended to, and reads those of all.

    Where a batch is padded to another size than at first image_key, the assignment is still that of the first.
    """

    def __init__(self, folder: Path, key: Key, rank: int = 0) -> None:
        """folder: of the run. key: by name, all that its assignments depend on beside image and flip.

        Raises ValueError, naming the file and what differs, if one was made under another key.
        """
        self.folder, self.key = folder, {"format": FORMAT, **key}
        self.path = folder / CACHE_FILES.replace("*", str(rank))
        if not self.path.exists():
            write_text(self.path, json.dumps(self.key) + "\n")
        self.files: dict[Path, _File] = {}
        self.places: dict[ImageKey, tuple[_File, int, int]] = {}  # file, offset, number of positives
        self.refresh()
        self.own = self.files[self.path]
        self.own.begin_writing()

    def __len__(self) -> int:
        return len(self.places)

    def refresh(self) -> None:
        """Take up what all processes have written; to be called between epochs. Of two records the own one counts."""
        for path in sorted(self.folder.glob(CACHE_FILES), key=lambda path: (path != self.path, path)):
            if path not in self.files:
                self.files[path] = _File(path, self.key)
            file = self.files[path]
            for image_key, offset, count in file.new_records():
                self.places.setdefault(image_key, (file, offset, count))

    def get(self, batch: Batch, anchors: Anchors, assign: Callable[[Batch], Tensor]) -> Tensor:
        """The assignment gt_index [N, A] of a batch, on the host. assign: makes that of a batch of images not seen
        before, padded as they are here. anchors: of the batch, on the host."""
        keys = list(zip(batch.image_id.tolist(), batch.is_flipped.tolist(), strict=True))
        new = [row for row, image_key in enumerate(keys) if image_key not in self.places]
        if new:
            unseen = batch.take(new) if len(new) < len(keys) else batch
            self._remember([keys[row] for row in new], unseen, assign(unseen).cpu(), anchors)
        positives = [file.read(offset, count) for file, offset, count in map(self.places.__getitem__, keys)]
        image = np.repeat(np.arange(len(keys)), list(map(len, positives)))
        level, row, column, gt = (np.concatenate(positives)[name].astype(np.int64) for name in POSITIVE.names or ())
        width, start = _layout(anchors)
        location = start[level] + row * width[level] + column
        gt_index = torch.where(inside_images(anchors, batch.targets.image_hw), BACKGROUND, IGNORED)
        gt_index[image, location] = torch.from_numpy(gt + _first_gt(batch).numpy()[image])
        return gt_index

    def _remember(self, keys: list[ImageKey], batch: Batch, gt_index: Tensor, anchors: Anchors) -> None:
        image, location = (gt_index >= 0).nonzero(as_tuple=True)
        width, start = _layout(anchors)
        level = anchors.level[location].numpy()
        place = location.numpy() - start[level]
        positives = np.empty(len(image), POSITIVE)
        positives["level"], positives["row"], positives["column"] = level, place // width[level], place % width[level]
        positives["gt"] = (gt_index[image, location] - _first_gt(batch)[image]).numpy()
        of_image = np.split(positives, np.searchsorted(image.numpy(), np.arange(1, len(keys))))
        for image_key, one in zip(keys, of_image, strict=True):
            self.places[image_key] = (self.own, self.own.append(image_key, one), len(one))
        self.own.flush()


class _File:
    """A line of JSON, the key, and records after it. What a killed process left half written at its end is none."""

    def __init__(self, path: Path, key: Key) -> None:
        self.path = path
        self.reader = path.open("rb")
        try:
            found = dict(json.loads(self.reader.readline()))
        except (ValueError, TypeError):
            raise ValueError(f"{path}: damaged; remove it, and its assignments are made anew") from None
        if found != key:
            name = next(name for name in {**key, **found} if found.get(name) != key.get(name))
            raise ValueError(
                f"{path}: holds assignments made with {name}={found.get(name)!r}, but this run has {key.get(name)!r}; "
                "remove it to have them made anew"
            )
        self.end = self.reader.tell()

    def new_records(self) -> Iterator[tuple[ImageKey, int, int]]:
        """Image and flip, offset and number of positives of each whole record behind the last one that was read."""
        self.reader.seek(self.end)
        size = os.fstat(self.reader.fileno()).st_size
        while len(head := self.reader.read(RECORD.size)) == RECORD.size:
            image_id, flipped, count, checksum = RECORD.unpack(head)
            if self.end + len(head) + count * POSITIVE.itemsize > size:  # before memory is taken for it
                return
            body = self.reader.read(count * POSITIVE.itemsize)
            if _checksum(image_id, flipped, body) != checksum:
                return
            self.end += len(head) + len(body)
            yield (image_id, flipped), self.end - len(body), count

    def begin_writing(self) -> None:
        os.truncate(self.path, self.end)
        self.writer = self.path.open("ab")

    def append(self, image_key: ImageKey, positives: np.ndarray) -> int:
        """Add a record; returns the offset of its positives. They can be read after the next `flush`."""
        body = positives.tobytes()
        self.writer.write(RECORD.pack(*image_key, len(positives), _checksum(*image_key, body)) + body)
        self.end += RECORD.size + len(body)
        return self.end - len(body)

    def flush(self) -> None:
        self.writer.flush()

    def read(self, offset: int, count: int) -> np.ndarray:
        """The positives of a record, [count] of `POSITIVE`."""
        return np.frombuffer(os.pread(self.reader.fileno(), count * POSITIVE.itemsize, offset), POSITIVE)


def _checksum(image_id: int, flipped: bool, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(struct.pack("<q?", image_id, flipped)))


def _layout(anchors: Anchors) -> tuple[np.ndarray, np.ndarray]:
    """Of each level: the columns of its grid and its first anchor, [5] each."""
    counts = np.array(anchors.level_counts)
    return anchors.level_hw[:, 1].numpy(), counts.cumsum() - counts


def _first_gt(batch: Batch) -> Tensor:
    """Row [N] of each image's first gt in the batch's list."""
    return torch.searchsorted(batch.targets.image, torch.arange(len(batch.image_id)))
