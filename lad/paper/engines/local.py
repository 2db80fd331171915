"""The embedded engine: processes of this machine, each with a device or a share of the CPU cores. Needs no server."""

import os
import subprocess
from collections.abc import Sequence

import torch

from lad.config.experiment import Parameters
from lad.experiments.processes import fit_side_by_side
from lad.paper.engines.engine import Engine, Job, State, Submitted
from lad.paper.engines.execution import start
from lad.training.devices import available_cores


def local_engine(jobs: int) -> Engine:
    """Return the engine of this machine, with `jobs` processes at a time. They continue if the table is killed."""
    processes: dict[int, subprocess.Popen[bytes]] = {}  # by slot: the index among those of the same time

    def submit(job: Job) -> Submitted:
        slot = next(slot for slot in range(jobs) if slot not in processes or processes[slot].poll() is not None)
        process = processes[slot] = start(job, environment=environment_of(job.parameters, slot, jobs))
        return Submitted(lambda: _state(process), process.terminate)  # papermill shuts its kernel down

    return Engine(submit, jobs)


def default_jobs(runs: Sequence[Parameters]) -> int:
    """Return how many runs at a time have cores of their own; 1 for runs that use all cores or a GPU."""
    most = max(runs, key=lambda run: run.threads * run.devices)
    jobs = 1
    while fit_side_by_side([most] * (jobs + 1)):
        jobs += 1
    return jobs if min(run.threads for run in runs) else 1


def environment_of(parameters: Parameters, slot: int, jobs: int) -> dict[str, str]:
    """Return the environment of a process: concurrent runs get different devices, or equal shares of the CPU cores."""
    environment = dict(os.environ)
    if jobs == 1:
        return environment
    if parameters.accelerator != "cpu" and torch.cuda.is_available():
        all_devices = ",".join(map(str, range(torch.cuda.device_count())))
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", all_devices).split(",")
        chosen = [visible[(slot * parameters.devices + index) % len(visible)] for index in range(parameters.devices)]
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(dict.fromkeys(chosen))
    else:
        environment["OMP_NUM_THREADS"] = str(max(1, available_cores() // jobs))
    return environment


def _state(process: subprocess.Popen[bytes]) -> State:
    status = process.poll()
    return "running" if status is None else "failed" if status else "finished"
