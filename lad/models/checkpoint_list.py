"""The command `lad checkpoints`: the published checkpoints, and which of them are on this machine."""

import json
import sys

from lad.models.zoo import CHECKPOINTS, PublishedCheckpoint, local_file
from lad.utils.old_command import run_command

HEADER = ("name", "title", "AP", "COCO", "schedule", "MB", "file")


def checkpoint_rows() -> list[tuple[str, ...]]:
    """Return one row of texts per published checkpoint, under `HEADER`."""
    return [(name, *_facts(entry)) for name, entry in CHECKPOINTS.items()]


def _facts(entry: PublishedCheckpoint) -> tuple[str, ...]:
    """Return title, AP, split, schedule, size and place; the size is approximate until the file is here."""
    file = local_file(entry.url, entry.sha256)
    size = f"~{entry.megabytes}" if file is None else f"{file.stat().st_size / 1e6:.0f}"
    return entry.title, f"{entry.ap:.1f}", entry.split, entry.schedule, size, str(file or "not downloaded")


def format_checkpoints() -> str:
    """Return the published checkpoints as a table of text."""
    rows = [HEADER, *checkpoint_rows()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines)


def checkpoints_to_json() -> str:
    """Return the published checkpoints as JSON; `file` is null for one that is not on this machine."""
    content = []
    for name, entry in CHECKPOINTS.items():
        file = local_file(entry.url, entry.sha256)
        facts = {"title": entry.title, "AP": entry.ap, "split": entry.split, "schedule": entry.schedule}
        content.append({"name": name, **facts, "url": entry.url, "file": None if file is None else str(file)})
    return json.dumps(content, indent=2, ensure_ascii=False)


if __name__ == "__main__":
    sys.exit(run_command("checkpoints"))
