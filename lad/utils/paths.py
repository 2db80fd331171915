"""Folders of the project and the user, and paths given as parameters."""

import os
from pathlib import Path
from typing import Any

from lad.utils.messages import format_value


def absolute_path(name: str, value: Any) -> Path:
    """Return the absolute path of a parameter's value, relative to the current folder and with ~ expanded.

    Args:
        name: Name of the parameter, for messages.
        value: Value that a user gave.

    Raises:
        ValueError: The value cannot be a path: not text, empty, of an unknown user, with a null byte, or too long.
    """
    if not isinstance(value, str | Path | int) or not str(value):
        raise ValueError(f"parameter '{name}' = {format_value(value)} is not a path")
    try:
        path = Path(str(value)).expanduser().resolve()
        path.exists()
    except (ValueError, RuntimeError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ValueError(f"parameter '{name}' = {format_value(value)} is not a path ({reason})") from None
    return path


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
