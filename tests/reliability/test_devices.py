"""Runs on several devices: every way to start them, interrupts, and killed processes."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import yaml
from faults import TIMEOUT, cached_lad, finish, folder_of, outcome, wait_until

from lad.config.experiment import Parameters, make_parameters
from lad.experiments import runner
from lad.experiments.run_store import find_run
from lad.training.checkpoint import checkpoints
from lad.training.metrics_file import read_metrics

pytestmark = pytest.mark.slow

TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
MODULE = ["-m", "lad.experiments.runner"]
LAUNCH_BY_TORCHRUN = [*TORCHRUN, "--standalone", "--nproc-per-node=2", *MODULE]
LAUNCH_BY_FABRIC = [
    *[str(Path(sys.executable).with_name("fabric")), "run", "--accelerator=cpu", "--devices=2"],
    runner.__file__,
]
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


@pytest.fixture(scope="module")
def undisturbed(shapes, tmp_path_factory) -> dict[str, object]:
    """The outcome of the run on two devices when nothing interrupts it."""
    return finish(on_two_devices(shapes, tmp_path_factory.mktemp("undisturbed")))


def on_two_devices(data: Path, out: Path, **changes: object) -> Parameters:
    """Return the parameters of a baseline run on two devices, with accumulated gradients and averaged weights."""
    baseline = {"method": "baseline", "teacher": None, "cache_teacher": False, "devices": 2, "ema": 0.9}
    return cached_lad(data, out, **{**baseline, "accumulate": 2, **changes})


def written(parameters: Parameters, file: Path) -> Path:
    """Write the parameters to a file and return it."""
    file.write_text(json.dumps(parameters.model_dump()))
    return file


def wait_for_an_epoch(parameters: Parameters, process: subprocess.Popen) -> None:
    """Wait until the run has finished an epoch."""
    wait_until(lambda: read_metrics(folder_of(parameters)), lambda: process.poll() is None)
    assert process.poll() is None


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.parametrize("launcher", [LAUNCH_BY_TORCHRUN, LAUNCH_BY_FABRIC], ids=["torchrun", "fabric run"])
def test_launchers_train_the_teacher_too(launcher, shapes, tmp_path):
    parameters = cached_lad(shapes, tmp_path, devices=2)
    subprocess.run([*launcher, str(written(parameters, tmp_path / "p.json"))], check=True, capture_output=True)
    run = find_run(parameters)
    assert run.results["hardware"]["devices"] == 2 and len(run.epochs) == 3
    assert find_run(parameters.of_teacher()) is not None


def test_two_machines_train_one_run(shapes, tmp_path, undisturbed):
    """Two torchruns that meet at an address, as on a cluster; each has one device."""
    parameters = on_two_devices(shapes, tmp_path)
    file = written(parameters, tmp_path / "p.json")
    meeting = ["--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{free_port()}", "--rdzv-id=test"]
    command = [*TORCHRUN, "--nnodes=2", "--nproc-per-node=1", *meeting, "--local-addr=127.0.0.1", *MODULE, str(file)]
    machines = [subprocess.Popen(command, **QUIET) for _ in range(2)]
    assert [machine.wait(timeout=TIMEOUT) for machine in machines] == [0, 0]
    assert outcome(find_run(parameters)) == undisturbed


def test_a_wrong_number_of_processes_is_an_error_of_one_line(shapes, tmp_path):
    parameters = on_two_devices(shapes, tmp_path)
    command = [*TORCHRUN, "--standalone", "--nproc-per-node=1", *MODULE, str(written(parameters, tmp_path / "p.json"))]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0
    assert "devices=2, but 1 processes were started; start as many as devices" in done.stdout + done.stderr


def test_on_a_signal_all_devices_finish_the_same_step_and_save_it(shapes, tmp_path):
    changes = {"batch_size": 2, "accumulate": 1, "epochs": 12, "eval_every": 12, "checkpoint_every": 500}
    parameters = on_two_devices(shapes, tmp_path / "stopped", **changes)
    command = [sys.executable, *MODULE, str(written(parameters, tmp_path / "p.json"))]
    with subprocess.Popen(command, **QUIET) as process:
        wait_for_an_epoch(parameters, process)
        workers = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=TIMEOUT) == -signal.SIGTERM
    assert not psutil.wait_procs(workers, timeout=30)[1]  # no process is left behind
    assert find_run(parameters) is None and checkpoints(folder_of(parameters))
    assert finish(parameters) == finish(on_two_devices(shapes, tmp_path / "undisturbed", **changes))


@pytest.mark.parametrize("rank", ["0", "1"])
def test_when_one_process_is_killed_the_others_exit_and_the_run_can_be_resumed(rank, shapes, tmp_path, undisturbed):
    parameters = on_two_devices(shapes, tmp_path)
    command = [sys.executable, *MODULE, str(written(parameters, tmp_path / "p.json"))]
    with subprocess.Popen(command, **QUIET) as process:
        wait_for_an_epoch(parameters, process)
        for worker in psutil.Process(process.pid).children(recursive=True):
            if worker.environ().get("RANK") == rank:
                worker.kill()
        assert process.wait(timeout=TIMEOUT) != 0
    assert find_run(parameters) is None
    assert finish(parameters) == undisturbed


def test_a_second_start_is_refused_while_several_devices_train(shapes, tmp_path):
    parameters = on_two_devices(shapes, tmp_path, epochs=200)
    file = written(parameters, tmp_path / "p.json")
    with subprocess.Popen([sys.executable, *MODULE, str(file)], stdout=subprocess.DEVNULL) as process:
        wait_for_an_epoch(parameters, process)
        second = subprocess.run([sys.executable, *MODULE, str(file)], capture_output=True, text=True)
        process.terminate()
    assert second.returncode == 1
    assert "another process is training this run" in second.stderr and len(second.stderr.strip().splitlines()) == 1


def test_the_module_reads_a_yaml_file_of_parameters(shapes, tmp_path):
    given = {"data": str(shapes), "method": "baseline", "student": "r18", "epochs": 1, "out": str(tmp_path / "runs")}
    file = tmp_path / "own.yaml"
    file.write_text(yaml.safe_dump(given))
    subprocess.run([sys.executable, *MODULE, str(file)], check=True, capture_output=True)
    assert find_run(make_parameters(given)) is not None
