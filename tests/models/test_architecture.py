"""Networks that were trained with other anchors are refused in one line."""

import re

import pytest
import torch
from reference import openmmlab_state

from lad.models.detector import build_detector
from lad.models.openmmlab import to_openmmlab_state
from lad.models.serialization import load_detector

CONFIG = """model = dict(
    type='PAA',
    bbox_head=dict(
        type='PAAHead',
        anchor_generator=dict(
            type='AnchorGenerator',
            ratios=[1.0],
            octave_base_scale=8,
            scales_per_octave=1,
            strides=[8, 16, 32, 64, 128]),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2])))
"""


def error_line(state: dict, tmp_path, meta: dict | None = None) -> str:
    torch.save({"meta": meta or {}, "state_dict": state}, tmp_path / "x.pth")
    with pytest.raises(ValueError) as caught:
        load_detector(tmp_path / "x.pth")
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"checkpoint '{tmp_path / 'x.pth'}': ")


@pytest.mark.parametrize("names", ["openmmlab", "own"])
def test_more_than_one_anchor_per_location_is_refused(names, tmp_path):
    detector = build_detector("r18", 3, 0.25, channels=64)
    state = to_openmmlab_state(detector) if names == "openmmlab" else detector.state_dict()
    name = "bbox_head.atss_reg.weight" if names == "openmmlab" else "head.reg.weight"
    line = error_line({**state, name: torch.zeros(36, 64, 3, 3)}, tmp_path)
    assert line == f"has 9 anchors per location ({name}); only 1 is supported, as in PAA"


def test_another_number_of_levels_is_refused(tmp_path):
    detector = build_detector("r18", 3, 0.25, channels=64)
    own, state = detector.state_dict(), to_openmmlab_state(detector)
    line = r"has 4 pyramid levels \({}\); only 5 are supported, P3 to P7"
    assert re.match(line.format(r"head\.scale"), error_line({**own, "head.scale": torch.ones(4)}, tmp_path))
    fewer = {name: value for name, value in state.items() if not name.startswith("bbox_head.scales.4")}
    assert re.match(line.format(r"bbox_head\.scales"), error_line(fewer, tmp_path))
    more = {**state, "neck.fpn_convs.5.conv.weight": torch.zeros(64, 64, 3, 3)}
    assert error_line(more, tmp_path).startswith("has 6 pyramid levels (neck.fpn_convs)")


@pytest.mark.parametrize("key", ["config", "cfg"])
@pytest.mark.parametrize(
    ("old", "new", "supported"),
    [
        ("ratios=[1.0]", "ratios=[0.5, 1.0, 2.0]", "1"),
        ("octave_base_scale=8", "octave_base_scale=4", "8"),
        ("scales_per_octave=1", "scales_per_octave=3", "1"),
        ("strides=[8, 16, 32, 64, 128]", "strides=[4, 8, 16, 32, 64]", "8, 16, 32, 64, 128"),
        ("strides=[8, 16, 32, 64, 128]", "strides=(4, 8, 16, 32, 64)", "8, 16, 32, 64, 128"),
    ],
)
def test_other_anchors_in_the_config_are_refused(key, old, new, supported, tmp_path):
    """`meta` has the text of OpenMMLab's config: under "config" in 2.x, under "cfg" in 3.x."""
    assert old in CONFIG
    line = error_line(openmmlab_state("r18"), tmp_path, {key: CONFIG.replace(old, new)})
    assert line == f"was trained with other anchors: {new} in its config, but only {supported} is supported"


@pytest.mark.parametrize(
    "config", [CONFIG, "", None, 3, "anchor_generator=dict(", CONFIG.replace("[8, 16", "[  8,\n 16")]
)
def test_a_config_of_the_same_anchors_or_none_at_all_is_accepted(config, tmp_path):
    torch.save({"meta": {"config": config}, "state_dict": openmmlab_state("r18")}, tmp_path / "x.pth")
    assert load_detector(tmp_path / "x.pth").configuration.backbone == "r18"
