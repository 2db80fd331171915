"""On a signal or a notebook's stop button, a run finishes the current step and saves it in a checkpoint."""

import os
import signal
from pathlib import Path

import pytest
from faults import TIMEOUT, cached_lad, finish, folder_of, newest_checkpoint, start, wait_until
from jupyter_client.manager import start_new_kernel

from lad.config.experiment import Parameters
from lad.experiments.run_store import find_run
from lad.training.checkpoint import checkpoints
from lad.training.metrics_file import read_metrics


def many_steps(data: Path, out: Path) -> Parameters:
    """Return the parameters of a baseline run that is nearly always in a step when a signal arrives.

    Two images per step, no evaluation before the end, checkpoints only at the end of an epoch and on an interrupt.
    """
    baseline = {"method": "baseline", "teacher": None, "cache_teacher": False, "checkpoint_every": 500}
    return cached_lad(data, out, **baseline, batch_size=2, epochs=8, eval_every=8)


@pytest.fixture(scope="module")
def undisturbed(shapes, tmp_path_factory) -> dict[str, object]:
    """The outcome of the run when nothing interrupts it."""
    return finish(many_steps(shapes, tmp_path_factory.mktemp("undisturbed")))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_on_a_signal_a_run_finishes_and_saves_the_current_step(number, shapes, tmp_path, undisturbed):
    parameters = many_steps(shapes, tmp_path)
    process = start(parameters)
    wait_until(lambda: read_metrics(folder_of(parameters)), process.is_alive)
    os.kill(process.pid, number)
    process.join(timeout=TIMEOUT)
    assert process.exitcode == (-signal.SIGTERM if number == signal.SIGTERM else 1)  # 1: by KeyboardInterrupt
    assert newest_checkpoint(parameters) and find_run(parameters) is None
    assert finish(parameters) == undisturbed


@pytest.mark.notebook
def test_on_a_notebooks_stop_button_a_run_saves_the_step_and_the_same_kernel_resumes_it(shapes, tmp_path, undisturbed):
    parameters = many_steps(shapes, tmp_path)
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        setup = f"from lad.config.experiment import Parameters; given = Parameters(**{parameters.model_dump()!r})"
        assert client.execute_interactive(setup, timeout=TIMEOUT)["content"]["status"] == "ok"
        train = "from lad.experiments.runner import run_experiment; run_experiment(given)"
        request = client.execute(train)
        wait_until(lambda: read_metrics(folder_of(parameters)), manager.is_alive)
        manager.interrupt_kernel()
        reply = client.get_shell_msg(timeout=TIMEOUT)
        assert reply["parent_header"]["msg_id"] == request
        assert reply["content"]["status"] == "error" and reply["content"]["ename"] == "KeyboardInterrupt"
        assert checkpoints(folder_of(parameters))
        assert client.execute_interactive(train, timeout=TIMEOUT)["content"]["status"] == "ok"
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert finish(parameters) == undisturbed
