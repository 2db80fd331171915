"""A checkpoint's networks are found in wrappers and by the prefixes of their names."""

import pytest
import torch

from lad.models.parts import part_of, split_name, unwrap
from lad.models.safe_load import read_tensors

WEIGHTS = {"head.cls.weight": torch.zeros(1)}
AVERAGE = {"head.cls.weight": torch.ones(1)}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("head.cls.weight", ("student", "head.cls.weight")),
        ("module._orig_mod.module.model.head.cls.weight", ("student", "head.cls.weight")),
        ("_orig_mod.backbone._orig_mod.conv1.weight", ("student", "backbone.conv1.weight")),
        ("model.student.fpn.extra.0.bias", ("student", "fpn.extra.0.bias")),
        ("student_model.backbone.conv1.weight", ("student", "backbone.conv1.weight")),
        ("model.teacher.backbone.conv1.weight", ("teacher", "backbone.conv1.weight")),
        ("teacher_model.backbone.conv1.weight", ("teacher", "backbone.conv1.weight")),
        ("module.teacher_bbox_head.atss_cls.bias", ("teacher", "bbox_head.atss_cls.bias")),
        ("ema_model.module.backbone.conv1.weight", ("ema", "backbone.conv1.weight")),
        ("model_ema.module.backbone.conv1.weight", ("ema", "backbone.conv1.weight")),
        ("ema_backbone_conv1_weight", ("ema", "backbone_conv1_weight")),
        ("modules.weight", ("student", "modules.weight")),
    ],
)
def test_prefixes_of_any_order_and_number_are_taken_off(name, expected):
    assert split_name(name) == expected


def test_two_names_that_are_equal_without_their_prefixes_are_refused():
    state = {"module.head.cls.weight": torch.zeros(1), "model.head.cls.weight": torch.zeros(1)}
    with pytest.raises(ValueError) as caught:
        part_of(state, "student")
    line = "contains head.cls.weight twice: as module.head.cls.weight and as model.head.cls.weight"
    assert str(caught.value) == line


@pytest.mark.parametrize(
    ("content", "part", "expected"),
    [
        (WEIGHTS, "student", WEIGHTS),
        ({"state_dict": WEIGHTS, "ema_state_dict": AVERAGE}, "student", WEIGHTS),
        ({"state_dict": WEIGHTS, "ema_state_dict": AVERAGE}, "ema", AVERAGE),
        ({"model": {"state_dict": WEIGHTS}, "epoch": 1}, "student", WEIGHTS),
        ({"model": WEIGHTS, "ema": None}, "student", WEIGHTS),
        ({"model": WEIGHTS, "ema": {}, "state_dict": {}}, "student", WEIGHTS),
        ({"ema": {"module": AVERAGE, "updates": 3}}, "student", AVERAGE),
        ({"student": WEIGHTS, "teacher": AVERAGE}, "student", WEIGHTS),
        ({"student": WEIGHTS, "teacher": AVERAGE}, "teacher", AVERAGE),
    ],
)
def test_the_state_dict_of_a_part_is_found_in_its_wrappers(content, part, expected):
    assert part_of(content, part) == expected


@pytest.mark.parametrize("content", [{}, [WEIGHTS], None, {"epoch": 3}, {"model": {"lr": 0.1}}, {"model": [1]}])
def test_content_without_a_state_dict_has_none(content):
    assert unwrap(content) is None


def test_a_wrapper_that_contains_itself_ends(tmp_path):
    content: dict = {"epoch": 3}
    content["model"] = content
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"x\.pth': contains no state dict"):
        read_tensors(tmp_path / "x.pth")


def test_counters_and_preprocessing_are_not_part_of_the_network():
    state = {"steps": torch.tensor(3), "module.data_preprocessor.mean": torch.zeros(3)}
    assert part_of({"state_dict": {**state, "module.head.cls.weight": torch.ones(1)}}, "ema") == AVERAGE
