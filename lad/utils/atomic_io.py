"""Atomic writing of files: a new version replaces the old one in one step or not at all."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

UNFINISHED_SUFFIX = ".unfinished"  # of a file that is being written


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it replaces `path` when the block ends without an error.

    After an error, a full disk or a kill, `path` still holds its previous content.

    Raises:
        OSError: The file cannot be written; names `path`.
    """
    unfinished = path.with_name(path.name + UNFINISHED_SUFFIX)
    try:
        yield unfinished
        with unfinished.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(unfinished, path)
    except OSError as error:
        reason = error.strerror or error
        raise OSError(
            error.errno, f"{path}: cannot be written ({reason}); its previous content, if any, is unchanged"
        ) from error
    finally:
        unfinished.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file atomically; see `atomic_write`."""
    with atomic_write(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any, indent: int | None = 2) -> None:
    """Write a JSON file atomically; see `atomic_write`."""
    write_text(path, json.dumps(content, indent=indent, ensure_ascii=False) + "\n")


def remove_unfinished(folder: Path) -> None:
    """Delete the unfinished files that killed processes left in `folder`; only its single writer may call this."""
    for path in folder.rglob(f"*{UNFINISHED_SUFFIX}"):
        path.unlink(missing_ok=True)
