"""The methods: trajectories of the published code, terms, options and the registry."""

import dataclasses
import inspect

import pytest
import torch
from reference import label_map, reference_context, reference_detector, reference_outputs

from lad.assigners import PAA, AssignmentContext, match_candidates
from lad.distillation.cost_selection import COST_SELECTIONS
from lad.distillation.methods import (
    METHODS,
    baseline_loss,
    build_method,
    build_method_options,
    colad_loss,
    imitation_loss,
    lad_loss,
    solad_loss,
)
from lad.geometry import make_anchors
from lad.losses import detection_loss
from lad.structures import HeadOutputs, Targets


@pytest.fixture
def student(golden) -> HeadOutputs:
    return reference_outputs(golden("paa_assignment"), requires_grad=True)


@pytest.fixture
def teacher(golden) -> HeadOutputs:
    return reference_outputs(golden("lad"), "teacher_", requires_grad=True)


@pytest.fixture
def context(golden) -> AssignmentContext:
    return reference_context(golden("paa_assignment"))


@pytest.mark.parametrize(("method", "column"), [("baseline", "paa_r18"), ("lad", "lad_r18_from_r50")])
def test_losses_of_six_sgd_steps_are_those_of_the_published_code(golden, method, column):
    """Losses and gradient norm agree within 1 %.

    The last step of PAA is allowed 2 %: there, one sample of one gt lies on the boundary between its mixture's
    components (their means differ by 1e-4), and rounding in the convolutions decides its side: with oneDNN off it is
    the reference's (box loss within .04 %), with oneDNN on, or in float64, the other (1.4 %).
    """
    case = golden("trajectory")
    anchors = make_anchors((256, 320))
    targets = Targets(case.gt_boxes, case.gt_labels, case.gt_image, torch.tensor([[256, 320], [256, 320]]))
    context = AssignmentContext(match_candidates(anchors, targets), anchors, targets)
    student = reference_detector("r18", 20).train()
    teacher = reference_detector("r50", 20, "teacher.").eval() if METHODS[method].needs_teacher else None
    trainable = [parameter for parameter in student.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(
        trainable, lr=case.lr.item(), momentum=case.momentum.item(), weight_decay=case.weight_decay.item()
    )
    loss = build_method(method, PAA())
    for step, expected in enumerate(case[column]):
        with torch.no_grad():
            teacher_outputs = teacher(case.image) if teacher is not None else None
        terms = loss(student(case.image), teacher_outputs, context).terms
        optimizer.zero_grad()
        sum(terms.values()).backward()
        grad_norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in trainable])
        optimizer.step()
        actual = torch.stack([terms["cls"], terms["box"], terms["iou"], grad_norm]).detach().double()
        tolerance = 0.02 if (method, step) == ("baseline", 5) else 0.01
        torch.testing.assert_close(actual, expected, rtol=tolerance, atol=0)


def test_every_method_has_a_title_and_documents_its_options():
    assert set(METHODS) >= {"baseline", "lad", "soft_label", "solad", "colad"}
    for name, method in METHODS.items():
        assert method.title
        inherited = "\n".join(inspect.getdoc(options) or "" for options in method.options.__mro__)
        for field in dataclasses.fields(method.options):
            assert f"\n    {field.name}: " in inherited, f"{name} does not document {field.name}"


def test_the_flags_of_the_methods_are_those_of_the_paper():
    flags = {
        name: (METHODS[name].needs_teacher, METHODS[name].learns_assignment, METHODS[name].trains_teacher)
        for name in ("baseline", "lad", "soft_label", "solad", "colad")
    }
    assert flags == {
        "baseline": (False, False, False),
        "lad": (True, True, False),
        "soft_label": (True, False, False),
        "solad": (True, True, False),
        "colad": (True, True, True),
    }


@pytest.mark.parametrize("method", ["lad", "soft_label", "solad", "colad"])
def test_a_method_without_its_teacher_raises_an_error_that_names_it(method, student, context):
    with pytest.raises(ValueError, match=f"^method '{method}' needs a teacher's outputs$"):
        build_method(method, PAA())(student, None, context)


