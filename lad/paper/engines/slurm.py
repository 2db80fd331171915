"""Slurm as an engine, by submitit: each run is a job of its own, with the devices and CPU cores that it needs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lad.config.experiment import Parameters
from lad.paper.engines.engine import Engine, Job, State, Submitted, append_log
from lad.paper.engines.execution import execute

MINUTES = 24 * 60  # time limit of a job by default; a run that needs longer is resumed by a second job


def slurm_engine(folder: Path, options: Mapping[str, Any], cluster: str = "slurm") -> Engine:
    """Return an engine that submits jobs to Slurm.

    Args:
        folder: Folder of submitit's files, which all machines share.
        options: Parameters of submitit's `AutoExecutor` for all jobs, such as `slurm_partition`; they replace lad's.
        cluster: "slurm", or "local" for processes of this machine.

    Raises:
        ValueError: submitit is not installed, this machine has no Slurm, or an option is wrong.
    """
    try:
        import submitit
    except ImportError:
        raise ValueError("--engine slurm needs submitit; run: pip install 'lad-suite[cluster]'") from None
    failures = submitit.core.utils

    def executor_with(requested: Mapping[str, Any]) -> submitit.AutoExecutor:
        executor = submitit.AutoExecutor(folder, cluster=cluster)
        executor.update_parameters(**{**requested, **options})
        return executor

    def submit(job: Job) -> Submitted:
        submitted = executor_with({"name": job.folder.name, **_resources(job.parameters)}).submit(execute, job)
        return Submitted(lambda: state(job, submitted), submitted.cancel)

    def state(job: Job, submitted: submitit.Job[int]) -> State:
        if not submitted.done():
            return "running"
        try:
            return "failed" if submitted.result() else "finished"
        except failures.UncompletedJobError as error:
            append_log(job, str(error).rstrip())
            return "failed" if submitted.state.startswith("CANCELLED") else "lost"
        except failures.FailedJobError as error:
            append_log(job, str(error).rstrip())
            return "failed"

    try:
        executor_with({})
    except (RuntimeError, NameError, ValueError, TypeError, AssertionError) as error:
        raise ValueError(f"--engine slurm: {' '.join(str(error).split())}") from None
    return Engine(submit)


def _resources(parameters: Parameters) -> dict[str, Any]:
    """Return what a run needs of a machine: its devices, and cores for its processes and those that load images."""
    of_each = parameters.threads or 1
    needed: dict[str, Any] = {
        "timeout_min": MINUTES,
        "tasks_per_node": 1,
        "cpus_per_task": parameters.devices * (of_each + parameters.workers),
    }
    return needed if parameters.accelerator == "cpu" else {**needed, "gpus_per_node": parameters.devices}
