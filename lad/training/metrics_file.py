"""The file metrics.jsonl of a run: one line for each finished epoch."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lad.utils.atomic_io import write_text

METRICS_FILE = "metrics.jsonl"


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """Read the lines of metrics.jsonl, one per finished epoch."""
    path = folder / METRICS_FILE
    if not path.exists():
        return []
    try:
        return [dict(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    except (ValueError, TypeError):
        raise ValueError(f"{path}: corrupted; delete its broken lines, or the run's folder to train it again") from None


def append_metrics(folder: Path, line: dict[str, Any]) -> None:
    """Append one epoch's line to metrics.jsonl; numbers that are not finite become null, as JSON has no NaN."""
    line = {name: value if math.isfinite(value) else None for name, value in line.items()}
    _write_metrics(folder, [*read_metrics(folder), line])


def drop_metrics_after(folder: Path, epochs_done: int) -> None:
    """Delete the lines of epochs after the last checkpoint: they will be trained again."""
    _write_metrics(folder, [line for line in read_metrics(folder) if line["epoch"] <= epochs_done])


def _write_metrics(folder: Path, lines: Iterable[dict[str, Any]]) -> None:
    """Write all lines atomically: half a line would not be valid JSON."""
    write_text(folder / METRICS_FILE, "".join(json.dumps(line) + "\n" for line in lines))
