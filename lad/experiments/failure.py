"""The log of a failed run: the traceback in a file of its folder, so that a notebook needs to show one line only."""

import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lad.utils.atomic_io import write_text

ERROR_FILE = "error.log"
LOG_NOTE = "log: "  # start of the note on an error that names the file


class ProcessFailedError(RuntimeError):
    """A process failed; its output, which has been printed, says why. Its notes name the logs of the runs.

    Args:
        message: What failed.
        folders: Folders of the runs that failed.
    """

    def __init__(self, message: str, folders: Iterable[Path]) -> None:
        super().__init__(message)
        for folder in folders:
            if (folder / ERROR_FILE).is_file():  # a killed process leaves none
                self.add_note(f"{LOG_NOTE}{folder / ERROR_FILE}")


@contextmanager
def keep_traceback(folder: Path) -> Iterator[None]:
    """Write the traceback of an error within the block to a file in `folder`, and note its path on the error.

    An error that has a log, because a run within the block failed, gets no second one.
    """
    path = folder / ERROR_FILE
    path.unlink(missing_ok=True)
    try:
        yield
    except Exception as error:
        if not logs_of(error):
            with suppress(OSError):  # the disk may be full
                write_text(path, traceback.format_exc())
                error.add_note(f"{LOG_NOTE}{path}")
        raise


def logs_of(error: BaseException) -> list[Path]:
    """Return the logs that are noted on an error."""
    notes = getattr(error, "__notes__", [])
    return [Path(note.removeprefix(LOG_NOTE)) for note in notes if note.startswith(LOG_NOTE)]
