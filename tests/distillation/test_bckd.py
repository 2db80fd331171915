"""BCKD against the published code."""

from dataclasses import replace

import torch

from lad.distillation.bckd import BCKDOptions, bckd_term


def test_the_losses_and_gradients_are_those_of_the_published_code(golden, term_inputs):
    case, inputs = golden("distillation"), term_inputs()
    outputs = inputs.student.outputs
    outputs.cls_logits.retain_grad(), outputs.box_deltas.retain_grad()
    losses = bckd_term(inputs, BCKDOptions())
    assert losses.keys() == {"bckd_cls", "bckd_box"}
    for name, loss in losses.items():
        torch.testing.assert_close(loss.detach(), case[name], rtol=1e-4, atol=0)
    sum(losses.values()).backward()
    for field, name in ((outputs.cls_logits, "cls"), (outputs.box_deltas, "box")):
        expected = case[f"bckd_grad_{name}"]
        assert (field.grad - expected).norm() < 1e-3 * expected.norm()


def test_ignored_anchors_count_nothing_and_an_imitated_teacher_costs_nothing(term_inputs):
    inputs = term_inputs()
    nothing = bckd_term(replace(inputs, gt_index=torch.full_like(inputs.gt_index, -2)), BCKDOptions())
    same = bckd_term(replace(inputs, student=inputs.teacher), BCKDOptions())
    assert all(loss == 0 for loss in nothing.values()) and all(loss < 1e-6 for loss in same.values())


def test_box_weight_is_a_factor_on_the_box_loss_alone(term_inputs):
    before, after = (bckd_term(term_inputs(), BCKDOptions(box_weight=weight)) for weight in (4.0, 8.0))
    torch.testing.assert_close(after["bckd_box"], 2 * before["bckd_box"])
    assert torch.equal(after["bckd_cls"], before["bckd_cls"])
