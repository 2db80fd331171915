"""A small data set and the faults that a COCO-format data set may have, for the tests of validation."""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 16, 12
ELSEWHERE = "elsewhere.png"  # beside the images folder
Fault = Callable[[dict[str, Any], Path, int], object]  # spoils a document or its images folder at an image's index


def tiny(number: int = 4) -> dict[str, Any]:
    """Return images 0, 1, … with two annotations each, the second a crowd: image 1 has annotations 10 and 11."""
    size = {"width": WIDTH, "height": HEIGHT, "license": 1}
    mask = {"size": [HEIGHT, WIDTH], "counts": [100, 30, 62]}
    polygon = [[2, 3, 8, 3, 8, 8.5]]
    return {
        "info": {"description": "tiny", "version": 1.0},
        "images": [{"id": i, "file_name": f"{i}.png", **size} for i in range(number)],
        "annotations": [
            {"id": 10 * i + j, "image_id": i, "category_id": (3, 90)[i % 2], "bbox": [2, 3, 6, 5.5], "area": 33.0,
             "iscrowd": j, "segmentation": (polygon, mask)[j]}
            for i in range(number) for j in range(2)
        ],
        "categories": [{"id": 90, "name": "zebra"}, {"id": 3, "name": "car", "supercategory": "vehicle"}],
    }  # fmt: skip


def write(folder: Path, document: Any, number: int = 4) -> tuple[Path, Path]:
    """Write a data set and return its images folder and JSON."""
    images = folder / "images"
    images.mkdir(parents=True)
    for i in range(number):
        Image.fromarray(np.full((HEIGHT, WIDTH, 3), 9 * i, dtype=np.uint8)).save(images / f"{i}.png")
    Image.new("RGB", (WIDTH, HEIGHT)).save(folder / ELSEWHERE)
    return images, save(folder, document)


def save(folder: Path, document: Any) -> Path:
    path = folder / "instances_train.json"
    path.write_text(json.dumps(document))
    return path


def of_image(**changes: Any) -> Fault:
    return lambda document, images, i: document["images"][i].update(changes)


def of_gt(**changes: Any) -> Fault:
    return lambda document, images, i: document["annotations"][2 * i].update(changes)


def of_crowd(**changes: Any) -> Fault:
    return lambda document, images, i: document["annotations"][2 * i + 1].update(changes)


def of_category(**changes: Any) -> Fault:
    return lambda document, images, i: document["categories"][1].update(changes)


def without(section: str, key: str) -> Fault:
    return lambda document, images, i: document[section][i].pop(key)


def of_file(change: Callable[[Path], object]) -> Fault:
    """Delete the image's file; `change` makes another one, or none."""

    def fault(document: dict[str, Any], images: Path, i: int) -> None:
        file = images / f"{i}.png"
        file.unlink(missing_ok=True)
        change(file)

    return fault


def truncate(file: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)).save(file)
    file.write_bytes(file.read_bytes()[:300])


def animate(file: Path) -> None:
    frames = [Image.new("RGB", (WIDTH, HEIGHT), color) for color in ("red", "blue")]
    frames[0].save(file, save_all=True, append_images=frames[1:])


def duplicate(section: str, **changes: Any) -> Fault:
    """Repeat the image, or its first annotation."""
    per_image = {"images": 1, "annotations": 2}
    return lambda document, images, i: document[section].append(
        {**document[section][i * per_image[section]], **changes}
    )


def mask(**changes: Any) -> dict[str, Any]:
    return {"size": [HEIGHT, WIDTH], "counts": [100, 30, 62], **changes}


