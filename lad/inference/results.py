"""Predictions as files: COCO's results JSON and a CSV, written row by row while images are predicted."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

from lad.models.detector import Configuration
from lad.structures import Detections
from lad.utils.atomic_io import atomic_write

JSON_FILE, CSV_FILE = "predictions.json", "predictions.csv"
CSV_COLUMNS = ("file", "frame", "class", "score", "x", "y", "width", "height")
COCO_CATEGORIES = FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]  # by category id; unused ids are "N/A"

AddRows = Callable[[str, int, int | None, Detections], None]


def class_names_of(configuration: Configuration) -> tuple[str, ...]:
    """Return the name of each label of a detector; the number of the label if the detector has no class names."""
    return configuration.class_names or tuple(map(str, range(configuration.num_classes)))


def category_ids_of(class_names: Sequence[str]) -> list[int]:
    """Return the COCO category id of each label: the official one (1 … 90) of COCO's 80 classes, else label + 1."""
    official = {name: number for number, name in enumerate(COCO_CATEGORIES) if name not in ("__background__", "N/A")}
    if len(class_names) == len(official) and set(class_names) == official.keys():
        return [official[name] for name in class_names]
    return list(range(1, len(class_names) + 1))


@contextmanager
def open_results(folder: Path, class_names: Sequence[str]) -> Iterator[AddRows]:
    """Yield a function that appends the detections of an image, or of a frame, to both files in `folder`.

    Its arguments are the file's name, its image id, the number of the frame or None, and the detections. The files are
    complete when the block ends; after an exception or Ctrl-C, they hold what was added before.

    Raises:
        OSError: A file cannot be written.
    """
    category_ids = category_ids_of(class_names)
    failure = None
    with (
        atomic_write(folder / JSON_FILE) as json_path,
        atomic_write(folder / CSV_FILE) as csv_path,
        json_path.open("w", encoding="utf-8") as json_file,
        csv_path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as csv_file,
    ):
        csv_file.write(_csv_lines([CSV_COLUMNS]))
        separator = "["

        def add(name: str, image_id: int, frame: int | None, detections: Detections) -> None:
            nonlocal separator
            entries, rows = [], []
            for (x0, y0, x1, y1), score, label in zip(
                detections.boxes.tolist(), detections.scores.tolist(), detections.labels.tolist(), strict=True
            ):
                box = [round(value, 2) for value in (x0, y0, x1 - x0, y1 - y0)]
                entry = {
                    "image_id": image_id,
                    "category_id": category_ids[label],
                    "bbox": box,
                    "score": round(score, 5),
                }
                entry |= {"file_name": name} if frame is None else {"file_name": name, "frame": frame}
                entries.append(json.dumps(entry))
                rows.append((name, "" if frame is None else frame, class_names[label], entry["score"], *box))
            if entries:  # one call for each file, so that no row is cut by Ctrl-C
                json_file.write(separator + "\n" + ",\n".join(entries))
                separator = ","
                csv_file.write(_csv_lines(rows))

        try:
            yield add
        except BaseException as error:  # KeyboardInterrupt, too: what was added is kept
            failure = error
        json_file.write("\n]\n" if separator == "," else "[]\n")
    if failure is not None:
        raise failure


def _csv_lines(rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
