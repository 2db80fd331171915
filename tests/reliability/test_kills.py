"""Killed at any moment, with a full disk or damaged files, a run ends in the same bytes as an undisturbed one."""

import random
from pathlib import Path

import psutil
import pytest
from faults import damage, fill_the_disk, finish, kill_at_random, newest_checkpoint, start, tiny, write_pictures

from lad.experiments.run_store import find_run

METHODS = {
    "LAD, teacher remembered": {},
    "co-learning": {"method": "colad", "cache_teacher": False},
    "every epoch kept, two workers": {
        "method": "soft_label",
        "cache_teacher": False,
        "save_epochs": True,
        "workers": 2,
    },
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("data") / "shapes")


@pytest.mark.parametrize("name", METHODS)
def test_killed_at_25_random_moments_it_ends_in_the_same_bytes(name, pictures, tmp_path):
    whole = finish(tiny(pictures, tmp_path / "whole", **METHODS[name]))
    killed = kill_at_random(tiny(pictures, tmp_path / "killed", **METHODS[name]), 25, random.Random(name))
    for one in killed:
        assert finish(one) == whole
        assert not list(Path(one.out).rglob("*.unfinished"))


def test_a_killed_run_leaves_no_loading_processes_behind(pictures, tmp_path):
    process = start(tiny(pictures, tmp_path, **METHODS["every epoch kept, two workers"], epochs=1000))
    run, workers = psutil.Process(process.pid), []
    while len(workers) < 2:
        assert process.exitcode is None
        workers = run.children(recursive=True)
    process.kill()
    process.join()
    assert not psutil.wait_procs(workers, timeout=30)[1]


def test_with_the_disk_full_at_random_moments_it_stops_and_ends_in_the_same_bytes(pictures, tmp_path):
    """No file may grow beyond a random size: a write of a checkpoint, of weights, of metrics ends in the middle."""
    whole, dice, stopped = finish(tiny(pictures, tmp_path / "whole")), random.Random(0), 0
    for attempt in range(8):
        parameters = tiny(pictures, tmp_path / str(attempt))
        process = start(parameters)
        process.join(timeout=dice.uniform(0, 2))
        fill_the_disk(process, dice.randrange(400_000))
        process.join()
        stopped += process.exitcode != 0
        assert finish(parameters) == whole
    assert stopped > 3


def test_with_damaged_checkpoints_it_ends_in_the_same_bytes(pictures, tmp_path):
    whole, dice, damaged = finish(tiny(pictures, tmp_path / "whole")), random.Random(0), 0
    parameters = tiny(pictures, tmp_path / "damaged")
    while damaged < 8 and find_run(parameters) is None:
        process = start(parameters)
        process.join(timeout=dice.uniform(0.3, 0.9))
        process.kill()
        process.join()
        path = newest_checkpoint(parameters)
        if path is not None:
            damage(path, dice)
            damaged += 1
    assert damaged > 3
    assert finish(parameters) == whole
