"""papermill on a leash: it ends when the process that started it dies, so that a run never has two owners.

The leash is a pipe, the standard input: it is at its end as soon as the other process is, even if that was killed.
"""

import os
import signal
import sys
import threading

from papermill.cli import papermill  # type: ignore[import-untyped]


def main() -> None:
    """Run papermill with the arguments of the command line."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    papermill()


def _end_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 1):  # unbuffered: a lock on the buffer would outlive the main thread
        pass
    os.kill(os.getpid(), signal.SIGTERM)  # the notebook's kernel ends with it


if __name__ == "__main__":
    main()
