"""The command `lad import`: a data set in another format, or COCO 2017 itself, becomes a COCO folder.

lad import path/to/VOC2012 path/to/new   # Pascal VOC: XML files
lad import path/to/yolo path/to/new      # YOLO: data.yaml and text files
lad import coco2017                      # download COCO 2017 to data/coco
lad import coco2017-val                  # its validation images only
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lad.data.importing.coco2017 import SETS, download_coco
from lad.data.importing.coco_folder import ImportedSet, check_is_new, write_coco_folder
from lad.data.importing.voc import is_voc, read_voc
from lad.data.importing.yolo import is_yolo, read_yolo
from lad.utils.messages import format_path, one_line
from lad.utils.paths import project_folder


def read_data_set(folder: Path, zero_based: bool = False) -> ImportedSet:
    """Read a data set folder in VOC's or YOLO's format.

    Args:
        folder: The data set.
        zero_based: Whether VOC's coordinates are counted from 0; see `read_voc`.

    Raises:
        ValueError: The format is not known, or a file is not of the format; one line that names it.
    """
    folder = folder.expanduser().absolute()
    if not folder.is_dir():
        raise ValueError(f"{format_path(folder)}: no such folder; give one, or one of {', '.join(SETS)}")
    if is_voc(folder):
        if is_yolo(folder):
            raise ValueError(f"{format_path(folder)}: has the files of VOC and of YOLO; move those of one elsewhere")
        return read_voc(folder, zero_based)
    if zero_based:
        raise ValueError(f"{format_path(folder)}: has no XML files; --zero-based is for those of VOC")
    return read_yolo(folder)


def _import_folder(source: Path, out: Path, zero_based: bool, copy: bool) -> None:
    check_is_new(out)
    imported = read_data_set(source, zero_based)
    notes = write_coco_folder(imported, out, copy)
    if "val" not in imported.splits:
        notes.insert(-1, "no images for validation: training holds out a part of the training images")
    print(*map(one_line, notes), sep="\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; exits with status 1 and one line after an error."""
    parser = argparse.ArgumentParser(
        prog="lad import",
        description="Convert a data set in Pascal VOC's or YOLO's format to a COCO folder, or download COCO 2017.",
    )
    parser.add_argument("source", metavar="SOURCE", help=f"data set folder, or one of {', '.join(SETS)}")
    parser.add_argument(
        "out", type=Path, nargs="?", metavar="OUT", help="new folder (default for COCO 2017: data/coco of the project)"
    )
    parser.add_argument("--copy", action="store_true", help="copy the images (default: hard links where possible)")
    parser.add_argument("--zero-based", action="store_true", help="VOC: coordinates are edges counted from 0")
    parser.add_argument("--keep", action="store_true", help="COCO 2017: keep the archives, in OUT/archives")
    given = parser.parse_args(arguments)
    if given.source not in SETS and given.out is None:
        parser.error("the following arguments are required: OUT")
    try:
        if given.source in SETS:
            download_coco(given.source, given.out or project_folder() / "data" / "coco", given.keep)
        else:
            _import_folder(Path(given.source), given.out, given.zero_based, given.copy)
    except KeyboardInterrupt:
        sys.exit("lad import: interrupted; run the same command again (a download is resumed)")
    except (ValueError, OSError) as error:
        sys.exit(f"lad import: {one_line(str(error))}")


if __name__ == "__main__":
    main()
