"""The command `lad validate`: reports the findings about a data set folder and writes a corrected copy.

lad validate path/to/chess                           # its train and val splits; exit status 1 if there are errors
lad validate path/to/chess --fix path/to/corrected   # a folder to train on: -p data path/to/corrected
"""

import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from lad.data.layouts import COCO_KINDS, split_name
from lad.data.validation.checker import CheckedSplit, read_document, validate_folder
from lad.data.validation.repair import fix
from lad.data.validation.rules import SEVERITIES, Finding
from lad.utils.atomic_io import write_text
from lad.utils.messages import one_line
from lad.utils.old_command import run_command
from lad.utils.paths import ensure_writable

MAX_LINES = 20  # of one kind of findings, unless --all is given


def fix_folder(checked: Mapping[str, CheckedSplit], out: Path) -> list[str]:
    """Write a data set folder of corrected splits; its images are links to the original folders, or copies.

    Args:
        checked: Checked splits by name.
        out: New folder.

    Returns:
        The corrections, one line per finding about an entry.

    Raises:
        ValueError: `out` exists or cannot be made, or a split cannot be corrected; nothing is written.
    """
    _check_new_folder(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    corrections = []
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as unfinished:
        draft = Path(unfinished) / out.name
        whole = Path(unfinished) / "whole.json"  # the corrected JSON of both parts
        for name, split in checked.items():
            if not split.path.is_file():
                raise ValueError("; ".join(finding.message for finding in split.findings))
            corrected = draft / "annotations" / _corrected_name(name, split)
            if split.whole is None:
                corrections += fix(split.images, split.path, corrected, split.findings)
            else:
                if not whole.exists():
                    corrections += fix(split.images, split.path, whole, split.whole.findings)
                _write_part(whole, corrected, split)
            _link_or_copy_images(split.images, draft / split_name(corrected), corrected)
        draft.rename(out)
    return corrections


def _check_new_folder(out: Path) -> None:
    """Raise ValueError if a corrected copy cannot be written as this folder."""
    if os.path.lexists(out):
        raise ValueError(one_line(f"{out}: already exists; a corrected copy is always a new folder"))
    ensure_writable(out.parent, "--fix")


def _corrected_name(name: str, split: CheckedSplit) -> str:
    """Return the name of a split's corrected JSON: its own, if it is the one that COCO gives that split."""
    is_cocos = split.whole is None and split.path.name.startswith(tuple(f"{kind}_{name}" for kind in COCO_KINDS))
    return split.path.name if is_cocos else f"instances_{name}.json"


def _write_part(whole: Path, part: Path, split: CheckedSplit) -> None:
    """Write the images of a split and their annotations, from the corrected JSON of both parts."""
    document = read_document(whole)
    document["images"] = [image for image in document["images"] if image["id"] in split.file_names]
    document["annotations"] = [gt for gt in document["annotations"] if gt["image_id"] in split.file_names]
    if not document["images"]:
        raise ValueError(one_line(f"{split.path}: none of the images for {part.stem} can be used"))
    part.parent.mkdir(parents=True, exist_ok=True)
    write_text(part, json.dumps(document))


def _link_or_copy_images(images: Path, target: Path, annotations: Path) -> None:
    """Make the images of a JSON available in the folder `target`."""
    try:
        if any(images.glob("*.json")):  # of another layout, which would make the corrected folder ambiguous
            raise NotImplementedError
        target.symlink_to(images.resolve(), target_is_directory=True)
    except (OSError, NotImplementedError):  # links need a privilege on Windows, and some file systems have none
        for image in read_document(annotations)["images"]:
            (target / image["file_name"]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(images / image["file_name"], target / image["file_name"])


def format_report(name: str, checked: Mapping[str, CheckedSplit], max_lines: int | None = MAX_LINES) -> Iterable[str]:
    """Yield the findings of each split, grouped by kind, and a summary.

    Args:
        name: Name of the data set.
        checked: Checked splits by name.
        max_lines: Maximal number of findings of one kind, None for all.
    """
    for split in checked.values():
        findings = sorted(split.findings, key=lambda finding: (SEVERITIES.index(finding.severity), finding.kind))
        yield from _limit_lines([(finding.kind, str(finding)) for finding in findings], max_lines)
    yield format_summary(name, checked)


def format_summary(name: str, checked: Mapping[str, CheckedSplit]) -> str:
    """Return a line like "chess: 2 errors, 14 warnings, 1 note in 320 images, 1,234 annotations"."""
    severities = Counter(finding.severity for split in checked.values() for finding in split.findings)
    counts = ", ".join(_format_count(severities[severity], severity) for severity in SEVERITIES if severities[severity])
    images = _format_count(sum(split.image_count for split in checked.values()), "image")
    annotations = _format_count(sum(split.annotation_count for split in checked.values()), "annotation")
    return one_line(f"{name}: {counts or 'no problems'} in {images}, {annotations}")


def _format_count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _limit_lines(lines: Sequence[tuple[str, str]], max_lines: int | None) -> Iterable[str]:
    """Yield the first lines of each kind, from (kind, line), and how many more there are."""
    counts: Counter[str] = Counter()
    totals = Counter(kind for kind, _ in lines)
    for kind, line in lines:
        counts[kind] += 1
        if max_lines is None or counts[kind] <= max_lines:
            yield line
        elif counts[kind] == max_lines + 1:
            yield f"… and {totals[kind] - max_lines:,} more of {kind}; --all lists them"


def _has_errors(checked: Mapping[str, CheckedSplit]) -> bool:
    return any(finding.severity == "error" for split in checked.values() for finding in split.findings)


def _to_json(folder: Path, checked: Mapping[str, CheckedSplit]) -> str:
    def to_dict(finding: Finding) -> dict[str, object]:
        return {**asdict(finding), "path": str(finding.path)}

    splits = {
        name: {
            "annotations": str(split.path),
            "images": str(split.images),
            "image_count": split.image_count,
            "annotation_count": split.annotation_count,
            "findings": [to_dict(finding) for finding in split.findings],
        }
        for name, split in checked.items()
    }
    return json.dumps({"folder": str(folder), "splits": splits}, indent=2)


def validate_and_print(
    folder: Path,
    images: Path | None = None,
    val_share: float | None = None,
    splits: Sequence[str] = ("train", "val"),
    corrected: Path | None = None,
    as_json: bool = False,
    show_all: bool = False,
) -> bool:
    """Print the findings about a data set and, if a folder is given, write a corrected copy.

    Args:
        folder: Data set folder or JSON.
        images: Folder of the images of a JSON.
        val_share: Share of the images for validation, of data with one JSON.
        splits: Names of the splits to check.
        corrected: New folder for a corrected copy.
        as_json: Whether to print JSON.
        show_all: Whether to print all findings instead of `MAX_LINES` of each kind.

    Returns:
        Whether the data set, or its corrected copy, has no errors.

    Raises:
        ValueError: The data set cannot be read, or the copy cannot be written.
    """
    max_lines = None if show_all else MAX_LINES
    if corrected is not None:  # before the images are read
        _check_new_folder(corrected)
    if val_share is not None and not 0 < val_share < 1:
        raise ValueError(f"--val-share {val_share:g} must lie between 0 and 1")
    checked = validate_folder(folder, splits, images=images, val_share=val_share)
    if as_json:
        print(_to_json(folder, checked))
    else:
        print(*format_report(folder.resolve().name, checked, max_lines), sep="\n")
    if corrected is not None:
        corrections = fix_folder(checked, corrected)
        checked = validate_folder(corrected, list(checked), decode=False)  # the images were read before
        if not as_json:
            print(*_limit_lines([("corrections", line) for line in corrections], max_lines), sep="\n")
            print(f"written to {one_line(str(corrected))}: {format_summary(corrected.name, checked)}")
    return not _has_errors(checked)


if __name__ == "__main__":
    sys.exit(run_command("validate"))
