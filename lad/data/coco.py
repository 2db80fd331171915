"""Any folder with images and a COCO instances JSON, as a data set of `Sample`s."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from torchvision import tv_tensors

from lad.data.annotations import CocoAnnotations, first_file_name
from lad.data.batch import Sample
from lad.data.images import load_image
from lad.data.order import Draw


class CocoDataset(Dataset[Sample]):
    """Images of a folder with their gts. transform: of torchvision.transforms.v2, or None: float images in [0, 1]. A
    sample knows of a flip if it is `lad.data.transforms.RandomFlip`'s."""

    def __init__(self, images: Path, annotations: CocoAnnotations, transform: Callable[..., Any] | None = None) -> None:
        self.images, self.annotations, self.transform = images, annotations, transform

    def __len__(self) -> int:
        return len(self.annotations.records)

    def __getitem__(self, index: int | Draw) -> Sample:
        """The image at a place; of a draw, whose seed alone decides what its random transforms do."""
        if isinstance(index, Draw):
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
    the folder itself, wherever the first image is. Raises ValueError saying what was looked for.
    """
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
    name = re.sub("^(instances|image_info)_", "", found[0].stem).replace("-dev", "")
    first = first_file_name(found[0])
    homes = [folder / name, folder / "images" / name, folder / split, folder / "images" / split, folder / "images"]
    for home in (*homes, folder):
        if (home / first).is_file():
            return home, found[0]
    looked = ", ".join(f"{home.relative_to(folder)}/" for home in homes)
    raise ValueError(
        f"data '{folder}': {found[0].name} names {first or 'no image'}, which is in none of {looked} or ./"
    )
