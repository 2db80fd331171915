"""Any folder with images and a COCO instances JSON, as a data set of `Sample`s."""

import json
import logging
import math
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from torchvision import tv_tensors

from lad.data.batch import Sample
from lad.data.images import load_image

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImageRecord:
    """One annotated image. boxes: [t, 4] float32 xyxy pixels, inside the image. labels: [t] int64."""

    image_id: int
    file_name: str
    hw: tuple[int, int]
    boxes: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class CocoAnnotations:
    """A parsed instances JSON. Label l is category id `category_ids[l]` (ids may have gaps), named `class_names[l]`."""

    path: Path
    category_ids: tuple[int, ...]
    class_names: tuple[str, ...]
    records: tuple[ImageRecord, ...]
    is_annotated: bool = True  # False for a list of test images, whose gts nobody has


class CocoDataset(Dataset[Sample]):
    """Images of a folder with their gts. transform: of torchvision.transforms.v2, or None: float images in [0, 1]."""

    def __init__(self, images: Path, annotations: CocoAnnotations, transform: Callable[..., Any] | None = None) -> None:
        self.images, self.annotations, self.transform = images, annotations, transform

    def __len__(self) -> int:
        return len(self.annotations.records)

    def __getitem__(self, index: int) -> Sample:
        record = self.annotations.records[index]
        image = tv_tensors.Image(torch.from_numpy(self.pixels(index)).permute(2, 0, 1))
        boxes = tv_tensors.BoundingBoxes(record.boxes, format="XYXY", canvas_size=record.hw, dtype=torch.float32)
        if self.transform is not None:
            image, boxes = self.transform(image, boxes)
        else:
            image = image.float() / 255
        labels = torch.from_numpy(record.labels)
        return Sample(
            image.as_subclass(torch.Tensor), boxes.as_subclass(torch.Tensor), labels, record.image_id, record.hw
        )

    def pixels(self, index: int) -> np.ndarray:
        """The image as it is annotated, [H, W, 3] uint8 RGB."""
        record = self.annotations.records[index]
        return load_image(self.images / record.file_name, record.hw)

    def subset(self, indices: Sequence[int]) -> "CocoDataset":
        """The same data set with only these images."""
        records = tuple(self.annotations.records[index] for index in indices)
        return CocoDataset(self.images, replace(self.annotations, records=records), self.transform)

    def unreadable_images(self, threads: int = 8) -> dict[int, str]:
        """Decode every image once: index → what is wrong, for those that cannot be used."""

        def problem(record: ImageRecord) -> str | None:
            try:
                load_image(self.images / record.file_name, record.hw)
            except ValueError as error:
                return str(error)
            return None

        with ThreadPoolExecutor(threads) as pool:
            problems = pool.map(problem, self.annotations.records)
            return {index: text for index, text in enumerate(problems) if text is not None}


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
    entries = _load_json(found[0]).get("images") or [{}]
    first = str(entries[0].get("file_name", "")) if isinstance(entries[0], dict) else ""
    homes = [folder / name, folder / "images" / name, folder / split, folder / "images" / split, folder / "images"]
    for home in (*homes, folder):
        if (home / first).is_file():
            return home, found[0]
    looked = ", ".join(f"{home.relative_to(folder)}/" for home in homes)
    raise ValueError(
        f"data '{folder}': {found[0].name} names {first or 'no image'}, which is in none of {looked} or ./"
    )


