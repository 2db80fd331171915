"""Detectors are saved and loaded without a change; unusable files are refused in one line."""

import copy
import dataclasses

import pytest
import torch
from reference import openmmlab_state
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.optim.swa_utils import AveragedModel

from lad.models.backbones.registry import BACKBONES
from lad.models.detector import Detector, build_detector
from lad.models.heads.registry import HEADS
from lad.models.openmmlab import to_openmmlab_state
from lad.models.serialization import load_detector, save_detector, save_openmmlab


@pytest.fixture(scope="module")
def detector() -> Detector:
    detector = build_detector("r18", num_classes=3, width=0.25, channels=64).eval()
    detector.configuration = dataclasses.replace(
        detector.configuration, class_names=("pion", "tour", "fou"), short_side=240, long_side=320
    )
    return detector


def same_weights(first: Detector, second: Detector) -> bool:
    state, other = first.state_dict(), second.state_dict()
    return state.keys() == other.keys() and all(torch.equal(state[name], other[name]) for name in state)


def test_one_file_contains_weights_and_configuration(detector, tmp_path):
    save_detector(detector, tmp_path / "chess.safetensors")
    loaded = load_detector(tmp_path / "chess.safetensors")
    assert loaded.configuration == detector.configuration
    assert same_weights(loaded, detector)
    assert not loaded.training and not any(parameter.requires_grad for parameter in loaded.parameters())
    assert [file.name for file in tmp_path.iterdir()] == ["chess.safetensors"]


def test_a_failed_write_names_the_file(detector, tmp_path):
    """safetensors' own error does not contain the path."""
    with pytest.raises(OSError, match=r"nowhere/model\.safetensors: cannot be written \(No such file or directory\)"):
        save_detector(detector, tmp_path / "nowhere" / "model.safetensors")


@pytest.mark.parametrize("width", [0.33, *(pytest.param(width, marks=pytest.mark.slow) for width in (0.1, 0.25))])
@pytest.mark.parametrize("head", [("paa", True), ("iop", False)])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_saved_openmmlab_checkpoint_loads_with_its_configuration(backbone, width, head, tmp_path):
    """Its meta contains what names and shapes do not: the exact width, class names and image sizes."""
    slim = build_detector(backbone, 5, width, head[0], iou_branch=head[1], channels=64)
    slim.configuration = dataclasses.replace(slim.configuration, class_names=tuple("abcde"), short_side=128)
    save_openmmlab(slim, tmp_path / "copy.pth")
    loaded = load_detector(tmp_path / "copy.pth")
    assert loaded.configuration == slim.configuration
    assert same_weights(loaded, slim)


@pytest.mark.parametrize("backbone", ["r18", "r50", "x101_64x4d", "swin_t", "swin_b"])
def test_the_configuration_of_a_foreign_checkpoint_is_inferred_from_its_shapes(backbone, tmp_path):
    slim = build_detector(backbone, num_classes=5, width=0.25, channels=64)
    torch.save(to_openmmlab_state(slim), tmp_path / "foreign.pth")
    loaded = load_detector(tmp_path / "foreign.pth")
    assert loaded.configuration == slim.configuration and same_weights(loaded, slim)


def test_a_tensor_of_another_shape_is_named(tmp_path):
    """The file is an R18 but for this tensor."""
    state = openmmlab_state("r18")
    state["backbone.layer4.1.conv2.weight"] = torch.zeros(512, 512, 1, 1)
    torch.save({"state_dict": state}, tmp_path / "odd.pth")
    with pytest.raises(ValueError) as caught:
        load_detector(tmp_path / "odd.pth")
    assert str(caught.value) == (
        f"checkpoint '{tmp_path / 'odd.pth'}': the OpenMMLab checkpoint does not fit this detector (r18): "
        "backbone.layer4.1.conv2.weight has shape [512, 512, 1, 1], expected [512, 512, 3, 3]"
    )


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (
            {"fc.weight": torch.zeros(1)},
            "contains no bbox_head.atss_cls.weight or head.cls.weight; it must be a PAA or LAD detector",
        ),
        ({"teacher_backbone.conv1.weight": torch.zeros(1)}, "contains no student; it contains part='teacher'"),
    ],
)
def test_files_that_are_not_detectors_are_refused_in_one_line(content, line, tmp_path):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=rf"x\.pth': .*{line}"):
        load_detector(tmp_path / "x.pth")


def test_nans_are_reported_when_a_checkpoint_is_loaded(detector, tmp_path):
    save_openmmlab(detector, tmp_path / "copy.pth")
    content = torch.load(tmp_path / "copy.pth", weights_only=True)
    content["state_dict"]["bbox_head.atss_reg.bias"][2] = float("nan")
    torch.save(content, tmp_path / "nan.pth")
    with pytest.raises(ValueError, match=r"nan\.pth': NaN or infinite values in bbox_head\.atss_reg\.bias"):
        load_detector(tmp_path / "nan.pth")


