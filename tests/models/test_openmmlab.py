"""OpenMMLab's checkpoints load exactly and are written back exactly; what does not fit is listed."""

import json

import pytest
import torch
from reference import HERE, openmmlab_state
from torch.nn import functional as F

from lad.models.detector import build_detector
from lad.models.openmmlab import load_openmmlab_state, part_of, to_openmmlab_state
from lad.models.serialization import load_detector


def state_of_keys(name: str) -> dict[str, torch.Tensor]:
    """Make random tensors of the names and shapes of a checkpoint in keys/, with valid indices and counts."""
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
    # The checkpoint is all zeros: every tensor of the detector was overwritten.
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
def test_a_published_file_is_identified_loaded_and_written_back_exactly(checkpoint, part, backbone, tmp_path):
    state = state_of_keys(checkpoint)
    torch.save({"meta": {"mmdet_version": "2.10.0"}, "state_dict": state}, tmp_path / "published.pth")
    detector = load_detector(tmp_path / "published.pth", part)
    assert detector.configuration.backbone == backbone and detector.configuration.num_classes == 80
    expected, written = part_of(state, part), to_openmmlab_state(detector)
    assert written.keys() == expected.keys()
    assert all(torch.equal(written[name], expected[name]) for name in expected)


def test_unused_branches_of_published_heads_are_ignored(tmp_path):
    """CoLAD's COP teacher has an objectness branch that COP does not use; heads trained without the IoU branch have
    one."""
    state = state_of_keys("ccdet_keys_colad_r50_r101cop")
    torch.save({"state_dict": state}, tmp_path / "colad.pth")
    teacher = load_detector(tmp_path / "colad.pth", part="teacher")
    assert (teacher.configuration.backbone, teacher.configuration.head) == ("r101", "cop")
    ignored = part_of(state, "teacher").keys() - to_openmmlab_state(teacher).keys()
    assert ignored == {"bbox_head.objectness.weight", "bbox_head.objectness.bias"}

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
def test_prefixes_select_the_network(rename):
    """One file has two networks; the one under plain names is all zeros."""
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


def test_a_missing_network_is_reported_with_the_available_ones():
    with pytest.raises(ValueError, match="contains no teacher; it contains part='student'"):
        load_openmmlab_state(build_detector("r18", num_classes=80), openmmlab_state("r18"), part="teacher")


def test_patch_merging_equals_openmmlabs():
    """OpenMMLab computes it by unfolding; its weights are converted to torchvision's order of pixels."""
    state = state_of_keys("mmdet_keys_swinb_w7")
    detector = build_detector("swin_b", num_classes=80)
    load_openmmlab_state(detector, state)
    x = torch.randn(1, 6, 8, 128)  # [N, h, w, C]
    expected = F.unfold(x.permute(0, 3, 1, 2), kernel_size=2, stride=2).transpose(1, 2)
    name = "backbone.stages.0.downsample"
    expected = F.layer_norm(expected, (512,), state[f"{name}.norm.weight"], state[f"{name}.norm.bias"])
    expected = F.linear(expected, state[f"{name}.reduction.weight"]).unflatten(1, (3, 4))
    torch.testing.assert_close(detector.backbone.features[2](x), expected, atol=1e-4, rtol=1e-4)


def test_everything_that_does_not_fit_is_listed_and_nothing_is_loaded():
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
        "missing fpn.extra.0.weight",
        "backbone.conv1.weight has shape [64, 3, 3, 3], expected [64, 3, 7, 7]",
        "bbox_head.atss_cls.weight has shape [80, 256, 3, 3], expected [12, 256, 3, 3]; new_classifier=True keeps",
    ):
        assert part in str(caught.value)
    assert all(torch.equal(before[name], tensor) for name, tensor in detector.state_dict().items())


def test_wrong_and_missing_scales_are_listed_under_openmmlabs_names():
    state = openmmlab_state("r18")
    del state["bbox_head.scales.3.scale"]
    state["bbox_head.scales.1.scale"] = torch.zeros(2)
    with pytest.raises(ValueError) as caught:
        load_openmmlab_state(build_detector("r18", num_classes=80), state)
    assert "missing bbox_head.scales.3.scale" in str(caught.value)
    assert "bbox_head.scales.1.scale has shape [2], expected []" in str(caught.value)


def test_a_swin_without_the_norm_of_c2_loads():
    """With out_indices (1, 2, 3), as in OpenMMLab's single-stage configs, there is no norm0."""
    state = state_of_keys("mmdet_keys_swinb_w7")
    for name in ("weight", "bias"):
        del state[f"backbone.norm0.{name}"]
    load_openmmlab_state(build_detector("swin_b", num_classes=80), state)


def test_an_unknown_part_is_refused():
    with pytest.raises(ValueError, match="part='foo' is not one of student, teacher, ema"):
        load_openmmlab_state(build_detector("r18", num_classes=80), openmmlab_state("r18"), part="foo")


def test_both_copies_of_a_checkpoint_with_averaged_weights_load_from_its_file(tmp_path):
    """OpenMMLab 2.x writes the second copy under names without dots."""
    state = openmmlab_state("r18")
    copy = {"ema_" + name.replace(".", "_"): torch.ones_like(value) for name, value in state.items()}
    torch.save({"state_dict": {**state, **copy}}, tmp_path / "ema.pth")
    assert all((tensor == 1).all() for tensor in load_detector(tmp_path / "ema.pth", part="ema").state_dict().values())
    assert all((tensor == 0).all() for tensor in load_detector(tmp_path / "ema.pth").state_dict().values())


def test_another_number_of_classes_keeps_a_fresh_classifier():
    detector = build_detector("r18", num_classes=12)
    fresh = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    load_openmmlab_state(detector, openmmlab_state("r18"), new_classifier=True)
    for name, tensor in detector.state_dict().items():
        is_classifier = name in ("head.cls.weight", "head.cls.bias")
        assert torch.equal(tensor, fresh[name] if is_classifier else torch.zeros_like(tensor)), name


def test_offsets_load_under_the_name_of_old_versions():
    """mmcv before 1.0 has conv2_offset in place of conv2.conv_offset."""
    state = state_of_keys("mmdet_keys_x101_64x4d_dcn")
    old = {name.replace("conv2.conv_offset", "conv2_offset"): value for name, value in state.items()}
    detector = build_detector("x101_64x4d_dcn", num_classes=80)
    load_openmmlab_state(detector, old)
    name = "backbone.layer2.0.conv2.conv_offset.weight"
    assert torch.equal(detector.state_dict()[name], state[name])