def read_annotations(path: Path, like: CocoAnnotations | None = None) -> CocoAnnotations:
    """Parse and check an instances JSON. like: annotations whose categories these must share (val, after train).

    Crowds and boxes without area are not gts; a box that reaches outside its image is clipped to it, and the file's
    count of such boxes is logged as one warning. Images without gts are kept.
    Raises ValueError that names the file and the entry for anything else that is not as the format wants it.
    """
    content = _load_json(path)
    is_annotated = "annotations" in content or not path.name.startswith("image_info")
    content = content if is_annotated else {**content, "annotations": []}
    for key in ("images", "annotations", "categories"):
        if not isinstance(content.get(key), list):
            raise ValueError(f"{path}: has no list '{key}'; a COCO instances JSON is needed")
    category_ids, class_names = _categories(path, content["categories"])
    if like is not None and (category_ids, class_names) != (like.category_ids, like.class_names):
        raise ValueError(f"{path}: its categories differ from those of {like.path}; both must list the same")
    label_of = {category_id: label for label, category_id in enumerate(category_ids)}

    sizes = {_integer(path, "image", entry, "id"): _image_size(path, entry) for entry in content["images"]}
    if len(sizes) != len(content["images"]):
        raise ValueError(f"{path}: image ids are not unique")
    gts: dict[int, list[tuple[list[float], int]]] = {image_id: [] for image_id in sizes}
    outside: list[Any] = []
    for entry in content["annotations"]:
        image_id, category_id = (_integer(path, "annotation", entry, key) for key in ("image_id", "category_id"))
        if image_id not in sizes or category_id not in label_of:
            key = "category_id" if image_id in sizes else "image_id"
            raise ValueError(f"{path}: annotation {entry.get('id')} has {key} {entry[key]}, which is not listed")
        box = _corner_box(path, entry)
        if entry.get("iscrowd") or box[2] <= box[0] or box[3] <= box[1]:
            continue
        clipped = _clip(box, sizes[image_id][1])
        if max(abs(a - b) for a, b in zip(box, clipped, strict=True)) > 1:  # a pixel is common rounding
            outside.append(entry.get("id"))
        if clipped[2] > clipped[0] and clipped[3] > clipped[1]:
            gts[image_id].append((clipped, label_of[category_id]))
    if outside:
        logger.warning("%s: %d boxes reach outside their image and were clipped to it (first: annotation %s)",
                       path, len(outside), outside[0])  # fmt: skip
    records = tuple(_record(image_id, *size, gts[image_id]) for image_id, size in sizes.items())
    return CocoAnnotations(path, category_ids, class_names, records, is_annotated)


def _record(image_id: int, file_name: str, hw: tuple[int, int], gts: list[tuple[list[float], int]]) -> ImageRecord:
    boxes = np.array([box for box, _ in gts], dtype=np.float32).reshape(-1, 4)
    return ImageRecord(image_id, file_name, hw, boxes, np.array([label for _, label in gts], dtype=np.int64))


def _load_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: is not valid JSON ({error})") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: is not a COCO instances JSON (an object with images, annotations and categories)")
    return content


def _categories(path: Path, entries: list[Any]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    names = {_integer(path, "category", entry, "id"): str(entry.get("name", entry["id"])) for entry in entries}
    if not names:
        raise ValueError(f"{path}: lists no categories")
    if len(names) != len(entries):
        raise ValueError(f"{path}: category ids are not unique")
    category_ids = tuple(sorted(names))
    return category_ids, tuple(names[category_id] for category_id in category_ids)


def _integer(path: Path, kind: str, entry: Any, key: str) -> int:
    value = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(value, int) or isinstance(value, bool):
        name = entry.get("id", "?") if isinstance(entry, dict) else "?"
        raise ValueError(f"{path}: {kind} {name} has no whole number '{key}'")
    return value


def _image_size(path: Path, entry: dict[str, Any]) -> tuple[str, tuple[int, int]]:
    height, width = (_integer(path, "image", entry, key) for key in ("height", "width"))
    file_name = entry.get("file_name")
    if not isinstance(file_name, str) or Path(file_name).is_absolute() or ".." in Path(file_name).parts:
        raise ValueError(f"{path}: image {entry['id']} has no file_name inside the images folder ({file_name!r})")
    if height < 1 or width < 1:
        raise ValueError(f"{path}: image {entry['id']} has size {width} x {height}")
    return file_name, (height, width)


def _corner_box(path: Path, entry: dict[str, Any]) -> list[float]:
    """COCO's [x, y, width, height] as [x0, y0, x1, y1]."""
    box = entry.get("bbox")
    is_box = isinstance(box, list) and len(box) == 4 and all(isinstance(v, int | float) for v in box)
    if not is_box or not all(math.isfinite(v) for v in box):  # type: ignore[union-attr]
        raise ValueError(f"{path}: annotation {entry.get('id')} has bbox {box!r}; four finite numbers are needed")
    x, y, width, height = box  # type: ignore[misc]
    return [x, y, x + width, y + height]


def _clip(box: list[float], hw: tuple[int, int]) -> list[float]:
    return [min(max(value, 0), limit) for value, limit in zip(box, (hw[1], hw[0]) * 2, strict=True)]
