"""Where files go, and writing them so that nothing is lost: a new one takes the old one's place whole, in one step."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

UNFINISHED = ".unfinished"  # ends the name of a file that is being written


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A file beside `path` to write; it becomes `path` when the block ends well. After an error, a full disk or a kill
    the older file is as it was.

    Raises OSError, naming `path`, when it cannot be written.
    """
    unfinished = path.with_name(path.name + UNFINISHED)
    try:
        yield unfinished
        with unfinished.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(unfinished, path)
    except OSError as error:
        raise OSError(
            error.errno, f"{path}: cannot be written ({error.strerror or error}); what was there is as it was"
        ) from error
    finally:
        unfinished.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a file of UTF-8 in one step; see `atomic_write`."""
    with atomic_write(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def remove_unfinished(folder: Path) -> None:
    """Remove what a kill left of files in the middle of being written; for the one process that writes to `folder`."""
    for path in folder.rglob(f"*{UNFINISHED}"):
        path.unlink(missing_ok=True)
