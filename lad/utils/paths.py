"""Folders: the project's checkout, the user's cache, and paths that people give."""

import os
from pathlib import Path
from typing import Any

from lad.utils.messages import shown


def absolute_path(name: str, value: Any) -> Path:
    """The path that a person gave for a parameter, from the current folder, ~ included.

    Raises ValueError for what cannot be one: no text, empty, of an unknown user, with a null byte, a name too long.
    """
    if not isinstance(value, str | Path | int) or not str(value):
        raise ValueError(f"parameter '{name}' = {shown(value)} is no path")
    try:
        path = Path(str(value)).expanduser().resolve()
        path.exists()
    except (ValueError, RuntimeError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise ValueError(f"parameter '{name}' = {shown(value)} is no path ({why})") from None
    return path


def project_folder() -> Path:
    """The checkout that this package is installed from, else the current folder."""
    checkout = Path(__file__).parents[2]
    return checkout if (checkout / "pyproject.toml").is_file() else Path.cwd()


def cache_folder() -> Path:
    """Of what can be made again, shared by all runs of a user: $LAD_CACHE, else ~/.cache/lad."""
    return Path(os.environ.get("LAD_CACHE") or "~/.cache/lad").expanduser()
