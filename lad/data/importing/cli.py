"""The command `lad import`: a data set in another format, or COCO 2017 itself, becomes a COCO folder.

lad import path/to/VOC2012 path/to/new   # Pascal VOC: XML files
lad import path/to/yolo path/to/new      # YOLO: data.yaml and text files
lad import coco2017                      # download COCO 2017 to data/coco
lad import coco2017-val                  # its validation images only
"""

import sys
from pathlib import Path

from lad.data.importing.coco2017 import SETS, download_coco
from lad.data.importing.coco_folder import ImportedSet, check_is_new, write_coco_folder
from lad.data.importing.voc import is_voc, read_voc
from lad.data.importing.yolo import is_yolo, read_yolo
from lad.utils.messages import format_path, one_line
from lad.utils.old_command import run_command
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


def import_data_set(
    source: str, out: Path | None = None, zero_based: bool = False, copy: bool = False, keep: bool = False
) -> None:
    """Convert a data set to a COCO folder, or download COCO 2017, and print what was written.

    Args:
        source: Folder of a data set in VOC's or YOLO's format, or one of `SETS`.
        out: New folder; None is data/coco of the project, for one of `SETS`.
        zero_based: Whether VOC's coordinates are counted from 0; see `read_voc`.
        copy: Whether images are copied instead of linked.
        keep: Whether the archives of COCO 2017 are kept.

    Raises:
        ValueError: The data set cannot be read, or `out` is missing or exists; nothing is written.
    """
    if source in SETS:
        download_coco(source, out or project_folder() / "data" / "coco", keep)
        return
    if out is None:
        raise ValueError(f"{source}: a new folder to write to is missing")
    _import_folder(Path(source), out, zero_based, copy)


if __name__ == "__main__":
    sys.exit(run_command("import"))
