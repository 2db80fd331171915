"""Embedded data sets as folders in COCO format, written on first use."""

import functools
import json
import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from PIL import Image

from lad.data.synthetic.difficulties import DIFFICULTIES, find_difficulty
from lad.data.synthetic.shapes import Shape, render_shapes
from lad.utils.paths import cache_folder

VERSION = 1  # of the images; a new number makes every cache draw them again


def write_shapes(folder: Path, difficulty: str, sizes: dict[str, int] | None = None, processes: int = 1) -> None:
    """Write a data set folder with `instances_<split>.json` and `<split>/<index>.png` for both splits.

    The folder appears in one step when it is complete; an existing one is kept unchanged.

    Args:
        folder: Data set folder.
        difficulty: Name of a data set, a key of `DIFFICULTIES`.
        sizes: Numbers of images by split, instead of the default ones.
        processes: Number of processes that draw; the images do not depend on it.

    Raises:
        ValueError: The difficulty is unknown, or `sizes` not of both splits and positive.
    """
    images = {**find_difficulty(difficulty).images, **(sizes or {})}
    if images.keys() != find_difficulty(difficulty).images.keys() or min(images.values()) < 1:
        raise ValueError(f"sizes={sizes} must give 'train' and 'val' a positive number of images")
    if folder.is_dir():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as unfinished:
        draft = Path(unfinished) / folder.name
        for split, count in images.items():
            (draft / split).mkdir(parents=True)
            instances = _write_split(draft / split, difficulty, split, count, processes)
            (draft / f"instances_{split}.json").write_text(json.dumps(instances))
        try:
            draft.rename(folder)
        except OSError:  # another process was faster, and its images are the same
            if not folder.is_dir():
                raise


def data_folder(data: str) -> Path:
    """Return the folder of an embedded data set by its name, drawn on first use, or of any other by its path."""
    return shapes_folder(data) if data in DIFFICULTIES else Path(data)


def shapes_folder(difficulty: str, cache: str | Path | None = None, processes: int = 1) -> Path:
    """Return an embedded data set's folder, written on first use by so many processes.

    It is under `cache`, by default `cache_folder()`.
    """
    find_difficulty(difficulty)
    folder = Path(cache or cache_folder()).expanduser() / f"{difficulty}-v{VERSION}"
    if not folder.is_dir():
        write_shapes(folder, difficulty, processes=processes)
    return folder


def _write_image(folder: Path, difficulty: str, split: str, index: int) -> tuple[str, tuple[int, int], list[Shape]]:
    """Write an image of a split; return its file's name, its (height, width) and its objects."""
    image, shapes = render_shapes(difficulty, split, index)
    name = f"{index:06d}.png"
    Image.fromarray(image).save(folder / name, compress_level=1)
    return name, (image.shape[0], image.shape[1]), shapes


def _write_split(folder: Path, difficulty: str, split: str, count: int, processes: int) -> dict[str, object]:
    """Write the first `count` images of a split and return their COCO annotations."""
    write = functools.partial(_write_image, folder, difficulty, split)
    if processes == 1:
        written = list(map(write, range(count)))
    else:
        with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
            written = list(pool.map(write, range(count), chunksize=16))
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for index, (name, (height, width), shapes) in enumerate(written):
        images.append({"id": index + 1, "file_name": name, "width": width, "height": height})
        for shape in shapes:
            x0, y0, x1, y1 = shape.box
            annotation: dict[str, object] = {
                "id": len(annotations) + 1,
                "image_id": index + 1,
                "category_id": shape.category + 1,
            }
            annotation |= {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": shape.area, "iscrowd": 0}
            annotations.append(annotation)
    classes = enumerate(DIFFICULTIES[difficulty].classes, start=1)
    return {
        "info": {"description": f"Colored shapes, {difficulty}, {split}", "version": str(VERSION)},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": i, "name": name, "supercategory": "shape"} for i, name in classes],
    }
