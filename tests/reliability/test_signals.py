"""Asked to stop, by a signal or a notebook's stop button, a run keeps the step that it is in."""

import os
import signal
import time
from pathlib import Path

import pytest
from faults import finish, newest_checkpoint, start, tiny, write_pictures
from jupyter_client.manager import start_new_kernel

from lad.config.experiment import Parameters
from lad.experiments.run_store import find_run
from lad.training.checkpoint import checkpoints
from lad.training.trainer import read_metrics

SELDOM = {"checkpoint_every": 500, "method": "baseline", "teacher": None, "cache_teacher": False}  # but when asked


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("data") / "shapes")


def folder_of(parameters: Parameters) -> Path:
    return Path(parameters.out) / parameters.run_name


def wait_for_an_epoch(parameters: Parameters) -> None:
    deadline = time.monotonic() + 120
    while not read_metrics(folder_of(parameters)):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def stopped_in(parameters: Parameters) -> list[tuple[int, int]]:
    """Epochs and steps of the checkpoints, newest first."""
    return [tuple(map(int, path.name.split("-")[1:3])) for path in checkpoints(folder_of(parameters))]


def many_steps(pictures: Path, out: Path, **changes) -> Parameters:
    """One image a step, so that a signal finds a step and no evaluation."""
    return tiny(pictures, out, **{**SELDOM, "batch_size": 2, "epochs": 8, "eval_every": 8, **changes})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_step_be_finished_and_kept(number, pictures, tmp_path):
    parameters = many_steps(pictures, tmp_path / "stopped")
    process = start(parameters)
    wait_for_an_epoch(parameters)
    os.kill(process.pid, number)
    process.join(timeout=60)
    assert process.exitcode == (-signal.SIGTERM if number == signal.SIGTERM else 1)  # as KeyboardInterrupt ends it
    assert stopped_in(parameters) and newest_checkpoint(parameters)
    assert find_run(parameters) is None
    assert finish(parameters) == finish(many_steps(pictures, tmp_path / "whole"))


def test_a_notebooks_stop_button_does_and_its_kernel_goes_on_with_it(pictures, tmp_path):
    parameters = many_steps(pictures, tmp_path / "stopped")
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        ask = f"from lad.config.experiment import Parameters; given = Parameters(**{parameters.model_dump()!r})"
        assert client.execute_interactive(ask, timeout=120)["content"]["status"] == "ok"
        train = "from lad.experiments.runner import run_experiment; run_experiment(given)"
        asked = client.execute(train)
        wait_for_an_epoch(parameters)
        manager.interrupt_kernel()
        reply = client.get_shell_msg(timeout=60)
        assert reply["parent_header"]["msg_id"] == asked
        assert reply["content"]["status"] == "error" and reply["content"]["ename"] == "KeyboardInterrupt"
        assert stopped_in(parameters)
        assert client.execute_interactive(train, timeout=120)["content"]["status"] == "ok"
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert finish(parameters) == finish(many_steps(pictures, tmp_path / "whole"))
