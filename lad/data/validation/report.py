"""Is a data set fit for training? Every finding, and a corrected copy if wanted.

lad validate path/to/chess                        # of its train and val splits; exit status 1 if it is not
lad validate path/to/chess --fix path/to/mended   # a folder to train on: -p data path/to/mended
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from lad.data.coco import split_name
from lad.data.validation.checker import CheckedSplit, read_document, validate_folder
from lad.data.validation.repair import fix
from lad.data.validation.rules import SEVERITIES, Finding
from lad.utils.messages import one_line

MAX_LINES = 20  # of one kind, unless all are asked for


def fix_folder(checked: Mapping[str, CheckedSplit], out: Path) -> list[str]:
    """Write a data set folder `out` of corrected splits, and return what was done. Its images are links to the folders
    they are in, or copies where links cannot be made.

    Raises ValueError, and leaves nothing behind, if `out` is there or a split cannot be mended.
    """
    if os.path.lexists(out):
        raise ValueError(one_line(f"{out}: is there already; a corrected copy is always a new folder"))
    done = []
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as unfinished:
        draft = Path(unfinished) / out.name
        for one in checked.values():
            if not one.path.is_file():
                raise ValueError("; ".join(finding.message for finding in one.findings))
            written = draft / "annotations" / one.path.name
            done += fix(one.images, one.path, written, one.findings)
            _bring(one.images, draft / split_name(written), written)
        draft.rename(out)
    return done


def _bring(images: Path, place: Path, annotations: Path) -> None:
    """Make the images of a JSON reachable in `place`."""
    try:
        place.symlink_to(images.resolve(), target_is_directory=True)
    except (OSError, NotImplementedError):  # Windows asks for a privilege, and some file systems have no links
        for image in read_document(annotations)["images"]:
            (place / image["file_name"]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(images / image["file_name"], place / image["file_name"])


def report(name: str, checked: Mapping[str, CheckedSplit], most: int | None = MAX_LINES) -> Iterable[str]:
    """The findings of each split, kind after kind and at most so many of one, and how many there are in all."""
    for one in checked.values():
        findings = sorted(one.findings, key=lambda finding: (SEVERITIES.index(finding.severity), finding.kind))
        yield from _shortened([(finding.kind, str(finding)) for finding in findings], most)
    yield summary(name, checked)


def summary(name: str, checked: Mapping[str, CheckedSplit]) -> str:
    """ "chess: 2 errors, 14 warnings, 1 note in 320 images, 1,234 annotations" """
    severities = Counter(finding.severity for one in checked.values() for finding in one.findings)
    found = ", ".join(_counted(severities[severity], severity) for severity in SEVERITIES if severities[severity])
    images = _counted(sum(one.image_count for one in checked.values()), "image")
    annotations = _counted(sum(one.annotation_count for one in checked.values()), "annotation")
    return one_line(f"{name}: {found or 'nothing wrong'} in {images}, {annotations}")


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _shortened(lines: Sequence[tuple[str, str]], most: int | None) -> Iterable[str]:
    """The lines of (kind, line), of each kind the first ones and how many more there are."""
    seen: Counter[str] = Counter()
    total = Counter(kind for kind, _ in lines)
    for kind, line in lines:
        seen[kind] += 1
        if most is None or seen[kind] <= most:
            yield line
        elif seen[kind] == most + 1:
            yield f"… and {total[kind] - most:,} more of {kind}; --all lists them"


def _has_errors(checked: Mapping[str, CheckedSplit]) -> bool:
    return any(finding.severity == "error" for one in checked.values() for finding in one.findings)


def _as_json(folder: Path, checked: Mapping[str, CheckedSplit]) -> str:
    def of(finding: Finding) -> dict[str, object]:
        return {**asdict(finding), "path": str(finding.path)}

    splits = {
        split: {
            "annotations": str(one.path),
            "images": str(one.images),
            "image_count": one.image_count,
            "annotation_count": one.annotation_count,
            "findings": [of(finding) for finding in one.findings],
        }
        for split, one in checked.items()
    }
    return json.dumps({"folder": str(folder), "splits": splits}, indent=2)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="lad validate",
        description="Check a COCO-format data set: its JSON files entry by entry, and every image.",
        epilog="The exit status is 1 if there are errors (with --fix: if the copy still has some), else 0.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="of the data set, as for -p data")
    parser.add_argument(
        "--split",
        dest="splits",
        action="append",
        metavar="NAME",
        help="check this one, may be repeated (default: train, val)",
    )
    parser.add_argument("--fix", type=Path, metavar="OUT", help="write a corrected copy as a new folder")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.add_argument("--all", action="store_true", help=f"print all lines, not {MAX_LINES} of a kind")
    given = parser.parse_args(arguments)
    most = None if given.all else MAX_LINES
    try:
        checked = validate_folder(given.folder, given.splits or ("train", "val"))
        if given.json:
            print(_as_json(given.folder, checked))
        else:
            print(*report(given.folder.resolve().name, checked, most), sep="\n")
        if given.fix is not None:
            done = fix_folder(checked, given.fix)
            checked = validate_folder(given.fix, list(checked), decode=False)  # the images were looked at
            if not given.json:
                print(*_shortened([("mended", line) for line in done], most), sep="\n")
                print(f"written to {one_line(str(given.fix))}: {summary(given.fix.name, checked)}")
    except (ValueError, OSError) as error:
        sys.exit(f"lad validate: {one_line(str(error))}")
    if _has_errors(checked):
        sys.exit(1)


if __name__ == "__main__":
    main()
