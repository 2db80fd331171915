"""OpenMMLab's checkpoint names."""

import json

import pytest
import torch
from reference import HERE, openmmlab_state
from torch.nn import functional as F

from lad.models.detector import build_detector
from lad.models.openmmlab import load_openmmlab_state, part_of, to_openmmlab_state
from lad.models.serialization import load_detector


def state_of_keys(name: str) -> dict[str, torch.Tensor]:
    """Numbers under the names and shapes of a checkpoint in keys/; indices and counts as a network has them."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for key, shape in json.loads((HERE / "keys" / f"{name}.json").read_text()).items():
        if key.endswith("num_batches_tracked"):
            state[key] = torch.tensor(12)
        elif key.endswith("relative_position_index"):
            side = int(shape[0] ** 0.5)
            row, column = torch.arange(shape[0]) // side, torch.arange(shape[0]) % side
            state[key] = (row[:, None] - row + side - 1) * (2 * side - 1) + column[:, None] - column + side - 1
        else:
            state[key] = torch.randn(shape, generator=generator)
    return state


@pytest.mark.parametrize("backbone", ["r18", "r50", "r101"])
def test_every_name_of_a_checkpoint_is_accounted_for(backbone):
    state = openmmlab_state(backbone)
    detector = build_detector(backbone, num_classes=80)
    load_openmmlab_state(detector, state)
    # Each of our tensors was written: the state is all zeros, so the detector is too.
    assert all((tensor == 0).all() for tensor in detector.state_dict().values())
    scales = len([name for name in state if "scales" in name])
    assert len(detector.state_dict()) == len(state) - scales + 1


@pytest.mark.parametrize(
    ("checkpoint", "part", "backbone"),
    [
        ("ccdet_keys_lad_r50_r101", "student", "r50"),
        ("ccdet_keys_lad_r50_r101", "teacher", "r101"),
        ("ccdet_keys_colad_r50_r101cop", "student", "r50"),
        ("ccdet_keys_paacop_r50", "student", "r50"),
        ("mmdet_keys_x101_64x4d_dcn", "student", "x101_64x4d_dcn"),
        ("mmdet_keys_swinb_w7", "student", "swin_b"),
        ("mmdet_keys_swinb_w12", "student", "swin_b_w12"),
    ],
)
def test_a_whole_file_is_recognized_loaded_and_written_back_exactly(checkpoint, part, backbone, tmp_path):
    state = state_of_keys(checkpoint)
    torch.save({"meta": {"mmdet_version": "2.10.0"}, "state_dict": state}, tmp_path / "published.pth")
    detector = load_detector(tmp_path / "published.pth", part)
    assert detector.configuration.backbone == backbone and detector.configuration.num_classes == 80
    expected, written = part_of(state, part), to_openmmlab_state(detector)
    assert written.keys() == expected.keys()
    assert all(torch.equal(written[name], expected[name]) for name in expected)


def test_branches_that_published_heads_have_but_do_not_use_are_left_out(tmp_path):
    """The COP teacher of CoLAD has an objectness branch that COP does not look at; heads trained without the IoU branch
    have one."""
    state = state_of_keys("ccdet_keys_colad_r50_r101cop")
    torch.save({"state_dict": state}, tmp_path / "colad.pth")
    teacher = load_detector(tmp_path / "colad.pth", part="teacher")
    assert (teacher.configuration.backbone, teacher.configuration.head) == ("r101", "cop")
    left_out = part_of(state, "teacher").keys() - to_openmmlab_state(teacher).keys()
    assert left_out == {"bbox_head.objectness.weight", "bbox_head.objectness.bias"}

    state = state_of_keys("ccdet_keys_paacop_r50")
    torch.save(state, tmp_path / "paacopbase.pth")
    detector = load_detector(tmp_path / "paacopbase.pth", iou_branch=False)
    assert detector.head.iou is None and not detector.configuration.iou_branch
    assert state.keys() - to_openmmlab_state(detector).keys() == {
        "bbox_head.atss_centerness.weight",
        "bbox_head.atss_centerness.bias",
    }


@pytest.mark.parametrize(
    "rename",
    [
        lambda name: f"module.{name}",
        lambda name: f"teacher_{name}",
        lambda name: f"teacher_model.{name}",
        lambda name: f"module.ema_{name}",
        lambda name: "ema_" + name.replace(".", "_"),
    ],
)
def test_prefixes_name_the_network_that_is_asked_for(rename):
    """Two networks in one file, the plain names all zero."""
    plain = openmmlab_state("r18")
    renamed = {rename(name): torch.ones_like(value) for name, value in plain.items()}
    is_module = next(iter(renamed)).startswith("module.backbone")
    part = "student" if is_module else "ema" if "ema_" in next(iter(renamed)) else "teacher"
    state = renamed if is_module else {**plain, **renamed}
    detector = build_detector("r18", num_classes=80)
    load_openmmlab_state(detector, {"state_dict": {**state, "data_preprocessor.mean": torch.zeros(3)}}, part)
    assert all((tensor == 1).all() for tensor in detector.state_dict().values())
    if not is_module:
        load_openmmlab_state(detector, state)
        assert all((tensor == 0).all() for tensor in detector.state_dict().values())


def test_a_network_that_is_not_in_the_file_is_said():
    with pytest.raises(ValueError, match="holds no teacher; it holds part='student'"):
        load_openmmlab_state(build_detector("r18", num_classes=80), openmmlab_state("r18"), part="teacher")


def test_patch_merging_there_unfolds():
    """A Swin's patch merging as OpenMMLab computes it, by unfolding, from its own weights."""
    state = state_of_keys("mmdet_keys_swinb_w7")
    detector = build_detector("swin_b", num_classes=80)
    load_openmmlab_state(detector, state)
    x = torch.randn(1, 6, 8, 128)  # [N, h, w, C]
    theirs = F.unfold(x.permute(0, 3, 1, 2), kernel_size=2, stride=2).transpose(1, 2)
    name = "backbone.stages.0.downsample"
    theirs = F.layer_norm(theirs, (512,), state[f"{name}.norm.weight"], state[f"{name}.norm.bias"])
    theirs = F.linear(theirs, state[f"{name}.reduction.weight"]).unflatten(1, (3, 4))
    torch.testing.assert_close(detector.backbone.features[2](x), theirs, atol=1e-4, rtol=1e-4)


