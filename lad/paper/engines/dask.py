"""A dask cluster as an engine, by dask.distributed: each of its workers executes one run at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

from lad.paper.engines.engine import Engine, Job, State, Submitted, append_log
from lad.paper.engines.execution import execute
from lad.utils.progress import log

if TYPE_CHECKING:
    from distributed import Event, Future

TIMEOUT = 20  # seconds to reach the scheduler


@contextmanager
def dask_engine(address: str) -> Iterator[Engine]:
    """Yield an engine that submits jobs to a dask scheduler. It gives the run of a worker that died to another one.

    Args:
        address: Address of the scheduler, such as "tcp://node1:8786".

    Raises:
        ValueError: dask.distributed is not installed, or no scheduler answers.
    """
    try:
        from distributed import Client, Event
    except ImportError:
        raise ValueError("--engine dask needs dask.distributed; run: pip install 'lad-suite[cluster]'") from None
    try:
        client = Client(address, timeout=TIMEOUT, set_as_default=False)
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        raise ValueError(
            f"--scheduler {address}: no dask scheduler answers ({' '.join(str(error).split())}); start one with "
            "`dask scheduler`"
        ) from None

    def submit(job: Job) -> Submitted:
        if client.status != "running":
            raise ConnectionError(f"the dask scheduler {address} does not answer any more")
        key = f"{job.folder.name}-{uuid4().hex[:8]}"
        cancelled = Event(f"{key}-cancelled", client=client)
        future = client.submit(_execute, job, cancelled, key=key, pure=False, retries=0)

        def cancel() -> None:
            cancelled.set()  # for the worker that executes it: dask cannot stop a task that has begun
            future.cancel()

        return Submitted(lambda: _state(job, future), cancel)

    with client:
        log(f"{address}: {len(client.scheduler_info()['workers'])} workers")
        yield Engine(submit)


def _execute(job: Job, cancelled: "Event") -> int:
    return execute(job, cancelled.is_set)


def _state(job: Job, future: "Future") -> State:
    from distributed import KilledWorker

    if future.status == "pending":
        return "running"
    if future.status == "finished":
        return "failed" if future.result() else "finished"
    if future.status == "error":
        error = future.exception()
        append_log(job, f"{type(error).__name__}: {error}")
        return "lost" if isinstance(error, KilledWorker) else "failed"
    return "lost"  # with the scheduler