SECTIONS = ("categories", "images", "annotations")
IMAGE, GT, CROWD = (1, None), (1, 10), (1, 11)  # ids of a finding about image 1
# fault, severity, kind and (image id, annotation id) of its finding
FAULTS: dict[str, tuple[Fault, str, str, tuple[int | None, int | None]]] = {
    "no file": (of_file(lambda file: None), "error", "missing-file", IMAGE),
    "a link to nowhere": (of_file(lambda file: file.symlink_to("nowhere.png")), "error", "missing-file", IMAGE),
    "a truncated file": (of_file(truncate), "error", "unreadable-image", IMAGE),
    "text": (of_file(lambda file: file.write_text("text")), "error", "unreadable-image", IMAGE),
    "an empty file": (of_file(lambda file: file.write_bytes(b"")), "error", "unreadable-image", IMAGE),
    "a folder": (of_file(lambda file: file.mkdir()), "error", "unreadable-image", IMAGE),
    "a pipe": (of_file(lambda file: os.mkfifo(file)), "error", "unreadable-image", IMAGE),
    "an animation": (of_file(animate), "error", "unreadable-image", IMAGE),
    "floats": (of_file(lambda file: Image.new("F", (WIDTH, HEIGHT)).save(file, "tiff")), "error", "unreadable-image",
               IMAGE),
    "another size": (of_file(lambda file: Image.new("L", (HEIGHT, WIDTH)).save(file)), "error", "wrong-size", IMAGE),
    "a smaller file": (of_file(lambda file: Image.new("L", (4, 3)).save(file)), "error", "wrong-size", IMAGE),
    "a link to outside": (of_file(lambda file: file.symlink_to(file.parent.parent / ELSEWHERE)), "error",
                          "outside-folder", IMAGE),
    "a folder linked to outside": (
        lambda document, images, i: ((images / "out").symlink_to(images.parent),
                                     of_image(file_name=f"out/{ELSEWHERE}")(document, images, i)),
        "error", "outside-folder", IMAGE),
    "an absolute name": (lambda document, images, i: of_image(file_name=str(images / f"{i}.png"))(document, images, i),
                         "error", "bad-file-name", IMAGE),
    "a name that climbs": (of_image(file_name=f"../{ELSEWHERE}"), "error", "bad-file-name", IMAGE),
    "no name": (of_image(file_name=None), "error", "bad-file-name", IMAGE),
    "an empty name": (of_image(file_name=""), "error", "unreadable-image", IMAGE),
    "a name with NUL": (of_image(file_name="a\0.png"), "error", "missing-file", IMAGE),
    "a name of a lone surrogate": (of_image(file_name="\ud800.png"), "error", "missing-file", IMAGE),
    "a name without end": (of_image(file_name="x" * 5000), "error", "missing-file", IMAGE),
    "a wrong width": (of_image(width=WIDTH + 1), "error", "wrong-size", IMAGE),
    "no height": (without("images", "height"), "error", "bad-size", IMAGE),
    "no area": (of_image(width=0), "error", "bad-size", IMAGE),
    "a size as text": (of_image(width=str(WIDTH)), "warning", "odd-number", IMAGE),
    "a size in words": (of_image(width="wide"), "error", "bad-size", IMAGE),
    "a size of 65 bits": (of_image(width=2**64), "error", "bad-size", IMAGE),
    "an image's id of 64 bits": (of_image(id=2**63), "error", "bad-id", (None, None)),
    "an image without id": (without("images", "id"), "error", "bad-id", (None, None)),
    "an image that is a string": (lambda document, images, i: document["images"].append("x"), "error", "not-an-object",
                                  (None, None)),
    "an image twice": (duplicate("images"), "error", "duplicate-image-id", IMAGE),
    "an id taken by another image": (duplicate("images", file_name="0.png"), "error", "duplicate-image-id", IMAGE),
    "a file twice": (duplicate("images", id=77, file_name="./1.png"), "warning", "duplicate-file", (77, None)),
    "an unknown image": (of_gt(image_id=99), "error", "unknown-image", (99, 10)),
    "an image_id as text": (of_gt(image_id="1"), "warning", "odd-number", GT),
    "an image_id in words": (of_gt(image_id="one"), "error", "bad-id", (None, 10)),
    "no image_id": (of_gt(image_id=None), "error", "bad-id", (None, 10)),
    "an unknown category": (of_gt(category_id=4), "error", "unknown-category", GT),
    "a category_id with decimals": (of_gt(category_id=3.0), "warning", "odd-number", GT),
    "a category by name": (of_gt(category_id="car"), "error", "bad-id", GT),
    "NaN": (of_gt(bbox=[2, 3, float("nan"), 5]), "error", "bad-box", GT),
    "infinity": (of_gt(bbox=[2, 3, float("inf"), 5]), "error", "bad-box", GT),
    "a box beyond floats": (of_gt(bbox=[2, 3, 10**400, 5]), "error", "bad-box", GT),
    "a box of three": (of_gt(bbox=[2, 3, 4]), "error", "bad-box", GT),
    "a box as text": (of_gt(bbox=["2", "3", "4.5", " 5e0"]), "warning", "odd-number", GT),
    "a box in words": (of_gt(bbox=["2", "3", "4,5", "5"]), "error", "bad-box", GT),
    "no box": (of_crowd(bbox=None), "error", "bad-box", CROWD),
    "an annotation that is a number": (lambda document, images, i: document["annotations"].append(7), "error",
                                       "not-an-object", (None, None)),
    "a flat box": (of_gt(bbox=[2, 3, 0, 5]), "warning", "empty-box", GT),
    "a negative box": (of_gt(bbox=[8, 8, -3, 5]), "warning", "empty-box", GT),
    "a box that float32 flattens": (of_gt(bbox=[8, 8, 1e-9, 5]), "warning", "empty-box", GT),
    "a box partly outside": (of_gt(bbox=[10, 3, 50, 5]), "warning", "outside-box", GT),
    "a box outside": (of_gt(bbox=[100, 100, 5, 5]), "warning", "outside-box", GT),
    "a huge box": (of_gt(bbox=[-1e300, 0, 1e308, 1e308]), "warning", "outside-box", GT),
    "an annotation twice": (duplicate("annotations"), "warning", "duplicate-annotation-id", GT),
    "an annotation without id": (of_gt(id=None), "warning", "odd-annotation-id", IMAGE),
    "a crowd as text": (of_gt(iscrowd="0"), "warning", "odd-number", GT),
    "a crowd in words": (of_gt(iscrowd="no"), "error", "bad-crowd", GT),
    "a crowd of two": (of_crowd(iscrowd=2), "warning", "odd-crowd", CROWD),
    "no area of an annotation": (of_gt(area=None), "warning", "odd-area", GT),
    "a negative area": (of_gt(area=-5.0), "warning", "odd-area", GT),
    "an area as text": (of_gt(area="33.0"), "warning", "odd-number", GT),
    "an area in words": (of_gt(area="large"), "warning", "odd-area", GT),
    "a mask of another size": (of_crowd(segmentation=mask(size=[WIDTH, HEIGHT])), "warning", "bad-segmentation", CROWD),
    "a mask too short": (of_crowd(segmentation=mask(counts=[100, 30, 61])), "warning", "bad-segmentation", CROWD),
    "a mask of letters": (of_crowd(segmentation=mask(counts="é")), "warning", "bad-segmentation", CROWD),
    "a mask of nothing": (of_crowd(segmentation={}), "warning", "bad-segmentation", CROWD),
    "a polygon of two points": (of_gt(segmentation=[[1, 2, 3, 4]]), "warning", "bad-segmentation", GT),
    "a category twice": (lambda document, images, i: document["categories"].append({"id": 3, "name": "lorry"}),
                         "error", "duplicate-category-id", (None, None)),
    "a name twice": (of_category(name="zebra"), "warning", "same-name", (None, None)),
    "a category without id": (of_category(id=None), "error", "bad-id", (None, None)),
}  # fmt: skip

JSON_KINDS = {kind for _, _, kind, _ in FAULTS.values()} - {
    "missing-file", "unreadable-image", "wrong-size", "outside-folder"
}  # fmt: skip


def spoil(document: dict[str, Any], images: Path, faults: list[tuple[str, int]]) -> None:
    for name, i in faults:
        with suppress(TypeError, KeyError, AttributeError, OSError):  # an earlier fault has removed its target
            FAULTS[name][0](document, images, i)


def kinds(findings: list, severity: str = "error") -> set[str]:
    return {finding.kind for finding in findings if finding.severity == severity}


def problems(findings: list) -> list:
    """Return the findings without the note on crowds, which every set of `tiny` has."""
    return [finding for finding in findings if finding.kind != "crowds"]
