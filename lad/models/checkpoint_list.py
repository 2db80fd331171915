"""The command `lad checkpoints`: the published checkpoints, and which of them are on this machine."""

import argparse
from collections.abc import Sequence

from lad.models.zoo import CHECKPOINTS, PublishedCheckpoint, local_file

HEADER = ("name", "title", "AP", "COCO", "schedule", "MB", "file")


def checkpoint_rows() -> list[tuple[str, ...]]:
    """Return one row of texts per published checkpoint, under `HEADER`."""
    return [(name, *_facts(entry)) for name, entry in CHECKPOINTS.items()]


def _facts(entry: PublishedCheckpoint) -> tuple[str, ...]:
    """Return title, AP, split, schedule, size and place; the size is approximate until the file is here."""
    file = local_file(entry.url, entry.sha256)
    size = f"~{entry.megabytes}" if file is None else f"{file.stat().st_size / 1e6:.0f}"
    return entry.title, f"{entry.ap:.1f}", entry.split, entry.schedule, size, str(file or "not downloaded")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command `lad checkpoints`."""
    parser = argparse.ArgumentParser(
        prog="lad checkpoints",
        description="List the published checkpoints. Use a name like the path of a file: lad.load_detector(name), or "
        "-p checkpoint name for notebooks/evaluate.ipynb; it is downloaded on first use.",
    )
    parser.parse_args(arguments)
    rows = [HEADER, *checkpoint_rows()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


if __name__ == "__main__":
    main()
