"""OpenMMLab's checkpoint names."""

import pytest
import torch
from reference import openmmlab_state

from lad.models import build_detector
from lad.models.openmmlab import load_openmmlab_state


@pytest.mark.parametrize("backbone", ["r18", "r50", "r101"])
def test_every_name_of_a_checkpoint_is_accounted_for(backbone):
    state = openmmlab_state(backbone)
    detector = build_detector(backbone, num_classes=80)
    load_openmmlab_state(detector, state)
    # Each of our tensors was written: the state is all zeros, so the detector is too.
    assert all((tensor == 0).all() for tensor in detector.state_dict().values())
    scales = len([name for name in state if "scales" in name])
    assert len(detector.state_dict()) == len(state) - scales + 1


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
        "bbox_head.atss_cls.weight has shape [80, 256, 3, 3], expected [12, 256, 3, 3]",
    ):
        assert part in str(caught.value)
    assert all(torch.equal(before[name], tensor) for name, tensor in detector.state_dict().items())
