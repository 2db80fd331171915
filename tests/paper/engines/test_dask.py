"""A dask cluster of two workers on this machine: when one is killed, the other one resumes its run."""

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import psutil
import pytest
from distributed import LocalCluster
from faults import cached_lad, finish, outcome, wait_until
from tiny_runs import tiny

from lad.experiments.run_store import find_run
from lad.paper.engines.dask import dask_engine
from lad.paper.engines.engine import LOG_FILE
from lad.paper.engines.execution import prepare
from lad.paper.runner import plan_tasks, run_tasks
from lad.paper.tables import Experiments

SMALL = {"width": 0.125, "channels": 64, "short_sides": [96], "test_short_side": 96, "long_side": 96}


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def cluster(tmp_path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """The address of a scheduler, and its two workers."""
    address = f"tcp://127.0.0.1:{free_port()}"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    serve = ["dask_scheduler", "--host", address, "--no-dashboard"]
    work = [
        "dask_worker",
        address,
        "--nthreads",
        "1",
        "--no-nanny",
        "--no-dashboard",
        "--local-directory",
        str(tmp_path),
    ]
    commands = ([sys.executable, "-m", f"distributed.cli.{words[0]}", *words[1:]] for words in (serve, work, work))
    processes = [subprocess.Popen(command, **quiet) for command in commands]
    yield address, processes[1:]
    for process in processes:
        process.kill()
        process.wait()


@pytest.mark.notebook
def test_a_table_finishes_with_the_same_weights_though_a_worker_is_killed(shapes, tmp_path, cluster):
    address, workers = cluster
    parameters = cached_lad(shapes, tmp_path / "killed", **SMALL, epochs=8, eval_every=8)
    tasks = plan_tasks(Experiments(None, "toy", {None: [parameters]}))  # type: ignore[dict-item]
    killed = []

    def kill_the_worker_of_the_student() -> None:
        folder = tmp_path / "killed" / parameters.run_name
        wait_until(lambda: list(folder.glob("checkpoint-*.pt")), lambda: True)
        for worker in workers:
            if psutil.Process(worker.pid).children():
                killed.append(worker)
                worker.kill()

    killer = threading.Thread(target=kill_the_worker_of_the_student)
    killer.start()
    with dask_engine(address) as engine:
        assert run_tasks(tasks, engine) == []
    killer.join()
    assert len(killed) == 1
    whole = parameters.model_copy(update={"out": str(tmp_path / "whole")})
    assert outcome(find_run(parameters)) == finish(whole)


def test_a_canceled_job_stops_its_process_on_the_worker(shapes, tmp_path, monkeypatch):
    sleep = ("-c", "import time; print('asleep', flush=True); time.sleep(600)")
    monkeypatch.setattr("lad.paper.engines.execution.LEASHED_PAPERMILL", sleep)
    # The worker is a thread of this process.
    options = {"processes": False, "protocol": "tcp", "host": "127.0.0.1", "dashboard_address": None}
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, **options) as cluster,
        dask_engine(cluster.scheduler_address) as engine,
    ):
        job = prepare(tiny(shapes, tmp_path))
        submitted = engine.submit(job)
        wait_until(lambda: "asleep" in (job.folder / LOG_FILE).read_text(), lambda: submitted.poll() == "running")
        (asleep,) = (child for child in psutil.Process().children() if sleep[1] in child.cmdline())
        submitted.cancel()
        wait_until(lambda: not asleep.is_running(), lambda: True)
        assert submitted.poll() == "lost"


def test_a_scheduler_that_does_not_answer_is_one_line(monkeypatch):
    monkeypatch.setattr("lad.paper.engines.dask.TIMEOUT", 0.5)
    address = f"tcp://127.0.0.1:{free_port()}"
    with pytest.raises(ValueError, match=f"--scheduler {address}: no dask scheduler answers"), dask_engine(address):
        pass
