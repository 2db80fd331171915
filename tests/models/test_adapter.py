"""Adapters give a student's features the teacher's number of channels, and are no part of the student."""

import torch

from lad.models.adapter import AdaptedStudent
from lad.models.detector import build_detector
from lad.models.student_teacher import detectors_of


def test_the_named_features_are_adapted_and_the_outputs_are_the_students():
    student = build_detector("r18", 3, 0.25, channels=64).eval()
    network = AdaptedStudent(student, ("pyramid",), 96)
    images = torch.randn(1, 3, 64, 64)
    plain, adapted = student(images, with_features=True), network(images, with_features=True)
    assert all(level.shape[1] == 96 for level in adapted.pyramid)
    assert all(torch.equal(*pair) for pair in zip(adapted.cls_features, plain.cls_features, strict=True))
    for outputs in (adapted.outputs, network(images)):
        assert all(torch.equal(*pair) for pair in zip(outputs, plain.outputs, strict=True))


def test_an_adapter_is_trained_but_the_detector_that_is_saved_does_not_hold_it():
    student = build_detector("r18", 3, 0.25, channels=64)
    network = AdaptedStudent(student, ("cls_features", "reg_features"), 96)
    features = network(torch.randn(1, 3, 64, 64), with_features=True)
    sum(level.square().mean() for level in (*features.cls_features, *features.reg_features)).backward()
    assert all(weight.grad is not None for weight in network.adapters.parameters())
    assert len(list(network.parameters())) == len(list(student.parameters())) + 4
    assert detectors_of(network) == {"student": student}
