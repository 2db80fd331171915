"""The command `lad predict`: pictures with boxes, COCO results and a table of any images.

lad predict model.safetensors street.jpg photos 'frames/**/*.png'   # files, folders, patterns in quotes
lad predict runs/<run> photos --classes person,dog --threshold 0.5 --out predicted
"""

import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch

from lad.inference.files import THRESHOLD, PredictionReport, free_path, make_folder, predict_files
from lad.inference.postprocess import MAX_DETECTIONS
from lad.inference.sources import find_sources
from lad.models.parts import Part
from lad.models.serialization import load_detector
from lad.models.zoo import WEIGHTS_FILE
from lad.utils.messages import counted, one_line
from lad.utils.old_command import run_command
from lad.utils.paths import project_folder


def format_report(report: PredictionReport) -> str:
    """Format the number of objects, and of images with them, of each class as a table, most frequent class first."""
    rows = [(name, f"{count:,}", f"{report.images[name]:,}") for name, count in report.objects.most_common()]
    with_title = [("class", "objects", "images"), *((one_line(name), *counts) for name, *counts in rows)]
    widths = [max(len(row[column]) for row in with_title) for column in range(3)]
    lines = [f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}" for row in with_title]
    total = f"{counted(report.objects.total(), 'object')} in {counted(report.num_images, 'image')}"
    full = f"{counted(report.full_images, 'image')} reached --max-detections; a higher one may find more"
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


def default_folder(checkpoint: str) -> Path:
    """Return a folder that does not exist, runs/predictions/ and the name of the checkpoint or of its run."""
    path = Path(checkpoint).expanduser().resolve()
    run = path if path.is_dir() else path.parent if path.name == WEIGHTS_FILE else None
    name = path.stem if run is None else run.name
    return free_path(project_folder() / "runs" / "predictions" / re.sub(r"[^\w.-]+", "-", name))


def predict_to_folder(
    checkpoint: str,
    sources: Sequence[str],
    out: Path | None = None,
    threshold: float = THRESHOLD,
    classes: Sequence[str] | None = None,
    batch: int = 8,
    pictures: bool = True,
    max_detections: int = MAX_DETECTIONS,
    device: str = "auto",
    part: Part = "student",
) -> PredictionReport:
    """Load a checkpoint and predict files; see `predict_files`.

    Args:
        checkpoint: A checkpoint, or the folder of a finished run.
        sources: Files, folders and patterns.
        out: New folder to write to; None is `default_folder`.
        threshold: Minimal score.
        classes: Names or numbers of classes; None for all.
        batch: Number of images read at once.
        pictures: Whether pictures are written.
        max_detections: Maximal number of detections of an image.
        device: "auto", "cpu" or "cuda".
        part: Network of a checkpoint with several.

    Raises:
        ValueError: An argument is wrong, a file is missing, or the device is out of memory; a new folder without
            predictions is removed.
    """
    find_sources(sources)  # before the checkpoint is loaded, which may take a while
    device = find_device(device)
    out = out or default_folder(checkpoint)
    is_new = not out.exists()
    make_folder(out)
    try:
        detector = load_detector(checkpoint, part).to(device)
        return predict_files(detector, sources, out, threshold, classes, batch, pictures, max_detections)
    except torch.OutOfMemoryError:
        raise ValueError(f"out of memory on the device; use a --batch smaller than {batch}, or --device cpu") from None
    finally:
        if is_new:
            with suppress(OSError):  # not empty, unless nothing was predicted
                out.rmdir()


if __name__ == "__main__":
    sys.exit(run_command("predict"))
