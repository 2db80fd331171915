"""A failed training step is read back as it was saved."""

import pytest
import torch

from lad.config.experiment import make_parameters
from lad.structures import HeadOutputs
from lad.training.failed_step import FailedStep, read_failed_step, save_failed_step


def test_a_failed_step_is_read_as_it_was_saved(tmp_path, batch):
    parameters, model = make_parameters({"method": "baseline"}), torch.nn.Linear(2, 1)
    outputs = HeadOutputs(torch.ones(2, 5, 3, requires_grad=True), torch.zeros(2, 5, 4), None)
    terms = {"cls": torch.tensor(torch.nan, requires_grad=True)}
    failed = FailedStep(parameters, 2, 17, batch, terms, {"student": outputs})
    path = save_failed_step(tmp_path, 1, model, failed)
    assert path == tmp_path / "failed-step-1.pt"
    state, saved = read_failed_step(path)
    assert (state["epoch"], state["step"], state["parameters"]) == (2, 17, parameters.model_dump())
    assert state["terms"]["cls"].isnan() and torch.equal(state["model"]["weight"], model.weight)
    assert torch.equal(state["outputs"]["student"][0], outputs.cls_logits) and state["outputs"]["student"][2] is None
    assert torch.equal(saved.images, batch.images) and torch.equal(saved.is_flipped, batch.is_flipped)
    assert torch.equal(saved.targets.boxes, batch.targets.boxes)


@pytest.mark.parametrize("content", [b"", b"not a file of torch"])
def test_another_file_raises_one_line_that_names_it(tmp_path, content):
    path = tmp_path / "failed-step-0.pt"
    with pytest.raises(ValueError, match=r"failed-step-0\.pt: no such file$"):
        read_failed_step(path)
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"failed-step-0\.pt: is not a failed training step; give the failed-step-….pt"
    ):
        read_failed_step(path)
    torch.save({"epoch": 1}, path)
    with pytest.raises(ValueError, match=r"is not a failed training step"):
        read_failed_step(path)
