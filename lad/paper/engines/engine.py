"""The interface of an engine: start a job, return its state, cancel it. The table decides what runs when."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lad.config.experiment import Parameters

LOG_FILE = "log.txt"  # in a run's folder: its last line says why the run failed
State = Literal["running", "finished", "failed", "lost"]  # lost: the worker died, and another one may resume the run


@dataclass(frozen=True)
class Job:
    """A run to be executed by papermill; the machine that executes it must see the same files under the same paths.

    Attributes:
        parameters: Parameters of the run.
        folder: Folder of the run.
        arguments: Arguments of papermill.
        working_folder: Folder that relative paths start from.
    """

    parameters: Parameters
    folder: Path
    arguments: tuple[str, ...]
    working_folder: Path


@dataclass(frozen=True)
class Submitted:
    """A job that an engine has accepted.

    Attributes:
        poll: Returns the state of the job at once; a job that waits in a queue is "running".
        cancel: Takes the job from the queue, or interrupts its run.
    """

    poll: Callable[[], State]
    cancel: Callable[[], object]


@dataclass(frozen=True)
class Engine:
    """A place where jobs are executed.

    Attributes:
        submit: Starts a job or puts it into a queue.
        capacity: Number of jobs that it takes at a time; a cluster queues as many as there are.
    """

    submit: Callable[[Job], Submitted]
    capacity: float = math.inf


def append_log(job: Job, text: str) -> None:
    """Append what an engine knows about a failure to the log of the run."""
    with open(job.folder / LOG_FILE, "a", encoding="utf-8") as file:
        file.write(f"\n{text}\n")
