"""Progress that looks right wherever it is read: a bar while somebody watches, one line per epoch in any case."""

import os
import sys
from collections.abc import Iterable
from typing import TypeVar

from tqdm.auto import tqdm

Item = TypeVar("Item")
# Set by JupyterLab and Notebook (through jupyter_server), VS Code, Colab and Voilà; papermill and nbconvert set none.
WATCHED_NOTEBOOK = ("JPY_SESSION_NAME", "VSCODE_PID", "COLAB_RELEASE_TAG", "VOILA_REQUEST_URL")


def progress_bar(items: Iterable[Item], description: str) -> Iterable[Item]:
    """`items` behind a progress bar that vanishes when done; without one when nobody watches (papermill, CI, a log
    file), where a bar would fill the output with copies of itself."""
    return tqdm(items, desc=description, leave=False, disable=not is_interactive(), mininterval=0.5, dynamic_ncols=True)


def log(line: str) -> None:
    """Print one line without breaking a bar."""
    tqdm.write(line)
    sys.stdout.flush()


def is_interactive() -> bool:
    """Whether a person sees output as it comes: a terminal, or a notebook opened in an editor."""
    if "ipykernel" in sys.modules:
        return any(name in os.environ for name in WATCHED_NOTEBOOK)
    return sys.stderr.isatty()
