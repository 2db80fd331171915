"""Writers of VOC's and YOLO's formats, for round trips from a COCO folder."""

import json
import shutil
from collections import defaultdict
from pathlib import Path

import yaml

from lad.data.coco import find_split


def voc_xml(size: tuple[int, int] | None, objects: list[tuple[str, tuple]], extra: str = "") -> str:
    """Return an annotation; objects are (name, (xmin, ymin, xmax, ymax)), as VOC counts them."""
    edges = ("xmin", "ymin", "xmax", "ymax")
    items = [
        f"<object><name>{name}</name>{extra}<bndbox>"
        + "".join(f"<{edge}>{value}</{edge}>" for edge, value in zip(edges, box, strict=True))
        + "</bndbox></object>"
        for name, box in objects
    ]
    sizes = "" if size is None else f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
    return f"<annotation><filename>x.jpg</filename>{sizes}{''.join(items)}</annotation>"


def read_coco(folder: Path, split: str) -> tuple[Path, list[dict], list[str]]:
    """Return the images folder, the images with their "objects" as (class index, bbox), and the class names."""
    images, path = find_split(folder, split)
    content = json.loads(path.read_text())
    categories = sorted(content["categories"], key=lambda category: category["id"])
    label = {category["id"]: index for index, category in enumerate(categories)}
    objects = defaultdict(list)
    for entry in content["annotations"]:
        objects[entry["image_id"]].append((label[entry["category_id"]], entry["bbox"]))
    entries = [{**image, "objects": objects[image["id"]]} for image in content["images"]]
    return images, entries, [category["name"] for category in categories]


def write_voc(coco: Path, out: Path, splits: tuple[str, ...] = ("train", "val")) -> None:
    """Write a COCO folder in VOC's own layout, boxes rounded to pixels."""
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (out / name).mkdir(parents=True)
    for split in splits:
        images, entries, names = read_coco(coco, split)
        for image in entries:
            boxes = [
                (names[label], [round(x), round(y), round(x + w), round(y + h)])
                for label, (x, y, w, h) in image["objects"]
            ]
            objects = [(name, (x0 + 1, y0 + 1, x1, y1)) for name, (x0, y0, x1, y1) in boxes]
            xml = voc_xml((image["width"], image["height"]), objects)
            (out / "Annotations" / f"{Path(image['file_name']).stem}.xml").write_text(xml)
            shutil.copy(images / image["file_name"], out / "JPEGImages")
        stems = [Path(image["file_name"]).stem for image in entries]
        (out / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(stems) + "\n")


def write_yolo(coco: Path, out: Path, splits: tuple[str, ...] = ("train", "val"), digits: int = 9) -> None:
    """Write a COCO folder in YOLO's layout; images without objects get no label file."""
    for split in splits:
        images, entries, names = read_coco(coco, split)
        for kind in ("images", "labels"):
            (out / kind / split).mkdir(parents=True)
        for image in entries:
            shutil.copy(images / image["file_name"], out / "images" / split)
            scale = [image["width"], image["height"]]
            lines = []
            for label, (x, y, w, h) in image["objects"]:
                values = ((x + w / 2) / scale[0], (y + h / 2) / scale[1], w / scale[0], h / scale[1])
                lines.append(" ".join([str(label), *(f"{value:.{digits}f}" for value in values)]))
            if lines:
                (out / "labels" / split / f"{Path(image['file_name']).stem}.txt").write_text("\n".join(lines) + "\n")
    content = {"path": "../somewhere", "train": "images/train", "val": "images/val", "nc": len(names), "names": names}
    (out / "data.yaml").write_text(yaml.safe_dump(content))
