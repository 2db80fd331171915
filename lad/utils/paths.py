"""Folders of the project and the user, and paths given as parameters."""

import os
import tempfile
from pathlib import Path
from typing import Any

from lad.utils.messages import format_path, format_value

SUITE_FOLDERS = ("notebooks", "params")  # in a checkout, in the package of a wheel, and in what `lad init` makes
SUITE_MARKER = ".lad-suite"  # the file that marks a folder that `lad init` made
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
    """Return the folder that holds runs, data and checkpoints.

    That is the nearest folder, from the current one upward, that `lad init` made; else the checkout that this package
    is imported from; else the current folder.
    """
    return _suite_folder() or checkout_folder() or Path.cwd()


def project_files(name: str) -> Path:
    """Return the user's folder of notebooks or parameter files: in `project_folder()`, else the package's own.

    Args:
        name: One of `SUITE_FOLDERS`.
    """
    folder = _suite_folder()
    return folder / name if folder else shipped_files(name)


def shipped_files(name: str) -> Path:
    """Return the folder of notebooks or parameter files that came with this package; read only.

    Args:
        name: One of `SUITE_FOLDERS`.
    """
    return (checkout_folder() or package_folder() / "suite") / name


def _suite_folder() -> Path | None:
    """Return the nearest folder that `lad init` made; notebooks run in a folder below it."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / SUITE_MARKER).is_file()), None)


def checkout_folder() -> Path | None:
    """Return the checkout that this package is imported from; None for an installed wheel."""
    folder = package_folder().parent
    is_checkout = (folder / "pyproject.toml").is_file() and all((folder / name).is_dir() for name in SUITE_FOLDERS)
    return folder if is_checkout else None


def cache_folder() -> Path:
    """Return the user's cache of reproducible files, shared by all runs: $LAD_CACHE, else ~/.cache/lad."""
    return Path(os.environ.get("LAD_CACHE") or "~/.cache/lad").expanduser()
