"""Runs on several devices: started in every way that there is, stopped, and with a process killed under them."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml
from faults import finish, outcome, tiny, write_pictures

from lad.config.experiment import Parameters, make_parameters
from lad.experiments import runner as experiment
from lad.experiments.run_store import find_run
from lad.training.checkpoint import checkpoints
from lad.training.trainer import read_metrics

slow = pytest.mark.skipif("LAD_SLOW" not in os.environ, reason="takes minutes; LAD_SLOW=1 asks for it")
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
MODULE = ["-m", "lad.experiments.runner"]
LAUNCH_BY_TORCHRUN = [*TORCHRUN, "--standalone", "--nproc-per-node=2", *MODULE]
LAUNCH_BY_FABRIC = [
    *[str(Path(sys.executable).with_name("fabric")), "run", "--accelerator=cpu", "--devices=2"],
    experiment.__file__,
]
ALONE = {"method": "baseline", "teacher": None, "cache_teacher": False}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("data") / "shapes")


@pytest.fixture(scope="module")
def whole(pictures, tmp_path_factory) -> dict[str, object]:
    """Two devices, undisturbed."""
    return finish(two(pictures, tmp_path_factory.mktemp("whole")))


def two(pictures: Path, out: Path, **changes) -> Parameters:
    return tiny(pictures, out, **{**ALONE, "devices": 2, **changes})


def written(parameters: Parameters, file: Path) -> Path:
    file.write_text(json.dumps(parameters.model_dump()))
    return file


def folder_of(parameters: Parameters) -> Path:
    return Path(parameters.out) / parameters.run_name


def wait_for_an_epoch(parameters: Parameters, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 300
    while not read_metrics(folder_of(parameters)):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@slow
@pytest.mark.parametrize("launcher", [LAUNCH_BY_TORCHRUN, LAUNCH_BY_FABRIC], ids=["torchrun", "fabric run"])
def test_launchers_train_the_teacher_too(launcher, pictures, tmp_path):
    parameters = tiny(pictures, tmp_path, devices=2)
    subprocess.run([*launcher, str(written(parameters, tmp_path / "p.json"))], check=True, capture_output=True)
    run = find_run(parameters)
    assert run.results["hardware"]["devices"] == 2 and len(run.epochs) == 3
    assert find_run(parameters.of_teacher()) is not None


@slow
def test_two_machines_train_one_run(pictures, tmp_path, whole):
    """Two torchruns that meet at an address, as on a cluster; each has one device."""
    parameters = two(pictures, tmp_path)
    file = written(parameters, tmp_path / "p.json")
    meeting = ["--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{free_port()}", "--rdzv-id=test"]
    command = [*TORCHRUN, "--nnodes=2", "--nproc-per-node=1", *meeting, "--local-addr=127.0.0.1", *MODULE, str(file)]
    machines = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [machine.wait(timeout=300) for machine in machines] == [0, 0]
    assert outcome(find_run(parameters)) == whole


@slow
def test_another_number_of_processes_than_devices_is_one_clear_line(pictures, tmp_path):
    parameters = two(pictures, tmp_path)
    command = [*TORCHRUN, "--standalone", "--nproc-per-node=1", *MODULE, str(written(parameters, tmp_path / "p.json"))]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0
    assert "devices=2, but 1 processes were started; give as many" in done.stdout + done.stderr


@slow
def test_asked_to_stop_all_devices_finish_the_same_step_and_it_is_kept(pictures, tmp_path):
    changes = {"batch_size": 2, "epochs": 12, "eval_every": 12}
    parameters = two(pictures, tmp_path / "stopped", checkpoint_every=500, **changes)
    command = [sys.executable, *MODULE, str(written(parameters, tmp_path / "p.json"))]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_for_an_epoch(parameters, process)
        workers = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=100) == -signal.SIGTERM
    assert not psutil.wait_procs(workers, timeout=30)[1]  # none is left behind
    assert find_run(parameters) is None and checkpoints(folder_of(parameters))
    assert finish(parameters) == finish(two(pictures, tmp_path / "whole", **changes))


@pytest.mark.parametrize("rank", ["0", pytest.param("1", marks=slow)])
def test_when_one_process_is_killed_the_others_end_and_the_run_goes_on(rank, pictures, tmp_path, whole):
    parameters = two(pictures, tmp_path)
    command = [sys.executable, *MODULE, str(written(parameters, tmp_path / "p.json"))]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_for_an_epoch(parameters, process)
        for worker in psutil.Process(process.pid).children(recursive=True):
            if worker.environ().get("RANK") == rank:
                worker.kill()
        assert process.wait(timeout=100) != 0
    assert find_run(parameters) is None
    assert finish(parameters) == whole


@slow
def test_a_second_one_is_refused_while_several_devices_train(pictures, tmp_path):
    parameters = two(pictures, tmp_path, epochs=200)
    file = written(parameters, tmp_path / "p.json")
    with subprocess.Popen([sys.executable, *MODULE, str(file)], stdout=subprocess.DEVNULL) as process:
        wait_for_an_epoch(parameters, process)
        second = subprocess.run([sys.executable, *MODULE, str(file)], capture_output=True, text=True)
        process.terminate()
    assert second.returncode == 1
    assert "another process trains this run now" in second.stderr and len(second.stderr.strip().splitlines()) == 1


@slow
def test_the_module_reads_parameters_as_people_write_them(pictures, tmp_path):
    given = {"data": str(pictures), "method": "baseline", "student": "r18", "epochs": 1, "out": str(tmp_path / "runs")}
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(given))
    subprocess.run([sys.executable, *MODULE, str(file)], check=True, capture_output=True, env=os.environ)
    assert find_run(make_parameters(given)) is not None