@pytest.mark.parametrize(
    "configuration",
    [
        "{",
        "[1]",
        '{"backbone": "r18", "depth": 3, "class_names": []}',
        '{"backbone": "r18", "num_classes": "5", "class_names": []}',
        '{"backbone": "r18", "num_classes": 5, "width": "a", "class_names": []}',
        '{"backbone": "r18", "num_classes": 5, "width": 1e300, "class_names": []}',
        '{"backbone": "r18", "num_classes": 5, "width": NaN, "class_names": []}',
        '{"backbone": "r18", "num_classes": 10000000000000, "class_names": []}',
        '{"backbone": "r18", "num_classes": 5, "long_side": 1000000000, "class_names": []}',
        '{"backbone": "r18", "num_classes": 5, "short_side": "1", "class_names": []}',
        '{"backbone": "r18", "num_classes": 5, "class_names": ["one"]}',
        '{"backbone": "r18", "num_classes": 1, "class_names": [1]}',
        "[" * 100_000,
    ],
)
def test_an_invalid_configuration_is_refused_in_one_line(detector, tmp_path, configuration):
    save_detector(detector, tmp_path / "x.safetensors")
    save_file(load_file(tmp_path / "x.safetensors"), tmp_path / "y.safetensors", {"configuration": configuration})
    with pytest.raises(ValueError, match=r"y\.safetensors': invalid configuration in its metadata"):
        load_detector(tmp_path / "y.safetensors")


def test_a_file_with_a_configuration_has_no_parts(detector, tmp_path):
    save_detector(detector, tmp_path / "x.safetensors")
    save_openmmlab(detector, tmp_path / "x.pth")
    for file in ("x.safetensors", "x.pth"):
        for option in ({"part": "teacher"}, {"iou_branch": False}):
            with pytest.raises(ValueError, match="part and iou_branch are for published checkpoints"):
                load_detector(tmp_path / file, **option)


class Wrapper(torch.nn.Module):
    """As DistributedDataParallel (module), a Lightning module (model, detector), a distiller (student, teacher)."""

    def __init__(self, **modules: torch.nn.Module) -> None:
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)


def compiled_backbone(detector: Detector) -> Detector:
    copied = copy.deepcopy(detector)
    copied.backbone = torch.compile(copied.backbone)
    return copied


WRAPPED = {
    "plain": lambda detector: detector,
    "compiled": torch.compile,
    "distributed": lambda detector: Wrapper(module=detector),
    "compiled and distributed": lambda detector: torch.compile(Wrapper(module=torch.compile(detector))),
    "lightning": lambda detector: Wrapper(model=Wrapper(detector=detector)),
    "distiller": lambda detector: Wrapper(student=detector, teacher=build_detector("r34", 3, 0.25, channels=64)),
    "network": lambda detector: Wrapper(network=detector),
    "backbone compiled": compiled_backbone,
    "averaged": AveragedModel,
}


@pytest.mark.parametrize("wrapped", WRAPPED)
def test_a_state_dict_alone_loads_whatever_wrapped_the_detector(detector, wrapped, tmp_path):
    """Backbone, width, channels, head and number of classes are inferred from our own names."""
    state = WRAPPED[wrapped](detector).state_dict()
    torch.save(state, tmp_path / "x.pth")
    save_file(state, tmp_path / "x.safetensors")
    torch.save({"epoch": 3, "model_state_dict": state, "optimizer": {}}, tmp_path / "loop.pt")
    for file in ("x.pth", "x.safetensors", "loop.pt"):
        loaded = load_detector(tmp_path / file)
        inferred = dataclasses.replace(detector.configuration, class_names=(), short_side=800, long_side=1333)
        assert loaded.configuration == inferred and same_weights(loaded, detector)


@pytest.mark.parametrize(
    ("backbone", "head", "iou_branch"),
    [
        *((backbone, "paa", True) for backbone in BACKBONES),
        *(("r18", head, iou_branch) for head in HEADS for iou_branch in (True, False)),
    ],
)
def test_backbone_and_head_are_inferred_from_our_own_names(backbone, head, iou_branch, tmp_path):
    slim = build_detector(backbone, 5, 0.25, head, iou_branch=iou_branch, channels=64)
    torch.save(slim.state_dict(), tmp_path / "x.pth")
    loaded = load_detector(tmp_path / "x.pth")
    assert loaded.configuration == slim.configuration and same_weights(loaded, slim)


def test_the_teacher_of_a_distiller_loads_by_its_part(detector, tmp_path):
    teacher = build_detector("r34", 3, 0.25, channels=64)
    torch.save({"state_dict": Wrapper(student=detector, teacher=teacher).state_dict()}, tmp_path / "x.ckpt")
    assert same_weights(load_detector(tmp_path / "x.ckpt", part="teacher"), teacher)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model."])
