"""Reading of data sets in Pascal VOC's format: one XML file per image.

The files are parsed by defusedxml and read here. Of the libraries that read VOC, supervision 0.31 drops `difficult` and
`truncated`, orders classes by first appearance, and accepts boxes and sizes that do not fit the image; datumaro 1.13
needs older versions of pandas and Pillow than this package.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import parse

from lad.data.importing.coco_folder import ImportedImage, ImportedObject, ImportedSet
from lad.data.importing.source_files import (
    SPLIT_FOLDERS,
    count_note,
    first_existing,
    image_sizes,
    list_files,
    list_images,
)
from lad.data.importing.source_files import read_lines as _read_lines
from lad.utils.messages import format_path, format_value, one_line
from lad.utils.progress import progress_bar

FLAGS = ("difficult", "truncated")
Files = list[tuple[Path, Path | None]]  # of a split: each image and its XML


def is_voc(folder: Path) -> bool:
    """Return whether a folder has XML files."""
    return bool(list_files(folder, (".xml",)))


def read_voc(folder: Path, zero_based: bool = False) -> ImportedSet:
    """Read a data set in VOC's format.

    Two layouts are known. In VOC's own there are `Annotations/*.xml`, `JPEGImages/` and, optionally, the lists
    `ImageSets/Main/{train,val,test}.txt`; `trainval.txt` counts if there is no `train.txt`. In the other, XML files are
    beside their images, in the folder itself or in its `train/`, `valid/` and `test/`. Without lists or such folders,
    all images are for training. Classes are in alphabetical order, as in VOC's papers.

    Args:
        folder: The data set; a folder with one VOC data set in it, such as VOCdevkit, will do.
        zero_based: Whether coordinates are edges counted from 0. By default they are VOC's: 1-based pixels, of which
            xmax and ymax are still inside, so that the box is [xmin − 1, ymin − 1, xmax, ymax].

    Raises:
        ValueError: A file is missing or cannot be read as VOC's; one line that names it.
    """
    root = _find_root(folder)
    annotations = first_existing(root / name for name in ("Annotations", "annotations"))
    files, notes = _listed_files(root, annotations) if annotations else _files_beside(root)
    if not any(files.values()):
        raise ValueError(
            f"{format_path(folder)}: no image has an XML file; expected Annotations/ and JPEGImages/, or XML files "
            "beside their images"
        )
    splits = {
        split: [_read_image(root, image, xml, zero_based) for image, xml in progress_bar(pairs, f"{split} labels")]
        for split, pairs in files.items()
        if pairs
    }
    objects = [item for images in splits.values() for image in images for item in image.objects]
    without_xml = [image for pairs in files.values() for image, xml in pairs if xml is None]
    notes += count_note(without_xml, "images without an XML file, imported without objects")
    difficult = sum(item.flags.get("difficult", 0) for item in objects)
    if difficult:
        notes.append(f"objects marked difficult, kept as ordinary objects: {difficult:,}")
    return ImportedSet(sorted({item.name for item in objects}), splits, notes)


def _find_root(folder: Path) -> Path:
    """Return the folder itself, or the only one in it that has VOC's layout."""
    if (folder / "Annotations").is_dir():
        return folder
    roots = sorted(path.parent for path in folder.glob("*/Annotations") if path.is_dir())
    if len(roots) > 1:
        names = ", ".join(str(root) for root in roots)
        raise ValueError(one_line(f"{folder}: has several data sets in VOC's format; import one of {names}"))
    return roots[0] if roots else folder


def _listed_files(root: Path, annotations: Path) -> tuple[dict[str, Files], list[str]]:
    """Return the files of each split in VOC's own layout, and notes."""
    folder = first_existing(root / name for name in ("JPEGImages", "images", "Images"))
    if folder is None:
        raise ValueError(f"{format_path(root)}: has {annotations.name}/, but no folder JPEGImages/ or images/")
    by_name: dict[str, list[Path]] = {}
    for image in list_images(folder):
        by_name.setdefault(image.stem, []).append(image)
    xmls = {path.stem: path for path in sorted(annotations.glob("*.xml"))}
    lists = _find_lists(root)
    files: dict[str, Files] = {split: list(_files_of(path, by_name, xmls)) for split, path in lists.items()}
    if lists:
        used = {xml for pairs in files.values() for _, xml in pairs}
        unlisted = [xml for xml in xmls.values() if xml not in used]
        return files, count_note(unlisted, "XML files in no list of ImageSets/Main, not imported")
    return _pair(list_images(folder), xmls.values())


def _find_lists(root: Path) -> dict[str, Path]:
    main = root / "ImageSets" / "Main"
    candidates = {"train": ("train.txt", "trainval.txt"), "val": ("val.txt",), "test": ("test.txt",)}
    found = {split: first_existing(main / name for name in names) for split, names in candidates.items()}
    return {split: path for split, path in found.items() if path is not None}


def _files_of(path: Path, images: Mapping[str, list[Path]], xmls: Mapping[str, Path]) -> Iterator[tuple[Path, Path]]:
    """Yield the image and the XML of each line of a list."""
    for number, name in enumerate(_read_lines(path), start=1):
        if not name:
            continue
        candidates = images.get(name, [])
        if len(candidates) != 1 or name not in xmls:
            missing = "XML file" if name not in xmls else "image" if not candidates else "single image"
            raise ValueError(f"{format_path(path)}, line {number}: '{one_line(name, 100)}' has no {missing}")
        yield candidates[0], xmls[name]


