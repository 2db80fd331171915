"""Data sets of `Sample`s from folders with images and COCO instances JSON files."""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from torchvision import tv_tensors

from lad.data.annotations import CocoAnnotations, first_file_names
from lad.data.images import load_image
from lad.data.samplers import SampleKey
from lad.structures import Sample
from lad.utils.messages import one_line

MAX_PROBED_IMAGES = 100  # of a JSON, to find the folder that they are in


class CocoDataset(Dataset[Sample]):
    """The images of a folder with their gts.

    Args:
        images: Folder of the image files.
        annotations: Their annotations.
        transform: Called with (image, boxes, labels, False), returns them transformed, with the boolean negated by a
            horizontal flip; see `lad.data.transforms`. None gives float images in [0, 1].
    """

    def __init__(self, images: Path, annotations: CocoAnnotations, transform: Callable[..., Any] | None = None) -> None:
        self.images, self.annotations, self.transform = images, annotations, transform

    def __len__(self) -> int:
        return len(self.annotations.records)

    def __getitem__(self, index: int | SampleKey) -> Sample:
        """Return an image by index, or by a `SampleKey`, whose seed alone decides the random transforms."""
        if isinstance(index, SampleKey):
            with torch.random.fork_rng(devices=()):
                torch.default_generator.manual_seed(index.seed)
                return self[index.index]
        record = self.annotations.records[index]
        image = tv_tensors.Image(torch.from_numpy(self.pixels(index)).permute(2, 0, 1))
        boxes = tv_tensors.BoundingBoxes(record.boxes, format="XYXY", canvas_size=record.hw, dtype=torch.float32)
        labels = torch.from_numpy(record.labels)
        if self.transform is not None:
            image, boxes, labels, is_flipped = self.transform(image, boxes, labels, False)
        else:
            image, is_flipped = image.float() / 255, False
        return Sample(
            image.as_subclass(torch.Tensor),
            boxes.as_subclass(torch.Tensor),
            labels,
            record.image_id,
            record.hw,
            is_flipped,
        )

    def pixels(self, index: int) -> np.ndarray:
        """Load the image before its transforms, [H, W, 3] uint8 RGB."""
        record = self.annotations.records[index]
        return load_image(self.images / record.file_name, record.hw)

    def subset(self, indices: Sequence[int]) -> "CocoDataset":
        """Return the data set with only these images, in this order."""
        records = self.annotations.records.take(indices)
        return CocoDataset(self.images, replace(self.annotations, records=records), self.transform)


def find_split(folder: Path, split: str) -> tuple[Path, Path]:
    """Return the images folder and the JSON of a split ("train", "val", "test-dev" …) of a data set folder.

    The JSON is `instances_<split>*.json`, or `image_info_<split>*.json` as COCO names lists of test images, in the
    folder or its `annotations/`. The images are in `<split>…/` (`test…/` for test-dev), `images/<split>…/`, `images/`
    or the folder itself, whichever holds most of the first images.

    Raises:
        ValueError: There is no such folder, not exactly one such JSON, or no image; names the places searched.
    """
    path = find_json(folder, split)
    names = first_file_names(path, MAX_PROBED_IMAGES)
    candidates = candidate_image_folders(folder, path, split)
    images, num_images = fullest_folder(candidates, names)
    if num_images == 0:
        searched = ", ".join(f"{candidate.relative_to(folder)}/" for candidate in candidates[:-1])
        first = one_line(names[0]) if names else "no image"
        raise ValueError(f"data '{folder}': {path.name} lists {first}, which is not in {searched} or ./")
    return images, path


def find_json(folder: Path, split: str) -> Path:
    """Return the instances JSON of a split; see `find_split`."""
    if not folder.is_dir():
        raise ValueError(f"data '{folder}': no such folder")
    prefixes = ("instances", "image_info")
    parents = (folder, folder / "annotations")
    paths = sorted(path for prefix in prefixes for parent in parents for path in parent.glob(f"{prefix}_{split}*.json"))
    if len(paths) != 1:
        number = "several" if paths else "no"
        raise ValueError(
            f"data '{folder}': {number} instances_{split}*.json in it or its annotations/ folder; exactly one is needed"
        )
    return paths[0]


def split_name(path: Path) -> str:
    """Return the name of the images folder that `find_split` tries first for an instances JSON."""
    return re.sub("^(instances|image_info)_", "", path.stem).replace("-dev", "")


def candidate_image_folders(folder: Path, path: Path, split: str) -> list[Path]:
    """Return the folders that may hold the images of a split's JSON, the data set folder itself last."""
    of_split = [parent / name for name in (split_name(path), split) for parent in (folder, folder / "images")]
    return [*of_split, folder / "images", folder]


def fullest_folder(folders: Sequence[Path], names: Sequence[str]) -> tuple[Path, int]:
    """Return the first folder with the largest number of these files, and that number."""
    counts = [sum(os.path.isfile(folder / name) for name in names) for folder in folders]
    return folders[counts.index(max(counts))], max(counts)
