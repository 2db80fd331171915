"""The execution of a job on a worker: it waits for the remains of another worker, and its process is on a leash."""

import signal
import subprocess
import sys

from faults import TIMEOUT
from filelock import FileLock
from papermill.iorw import read_yaml_file
from tiny_runs import tiny

from lad.config.experiment import make_parameters
from lad.experiments.run_store import LOCK_FILE
from lad.paper.engines import execution
from lad.paper.engines.execution import execute, prepare


def test_a_run_that_another_process_trains_is_not_started_and_waiting_for_it_can_be_canceled(
    shapes, tmp_path, monkeypatch
):
    job = prepare(tiny(shapes, tmp_path))
    monkeypatch.setattr(execution, "start", None)
    answers = iter([False, True])
    with FileLock(job.folder / LOCK_FILE):
        assert execute(job, lambda: next(answers)) == 1


def test_papermill_reads_the_parameters_of_a_job_as_they_are(tmp_path):
    """Letters outside of Unicode's basic plane, too."""
    data = tmp_path / "birds🐦 𠀀"
    job = prepare(make_parameters({"data": data, "out": tmp_path}))
    given = read_yaml_file(str(job.folder / "run_lad.yaml"))
    assert make_parameters(given["settings"]).data == str(data)


def test_papermill_ends_when_the_process_that_started_it_does():
    leashed = subprocess.Popen(
        [sys.executable, "-c", "import time; from lad.paper.engines import leash; "
         "leash.papermill = lambda: time.sleep(600); leash.main()"],
        stdin=subprocess.PIPE,
    )  # fmt: skip
    leashed.stdin.close()  # as the system does for a process that was killed
    assert leashed.wait(TIMEOUT) == -signal.SIGTERM
