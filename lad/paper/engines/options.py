"""The engine that the options of `lad table` name."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from lad.config.experiment import Parameters
from lad.config.yaml_file import read_value
from lad.paper.engines.dask import dask_engine
from lad.paper.engines.engine import Engine
from lad.paper.engines.local import default_jobs, local_engine
from lad.paper.engines.slurm import slurm_engine

EngineName = Literal["local", "slurm", "dask"]
JOBS_FOLDER = "jobs"  # in the folder of the runs: submitit's files


@contextmanager
def open_engine(
    name: EngineName,
    out: Path,
    runs: Sequence[Parameters],
    jobs: int | None = None,
    scheduler: str | None = None,
    job_options: Sequence[tuple[str, str]] = (),
) -> Iterator[Engine]:
    """Yield the engine of a command.

    Args:
        name: Engine.
        out: Folder of the runs.
        runs: All runs of the table.
        jobs: Number of runs at the same time; None for the engine's own.
        scheduler: Address of dask's scheduler.
        job_options: Names and values, in YAML, of submitit's options for Slurm.

    Raises:
        ValueError: An option is wrong, or the cluster does not answer.
    """
    if scheduler and name != "dask":
        raise ValueError("--scheduler needs --engine dask")
    if job_options and name != "slurm":
        raise ValueError("--job needs --engine slurm")
    if name == "local":
        yield local_engine(jobs or default_jobs(runs))
    elif name == "slurm":
        options = {option: read_value(option, value) for option, value in job_options}
        yield _limited(slurm_engine(out / JOBS_FOLDER, options), jobs)
    elif not scheduler:
        raise ValueError("--engine dask needs --scheduler, the address that `dask scheduler` prints")
    else:
        with dask_engine(scheduler) as engine:
            yield _limited(engine, jobs)


def _limited(engine: Engine, jobs: int | None) -> Engine:
    return Engine(engine.submit, jobs or engine.capacity)
