"""Errors in notebooks: one line, and the log of a failed run, in place of a long traceback."""

import os
from pathlib import Path
from types import TracebackType
from typing import Any

from lad.experiments.failure import LOG_NOTE, ProcessFailedError, logs_of
from lad.utils.paths import package_folder
from lad.utils.progress import is_interactive


def show_errors_briefly() -> None:
    """Show errors of this package in one line from now on; do nothing outside IPython.

    Briefly shown are errors of a run, whose folder has the traceback, and messages for users: a ValueError, OSError or
    ProcessFailedError that this package raises itself. All other errors keep their traceback. Papermill fails in any
    case.
    """
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    if shell is not None:
        shell.set_custom_exc((Exception,), _show)


def brief_lines(error: BaseException, trace: TracebackType | None) -> list[str]:
    """Return the lines to show in place of a traceback; none if the traceback is needed."""
    logs = [f"{LOG_NOTE}{path}" for path in logs_of(error)]
    is_message = isinstance(error, ValueError | OSError | ProcessFailedError) and _raised_here(trace)
    return [f"{type(error).__name__}: {error}", *logs] if logs or is_message else []


def _raised_here(trace: TracebackType | None) -> bool:
    """Return whether the innermost frame of a traceback is code of this package."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and Path(trace.tb_frame.f_code.co_filename).is_relative_to(package_folder())


def _show(shell: Any, kind: type[BaseException], error: BaseException, trace: Any, tb_offset: int | None = None) -> Any:
    """Show an error; the handler that `set_custom_exc` takes."""
    lines = brief_lines(error, trace)
    if not lines:
        shell.set_custom_exc((), None)  # IPython's own output, for this error
        try:
            return shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
        finally:
            show_errors_briefly()
    logs = logs_of(error) if is_interactive() else []  # links, where somebody can follow them
    shell._showtraceback(kind, error, lines[: len(lines) - len(logs)])
    for path in logs:
        from IPython.display import FileLink, display

        display(FileLink(os.path.relpath(path), result_html_prefix=LOG_NOTE))
    return lines
