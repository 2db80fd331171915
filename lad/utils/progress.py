"""Progress output: a progress bar in interactive sessions, plain log lines everywhere."""

import os
import sys
from collections.abc import Iterable
from typing import Self, TypeVar

from tqdm.auto import tqdm

Item = TypeVar("Item")
# Set by JupyterLab and Notebook (through jupyter_server), VS Code, Colab and Voilà; papermill and nbconvert set none.
INTERACTIVE_NOTEBOOK_VARIABLES = ("JPY_SESSION_NAME", "VSCODE_PID", "COLAB_RELEASE_TAG", "VOILA_REQUEST_URL")


def progress_bar(items: Iterable[Item], description: str) -> Iterable[Item]:
    """Return `items` behind a progress bar that disappears when done.

    Non-interactive sessions (papermill, CI, a log file) get no bar: each refresh would add a line to the output.
    """
    return tqdm(items, desc=description, leave=False, disable=not is_interactive(), mininterval=0.5, dynamic_ncols=True)


class EpochBar:
    """The progress bar of a run, with the time left: a callback of Fabric and a context in which the run is trained.

    It is shown in interactive sessions only; in a notebook it is a widget, if ipywidgets is installed.

    Args:
        name: Name of the run.
        epochs: Number of epochs.
        epochs_done: Epochs of an earlier part of the run.
    """

    def __init__(self, name: str, epochs: int, epochs_done: int = 0) -> None:
        self.name, self.epochs, self.epochs_done = name, epochs, epochs_done

    def __enter__(self) -> Self:
        """Show the bar."""
        self.bar = tqdm(
            desc=self.name,
            total=self.epochs,
            initial=self.epochs_done,
            leave=False,
            disable=not self.epochs or not is_interactive(),
            dynamic_ncols=True,
            bar_format="{desc}: {n_fmt} of {total_fmt} epochs {bar} {remaining} left",
        )
        return self

    def on_epoch_end(self, _trainer: object) -> None:
        """Count an epoch."""
        self.bar.update()

    def __exit__(self, *_error: object) -> None:
        """Remove the bar."""
        self.bar.close()


def byte_progress_bar(description: str, total: int | None, done: int = 0) -> tqdm:
    """Return a progress bar of bytes, to be updated by the caller; `total` is None if unknown."""
    return tqdm(
        desc=description,
        total=total,
        initial=done,
        unit="B",
        unit_scale=True,
        leave=False,
        disable=not is_interactive(),
        mininterval=0.5,
        dynamic_ncols=True,
    )


def format_duration(seconds: float) -> str:
    """Format a duration with two digits of the unit that a person would use: "45 s", "3.2 min", "14 h"."""
    for unit, length, limit in (("s", 1, 90), ("min", 60, 90 * 60)):
        if seconds < limit:
            return f"{seconds / length:.{1 if unit == 'min' and seconds < 600 else 0}f} {unit}"
    return f"{seconds / 3600:.{1 if seconds < 36_000 else 0}f} h"


def log(line: str) -> None:
    """Print one line without breaking a progress bar."""
    tqdm.write(line)
    sys.stdout.flush()


def is_interactive() -> bool:
    """Return whether a person watches the output: in a terminal, or in a notebook opened in an editor."""
    if "ipykernel" in sys.modules:
        return any(name in os.environ for name in INTERACTIVE_NOTEBOOK_VARIABLES)
    return sys.stderr.isatty()
