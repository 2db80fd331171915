"""Jobs by submitit, whose local executor stands for Slurm: the run of a killed job resumes in another one."""

import os

import psutil
import pytest
from faults import finish, newest_checkpoint, outcome, wait_until
from tiny_runs import tiny

from lad.experiments.run_store import find_run
from lad.paper.engines.engine import LOG_FILE
from lad.paper.engines.execution import prepare
from lad.paper.engines.slurm import slurm_engine

SMALL = {"width": 0.125, "channels": 64, "short_sides": [96], "test_short_side": 96, "long_side": 96}


@pytest.mark.notebook
def test_a_killed_job_is_lost_and_another_one_resumes_its_run(shapes, tmp_path):
    parameters = tiny(shapes, tmp_path / "killed", **SMALL, epochs=8, eval_every=8, checkpoint_every=1)
    engine = slurm_engine(tmp_path / "jobs", {}, cluster="local")
    killed = engine.submit(prepare(parameters))
    wait_until(lambda: newest_checkpoint(parameters), lambda: killed.poll() == "running")
    (controller,) = (process for process in psutil.Process().children() if "submitit" in " ".join(process.cmdline()))
    for process in (*controller.children(), controller):  # its notebook ends with it
        process.kill()
    wait_until(lambda: killed.poll() != "running", lambda: True)
    assert killed.poll() == "lost" and find_run(parameters) is None and newest_checkpoint(parameters)

    job = prepare(parameters)
    resumed = engine.submit(job)  # waits until that notebook has ended
    wait_until(lambda: resumed.poll() != "running", lambda: True)
    assert resumed.poll() == "finished", (job.folder / LOG_FILE).read_text()
    undisturbed = parameters.model_copy(update={"out": str(tmp_path / "whole")})
    assert outcome(find_run(parameters)) == finish(undisturbed)


def test_options_that_submitit_does_not_know_are_refused_before_any_run(tmp_path):
    with pytest.raises(ValueError, match=r"--engine slurm: .*slurm_partitoin"):
        slurm_engine(tmp_path / "jobs", {"slurm_partitoin": "gpu"}, cluster="local")


def test_a_job_asks_slurm_for_the_devices_of_its_run(shapes, tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    for name, line in {"srun": "", "sbatch": f'cp "$1" {tmp_path}/submitted; echo Submitted batch job 1'}.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    parameters = tiny(shapes, tmp_path / "runs", accelerator="auto", devices=2, workers=3)
    slurm_engine(tmp_path / "jobs", {"slurm_partition": "gpu", "timeout_min": 60}).submit(prepare(parameters))
    asked = set((tmp_path / "submitted").read_text().splitlines())
    assert {
        f"#SBATCH --{option}" for option in ("gpus-per-node=2", "cpus-per-task=8", "time=60", "partition=gpu")
    } <= asked
