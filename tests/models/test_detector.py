"""Detectors compute the published outputs, train, predict and compile; impossible ones are refused."""

import dataclasses

import pytest
import torch
from reference import reference_detector

from lad.assigners.base import AssignmentContext
from lad.assigners.candidates import match_candidates
from lad.distillation.methods import baseline_loss
from lad.geometry import make_anchors
from lad.inference.predictor import predict
from lad.models.backbones.registry import BACKBONES
from lad.models.detector import build_detector
from lad.models.heads.registry import HEADS


@pytest.mark.parametrize("backbone", ["r18", "r50"])
def test_outputs_equal_the_published_detectors(golden, backbone):
    """Every output is within 1e-3 of its own standard deviation, with weights loaded under OpenMMLab's names."""
    case = golden("full_model")
    detector = reference_detector(backbone, int(case.num_classes)).eval()
    with torch.no_grad():
        levels = detector.fpn(detector.backbone(case.image))
        outputs = detector(case.image)
    actual = {
        "cls_logits": outputs.cls_logits,
        "box_deltas": outputs.box_deltas,
        "iou_logits": outputs.iou_logits,
        "p3_mean": levels[0].mean(dim=(2, 3)),
        "p7": levels[4],
    }
    for name, tensor in actual.items():
        expected = case[f"{backbone}_{name}"]
        assert (tensor - expected).abs().max() < 1e-3 * expected.std(), name


@pytest.mark.parametrize("head", HEADS)
def test_features_on_request_do_not_change_the_outputs(head):
    detector = build_detector("r18", 6, 0.25, channels=64, head=head).eval()
    images = torch.randn(2, 3, 96, 160)
    result = detector(images, with_features=True)
    assert all(torch.equal(*pair) for pair in zip(result.outputs, detector(images), strict=True))
    for levels in (result.pyramid, result.cls_features, result.reg_features):
        assert [tuple(level.shape[2:]) for level in levels] == [(12, 20), (6, 10), (3, 5), (2, 3), (1, 2)]
        assert all(level.shape[:2] == (2, 64) for level in levels)
    assert all((level >= 0).all() for level in (*result.cls_features, *result.reg_features))  # behind a ReLU


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_slim_detector_has_outputs_for_every_anchor_and_gradients_for_every_parameter(backbone):
    detector = build_detector(backbone, num_classes=6, width=0.25, channels=64).train()
    images = torch.randn(2, 3, 96, 160)
    outputs = detector(images)
    num_anchors = len(make_anchors((96, 160)).boxes)
    assert outputs.cls_logits.shape == (2, num_anchors, 6)
    assert outputs.box_deltas.shape == (2, num_anchors, 4)
    assert outputs.iou_logits.shape == (2, num_anchors)
    (outputs.cls_logits.sum() + outputs.box_deltas.sum() + outputs.iou_logits.sum()).backward()
    assert all(parameter.grad is not None for parameter in detector.parameters() if parameter.requires_grad)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 0}, "num_classes=0 must be 1 or more"),
        ({"width": -1}, "width=-1 more than 0"),
        ({"frozen_stages": 9}, "frozen_stages=9 must lie between -1 .* and 4"),
        (
            {"backbone": "r19"},
            "backbone 'r19' is unknown; choose one of r18, r34, r50, r101, x101_64x4d, x101_64x4d_dcn, swin_t, swin_s",
        ),
        ({"head": "pa"}, "head 'pa' is unknown; choose one of paa, cop, iop"),
        ({"channels": 100}, "channels=100 must be 64 or another multiple of 32"),
        ({"weights": "nowhere.pth"}, "weights 'nowhere.pth': no such file"),
    ],
)
def test_impossible_arguments_are_refused_in_one_line(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_detector(**{"backbone": "r18", "num_classes": 3, **arguments})


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_takes_a_training_step_and_predicts(backbone, targets):
    """A step of plain PAA on two images updates every part; then the network detects on an image."""
    torch.manual_seed(0)
    detector = build_detector(backbone, num_classes=3, width=0.25, channels=64).train()
    detector.configuration = dataclasses.replace(detector.configuration, short_side=96, long_side=128)
    images, anchors = torch.randn(2, 3, 96, 128), make_anchors((96, 128))
    before = {name: parameter.clone() for name, parameter in detector.named_parameters() if parameter.requires_grad}
    context = AssignmentContext(match_candidates(anchors, targets), anchors, targets)
    loss = sum(baseline_loss(detector(images), None, context).terms.values())
    loss.backward()
    torch.optim.SGD((p for p in detector.parameters() if p.requires_grad), lr=0.01).step()
    assert loss.isfinite()
    moved = [name for name, p in detector.named_parameters() if name in before and not torch.equal(p, before[name])]
    assert {name.split(".")[0] for name in moved} == {"backbone", "fpn", "head"}
    (detections,) = predict(detector, torch.rand(3, 90, 120))
    assert detections.boxes.isfinite().all() and detections.boxes.shape == (len(detections.scores), 4)


@pytest.mark.parametrize(
    "head", ["paa", *(pytest.param(head, marks=pytest.mark.slow) for head in HEADS if head != "paa")]
)
def test_a_detector_compiles_without_graph_breaks(head):
    """`fullgraph` raises at any graph break; images of another size cause none either."""
    torch.compiler.reset()  # graphs of other tests count against a limit
    torch.manual_seed(0)
    detector = build_detector("r18", 3, 0.25, head, channels=64).train()
    compiled = torch.compile(detector, backend="eager", fullgraph=True)
    for size in ((64, 96), (96, 64)):
        images = torch.randn(2, 3, *size)
        for actual, expected in zip(compiled(images), detector(images), strict=True):
            torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)
