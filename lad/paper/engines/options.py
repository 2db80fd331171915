"""Which engine a command asks for: the options of `lad table` about engines."""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lad.config.experiment import Parameters
from lad.config.yaml_file import read_value
from lad.paper.engines.dask import dask_engine
from lad.paper.engines.engine import Engine
from lad.paper.engines.local import default_jobs, local_engine
from lad.paper.engines.slurm import slurm_engine

ENGINES = ("local", "slurm", "dask")
JOBS_FOLDER = "jobs"  # in the folder of the runs: submitit's files


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Add the options about engines to a command's parser."""
    parser.add_argument(
        "--engine", default="local", choices=ENGINES,
        help="where the runs are executed: on this machine, as jobs of Slurm, or on a dask cluster (default: local)",
    )  # fmt: skip
    parser.add_argument(
        "--jobs", type=int, metavar="N",
        help="number of runs at the same time (default: here, as many as have cores, or 1; on a cluster, all)",
    )  # fmt: skip
    parser.add_argument("--scheduler", metavar="ADDRESS", help="with --engine dask: for instance tcp://node1:8786")
    parser.add_argument(
        "--job", dest="job_options", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"),
        help="with --engine slurm: an option of submitit for all jobs, such as slurm_partition gpu; may be repeated",
    )  # fmt: skip


@contextmanager
def open_engine(given: argparse.Namespace, out: Path, runs: Sequence[Parameters]) -> Iterator[Engine]:
    """Yield the engine of a command.

    Args:
        given: The command's options.
        out: Folder of the runs.
        runs: All runs of the table.

    Raises:
        ValueError: An option is wrong, or the cluster does not answer.
    """
    if given.jobs is not None and given.jobs < 1:
        raise ValueError(f"--jobs {given.jobs} must be at least 1")
    if given.scheduler and given.engine != "dask":
        raise ValueError("--scheduler needs --engine dask")
    if given.job_options and given.engine != "slurm":
        raise ValueError("--job needs --engine slurm")
    if given.engine == "local":
        yield local_engine(given.jobs or default_jobs(runs))
    elif given.engine == "slurm":
        yield _limited(slurm_engine(out / JOBS_FOLDER, {n: read_value(n, v) for n, v in given.job_options}), given.jobs)
    elif not given.scheduler:
        raise ValueError("--engine dask needs --scheduler, the address that `dask scheduler` prints")
    else:
        with dask_engine(given.scheduler) as engine:
            yield _limited(engine, given.jobs)


def _limited(engine: Engine, jobs: int | None) -> Engine:
    return Engine(engine.submit, jobs or engine.capacity)
