"""Replay of a failed step: the file holds all inputs, and the replay names the first module that is not finite."""

from pathlib import Path

import pytest
import torch
from commands import error_line, run
from lightning_fabric import Fabric

from lad.config.experiment import Parameters, make_parameters
from lad.experiments.replay import format_replay, replay
from lad.experiments.runner import runs_of_other_teachers, teacher_run
from lad.experiments.setup import build_networks, frozen_teacher
from lad.structures import Batch
from lad.training.failed_step import FailedStep, read_failed_step, save_failed_step
from lad.training.step import training_step

CLASSES = ("circle", "square", "triangle")


def parameters_of(method: str = "baseline", **changes) -> Parameters:
    teacher = {"teacher": "r18"} if method == "colad" else {}
    return make_parameters({"method": method, "student": "r18", "accelerator": "cpu", **teacher, **changes})


@pytest.fixture
def batch(targets) -> Batch:
    torch.manual_seed(0)
    image_id, is_flipped = torch.tensor([7, 8]), torch.tensor([False, True])
    return Batch(torch.randn(2, 3, 96, 128), targets, image_id, targets.image_hw, is_flipped)


def save_step(folder: Path, batch: Batch, broken: str | None = None, method: str = "baseline") -> Path:
    """Save a step; `broken` names a weight that is set to infinity."""
    parameters = parameters_of(method, out=str(folder))
    network, _ = build_networks(parameters, CLASSES, None, torch.device("cpu"))
    if broken is not None:
        network.get_parameter(broken).data.view(-1)[0] = torch.inf
    fabric = Fabric(accelerator="cpu", devices=1)
    model = fabric.setup_module(network.train())
    result = training_step(parameters, model, batch, fabric)
    failed = FailedStep(parameters, 2, 17, batch, result.loss.terms, result.outputs)
    return save_failed_step(folder, rank=0, model=model, failed=failed)


def test_a_saved_step_holds_everything_that_determines_it(batch, tmp_path):
    state, saved_batch = read_failed_step(save_step(tmp_path, batch))
    assert (state["epoch"], state["step"]) == (2, 17) and state["terms"].keys() == {"cls", "box", "iou"}
    assert torch.equal(saved_batch.images, batch.images) and torch.equal(saved_batch.targets.boxes, batch.targets.boxes)
    assert saved_batch.image_id.tolist() == [7, 8] and saved_batch.is_flipped.tolist() == [False, True]
    assert [output.shape[0] for output in state["outputs"]["student"]] == [2, 2, 2]


@pytest.mark.parametrize(
    ("method", "broken"), [("baseline", "fpn.lateral.1.weight"), ("colad", "teacher.head.cls_tower.0.weight")]
)
def test_the_replay_names_the_first_module_that_is_not_finite(method, broken, batch, tmp_path):
    names = dict(build_networks(parameters_of(method), CLASSES, None, torch.device("cpu"))[0].named_parameters())
    part = broken.rpartition(".")[0].split(".")[-2]
    broken = next(name for name in names if f"{part}." in name and ("teacher." in name) == (method == "colad"))
    result = replay(save_step(tmp_path, batch, broken, method))
    assert result.nonfinite_module == broken.rpartition(".")[0]
    assert result.is_reproduced and result.nonfinite_outputs and result.nonfinite_gradients
    assert result.images == [7, 8]
    text = format_replay(result)
    assert "epoch 3, step 18, images [7, 8]" in text and f"not finite: {result.nonfinite_module}" in text


def test_a_step_that_is_finite_when_replayed_is_reported_as_not_reproduced(batch, tmp_path):
    result = replay(save_step(tmp_path, batch))
    assert result.terms == pytest.approx(result.saved_terms, rel=1e-5)
    assert not result.is_reproduced and result.nonfinite_module is None
    assert "not reproduced: all values are finite now" in format_replay(result)


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "baseline", "distill": ["crosskd"], "teacher_channels": 96},
        {"method": "lad", "other_teachers": ["r18"]},
        {"method": "lad", "teach_until": 0.2},
    ],
    ids=["term", "two teachers", "untaught epoch"],
)
def test_a_step_with_frozen_teachers_is_replayed(changes, batch, shapes, tmp_path):
    given = {"data": str(shapes), "teacher": "r18", "teacher_epochs": 1, "epochs": 4, "out": str(tmp_path)}
    parameters = parameters_of(**given, **changes)
    trained, others = teacher_run(parameters).load_detector(), runs_of_other_teachers(parameters)
    network, teacher = build_networks(parameters, CLASSES, trained, torch.device("cpu"))
    fabric = Fabric(accelerator="cpu", devices=1)
    model = fabric.setup_module(network.train())
    epoch = 2
    frozen = [frozen_teacher(other.load_detector(), fabric.device) for other in others]
    result = training_step(parameters.in_epoch(epoch), model, batch, fabric, teacher, other_teachers=frozen)
    failed = FailedStep(parameters, epoch, 0, batch, result.loss.terms, result.outputs)
    replayed = replay(save_failed_step(tmp_path, rank=0, model=model, failed=failed))
    assert replayed.terms == pytest.approx(replayed.saved_terms, rel=1e-4)


def test_the_command_prints_the_report_or_one_line_of_error(batch, tmp_path, capsys):
    run("replay", save_step(tmp_path, batch))
    assert "first module whose output is not finite: none" in capsys.readouterr().out
    for wrong in (tmp_path / "nowhere.pt", tmp_path):
        assert str(wrong) in error_line(capsys, "replay", wrong)
