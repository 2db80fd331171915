"""Runs at the same time, each on cores of its own, give the numbers of runs one after another."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from tiny_runs import tiny

from lad.config.experiment import Parameters, make_parameters
from lad.experiments import processes
from lad.experiments.processes import MODULE, fit_side_by_side, run_commands, train_side_by_side
from lad.experiments.run_store import find_run
from lad.experiments.runner import compare, run_experiment


def on_cores(parameters: Parameters, cores: set[int], file: Path) -> bytes:
    """Train a run in a process that may use these cores, and return the bytes of its weights."""
    file.write_text(parameters.model_dump_json())
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    subprocess.run(
        [sys.executable, "-m", MODULE, str(file)], check=True, capture_output=True, env=environment,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )  # fmt: skip
    return find_run(parameters).weights_file().read_bytes()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no CPU affinity")
def test_the_toy_profiles_numbers_are_the_same_on_one_core_and_on_all(shapes, tmp_path):
    weights = [
        on_cores(tiny(shapes, tmp_path / str(len(cores)), student="r50", epochs=1), cores, tmp_path / "p.json")
        for cores in ({min(os.sched_getaffinity(0))}, os.sched_getaffinity(0))
    ]
    assert weights[0] == weights[1]


def test_independent_runs_train_at_the_same_time_and_give_the_same_numbers(shapes, tmp_path, monkeypatch, capsys):
    given = {"method": "lad", "teacher": "r34", "student": "r18", "epochs": 1}
    apart = compare(tiny(shapes, tmp_path / "apart", **given))
    assert "at the same time" not in capsys.readouterr().out
    monkeypatch.setattr(processes, "available_cores", lambda: 2)
    together = compare(tiny(shapes, tmp_path / "together", **given))
    out = capsys.readouterr().out
    assert out.startswith(
        "to train: plain student r18 (1 epoch), teacher r34 (1 epoch), LAD student r18 (1 epoch); the first two at "
    )
    assert "r18 baseline · epoch 1/1" in out and "r34 baseline · epoch 1/1" in out
    for name, run in together.items():
        assert run.weights_file().read_bytes() == apart[name].weights_file().read_bytes(), name
        assert run.results["hardware"]["torch_threads"] == 1


def test_runs_fit_side_by_side_if_their_threads_have_cores(monkeypatch):
    monkeypatch.setattr(processes, "available_cores", lambda: 4)
    one, two, all_cores = (make_parameters({"threads": threads, "accelerator": "cpu"}) for threads in (1, 2, 0))
    assert fit_side_by_side([one, two]) and fit_side_by_side([two, two]) and not fit_side_by_side([one])
    assert not fit_side_by_side([one, two, two]) and not fit_side_by_side([one, all_cores])
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    on_gpu = make_parameters({"threads": 1, "accelerator": "auto"})
    assert fit_side_by_side([one, one]) and not fit_side_by_side([on_gpu, on_gpu])


def test_a_run_that_fails_beside_another_is_named_and_the_other_finishes(shapes, tmp_path, capsys):
    good, bad = tiny(shapes, tmp_path, epochs=1), tiny(tmp_path / "nowhere", tmp_path, epochs=1)
    with pytest.raises(RuntimeError, match=f"^training {bad.run_name} failed; see the output above$"):
        train_side_by_side([good, bad])
    assert find_run(good) is not None and "nowhere': no such folder" in capsys.readouterr().out


def test_the_output_of_commands_is_logged_and_their_statuses_are_returned(capsys):
    commands = [[sys.executable, "-c", f"print('hello {status}'); raise SystemExit({status})"] for status in (0, 3)]
    assert run_commands(commands) == [0, 3]
    assert sorted(capsys.readouterr().out.splitlines()) == ["hello 0", "hello 3"]


def test_the_teachers_assignments_are_cached_by_default_where_that_changes_no_number(shapes, tmp_path, capsys):
    given = {"method": "lad", "teacher": "r18", "epochs": 2, "seed": 3}
    automatic, without = (
        run_experiment(tiny(shapes, tmp_path, **given, **cache)) for cache in ({}, {"cache_teacher": False})
    )
    assert automatic.parameters.cache_teacher == "auto"
    assert automatic.weights_file().read_bytes() == without.weights_file().read_bytes()
    assert capsys.readouterr().out.count("caches the teacher's assignments") == 1


def test_images_of_several_padded_sizes_are_not_cached_by_default(shapes, tmp_path, capsys):
    run_experiment(tiny(shapes, tmp_path, method="lad", teacher="r18", epochs=1, short_sides=[96, 128]))
    data = tmp_path / "one wide image"
    shutil.copytree(shapes, data)
    (annotations,) = data.rglob("instances_train.json")
    content = json.loads(annotations.read_text())
    wide = content["images"][0]
    (file,) = (path for path in data.rglob(wide["file_name"]) if "train" in str(path.relative_to(data)))
    Image.open(file).resize((128, 64)).save(file)
    wide |= {"width": 128, "height": 64}
    content["annotations"] = [gt for gt in content["annotations"] if gt["image_id"] != wide["id"]]
    annotations.write_text(json.dumps(content))
    run_experiment(tiny(data, tmp_path, method="lad", teacher="r18", epochs=1))
    assert "caches" not in capsys.readouterr().out
