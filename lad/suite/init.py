"""`lad init`: a folder with the notebooks and parameter files, to work in without a checkout."""

from pathlib import Path

import lad
from lad.utils.atomic_io import atomic_write
from lad.utils.messages import format_path
from lad.utils.paths import SUITE_FOLDERS, SUITE_MARKER, ensure_writable, shipped_files

MARKER_TEXT = "`lad init` made this folder: runs/, data/ and checkpoints/ of commands started below it are here.\n"
SHIPPED_SUFFIXES = (".ipynb", ".md", ".yaml")


def init_suite(folder: Path) -> list[Path]:
    """Lay out notebooks/ and params/ in a folder, and mark it as the place of its runs, data and checkpoints.

    Files that are there already, unchanged, are kept.

    Args:
        folder: The folder, made if it does not exist.

    Returns:
        The files that were written.

    Raises:
        ValueError: The folder cannot be written, or has a file that differs; nothing is written.
    """
    contents = {
        folder / name / path.relative_to(shipped_files(name)): path.read_bytes()
        for name in SUITE_FOLDERS
        for path in sorted(shipped_files(name).rglob("*"))
        if path.suffix in SHIPPED_SUFFIXES and ".ipynb_checkpoints" not in path.parts
    }
    contents[folder / SUITE_MARKER] = MARKER_TEXT.encode()
    for place in sorted({path.parent for path in contents}):
        ensure_writable(place, "FOLDER")
    missing = {path: content for path, content in contents.items() if not path.exists()}
    changed = [path for path in contents if path not in missing and not _has_content(path, contents[path])]
    if changed:
        others = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
        raise ValueError(
            f"{format_path(changed[0])}{others}: differs from the file of lad-suite {lad.__version__}; nothing was "
            "written; move it away, or give another folder"
        )
    (folder / "runs").mkdir(parents=True, exist_ok=True)  # papermill writes into folders that exist
    for path, content in missing.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as unfinished:
            unfinished.write_bytes(content)
    return list(missing)


def _has_content(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content