def test_a_file_with_a_configuration_loads_whatever_prefix_its_names_have(detector, prefix, tmp_path):
    save_detector(detector, tmp_path / "x.safetensors")
    with safe_open(tmp_path / "x.safetensors", "pt") as file:
        metadata = file.metadata()
    state = {prefix + name: value for name, value in detector.state_dict().items()}
    save_file(state, tmp_path / "y.safetensors", metadata)
    loaded = load_detector(tmp_path / "y.safetensors")
    assert loaded.configuration == detector.configuration and same_weights(loaded, detector)


def test_every_name_that_is_left_over_or_missing_is_listed(detector, tmp_path):
    state = {f"module.{name}": value for name, value in detector.state_dict().items()}
    state["module.criterion.weight"] = state.pop("module.fpn.extra.0.bias")
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"x\.pth'.*fpn\.extra\.0\.bias.*criterion\.weight") as caught:
        load_detector(tmp_path / "x.pth")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["ema", "model_ema", "ema_state_dict", "state_dict_ema", "ema_model"])
@pytest.mark.parametrize("inner", [lambda state: state, lambda state: {"module": state, "updates": 7}])
def test_averaged_weights_load_where_asked_for_or_where_nothing_else_is_there(detector, key, inner, tmp_path):
    averaged = {f"module.{name}": torch.ones_like(value) for name, value in detector.state_dict().items()}
    torch.save({"model": detector.state_dict(), key: inner(averaged)}, tmp_path / "both.pth")
    torch.save({"epoch": 3, key: inner(averaged)}, tmp_path / "averaged.pth")
    assert same_weights(load_detector(tmp_path / "both.pth"), detector)
    for file, part in (("both.pth", "ema"), ("averaged.pth", "ema"), ("averaged.pth", "student")):
        state = load_detector(tmp_path / file, part=part).state_dict()
        assert all((value == 1).all() for value in state.values())


def test_the_state_of_an_averaged_model_is_its_averaged_part(detector, tmp_path):
    torch.save(AveragedModel(detector).state_dict(), tmp_path / "x.pth")
    assert same_weights(load_detector(tmp_path / "x.pth", part="ema"), detector)


@pytest.mark.parametrize(
    ("meta", "names"),
    [
        ({"CLASSES": ("pion", "tour", "fou")}, ("pion", "tour", "fou")),
        ({"dataset_meta": {"classes": ["pion", "tour", "fou"]}}, ("pion", "tour", "fou")),
        ({"dataset_meta": {"CLASSES": ("pion", "tour", "fou"), "palette": None}}, ("pion", "tour", "fou")),
        ({"CLASSES": ("pion", "tour")}, ()),
        ({"CLASSES": "abc"}, ()),
        ({"CLASSES": (1, 2, 3)}, ()),
        ({"dataset_meta": None}, ()),
    ],
)
def test_class_names_are_those_of_openmmlabs_metadata(detector, meta, names, tmp_path):
    torch.save({"meta": meta, "state_dict": to_openmmlab_state(detector)}, tmp_path / "x.pth")
    assert load_detector(tmp_path / "x.pth").configuration.class_names == names


def test_a_saved_detector_needs_its_suffix(detector, tmp_path):
    with pytest.raises(ValueError, match=r"x': a detector's file must end with \.safetensors"):
        save_detector(detector, tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_weights_that_do_not_fit_their_configuration_are_refused(detector, tmp_path):
    save_detector(detector, tmp_path / "x.safetensors")
    weights = load_file(tmp_path / "x.safetensors")
    weights["head.extra"] = weights.pop("head.scale")
    metadata = '{"backbone": "r18", "num_classes": 3, "width": 0.25, "channels": 64, "class_names": []}'
    save_file(weights, tmp_path / "y.safetensors", {"configuration": metadata})
    with pytest.raises(ValueError, match=r"y\.safetensors'.*head\.scale.*head\.extra"):
        load_detector(tmp_path / "y.safetensors")


def test_a_small_file_that_describes_a_huge_network_is_refused_before_it_is_built(tmp_path):
    huge = '{"backbone": "r18", "num_classes": 100000, "width": 16, "channels": 8192, "class_names": []}'  # 80 GB
    save_file({"head.scale": torch.zeros(5)}, tmp_path / "x.safetensors", {"configuration": huge})
    with pytest.raises(ValueError, match=r"x\.safetensors': describes a network of [\d,]+ parameters, but contains 5"):
        load_detector(tmp_path / "x.safetensors")
    torch.save({"bbox_head.atss_cls.weight": torch.zeros(10**9, 256, 0, 0)}, tmp_path / "y.pth")
    with pytest.raises(ValueError, match=r"y\.pth': describes a network of [\d,]+ parameters, but contains 0"):
        load_detector(tmp_path / "y.pth")