@pytest.mark.parametrize("iou_branch", [True, False])
def test_the_baseline_learns_the_students_own_assignment_with_boxes_weighted_by_iou(iou_branch, student, context):
    """Without the IoU branch boxes are not weighted, as in the published code."""
    student = student if iou_branch else student._replace(iou_logits=None)
    loss, assigner = baseline_loss(student, None, context), PAA()
    scores = assigner.score(student, context)
    assert torch.equal(loss.cost, scores[:, 0]) and torch.equal(loss.gt_index, assigner.assign(scores, context))
    weighting = "iou" if iou_branch else "none"
    expected = detection_loss(student, loss.gt_index, context.anchors, context.targets, weighting)
    assert loss.terms.keys() == expected.keys()
    assert all(torch.equal(loss.terms[name], term) for name, term in expected.items())


@pytest.mark.parametrize(
    ("method", "names"),
    [
        (lad_loss, {"cls", "box", "iou"}),
        (imitation_loss, {"soft_cls", "soft_box", "soft_iou"}),
        (solad_loss, {"cls", "box", "iou", "soft_cls", "soft_box", "soft_iou"}),
    ],
)
def test_a_method_with_a_frozen_teacher_learns_its_assignment_by_the_papers_terms(
    method, names, student, teacher, context
):
    frozen = HeadOutputs(*(field.detach() for field in teacher))
    loss = method(student, frozen, context)
    assert set(loss.terms) == names
    assert torch.equal(loss.gt_index, baseline_loss(frozen, None, context).gt_index)
    if "cls" in names:
        alone = detection_loss(student, loss.gt_index, context.anchors, context.targets, box_weighting="none")
        assert all(torch.equal(loss.terms[name], term) for name, term in alone.items())


def test_co_learning_trains_both_networks_on_the_assignment_of_the_published_code(golden, student, teacher, context):
    loss = colad_loss(student, teacher, context)
    num_classes = int(golden("paa_assignment").num_classes)
    assert torch.equal(label_map(loss.gt_index, context.targets, num_classes), golden("colad_stdmean").labels)
    for prefix, outputs in (("", student), ("teacher_", teacher)):
        alone = detection_loss(outputs, loss.gt_index, context.anchors, context.targets, box_weighting="none")
        assert all(torch.equal(loss.terms[prefix + name], term) for name, term in alone.items())
    sum(loss.terms.values()).backward()
    assert all(field.grad.any() for outputs in (student, teacher) for field in outputs)


@pytest.mark.parametrize("selected", ["student", "teacher"])
def test_co_learning_with_one_networks_costs_learns_that_networks_assignment(selected, student, teacher, context):
    loss = build_method("colad", PAA(), cost_selection=selected)(student, teacher, context)
    own = baseline_loss(student if selected == "student" else teacher, None, context)
    assert torch.equal(loss.gt_index, own.gt_index)
    assert loss.from_teacher.all() if selected == "teacher" else not loss.from_teacher.any()


def test_methods_that_train_no_teacher_take_no_cost_selection(student, teacher, context):
    for selection in COST_SELECTIONS:
        loss = build_method("lad", PAA(), cost_selection=selection)(student, teacher, context)
        assert loss.from_teacher is None


@pytest.mark.parametrize("method", ["soft_label", "solad"])
@pytest.mark.parametrize(
    ("option", "term"), [("cls_weight", "soft_cls"), ("iou_weight", "soft_iou"), ("box_weight", "soft_box")]
)
def test_a_weight_scales_its_own_term_and_no_other(method, option, term, student, teacher, context):
    default = getattr(build_method_options(method, {}), option)
    before = build_method(method, PAA())(student, teacher, context).terms
    after = build_method(method, PAA(), {option: 3 * default})(student, teacher, context).terms
    for name, value in before.items():
        torch.testing.assert_close(after[name], 3 * value if name == term else value)


def test_the_default_weights_are_the_papers():
    assert dataclasses.asdict(build_method_options("soft_label", {})) == {
        "cls_weight": 10, "iou_weight": 10, "box_weight": 1.3, "min_iou": 0.1,
    }  # fmt: skip
    assert dataclasses.asdict(build_method_options("solad", {})) == {
        "cls_weight": 2, "iou_weight": 10, "box_weight": 1.3, "min_iou": 0.5,
    }  # fmt: skip
    for name in ("baseline", "lad", "colad"):
        assert dataclasses.asdict(build_method_options(name, {})) == {}
