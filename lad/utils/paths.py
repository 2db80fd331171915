"""Folders of the project and the user, and paths given as parameters."""

import os
import tempfile
from pathlib import Path
from typing import Any

from lad.utils.messages import format_path, format_value

PROBE_BYTES = 4096  # a block of most file systems: an empty file would fit on a full disk


def absolute_path(name: str, value: Any) -> Path:
    """Return the absolute path of a parameter's value, relative to the current folder and with ~ expanded.

    Args:
        name: Name of the parameter, for messages.
        value: Value that a user gave.

    Raises:
        ValueError: The value cannot be a path: not text, empty, of an unknown user, with a null byte, or too long.
    """
    if not isinstance(value, str | Path) or not str(value):
        raise ValueError(f"parameter '{name}' = {format_value(value)} is not a path")
    try:
        path = Path(str(value)).expanduser().resolve()
        path.exists()
    except (ValueError, RuntimeError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ValueError(f"parameter '{name}' = {format_value(value)} is not a path ({reason})") from None
    return path


def ensure_writable(folder: Path, parameter: str) -> None:
    """Check, before work whose results it will hold, that a folder can be made and written; leave nothing behind.

    A small file is written to it or, if it does not exist, to a folder of its name in a temporary one beside it.

    Args:
        folder: The folder.
        parameter: Name of the parameter that gives it, for the message.

    Raises:
        ValueError: The folder cannot be made or written; names it, the parameter and the reason.
    """
    folder = folder.absolute()
    try:
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        with tempfile.TemporaryDirectory(dir=existing, prefix=".writable-") as probe:
            trial = Path(probe) / folder.relative_to(existing)
            trial.mkdir(parents=True, exist_ok=True)
            with open(trial / "file", "wb") as file:
                file.write(bytes(PROBE_BYTES))
                file.flush()
                os.fsync(file.fileno())
    except OSError as error:
        raise ValueError(
            f"parameter '{parameter}' = '{format_path(folder)}': cannot be written ({error.strerror or error}); give "
            "another folder"
        ) from None


def package_folder() -> Path:
    """Return the folder of this package's modules."""
    return Path(__file__).parents[1]


def project_folder() -> Path:
    """Return the checkout that this package is installed from, else the current folder."""
    checkout = package_folder().parent
    return checkout if (checkout / "pyproject.toml").is_file() else Path.cwd()


def cache_folder() -> Path:
    """Return the user's cache of reproducible files, shared by all runs: $LAD_CACHE, else ~/.cache/lad."""
    return Path(os.environ.get("LAD_CACHE") or "~/.cache/lad").expanduser()
