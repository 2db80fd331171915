"""Reading of data sets in YOLO's format: one text file per image, with a line per object in fractions of the image.

The files are read here. Of the libraries that read YOLO, supervision 0.31 accepts boxes larger than the image and drops
further fields of a line without a word; datumaro 1.13 needs older versions of pandas and Pillow than this package.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lad.data.importing.coco_folder import ImportedImage, ImportedObject, ImportedSet
from lad.data.importing.source_files import (
    SPLIT_FOLDERS,
    count_note,
    first_existing,
    image_sizes,
    list_images,
    read_lines,
)
from lad.utils.messages import format_path, format_value, one_line
from lad.utils.progress import progress_bar

BOX_FIELDS = 5  # class, center x and y, width, height
MIN_POLYGON_FIELDS = 7  # class, three corners
EPSILON = 1e-6  # rounding of fractions


@dataclass(frozen=True)
class _Description:
    """The content of data.yaml or classes.txt.

    Attributes:
        path: The file.
        names: Class name by index.
        folders: Image folders by split, as they are written.
        root: The folder that they are relative to, as it is written.
        keypoint_fields: Number of fields of a line for keypoints, after those of the box.
    """

    path: Path
    names: Mapping[int, str]
    folders: Mapping[str, list[str]]
    root: str = ""
    keypoint_fields: int = 0


def is_yolo(folder: Path) -> bool:
    """Return whether a folder has a data.yaml or a folder labels/."""
    return (folder / "data.yaml").is_file() or next(folder.rglob("labels"), None) is not None


def read_yolo(folder: Path) -> ImportedSet:
    """Read a data set in YOLO's format.

    Classes and their order are those of data.yaml, else of classes.txt. The images of a split are where data.yaml says,
    if that is in the folder, else in images/train or train/images. Without such folders, all images are for training.
    Labels are in the folder labels/ that corresponds to images/, or beside the images. Lines with the corners of a
    polygon or of a rotated box become the enclosing box. Keypoints are left out.

    Args:
        folder: The data set.

    Raises:
        ValueError: A file is missing or cannot be read as YOLO's; one line that names it, and the line in it.
    """
    description = _read_description(folder)
    found = {split: _find_images(folder, description, split) for split in SPLIT_FOLDERS}
    found = {split: images for split, images in found.items() if images}
    if not found:
        everything = first_existing([folder / "images", folder])
        assert everything is not None
        found = {"train": [(everything, image) for image in list_images(everything)]}
    labels = {image: _label_path(folder, image) for images in found.values() for _, image in images}
    unlabeled = [image for image, path in labels.items() if not path.is_file()]
    if len(unlabeled) == len(labels):
        example = f", such as {format_path(labels[unlabeled[0]])}" if unlabeled else ""
        raise ValueError(f"{format_path(folder)}: no image with a label file{example}; expected images/ and labels/")
    polygons: list[Path] = []
    splits = {
        split: [
            _read_image(image, image.relative_to(base).as_posix(), labels[image], description, polygons)
            for base, image in progress_bar(images, f"{split} labels")
        ]
        for split, images in found.items()
    }
    return ImportedSet(list(description.names.values()), splits, _notes(folder, labels, unlabeled, polygons))


def _notes(folder: Path, labels: Mapping[Path, Path], unlabeled: list[Path], polygons: list[Path]) -> list[str]:
    used = set(labels.values())
    folders = {path.parent for path in used if "labels" in path.relative_to(folder).parts}
    orphans = sorted(path for parent in folders for path in parent.glob("*.txt") if path not in used)
    orphans = [path for path in orphans if path.name != "classes.txt"]
    return [
        *count_note(unlabeled, "images without a label file, imported without objects"),
        *count_note(orphans, "label files without an image, not imported"),
        *count_note(polygons, "polygons and rotated boxes that became the boxes that enclose them"),
    ]


def _yaml_files(folder: Path) -> list[Path]:
    """Return data.yaml if there is one, else all YAML files."""
    files = sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])
    return [path for path in files if path.stem == "data"][:1] or files


def _read_description(folder: Path) -> _Description:
    files = _yaml_files(folder)
    if len(files) > 1:
        names = ", ".join(path.name for path in files)
        raise ValueError(one_line(f"{folder}: has several YAML files ({names}); name that of the data set data.yaml"))
    if files:
        return _read_yaml(files[0])
    path = first_existing([folder / "classes.txt", folder / "labels" / "classes.txt"])
    if path is None:
        raise ValueError(
            f"{format_path(folder)}: is not in a known format: VOC has XML files; YOLO has data.yaml or classes.txt, "
            "which name the classes"
        )
    lines = read_lines(path)
    while lines and not lines[-1]:
        lines.pop()
    return _Description(path, _checked_names(path, dict(enumerate(lines))), {})


def _read_yaml(path: Path) -> _Description:
    try:
        content = yaml.safe_load("\n".join(read_lines_as_written(path)))
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{format_path(path)}: is not valid YAML ({one_line(' '.join(str(error).split()))})") from None
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not all(type(index) is int and index >= 0 for index in names):
        raise ValueError(f"{format_path(path)}: needs 'names', a list of class names or a mapping of index to name")
    number = content.get("nc")
    if number is not None and number != len(names):
        raise ValueError(f"{format_path(path)}: nc = {format_value(number)}, but 'names' has {len(names)} classes")
    ordered = {index: str(names[index]) for index in sorted(names)}
    folders = {split: _as_texts(content.get(split)) for split in SPLIT_FOLDERS}
    root = content.get("path")
    keypoint_fields = _keypoint_fields(path, content.get("kpt_shape"))
    return _Description(
        path, _checked_names(path, ordered), folders, root if isinstance(root, str) else "", keypoint_fields
    )


def _keypoint_fields(path: Path, shape: Any) -> int:
    """Return the number of fields of all keypoints, from their number and that of their values, in a pose data set."""
    if shape is None:
        return 0
    if not (isinstance(shape, list) and len(shape) == 2 and all(type(size) is int and size > 0 for size in shape)):
        raise ValueError(f"{format_path(path)}: kpt_shape = {format_value(shape)} must be two numbers, such as [17, 3]")
    return int(shape[0] * shape[1])


def read_lines_as_written(path: Path) -> list[str]:
    """Return the lines of a text file with their indentation; checked as by `read_lines`."""
    read_lines(path)
    return path.read_text(encoding="utf-8-sig").splitlines()


def _checked_names(path: Path, names: dict[int, str]) -> dict[int, str]:
    if not names or not all(name.strip() for name in names.values()):
        raise ValueError(f"{format_path(path)}: names {'an empty class' if names else 'no classes'}")
    if len(set(names.values())) != len(names):
        raise ValueError(f"{format_path(path)}: two classes have the same name")
    return names


def _as_texts(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [text for text in values if isinstance(text, str) and text]


def _find_images(folder: Path, description: _Description, split: str) -> list[tuple[Path, Path]]:
    """Return (folder of the images, image) for each image of a split."""
    bases = [path for text in description.folders.get(split, []) for path in _existing(folder, description.root, text)]
    if not bases:
        names = SPLIT_FOLDERS[split]
        candidates = [path for name in names for path in (folder / "images" / name, folder / name / "images")]
        base = first_existing([*candidates, *(folder / name for name in names)])
        bases = [base] if base else []
    for base in bases:
        if base.is_file():
            raise ValueError(
                f"{format_path(description.path)}: {split} is the file {base.name}; only folders of images can be "
                "imported, so move the images into images/train and images/val"
            )
    return [(base, image) for base in bases for image in list_images(base)]


def _existing(folder: Path, root: str, text: str) -> Iterator[Path]:
    """Yield the folder that data.yaml names, if it exists within the data set.

    Roboflow writes "../train/images" for the folder train/images beside data.yaml.
    """
    for name in (os.path.join(root, text), text, text.removeprefix("../")):
        path = Path(os.path.normpath(folder / name))
        if path.is_relative_to(folder) and path.exists():
            yield path
            return


def _label_path(folder: Path, image: Path) -> Path:
    """Return the label file of an image: labels/ in place of the last images/, or beside the image."""
    parts = list(image.relative_to(folder).parts)
    beside = image.with_suffix(".txt")
    if "images" not in parts[:-1]:
        return beside
    last = len(parts) - 2 - parts[-2::-1].index("images")
    path = folder.joinpath(*parts[:last], "labels", *parts[last + 1 :]).with_suffix(".txt")
    return beside if beside.is_file() and not path.is_file() else path


def _read_image(
    image: Path, file_name: str, label: Path, description: _Description, polygons: list[Path]
) -> ImportedImage:
    """Read an image's size and labels; append the label file to `polygons` for each polygon in it."""
    _, (width, height) = image_sizes(image)
    objects = []
    for number, line in enumerate(read_lines(label) if label.exists() else (), start=1):
        if not line:
            continue
        name, (x0, y0, x1, y1), is_polygon = _read_line(f"{format_path(label)}, line {number}", line, description)
        objects.append(ImportedObject(name, (x0 * width, y0 * height, x1 * width, y1 * height)))
        if is_polygon:
            polygons.append(label)
    return ImportedImage(image, file_name, (width, height), objects)


