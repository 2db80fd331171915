"""The execution of one job: papermill in a process of its own, with its output in the run's folder."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lad.config.experiment import Parameters
from lad.experiments.run_store import folder_to_train, is_training
from lad.paper.engines.engine import LOG_FILE, Job
from lad.utils.paths import project_files

NOTEBOOK = "run_lad.ipynb"
POLL_INTERVAL = 0.5  # seconds
PAPERMILL = ("-m", "papermill")
LEASHED_PAPERMILL = ("-m", "lad.paper.engines.leash")


def prepare(parameters: Parameters) -> Job:
    """Make the folder in which a run starts or resumes, with its parameters for the notebook; return its job."""
    folder = folder_to_train(parameters).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    given: dict[str, Any] = {"compare": False, "settings": parameters.model_dump(exclude_none=True)}
    file = folder / "run_lad.yaml"
    file.write_text(json.dumps(given, ensure_ascii=False), encoding="utf-8")
    (folder / LOG_FILE).write_bytes(b"")
    notebook = project_files("notebooks") / NOTEBOOK
    quiet = ("--no-progress-bar", "--log-level", "ERROR", "--stdout-file", "-")
    return Job(parameters, folder, (*quiet, str(notebook), str(folder / NOTEBOOK), "-f", str(file)), Path.cwd())


def start(
    job: Job,
    module: Sequence[str] = PAPERMILL,
    stdin: int = subprocess.DEVNULL,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a job in a process of this machine.

    Args:
        job: The job.
        module: Options of Python that select papermill.
        stdin: Standard input of the process, as for `subprocess.Popen`.
        environment: Its environment variables; None for those of this process.
    """
    with open(job.folder / LOG_FILE, "wb") as log:
        return subprocess.Popen(  # noqa: S603  a list of words, no shell
            [sys.executable, *module, *job.arguments],
            stdin=stdin,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=job.working_folder,
        )


def execute(job: Job, is_cancelled: Callable[[], bool] = lambda: False) -> int:
    """Execute a job on a cluster's worker, and end it with this process.

    A run that is still being trained, by the remains of a worker that died or by another command, is waited for.

    Args:
        job: The job.
        is_cancelled: Whether to interrupt it; called twice a second.

    Returns:
        Exit status of papermill; 1 if the job was canceled before it began.
    """
    while is_training(job.parameters):
        if is_cancelled():
            return 1
        time.sleep(POLL_INTERVAL)
    with start(job, LEASHED_PAPERMILL, subprocess.PIPE, dict(os.environ)) as process:
        try:
            while process.poll() is None and not is_cancelled():
                time.sleep(POLL_INTERVAL)
        finally:
            process.terminate()  # papermill shuts its kernel down
    return process.returncode
