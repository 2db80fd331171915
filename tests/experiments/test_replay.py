"""A step that went wrong is kept whole, and shows when run again where its numbers cease to be finite."""

from pathlib import Path

import pytest
import torch
from lightning.fabric import Fabric

from lad.config.experiment import Parameters, make_parameters
from lad.experiments.replay import main, replay, report
from lad.experiments.runner import build_networks
from lad.structures import Batch
from lad.training.failed_step import read_failed_step, save_failed_step
from lad.training.step import training_step

CLASSES = ("circle", "square", "triangle")


def parameters_of(method: str = "baseline", **changes) -> Parameters:
    taught = {"teacher": "r18"} if method == "colad" else {}
    return make_parameters({"method": method, "student": "r18", "accelerator": "cpu", **taught, **changes})


@pytest.fixture
def batch(targets) -> Batch:
    torch.manual_seed(0)
    image_id, is_flipped = torch.tensor([7, 8]), torch.tensor([False, True])
    return Batch(torch.randn(2, 3, 96, 128), targets, image_id, targets.image_hw, is_flipped)


def keep(folder: Path, batch: Batch, broken: str | None = None, method: str = "baseline") -> Path:
    """A step's file; broken: the weight that holds an infinity."""
    parameters = parameters_of(method, out=str(folder))
    network, _ = build_networks(parameters, CLASSES, None, torch.device("cpu"))
    if broken is not None:
        network.get_parameter(broken).data.view(-1)[0] = torch.inf
    fabric = Fabric(accelerator="cpu", devices=1)
    model = fabric.setup_module(network.train())
    learned, outputs, _ = training_step(parameters, model, None, None, batch, fabric)
    return save_failed_step(folder, 0, parameters, model, batch, learned.terms, outputs, epoch=2, step=17)


def test_all_that_a_step_follows_from_is_in_its_file(batch, tmp_path):
    state, again = read_failed_step(keep(tmp_path, batch))
    assert (state["epoch"], state["step"]) == (2, 17) and state["terms"].keys() == {"cls", "box", "iou"}
    assert torch.equal(again.images, batch.images) and torch.equal(again.targets.boxes, batch.targets.boxes)
    assert again.image_id.tolist() == [7, 8] and again.is_flipped.tolist() == [False, True]
    assert [one.shape[0] for one in state["outputs"]["student"]] == [2, 2, 2]


@pytest.mark.parametrize(
    ("method", "broken"), [("baseline", "fpn.lateral.1.weight"), ("colad", "teacher.head.cls_tower.0.weight")]
)
def test_the_replay_names_the_first_module_that_goes_wrong(method, broken, batch, tmp_path):
    names = dict(build_networks(parameters_of(method), CLASSES, None, torch.device("cpu"))[0].named_parameters())
    part = broken.rpartition(".")[0].split(".")[-2]
    broken = next(name for name in names if f"{part}." in name and ("teacher." in name) == (method == "colad"))
    found = replay(keep(tmp_path, batch, broken, method))
    assert found.begins_in == broken.rpartition(".")[0]
    assert found.is_repeated and found.broken_outputs and found.broken_gradients
    assert found.images == [7, 8]
    text = report(found)
    assert "epoch 3, step 18, images [7, 8]" in text and f"not finite: {found.begins_in}" in text


def test_a_step_that_is_finite_when_run_again_says_that_the_machine_may_be_to_blame(batch, tmp_path):
    found = replay(keep(tmp_path, batch))
    assert found.now == pytest.approx(found.then, rel=1e-5)
    assert not found.is_repeated and found.begins_in is None
    assert "This time all is finite" in report(found)


def test_the_command_prints_it_or_one_line(batch, tmp_path, capsys):
    assert main([str(keep(tmp_path, batch))]) == 0
    assert "first module whose output is not finite: none" in capsys.readouterr().out
    for wrong in (tmp_path / "nowhere.pt", tmp_path):
        assert main([str(wrong)]) == 1
        told = capsys.readouterr().out
        assert str(wrong) in told and len(told.strip().splitlines()) == 1
