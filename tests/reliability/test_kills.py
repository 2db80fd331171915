"""After kills, full disks and corrupted files, a resumed run has the same bytes as an undisturbed one."""

import random
from pathlib import Path

import psutil
import pytest
from faults import (
    TIMEOUT,
    cached_lad,
    corrupt,
    fill_the_disk,
    finish,
    folder_of,
    kill_at_random,
    newest_checkpoint,
    start,
    wait_until,
)

from lad.experiments.run_store import find_run
from lad.training.checkpoint import checkpoints

METHODS = {
    "LAD with a cached teacher": {},
    "co-learning, averaged weights": {"method": "colad", "cache_teacher": False, "ema": 0.9},
    "soft label, saved epochs, two workers, accumulated gradients": {
        "method": "soft_label",
        "cache_teacher": False,
        "save_epochs": True,
        "workers": 2,
        "accumulate": 2,
    },
    "PKD through an adapter, averaged weights": {
        "method": "baseline",
        "distill": ["pkd"],
        "cache_teacher": False,
        "teacher_channels": 96,
        "ema": 0.9,
    },
    "LAD with CrossKD, accumulated gradients": {"distill": ["crosskd"], "cache_teacher": False, "accumulate": 2},
    "LAD with BCKD, half of the epochs": {"distill": ["bckd"], "cache_teacher": False, "teach_until": 0.5},
    "LAD from two cached teachers, half of the epochs": {"other_teachers": ["r50"], "teach_until": 0.5},
}


@pytest.mark.parametrize("times", [5, pytest.param(25, marks=pytest.mark.slow)])
@pytest.mark.parametrize("method", METHODS)
def test_a_run_killed_at_random_moments_has_the_same_bytes_in_the_end(method, times, shapes, tmp_path):
    undisturbed = finish(cached_lad(shapes, tmp_path / "undisturbed", **METHODS[method]))
    parameters = cached_lad(shapes, tmp_path / "killed", **METHODS[method])
    for killed in kill_at_random(parameters, times, random.Random(f"{method} {times}")):
        assert finish(killed) == undisturbed
        assert not list(Path(killed.out).rglob("*.unfinished"))


def test_a_killed_run_leaves_no_data_loader_processes_behind(shapes, tmp_path):
    two_workers = METHODS["soft label, saved epochs, two workers, accumulated gradients"]
    parameters = cached_lad(shapes, tmp_path, **two_workers, epochs=1000)
    process = start(parameters)
    run = psutil.Process(process.pid)
    # After the first step: a worker that is still starting would not notice that its parent is gone (PyTorch).
    wait_until(lambda: checkpoints(folder_of(parameters.of_teacher())), process.is_alive)
    wait_until(lambda: len(run.children(recursive=True)) >= 2, process.is_alive)
    workers = run.children(recursive=True)
    process.kill()
    process.join()
    assert len(workers) >= 2 and not psutil.wait_procs(workers, timeout=30)[1]


@pytest.mark.parametrize("times", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_a_run_with_the_disk_full_at_random_moments_stops_and_has_the_same_bytes_in_the_end(times, shapes, tmp_path):
    """No file can grow beyond a random size: a write of a checkpoint, of weights or of metrics fails in the middle."""
    undisturbed, dice = finish(cached_lad(shapes, tmp_path / "undisturbed")), random.Random(0)
    failed = 0
    for attempt in range(times):
        parameters = cached_lad(shapes, tmp_path / str(attempt))
        process = start(parameters)
        steps = dice.randrange(1, 8)  # of the teacher's and the student's eighteen
        newest: set[Path | None] = set()

        def has_progressed(parameters=parameters, newest=newest, steps=steps) -> bool:
            newest.add(newest_checkpoint(parameters))
            return len(newest) > steps

        wait_until(has_progressed, process.is_alive)
        process.join(timeout=dice.uniform(0, 0.2))
        fill_the_disk(process, dice.randrange(400_000))
        process.join(timeout=TIMEOUT)
        failed += process.exitcode != 0
        assert finish(parameters) == undisturbed
    assert failed >= times / 2


@pytest.mark.parametrize("times", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_a_run_with_corrupted_checkpoints_has_the_same_bytes_in_the_end(times, shapes, tmp_path):
    undisturbed, dice = finish(cached_lad(shapes, tmp_path / "undisturbed")), random.Random(0)
    parameters = cached_lad(shapes, tmp_path / "corrupted")
    corrupted = 0
    while corrupted < times and find_run(parameters) is None:
        before = newest_checkpoint(parameters)
        process = start(parameters)
        wait_until(lambda before=before: newest_checkpoint(parameters) not in (None, before), process.is_alive)
        process.join(timeout=dice.uniform(0, 0.3))
        process.kill()
        process.join()
        checkpoint = newest_checkpoint(parameters)
        if checkpoint is not None:
            corrupt(checkpoint, dice)
            corrupted += 1
    assert corrupted >= times / 2
    assert finish(parameters) == undisturbed
