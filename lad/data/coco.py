"""Any folder with images and a COCO instances JSON, as a data set of `Sample`s."""

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

LOOKED_AT = 100  # images of a JSON, to find the folder that they are in


class CocoDataset(Dataset[Sample]):
    """Images of a folder with their gts. transform: of torchvision.transforms.v2, or None: float images in [0, 1]. A
    sample knows of a flip if it is `lad.data.transforms.RandomFlip`'s."""

    def __init__(self, images: Path, annotations: CocoAnnotations, transform: Callable[..., Any] | None = None) -> None:
        self.images, self.annotations, self.transform = images, annotations, transform

    def __len__(self) -> int:
        return len(self.annotations.records)

    def __getitem__(self, index: int | SampleKey) -> Sample:
        """The image at a place; of a draw, whose seed alone decides what its random transforms do."""
        if isinstance(index, SampleKey):
            with torch.random.fork_rng(devices=()):
                torch.default_generator.manual_seed(index.seed)
                return self[index.index]
        record = self.annotations.records[index]
        image = tv_tensors.Image(torch.from_numpy(self.pixels(index)).permute(2, 0, 1))
        boxes = tv_tensors.BoundingBoxes(record.boxes, format="XYXY", canvas_size=record.hw, dtype=torch.float32)
        if self.transform is not None:
            image, boxes, is_flipped = self.transform(image, boxes, False)
        else:
            image, is_flipped = image.float() / 255, False
        return Sample(
            image.as_subclass(torch.Tensor),
            boxes.as_subclass(torch.Tensor),
            torch.from_numpy(record.labels),
            record.image_id,
            record.hw,
            is_flipped,
        )

    def pixels(self, index: int) -> np.ndarray:
        """The image as it is annotated, [H, W, 3] uint8 RGB."""
        record = self.annotations.records[index]
        return load_image(self.images / record.file_name, record.hw)

    def subset(self, indices: Sequence[int]) -> "CocoDataset":
        """The same data set with only these images."""
        records = self.annotations.records.take(indices)
        return CocoDataset(self.images, replace(self.annotations, records=records), self.transform)


def find_split(folder: Path, split: str) -> tuple[Path, Path]:
    """The images folder and the JSON of a split ("train", "val", "test-dev" …) of a data set folder.

    Looks for `instances_<split>*.json`, or `image_info_<split>*.json` as COCO names lists of test images, in the
    folder or its `annotations/`; for images in `<split>…/` (`test…/` for test-dev), `images/<split>…/`, `images/` or
    the folder itself, wherever most of the first images are. Raises ValueError saying what was looked for.
    """
    path = find_json(folder, split)
    names = first_file_names(path, LOOKED_AT)
    homes = image_homes(folder, path, split)
    home, found = fullest(homes, names)
    if not found:
        looked = ", ".join(f"{home.relative_to(folder)}/" for home in homes[:-1])
        first = one_line(names[0]) if names else "no image"
        raise ValueError(f"data '{folder}': {path.name} names {first}, which is in none of {looked} or ./")
    return home, path


def find_json(folder: Path, split: str) -> Path:
    """The instances JSON of a split; see `find_split`."""
    if not folder.is_dir():
        raise ValueError(f"data '{folder}': no such folder")
    kinds = ("instances", "image_info")
    places = (folder, folder / "annotations")
    found = sorted(file for kind in kinds for place in places for file in place.glob(f"{kind}_{split}*.json"))
    if len(found) != 1:
        what = "several" if found else "no"
        raise ValueError(
            f"data '{folder}': {what} instances_{split}*.json in it or its annotations/ folder; one is needed"
        )
    return found[0]


def split_name(path: Path) -> str:
    """What the images folder of an instances JSON is called where `find_split` looks first."""
    return re.sub("^(instances|image_info)_", "", path.stem).replace("-dev", "")


def image_homes(folder: Path, path: Path, split: str) -> list[Path]:
    """Where the images of a split's JSON may be, the folder itself last."""
    named = [home / name for name in (split_name(path), split) for home in (folder, folder / "images")]
    return [*named, folder / "images", folder]


def fullest(homes: Sequence[Path], names: Sequence[str]) -> tuple[Path, int]:
    """The place with most of these files, the first of equals, and their number."""
    counts = [sum(os.path.isfile(home / name) for name in names) for home in homes]
    return homes[counts.index(max(counts))], max(counts)
