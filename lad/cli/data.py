"""The subcommands about data sets: import, validate."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from lad.cli.options import AsJson


def import_data(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Data set folder, or one of coco2017, coco2017-val.")],
    out: Annotated[
        Path | None,
        typer.Argument(metavar="OUT", help="New folder.", show_default="for COCO 2017: data/coco of the project"),
    ] = None,
    copy: Annotated[bool, typer.Option("--copy", help="Copy the images instead of linking them.")] = False,
    zero_based: Annotated[
        bool, typer.Option("--zero-based", help="VOC: coordinates are edges counted from 0.")
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="COCO 2017: keep the archives, in OUT/archives.")] = False,
) -> int:
    """Convert a VOC or YOLO data set, or download COCO 2017."""
    from lad.data.importing.cli import import_data_set
    from lad.data.importing.coco2017 import SETS

    if out is None and source not in SETS:
        raise typer.BadParameter("missing argument OUT, the new folder")
    try:
        import_data_set(source, out, zero_based, copy, keep)
    except KeyboardInterrupt:
        print("lad import: interrupted; run the same command again (a download is resumed)", file=sys.stderr)
        return 130
    return 0


def validate(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Data set folder or JSON, as for -p data.")],
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the images of a JSON given as FOLDER.")
    ] = None,
    val_share: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Share of the images for validation, from 0 to 1, of data with one JSON for training and validation.",
            show_default="0.2",
        ),
    ] = None,
    splits: Annotated[
        list[str] | None,
        typer.Option("--split", metavar="NAME", help="Split to check; may be repeated.", show_default="train and val"),
    ] = None,
    fix: Annotated[
        Path | None, typer.Option(metavar="OUT", help="Write a corrected copy as the new folder OUT.")
    ] = None,
    as_json: AsJson = False,
    show_all: Annotated[bool, typer.Option("--all", help="Print all findings, not only 20 of each kind.")] = False,
) -> int:
    """Check a data set in COCO format.

    Every entry of its JSON files and every image file is read. Exits with status 1 if there are errors (with --fix: in
    the corrected copy).
    """
    from lad.data.validation.report import validate_and_print

    is_valid = validate_and_print(folder, images, val_share, splits or ("train", "val"), fix, as_json, show_all)
    return 0 if is_valid else 1