def test_what_does_not_fit_is_listed_and_nothing_is_loaded():
    state = openmmlab_state("r18")
    del state["neck.fpn_convs.3.conv.weight"]
    state["bbox_head.atss_iou.weight"] = torch.zeros(1)
    state["backbone.conv1.weight"] = torch.zeros(64, 3, 3, 3)
    detector = build_detector("r18", num_classes=12)
    before = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    with pytest.raises(ValueError) as caught:
        load_openmmlab_state(detector, state)
    for part in (
        "unknown name bbox_head.atss_iou.weight",
        "nothing for fpn.extra.0.weight",
        "backbone.conv1.weight has shape [64, 3, 3, 3], expected [64, 3, 7, 7]",
        "bbox_head.atss_cls.weight has shape [80, 256, 3, 3], expected [12, 256, 3, 3]; new_classifier=True keeps",
    ):
        assert part in str(caught.value)
    assert all(torch.equal(before[name], tensor) for name, tensor in detector.state_dict().items())


def test_scales_are_listed_by_their_own_names():
    state = openmmlab_state("r18")
    del state["bbox_head.scales.3.scale"]
    state["bbox_head.scales.1.scale"] = torch.zeros(2)
    with pytest.raises(ValueError) as caught:
        load_openmmlab_state(build_detector("r18", num_classes=80), state)
    assert "nothing for bbox_head.scales.3.scale" in str(caught.value)
    assert "bbox_head.scales.1.scale has shape [2], expected []" in str(caught.value)


def test_a_swin_trained_without_the_norm_of_c2_loads():
    """OpenMMLab's single-stage configs give Swin out_indices (1, 2, 3): then there is no norm0."""
    state = state_of_keys("mmdet_keys_swinb_w7")
    for name in ("weight", "bias"):
        del state[f"backbone.norm0.{name}"]
    load_openmmlab_state(build_detector("swin_b", num_classes=80), state)


def test_an_unknown_part_is_refused():
    with pytest.raises(ValueError, match="part='foo' is not one of student, teacher, ema"):
        load_openmmlab_state(build_detector("r18", num_classes=80), openmmlab_state("r18"), part="foo")


def test_the_raw_copy_of_an_averaged_checkpoint_is_found_from_its_file(tmp_path):
    """2.x writes its second copy under names without dots."""
    state = openmmlab_state("r18")
    copy = {"ema_" + name.replace(".", "_"): torch.ones_like(value) for name, value in state.items()}
    torch.save({"state_dict": {**state, **copy}}, tmp_path / "ema.pth")
    assert all((tensor == 1).all() for tensor in load_detector(tmp_path / "ema.pth", part="ema").state_dict().values())
    assert all((tensor == 0).all() for tensor in load_detector(tmp_path / "ema.pth").state_dict().values())


def test_eighty_classes_become_twelve_with_a_fresh_classifier():
    detector = build_detector("r18", num_classes=12)
    fresh = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    load_openmmlab_state(detector, openmmlab_state("r18"), new_classifier=True)
    for name, tensor in detector.state_dict().items():
        is_classifier = name in ("head.cls.weight", "head.cls.bias")
        assert torch.equal(tensor, fresh[name] if is_classifier else torch.zeros_like(tensor)), name


def test_offsets_under_their_oldest_name():
    """Checkpoints of mmcv before 1.0 say conv2_offset."""
    state = state_of_keys("mmdet_keys_x101_64x4d_dcn")
    old = {name.replace("conv2.conv_offset", "conv2_offset"): value for name, value in state.items()}
    detector = build_detector("x101_64x4d_dcn", num_classes=80)
    load_openmmlab_state(detector, old)
    name = "backbone.layer2.0.conv2.conv_offset.weight"
    assert torch.equal(detector.state_dict()[name], state[name])
