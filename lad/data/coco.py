"""Data sets of `Sample`s from folders with images and COCO instances JSON files."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from torchvision import tv_tensors

from lad.data.annotations import CocoAnnotations, first_file_names, read_annotations
from lad.data.file_names import find_names, stays_inside
from lad.data.images import load_image
from lad.data.layouts import SplitFiles, locate_split
from lad.data.samplers import SampleKey
from lad.data.val_share import DEFAULT_VAL_SHARE, validation_rows
from lad.structures import Sample
from lad.utils.messages import one_line
from lad.utils.progress import log

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


def open_splits(
    data: Path, splits: Sequence[str], images: Path | str | None = None, val_share: float | None = None
) -> list[CocoDataset]:
    """Open splits of a data set, without transforms; each must have the categories of the first.

    Each file name is the one under which the image is found; one line reports names in another spelling.

    Args:
        data: Data set folder in one of `lad.data.layouts.LAYOUTS`, or a JSON file.
        splits: Their names ("train", "val", "test-dev" …).
        images: Folder of the images of a JSON file; None looks beside it.
        val_share: Share of the images that are for validation if training and validation have one JSON; None: 0.2.

    Raises:
        ValueError: As `find_split` and `read_annotations`, or the data cannot be split.
    """
    opened: dict[Path, tuple[CocoDataset, CocoAnnotations]] = {}  # with and without the names found, by the JSON
    datasets = []
    for split in splits:
        folder, path = find_split(data, split, images)
        if path not in opened:
            like = next((annotations for _, annotations in opened.values()), None)
            annotations = read_annotations(path, like=like)
            opened[path] = _with_found_names(folder, annotations), annotations
        dataset, annotations = opened[path]
        if locate_split(data, split, images).is_shared:
            dataset = dataset.subset(rows_of_part(annotations, split, val_share or DEFAULT_VAL_SHARE))
        datasets.append(CocoDataset(dataset.images, dataset.annotations))
    return datasets


def rows_of_part(annotations: CocoAnnotations, part: str, val_share: float) -> list[int]:
    """Return the indices of the images of a part, "train" or "val", of a JSON for both.

    Raises:
        ValueError: It has fewer than two images.
    """
    if len(annotations.records) < 2:
        raise ValueError(f"{annotations.path}: has no second image, so it cannot be split into training and validation")
    records = annotations.records
    labels = [set(of_image.tolist()) for of_image in records.labels.split(records.gt_start.diff().tolist())]
    is_val = validation_rows(records.file_names(), labels, val_share)
    return [row for row, for_validation in enumerate(is_val) if for_validation == (part == "val")]


def find_split(data: Path, split: str, images: Path | str | None = None) -> tuple[Path, Path]:
    """Return the images folder and the JSON of a split ("train", "val", "test-dev" …) of a data set.

    The layouts are those of `lad.data.layouts.LAYOUTS`. COCO's JSON is `instances_<split>*.json`, or
    `image_info_<split>*.json` as COCO names lists of test images, in the folder or its `annotations/`; its images are
    in `<split>…/` (`test…/` for test-dev), `images/<split>…/`, `images/` or the folder itself. The folder that holds
    most of the first images is taken. Training and validation may share a JSON; see `open_splits`.

    Args:
        data: Data set folder or a JSON file.
        split: Name of the split.
        images: Folder of the images of a JSON file; None looks beside it.

    Raises:
        ValueError: There is no such folder, not exactly one such JSON, or no image; names the places searched.
    """
    files = locate_split(data, split, images)
    names = first_file_names(files.path, MAX_PROBED_IMAGES)
    folder, num_images = fullest_folder(files.image_folders, names)
    if num_images == 0:
        searched = " or ".join(filter(None, [", ".join(_places(files)[:-1]), _places(files)[-1]]))
        first = one_line(names[0]) if names else "no image"
        raise ValueError(f"data '{data}': {files.path.name} lists {first}, which is not in {searched}{_hint(names)}")
    return folder, files.path


def fullest_folder(folders: Sequence[Path], names: Sequence[str]) -> tuple[Path, int]:
    """Return the first folder with the most of these files, of ties that with more exact names, and their number."""
    allowed = [name for name in names if stays_inside(name)]
    found = [find_names(folder, allowed) for folder in folders]
    counts = [(of_folder.found, of_folder.exact) for of_folder in found]
    return folders[counts.index(max(counts))], max(counts)[0]


def _with_found_names(images: Path, annotations: CocoAnnotations) -> CocoDataset:
    """Return the data set with the names under which its images are found, and log if they differ from those given."""
    found = find_names(images, annotations.records.file_names())
    if found.note is not None:
        log(f"{annotations.path}: {found.note}")
        annotations = replace(annotations, records=annotations.records.renamed(found.names))
    return CocoDataset(images, annotations)


def _places(files: SplitFiles) -> list[str]:
    """Return the folders that were searched for images, relative to the data set folder where they are in it."""
    folder = files.data if files.data.is_dir() else files.data.parent
    relative = (
        f"{place.relative_to(folder).as_posix()}/" if place.is_relative_to(folder) else one_line(str(place))
        for place in files.image_folders
    )
    return list(relative)


def _hint(names: Sequence[str]) -> str:
    if names and "\\" in names[0]:
        return "; nor is it with / in place of each backslash (\\)"
    return ""
