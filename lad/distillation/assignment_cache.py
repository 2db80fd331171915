"""A cache of a teacher's assignments on disk.

Under deterministic transforms, an assignment depends only on the image and its flip, so the teacher's forward pass is
needed once for each pair. LAD uses nothing else of its teacher.
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

CACHE_FILES = "assignments.*.bin"  # one per process, named after its rank
FORMAT = 1
RECORD = struct.Struct("<q?II")  # image id, flipped, number of positives, CRC-32 of the record
POSITIVE = np.dtype(
    [("level", "u1"), ("row", "<u2"), ("column", "<u2"), ("gt", "<u4")]
)  # gt: index among the image's gts, or IGNORED_GT for an anchor that is no positive, but ignored
IGNORED_GT = 2**32 - 1

Key = Mapping[str, str | int]
ImageKey = tuple[int, bool]  # an image's id, and whether it is flipped


class AssignmentCache:
    """The positives and ignored anchors of each (image, flip), from the first batch that contained it.

    Each training process appends to its own file and reads the files of all processes. The cached assignment is also
    used where a later batch is padded to another size.

    Args:
        folder: Folder of the run.
        key: Everything besides image and flip that the assignments depend on, by name.
        rank: Rank of this process.

    Raises:
        ValueError: A file was written under another key; names the file and what differs.
    """

    def __init__(self, folder: Path, key: Key, rank: int = 0) -> None:
        self.folder, self.key = folder, {"format": FORMAT, **key}
        self.path = folder / CACHE_FILES.replace("*", str(rank))
        if not self.path.exists():
            write_text(self.path, json.dumps(self.key) + "\n")
        self.files: dict[Path, _File] = {}
        self.records: dict[ImageKey, tuple[_File, int, int]] = {}  # file, offset, number of positives
        self.refresh()
        self.own = self.files[self.path]
        self.own.begin_writing()

    def __len__(self) -> int:
        return len(self.records)

    def refresh(self) -> None:
        """Read the records that all processes have added, between epochs; of duplicates, this process's own is used."""
        for path in sorted(self.folder.glob(CACHE_FILES), key=lambda path: (path != self.path, path)):
            if path not in self.files:
                self.files[path] = _File(path, self.key)
            file = self.files[path]
            for image_key, offset, count in file.new_records():
                self.records.setdefault(image_key, (file, offset, count))

    def get(self, batch: Batch, anchors: Anchors, assign: Callable[[Batch], Tensor]) -> Tensor:
        """Return the assignment gt_index [N, A] of a batch, on the host.

        Args:
            batch: The images and their gts, on the host.
            anchors: The anchors of the batch, on the host.
            assign: Computes the assignment of a batch of the images that are not cached yet, padded as in `batch`.
        """
        keys = list(zip(batch.image_id.tolist(), batch.is_flipped.tolist(), strict=True))
        new = [row for row, image_key in enumerate(keys) if image_key not in self.records]
        if new:
            uncached = batch.take(new) if len(new) < len(keys) else batch
            self._add([keys[row] for row in new], uncached, assign(uncached).cpu(), anchors)
        positives = [file.read(offset, count) for file, offset, count in map(self.records.__getitem__, keys)]
        image = np.repeat(np.arange(len(keys)), list(map(len, positives)))
        level, row, column, gt = (np.concatenate(positives)[name].astype(np.int64) for name in POSITIVE.names or ())
        width, start = _layout(anchors)
        location = start[level] + row * width[level] + column
        gt_index = torch.where(inside_images(anchors, batch.targets.image_hw), BACKGROUND, IGNORED)
        gt_index[image, location] = torch.from_numpy(
            np.where(gt == IGNORED_GT, IGNORED, gt + _first_gt(batch).numpy()[image])
        )
        return gt_index

    def _add(self, keys: list[ImageKey], batch: Batch, gt_index: Tensor, anchors: Anchors) -> None:
        is_ignored = (gt_index == IGNORED) & inside_images(anchors, batch.targets.image_hw)  # not the padding
        image, location = ((gt_index >= 0) | is_ignored).nonzero(as_tuple=True)
        width, start = _layout(anchors)
        level = anchors.level[location].numpy()
        position = location.numpy() - start[level]
        positives = np.empty(len(image), POSITIVE)
        positives["level"], positives["row"], positives["column"] = (
            level,
            position // width[level],
            position % width[level],
        )
        gt = gt_index[image, location]
        positives["gt"] = torch.where(gt >= 0, gt - _first_gt(batch)[image], IGNORED_GT).numpy()
        of_image = np.split(positives, np.searchsorted(image.numpy(), np.arange(1, len(keys))))
        for image_key, own in zip(keys, of_image, strict=True):
            self.records[image_key] = (self.own, self.own.append(image_key, own), len(own))
        self.own.flush()


class _File:
    """A file of the cache: the key as one line of JSON, then the records; an incomplete last record is dropped."""

    def __init__(self, path: Path, key: Key) -> None:
        self.path = path
        self.reader = path.open("rb")
        try:
            stored = dict(json.loads(self.reader.readline()))
        except (ValueError, TypeError):
            raise ValueError(f"{path}: corrupted; delete it to compute the assignments again") from None
        if stored != key:
            name = next(name for name in {**key, **stored} if stored.get(name) != key.get(name))
            raise ValueError(
                f"{path}: holds assignments made with {name}={stored.get(name)!r}, but this run has {key.get(name)!r}; "
                "delete it to compute the assignments again"
            )
        self.end = self.reader.tell()

    def new_records(self) -> Iterator[tuple[ImageKey, int, int]]:
        """Yield key, offset and number of positives of each complete record behind the last one that was read."""
        self.reader.seek(self.end)
        size = os.fstat(self.reader.fileno()).st_size
        while len(head := self.reader.read(RECORD.size)) == RECORD.size:
            image_id, flipped, count, checksum = RECORD.unpack(head)
            if self.end + len(head) + count * POSITIVE.itemsize > size:  # before allocating its memory
                return
            body = self.reader.read(count * POSITIVE.itemsize)
            if _checksum(image_id, flipped, body) != checksum:
                return
            self.end += len(head) + len(body)
            yield (image_id, flipped), self.end - len(body), count

    def begin_writing(self) -> None:
        """Drop an incomplete last record and open the file for appending."""
        os.truncate(self.path, self.end)
        self.writer = self.path.open("ab")

    def append(self, image_key: ImageKey, positives: np.ndarray) -> int:
        """Append a record and return the offset of its positives, which can be read after the next `flush`."""
        body = positives.tobytes()
        self.writer.write(RECORD.pack(*image_key, len(positives), _checksum(*image_key, body)) + body)
        self.end += RECORD.size + len(body)
        return self.end - len(body)

    def flush(self) -> None:
        """Write appended records to the file."""
        self.writer.flush()

    def read(self, offset: int, count: int) -> np.ndarray:
        """Return the positives of a record, [count] of `POSITIVE`."""
        return np.frombuffer(os.pread(self.reader.fileno(), count * POSITIVE.itemsize, offset), POSITIVE)


def _checksum(image_id: int, flipped: bool, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(struct.pack("<q?", image_id, flipped)))


def _layout(anchors: Anchors) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of columns and the first anchor of each level, [5] each."""
    counts = np.array(anchors.level_counts)
    return anchors.level_hw[:, 1].numpy(), counts.cumsum() - counts


def _first_gt(batch: Batch) -> Tensor:
    """Return the row [N] of each image's first gt in the batch's targets."""
    return torch.searchsorted(batch.targets.image, torch.arange(len(batch.image_id)))
