"""A new head is one registry entry."""

import functools

import pytest
import torch
from torch import nn

from lad.models.detector import build_detector
from lad.models.heads.paa import OPENMMLAB_RULES, PAAHead
from lad.models.heads.registry import HEADS, HeadEntry, register_head
from lad.models.serialization import load_detector, save_detector, save_openmmlab


class Brightness(nn.Module):
    """An auxiliary prediction that adds a map to all class logits."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.offset = nn.Conv2d(channels, 1, 1)

    def reset_biases(self) -> None:
        nn.init.ones_(self.offset.bias)

    def forward(self, cls_logits: torch.Tensor, reg_feature: torch.Tensor) -> torch.Tensor:
        return cls_logits + self.offset(reg_feature)


def test_a_registered_head_is_built_saved_and_loaded(tmp_path, monkeypatch):
    """Also from a checkpoint under OpenMMLab's names alone, in which its key identifies it."""
    entry = HeadEntry(
        "PAA + brightness",
        functools.partial(PAAHead, auxiliary=Brightness),
        (*OPENMMLAB_RULES, (r"auxiliary\.offset\.(.+)", r"brightness.\1")),
        openmmlab_key="brightness.weight",
        openmmlab_unused=("objectness.",),
    )
    monkeypatch.setitem(HEADS, "brightness", entry)
    detector = build_detector("r18", num_classes=3, width=0.25, head="brightness", channels=64)
    assert detector.head.auxiliary.offset.bias.item() == 1
    save_detector(detector, tmp_path / "x.safetensors")
    save_openmmlab(detector, tmp_path / "x.pth")
    state = torch.load(tmp_path / "x.pth", weights_only=True)["state_dict"]
    assert "bbox_head.brightness.weight" in state
    torch.save({**state, "bbox_head.objectness.weight": torch.zeros(1)}, tmp_path / "bare.pth")
    for file in ("x.safetensors", "x.pth", "bare.pth"):
        loaded = load_detector(tmp_path / file)
        assert loaded.configuration == detector.configuration
        loaded_state = loaded.state_dict()
        assert all(torch.equal(value, loaded_state[name]) for name, value in detector.state_dict().items())


def test_a_name_is_registered_once():
    with pytest.raises(ValueError, match=r"head 'paa' is already registered \(PAA\); choose another name"):
        register_head("paa", HEADS["cop"])
    assert HEADS["paa"].title == "PAA"


def test_every_head_has_a_title_of_its_own():
    titles = [entry.title for entry in HEADS.values()]
    assert all(titles) and len(set(titles)) == len(titles)
