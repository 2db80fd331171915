"""Weights from one detector to another: classes are matched by name, and only what fits is loaded."""

import dataclasses

import pytest
import torch

from lad.models.detector import Detector, build_detector
from lad.models.heads.registry import HEADS
from lad.models.openmmlab import CLASSIFIER
from lad.models.transfer import list_names, load_matching, with_classes

IMAGE = torch.linspace(-1, 1, 3 * 64 * 96).view(1, 3, 64, 96)


def make(class_names: tuple[str, ...] = ("cat", "dog", "cow"), seed: int = 0, number: int = 3, **changes) -> Detector:
    torch.manual_seed(seed)
    options = {"backbone": "r18", "num_classes": len(class_names) or number, "width": 0.25, "channels": 64, **changes}
    detector = build_detector(**options).eval()
    detector.configuration = dataclasses.replace(detector.configuration, class_names=class_names)
    return detector


@pytest.mark.parametrize("head", HEADS)
@torch.no_grad()
def test_reordered_classes_give_reordered_logits_and_the_same_boxes(head):
    detector = make(head=head)
    before, after = detector(IMAGE), with_classes(detector, ("cow", "cat"))(IMAGE)
    tolerance = {"rtol": 1e-3, "atol": 1e-4}  # another memory layout rounds differently
    torch.testing.assert_close(after.cls_logits.sigmoid(), before.cls_logits[..., [2, 0]].sigmoid(), **tolerance)
    torch.testing.assert_close(after.box_deltas, before.box_deltas, **tolerance)
    torch.testing.assert_close(after.iou_logits, before.iou_logits, **tolerance)


def test_reordered_classes_are_in_the_configuration_and_the_rest_of_it_stays():
    detector = make()
    detector.configuration = dataclasses.replace(detector.configuration, short_side=240)
    configuration = with_classes(detector, ("cow", "cat")).configuration
    expected = dataclasses.replace(detector.configuration, num_classes=2, class_names=("cow", "cat"))
    assert configuration == expected and detector.configuration.num_classes == 3


def test_a_detector_of_the_same_classes_or_of_as_many_unnamed_ones_is_not_changed():
    named, unnamed = make(), make(())
    assert with_classes(named, ("cat", "dog", "cow")) is named
    assert with_classes(unnamed, ("cat", "dog", "cow")) is unnamed
    assert unnamed.configuration.class_names == ("cat", "dog", "cow")


@pytest.mark.parametrize(
    ("known", "wanted", "message"),
    [
        (("cat", "dog"), ("dog", "ox", "pig"), "has no class ox, pig; it has cat, dog"),
        ((), ("dog", "ox"), "has 3 classes without names, not 2"),
        (tuple(map(str, range(20))), ("x",), "has no class x; it has 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 8 more"),
    ],
)
def test_missing_classes_are_listed(known, wanted, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        with_classes(make(known), wanted)


def test_all_weights_are_loaded_with_the_rows_of_the_classifier_in_the_order_of_the_new_classes():
    source, detector = make(), make(("dog", "cat"), seed=1)
    assert load_matching(detector, source) == []
    own, given = detector.state_dict(), source.state_dict()
    for name, value in own.items():
        assert torch.equal(value, given[name][[1, 0]] if name in CLASSIFIER else given[name])


def test_a_classifier_of_other_classes_keeps_its_initialization():
    source, detector = make(), make(("dog", "ox"), seed=1)
    before = {name: detector.state_dict()[name].clone() for name in CLASSIFIER}
    assert load_matching(detector, source) == sorted(CLASSIFIER)
    own, given = detector.state_dict(), source.state_dict()
    assert all(torch.equal(own[name], value) for name, value in before.items())
    assert all(torch.equal(own[name], value) for name, value in given.items() if name not in CLASSIFIER)


def test_what_fits_is_loaded_and_the_rest_of_both_networks_is_listed():
    source, detector = make(iou_branch=False), make(seed=1, head="cop")
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    problems = load_matching(detector, source)
    only_in_cop = sorted(name for name in before if name.startswith(("head.iou", "head.coefficients")))
    assert set(problems) >= set(only_in_cop[:2]) and not any(name.startswith(("backbone", "fpn")) for name in problems)
    own, given = detector.state_dict(), source.state_dict()
    for name, value in own.items():
        assert torch.equal(value, before[name] if name in problems else given[name]), name


def test_the_training_mode_and_the_gradients_of_the_network_stay():
    detector = make().train()
    load_matching(detector, make(seed=1))
    assert detector.training and all(weight.requires_grad for weight in detector.parameters())


def test_lists_of_names_are_shortened():
    assert list_names(["a", "b"]) == "a, b" and list_names(["a", "b", "c"], 2) == "a, b and 1 more"
