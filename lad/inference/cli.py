"""The command `lad predict`: pictures with boxes, COCO results and a table of any images.

lad predict model.safetensors street.jpg photos 'frames/**/*.png'   # files, folders, patterns in quotes
lad predict runs/<run> photos --classes person,dog --threshold 0.5 --out predicted
"""

import argparse
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePath
from typing import get_args

import torch

from lad.inference.files import THRESHOLD, PredictionReport, free_path, make_folder, predict_files
from lad.inference.postprocess import MAX_DETECTIONS
from lad.inference.results import CSV_FILE, JSON_FILE
from lad.inference.sources import find_sources
from lad.models.parts import Part
from lad.models.serialization import load_detector
from lad.utils.messages import one_line
from lad.utils.paths import project_folder

WEIGHTS_FILE = "model.safetensors"  # of a run's folder
INTERRUPTED = 130  # the exit status after Ctrl-C in a shell


def format_report(report: PredictionReport) -> str:
    """Format the number of objects, and of images with them, of each class as a table, most frequent class first."""
    rows = [(name, f"{count:,}", f"{report.images[name]:,}") for name, count in report.objects.most_common()]
    with_title = [("class", "objects", "images"), *((one_line(name), *counts) for name, *counts in rows)]
    widths = [max(len(row[column]) for row in with_title) for column in range(3)]
    lines = [f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}" for row in with_title]
    total = f"{_count(report.objects.total(), 'object')} in {_count(report.num_images, 'image')}"
    full = f"{_count(report.full_images, 'image')} reached --max-detections; a higher one may find more"
    lines = [*(lines if rows else []), *([full] if report.full_images else [])]
    return "\n".join([*lines, f"{total}: {one_line(str(report.folder))}"])


def find_device(name: str) -> str:
    """Return "cuda" or "cpu"; for "auto", "cuda" if this machine has it.

    Raises:
        ValueError: "cuda" is wanted, and this machine has no CUDA device.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: this machine has no CUDA device; use --device cpu")
    return "cuda" if name != "cpu" and torch.cuda.is_available() else "cpu"


def find_checkpoint(given: str) -> str:
    """Return a given checkpoint, or for a run's folder the weights in it.

    Raises:
        ValueError: A folder has no weights.
    """
    path = Path(given)
    if not path.is_dir():
        return given
    if not (path / WEIGHTS_FILE).is_file():
        raise ValueError(f"{path}: has no {WEIGHTS_FILE}; give the folder of a finished run, or a checkpoint file")
    return str(path / WEIGHTS_FILE)


def default_folder(checkpoint: str) -> Path:
    """Return a folder that does not exist, runs/predictions/ and the name of the checkpoint or of its run."""
    path = PurePath(checkpoint)
    name = path.parent.name if path.name == WEIGHTS_FILE and path.parent.name else path.stem
    return free_path(project_folder() / "runs" / "predictions" / re.sub(r"[^\w.-]+", "-", name))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command `lad predict`.

    Args:
        arguments: The words after `lad predict`; None reads them from the command line.

    Returns:
        Exit status: 0; 1 if a file could not be read; 130 after Ctrl-C.
    """
    given = _parser().parse_args(arguments)
    try:
        find_sources(given.sources)  # before the checkpoint is loaded, which may take a while
        device = find_device(given.device)
        checkpoint = find_checkpoint(given.checkpoint)
        out = given.out or default_folder(checkpoint)
        is_new = not out.exists()
        make_folder(out)
        try:
            detector = load_detector(checkpoint, given.part).to(device)
            report = predict_files(
                detector, given.sources, out, given.threshold, given.classes, given.batch, not given.no_pictures,
                given.max_detections,
            )  # fmt: skip
        finally:
            if is_new:
                with suppress(OSError):  # not empty, unless nothing was predicted
                    out.rmdir()
    except KeyboardInterrupt:
        return INTERRUPTED
    except torch.OutOfMemoryError:
        sys.exit(f"lad predict: out of memory on the device; use a --batch smaller than {given.batch}, or --device cpu")
    except (ValueError, OSError) as error:
        sys.exit(f"lad predict: {one_line(str(error))}")
    print(format_report(report))
    return 1 if report.problems else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lad predict",
        description="Detect the objects in images; write pictures with boxes, COCO results and a table.",
        epilog=f"Pictures, {JSON_FILE} and {CSV_FILE} hold the same detections. Exits with status 1 if a file could "
        "not be read; the others are predicted.",
    )
    parser.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        help="file, published name (see lad checkpoints), web address, or folder of a finished run",
    )
    parser.add_argument(
        "sources", nargs="+", metavar="SOURCE", help="image, animation or video; folder; pattern like 'photos/**/*.jpg'"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="new folder to write to (default: runs/predictions/CHECKPOINT)"
    )
    parser.add_argument(
        "--threshold", type=float, default=THRESHOLD, metavar="SCORE", help=f"minimal score (default: {THRESHOLD})"
    )
    parser.add_argument(
        "--classes", type=lambda text: text.split(","), metavar="A,B", help="names or numbers of classes (default: all)"
    )
    parser.add_argument(
        "--max-detections",
        type=int,
        default=MAX_DETECTIONS,
        metavar="N",
        help=f"of an image, over all classes (default: {MAX_DETECTIONS})",
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: a GPU if present")
    parser.add_argument("--batch", type=int, default=8, metavar="N", help="images read at once (default: 8)")
    parser.add_argument(
        "--part", choices=get_args(Part), default="student", help="network of a LAD checkpoint (default: student)"
    )
    parser.add_argument("--no-pictures", action="store_true", help="write only the JSON and the CSV")
    return parser


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


if __name__ == "__main__":
    sys.exit(main())
