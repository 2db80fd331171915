"""Distillation terms: their options, their weights, and what they have in common."""

import pytest
import torch

from lad.distillation.methods import lad_loss, resolve_method_options, solad_loss
from lad.distillation.terms import TERMS, build_term_options, features_of_terms, term_losses


def test_the_terms_are_those_of_the_documentation():
    assert {"pkd", "crosskd", "bckd", "soft_label"} <= set(TERMS)
    assert features_of_terms(["bckd", "soft_label"]) == ()
    assert features_of_terms(["crosskd", "pkd"]) == ("cls_features", "pyramid", "reg_features")


@pytest.mark.parametrize("name", TERMS)
def test_a_weight_multiplies_all_losses_of_its_term_and_zero_leaves_nothing(name, term_inputs):
    once, thrice, never = (term_losses([name], {f"{name}_weight": weight}, term_inputs()) for weight in (1, 3, 0))
    assert once and once.keys() == thrice.keys()
    for title, loss in once.items():
        torch.testing.assert_close(thrice[title], 3 * loss)
        assert loss > 0 and never[title] == 0


def test_several_terms_have_the_losses_of_each(term_inputs):
    inputs = term_inputs()
    both = term_losses(["pkd", "bckd"], {"pkd_weight": 2.0}, inputs)
    assert both == {**term_losses(["pkd"], {"pkd_weight": 2.0}, inputs), **term_losses(["bckd"], {}, inputs)}


def test_solad_is_lad_with_the_term_soft_label(term_inputs):
    inputs = term_inputs()
    student, teacher, context = inputs.student.outputs, inputs.teacher.outputs, inputs.context
    expected = solad_loss(student, teacher, context).terms
    composed = lad_loss(student, teacher, context).terms | term_losses(["soft_label"], {}, inputs)
    assert composed.keys() == expected.keys() and all(torch.equal(composed[name], expected[name]) for name in expected)


@pytest.mark.parametrize("name", TERMS)
def test_a_batch_without_positives_has_finite_losses(name, term_inputs):
    inputs = term_inputs()
    inputs.gt_index[inputs.gt_index >= 0] = -1
    losses = term_losses([name], {}, inputs)
    assert all(loss.isfinite() for loss in losses.values())


def test_options_of_terms_start_with_their_name_and_the_others_are_the_methods():
    options = resolve_method_options("lad", ["bckd", "pkd"], {"bckd_box_weight": 2, "pkd_weight": "3"})
    assert options == {"bckd_weight": 1.0, "bckd_box_weight": 2.0, "pkd_weight": 3.0}
    built, rest = build_term_options(["pkd"], {"cls_weight": 5})
    assert built == {"pkd_weight": 1.0} and rest == {"cls_weight": 5}


@pytest.mark.parametrize(
    ("distill", "given", "message"),
    [
        ([], {"pkd_weight": 1}, r"pkd_weight is for distill=\[pkd\]; add it, or leave out pkd_weight"),
        (["pkd"], {"pkd_wieght": 1}, "'wieght' is unknown for distill 'pkd'; did you mean 'weight'"),
        (["pkd"], {"pkd_weight": -1}, "weight = -1 of distill 'pkd'"),
        (["pkd"], {"pkd_weight": True}, "weight = True of distill 'pkd' cannot be true or false"),
        (["pkd"], {"weight": 1}, "'weight' is unknown for method 'baseline'"),
    ],
)
def test_a_wrong_option_is_named_with_its_term(distill, given, message):
    with pytest.raises(ValueError, match=message):
        resolve_method_options("baseline", distill, given)