def _files_beside(root: Path) -> tuple[dict[str, Files], list[str]]:
    """Return the files of each split where XML files are beside their images, and notes."""
    folders = {split: first_existing(root / name for name in names) for split, names in SPLIT_FOLDERS.items()}
    known = {split: folder for split, folder in folders.items() if folder is not None} or {"train": root}
    files: dict[str, Files] = {}
    notes: list[str] = []
    for split, folder in known.items():
        pairs, of_split = _pair(list_images(folder), list_files(folder, (".xml",)))
        files[split] = pairs["train"]
        notes += of_split
    return files, notes


def _pair(images: list[Path], xmls: Iterable[Path]) -> tuple[dict[str, Files], list[str]]:
    """Return each image with the XML of its name as the split "train", nothing if no XML has an image; and notes."""
    xml_of: dict[Path, Path] = {}
    orphans = []
    by_stem: dict[str, list[Path]] = {}
    for image in images:
        by_stem.setdefault(image.stem, []).append(image)
    for xml in xmls:
        same_name = by_stem.get(xml.stem, [])
        candidates = [image for image in same_name if image.parent == xml.parent] or same_name
        if len(candidates) > 1:
            raise ValueError(f"{format_path(xml)}: several images have its name; keep one of them")
        if candidates and candidates[0] in xml_of:
            raise ValueError(f"{format_path(xml)}: is for the same image as {format_path(xml_of[candidates[0]])}")
        if candidates:
            xml_of[candidates[0]] = xml
        else:
            orphans.append(xml)
    pairs = [(image, xml_of.get(image)) for image in images] if xml_of else []
    return {"train": pairs}, count_note(orphans, "XML files without an image of the same name, not imported")


def _read_image(root: Path, image: Path, xml: Path | None, zero_based: bool) -> ImportedImage:
    stored, upright = image_sizes(image)
    file_name = _file_name(root, image)
    if xml is None:
        return ImportedImage(image, file_name, upright, ())
    annotation = _parse(xml)
    size = _annotated_size(annotation) or upright
    if size not in (stored, upright):
        raise ValueError(
            f"{format_path(xml)}: is for an image of {size[0]} x {size[1]} pixels, but {format_path(image)} has "
            f"{upright[0]} x {upright[1]}; its boxes would be wrong"
        )
    items = enumerate(annotation.findall("object"), start=1)
    objects = [_read_object(f"{format_path(xml)}: object {number}", item, zero_based) for number, item in items]
    return ImportedImage(image, file_name, size, objects)


def _file_name(root: Path, image: Path) -> str:
    """Return an image's path without the folders of the layout."""
    folders = {"JPEGImages", "images", "Images", *(name for names in SPLIT_FOLDERS.values() for name in names)}
    first, *rest = image.relative_to(root).parts
    return "/".join(rest if rest and first in folders else [first, *rest])


def _parse(xml: Path) -> Element:
    """Return the root of an XML file; one with a DTD is refused, since its entities can expand to any size."""
    if not xml.is_file():  # reading a named pipe would block
        raise ValueError(f"{format_path(xml)}: is not a regular file")
    try:
        root = parse(xml, forbid_dtd=True).getroot()
    except DefusedXmlException:
        raise ValueError(f"{format_path(xml)}: has a DTD or entities, which VOC's files do not need") from None
    except (ParseError, LookupError, ValueError, OSError) as error:
        raise ValueError(f"{format_path(xml)}: cannot be read as XML ({one_line(str(error))})") from None
    if root.tag != "annotation":
        raise ValueError(f"{format_path(xml)}: is not VOC's: its root is <{one_line(root.tag, 80)}>, not <annotation>")
    return root


def _annotated_size(annotation: Element) -> tuple[int, int] | None:
    """Return (width, height), None if a tool did not know them: no such elements, or zeros."""
    values = [_number(annotation.findtext(f"size/{name}")) for name in ("width", "height")]
    return (int(values[0]), int(values[1])) if all(values) else None  # type: ignore[arg-type]


def _read_object(where: str, item: Element, zero_based: bool) -> ImportedObject:
    name = (item.findtext("name") or "").strip()
    if not name:
        raise ValueError(f"{where} has no <name>")
    where = f"{where} ({one_line(name, 80)})"
    xmin, ymin, xmax, ymax = (_coordinate(where, item, edge) for edge in ("xmin", "ymin", "xmax", "ymax"))
    if xmax < xmin or ymax < ymin:
        raise ValueError(f"{where}: its box ends before it begins: {xmin:g} … {xmax:g}, {ymin:g} … {ymax:g}")
    if not zero_based and min(xmin, ymin) < 1:
        raise ValueError(
            f"{where}: begins at {min(xmin, ymin):g}, but VOC's coordinates begin at 1; give --zero-based if this data "
            "set counts from 0"
        )
    offset = 0 if zero_based else 1
    flags = {flag: 1 for flag in FLAGS if _number(item.findtext(flag))}
    return ImportedObject(name, (xmin - offset, ymin - offset, xmax, ymax), flags)


def _coordinate(where: str, item: Element, edge: str) -> float:
    text = item.findtext(f"bndbox/{edge}")
    value = _number(text)
    if value is None:
        raise ValueError(f"{where}: <{edge}> is {'missing' if text is None else format_value(text)}, not a number")
    return value


def _number(text: str | None) -> float | None:
    """Return the finite number that a text is, None if it is not one."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
