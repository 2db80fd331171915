"""PKD against the published code."""

import torch

from lad.distillation.pkd import pkd_loss, pkd_per_level


def test_the_loss_of_each_level_and_the_gradients_are_those_of_the_published_code(golden, term_inputs):
    case, inputs = golden("distillation"), term_inputs()
    per_level = pkd_per_level(inputs.student.pyramid, inputs.teacher.pyramid)
    torch.testing.assert_close(per_level.detach(), case["pkd_per_level"], rtol=1e-4, atol=0)
    loss = pkd_loss(inputs.student.pyramid, inputs.teacher.pyramid)["pkd"]
    torch.testing.assert_close(loss, per_level.sum())
    loss.backward()
    for level, feature in enumerate(inputs.student.pyramid, start=3):
        expected = case[f"pkd_grad_p{level}"]
        assert (feature.grad - expected).norm() < 1e-3 * expected.norm()


def test_the_loss_does_not_depend_on_the_mean_and_scale_of_a_channel(term_inputs):
    inputs = term_inputs()
    factor, shift = 1 + torch.rand(1, 64, 1, 1), torch.randn(1, 64, 1, 1)
    moved = tuple(level.detach() * factor + shift for level in inputs.student.pyramid)
    before, after = (pkd_per_level(pyramid, inputs.teacher.pyramid) for pyramid in (inputs.student.pyramid, moved))
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-5)


def test_a_level_of_one_position_and_one_image_has_loss_zero_and_finite_gradients(term_inputs):
    """The published code gives NaN: one value has no standard deviation."""
    inputs = term_inputs()
    pyramid = tuple(level.detach()[:1].requires_grad_() for level in inputs.student.pyramid[:4])
    single = inputs.student.pyramid[4].detach()[:1, :, :1, :1].requires_grad_()
    of_teacher = (*(level[:1] for level in inputs.teacher.pyramid[:4]), inputs.teacher.pyramid[4][:1, :, :1, :1])
    loss = pkd_loss((*pyramid, single), of_teacher)["pkd"]
    assert loss.isfinite() and pkd_per_level((*pyramid, single), of_teacher)[4] == 0
    loss.backward()
    assert all(level.grad.isfinite().all() and level.grad.any() for level in pyramid) and not single.grad.any()