def _read_line(where: str, line: str, description: _Description) -> tuple[str, tuple[float, float, float, float], bool]:
    """Return the class name, the box (x0, y0, x1, y1) in fractions, and whether it encloses a polygon."""
    words = line.split()
    if description.keypoint_fields and len(words) == BOX_FIELDS + description.keypoint_fields:
        words = words[:BOX_FIELDS]
    is_polygon = len(words) >= MIN_POLYGON_FIELDS and len(words) % 2 == 1
    if len(words) != BOX_FIELDS and not is_polygon:
        raise ValueError(
            f"{where}: has {len(words)} fields; expected a class and 4 numbers, or the corners of a polygon"
        )
    try:
        index, *values = map(float, words)
    except ValueError:
        raise ValueError(f"{where}: has a field that is not a number: {one_line(line, 100)}") from None
    if index not in description.names:
        known = f"0 … {len(description.names) - 1}" if max(description.names) < len(description.names) else "others"
        raise ValueError(
            f"{where}: class {words[0][:20]} is unknown; {description.path.name} names the classes {known}"
        )
    if not all(-EPSILON <= value <= 1 + EPSILON for value in values):
        raise ValueError(f"{where}: coordinates must be fractions of the image, from 0 to 1: {one_line(line, 100)}")
    name = description.names[int(index)]
    if is_polygon:
        xs, ys = values[0::2], values[1::2]
        return name, (min(xs), min(ys), max(xs), max(ys)), True
    x, y, width, height = values
    return name, (x - width / 2, y - height / 2, x + width / 2, y + height / 2), False
