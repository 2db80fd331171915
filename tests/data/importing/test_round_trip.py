"""COCO → VOC or YOLO → COCO gives the same images, classes, boxes and AP."""

import json
import random
from pathlib import Path

import pytest
from commands import run
from formats import read_coco, write_voc, write_yolo
from PIL import Image

from lad.data.annotations import read_annotations
from lad.data.validation.checker import validate_folder
from lad.evaluation.coco_eval import coco_metrics

WRITERS = {"voc": write_voc, "yolo": write_yolo}


def make_coco(out: Path, seed: int = 0) -> None:
    """Write a COCO folder of random images and integer boxes; some images have none, and ids have gaps."""
    rng = random.Random(seed)
    names = ["ant", "bee", "small zebra"]
    for split in ("train", "val"):
        (out / split).mkdir(parents=True)
        (out / "annotations").mkdir(exist_ok=True)
        content = {"images": [], "annotations": [], "categories": []}
        content["categories"] = [{"id": 10 * (index + 1), "name": name} for index, name in enumerate(names)]
        for number in range(8):
            width, height = rng.randint(40, 333), rng.randint(40, 333)
            name = f"{split} {number}.v1.png"
            Image.new("RGB", (width, height), (number, 0, 0)).save(out / split / name)
            content["images"].append({"id": 7 * number + 3, "file_name": name, "width": width, "height": height})
            for _ in range(rng.choice([0, 1, 5]) if number else 3):
                x, y = rng.randint(0, width - 2), rng.randint(0, height - 2)
                w, h = rng.randint(1, width - x), rng.randint(1, height - y)
                entry = {"id": len(content["annotations"]) + 1, "image_id": 7 * number + 3, "bbox": [x, y, w, h]}
                category = names.index(names[len(content["annotations"]) % 3]) * 10 + 10
                content["annotations"].append({**entry, "category_id": category, "area": w * h, "iscrowd": 0})
        (out / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))


def by_name(folder: Path, split: str) -> dict[str, tuple]:
    """Return (size, objects) of each image by its file name; objects are (class name, bbox)."""
    _, images, names = read_coco(folder, split)
    return {
        image["file_name"]: (
            (image["width"], image["height"]),
            [(names[label], bbox) for label, bbox in image["objects"]],
        )
        for image in images
    }


def fixed_detections(folder: Path, split: str) -> list[dict]:
    """Return detections that depend only on file names and class names: gts that are moved, and some noise."""
    _, images, names = read_coco(folder, split)
    path = next(folder.rglob(f"instances_{split}*.json"))
    category_ids = read_annotations(path).category_ids
    detections = []
    for image in sorted(images, key=lambda image: image["file_name"]):
        rng = random.Random(image["file_name"])
        for label, (x, y, w, h) in [*image["objects"], (0, [1, 2, 30, 30])]:
            bbox = [x + rng.gauss(0, 0.1) * w, y + rng.gauss(0, 0.1) * h, w * rng.uniform(0.8, 1.2), h]
            score = rng.random()
            label = label if rng.random() < 0.9 else (label + 1) % len(names)
            entry = {"image_id": image["id"], "category_id": category_ids[label], "bbox": bbox, "score": score}
            detections.append(entry)
    return detections


def check_round_trip(source: Path, format: str, folder: Path) -> None:
    WRITERS[format](source, folder / format)
    run("import", folder / format, folder / "out")
    findings = validate_folder(folder / "out")
    assert {finding.severity for split in findings.values() for finding in split.findings} <= {"note"}
    for split in ("train", "val"):
        before, after = by_name(source, split), by_name(folder / "out", split)
        assert after == before
        paths = [next(root.rglob(f"instances_{split}*.json")) for root in (source, folder / "out")]
        metrics = [
            coco_metrics(path, fixed_detections(root, split))
            for path, root in zip(paths, (source, folder / "out"), strict=True)
        ]
        assert repr(metrics[0]) == repr(metrics[1]) and 0 < metrics[0]["AP"] < 1


@pytest.mark.parametrize("format", WRITERS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_made_set_comes_back_with_the_same_ap(format, seed, tmp_path):
    make_coco(tmp_path / "coco", seed)
    check_round_trip(tmp_path / "coco", format, tmp_path)


@pytest.mark.parametrize("format", WRITERS)
def test_a_real_set_comes_back_with_the_same_ap(format, real_data, tmp_path):
    """Its boxes are rounded to pixels first, as VOC's are, and its classes are in alphabetical order."""
    source = tmp_path / "coco"
    for split in ("train", "val"):
        content = json.loads((real_data("chess320") / f"instances_{split}.json").read_text())
        names = sorted(category["name"] for category in content["categories"])
        new_id = {category["id"]: names.index(category["name"]) + 1 for category in content["categories"]}
        content["categories"] = [{"id": index, "name": name} for index, name in enumerate(names, start=1)]
        used = {entry["category_id"] for entry in content["annotations"]}
        assert split != "train" or len(used) == len(names)
        for entry in content["annotations"]:
            x, y, w, h = entry["bbox"]
            x0, y0, x1, y1 = round(x), round(y), round(x + w), round(y + h)
            entry |= {"bbox": [x0, y0, x1 - x0, y1 - y0], "category_id": new_id[entry["category_id"]]}
            entry["area"] = entry["bbox"][2] * entry["bbox"][3]
        (source / "annotations").mkdir(parents=True, exist_ok=True)
        (source / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    (source / "images").symlink_to(real_data("chess320") / "images", target_is_directory=True)
    check_round_trip(source, format, tmp_path)


def test_fractions_of_six_digits_are_right_to_a_thousandth_of_a_pixel(tmp_path):
    make_coco(tmp_path / "coco")
    write_yolo(tmp_path / "coco", tmp_path / "yolo", digits=6)
    run("import", tmp_path / "yolo", tmp_path / "out")
    for name, (_, objects) in by_name(tmp_path / "coco", "val").items():
        for (_, bbox), (_, imported) in zip(objects, by_name(tmp_path / "out", "val")[name][1], strict=True):
            assert imported == pytest.approx(bbox, abs=1e-3)
