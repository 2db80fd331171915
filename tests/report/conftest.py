"""A folder of finished runs to report on."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_runs

from lad.config.experiment import Parameters
from lad.experiments.run_store import (
    PARAMETERS_FILE,
    RESULTS_FILE,
    SECOND_WEIGHTS_FILE,
    Run,
)
from lad.experiments.runner import run_experiment
from lad.models.zoo import WEIGHTS_FILE


def tiny_parameters(shapes: Path, out: Path, **changes) -> Parameters:
    """Return the parameters of a short training."""
    size = {"width": 0.125, "short_sides": [96], "test_short_side": 96, "long_side": 96}
    return tiny_runs.tiny(shapes, out, **{"epochs": 1, "save_epochs": False, **size, **changes})


@pytest.fixture(scope="session")
def tiny() -> Callable[..., Parameters]:
    """Makes the parameters of a short training."""
    return tiny_parameters


@pytest.fixture(scope="session")
def one_run(shapes, tmp_path_factory) -> Run:
    return run_experiment(tiny_parameters(shapes, tmp_path_factory.mktemp("one")))


@pytest.fixture(scope="session")
def copy_run(one_run) -> Callable[[Parameters, int], None]:
    """Copies the run as if it had other parameters and finished at another hour: a report needs no further training."""

    def copy(parameters: Parameters, hour: int) -> None:
        folder = Path(parameters.out) / parameters.run_name
        shutil.copytree(one_run.folder, folder)
        shutil.copy(folder / WEIGHTS_FILE, folder / SECOND_WEIGHTS_FILE)
        finished = {"finished": f"2030-01-02T{hour:02}:00:00+00:00", "teacher_metrics": one_run.results["metrics"]}
        results = {**one_run.results, **finished}
        for file, content in ((PARAMETERS_FILE, parameters.model_dump()), (RESULTS_FILE, results)):
            (folder / file).write_text(json.dumps(content))

    return copy


@pytest.fixture(scope="session")
def trained(one_run, copy_run, tmp_path_factory) -> Path:
    """A folder of four runs: a plain student with two seeds, a teacher, and a LAD student."""
    out = tmp_path_factory.mktemp("trained")
    lad_student = tiny_parameters(one_run.parameters.data, out, method="lad", teacher="r18", teacher_epochs=2)
    plain = (lad_student.plain(), lad_student.plain(seed=1))
    for hour, parameters in enumerate((*plain, lad_student.of_teacher(), lad_student)):
        copy_run(parameters, hour)
    return out
