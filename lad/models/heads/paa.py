"""The head: class logits, box deltas and an IoU logit at every location of every level."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lad.geometry import STRIDES
from lad.models.heads.objectness import ConditionalObjectness, ImplicitObjectness
from lad.structures import HeadOutputs

AUXILIARY: dict[str, type[ConditionalObjectness] | type[ImplicitObjectness]] = {
    "cop": ConditionalObjectness,
    "iop": ImplicitObjectness,
}
HEADS = ("paa", *AUXILIARY)

TOWER_DEPTH = 4
NORM_GROUPS = 32
MIN_CHANNELS = 64  # two a group: one alone has no variance on a map of a single location
PRIOR_PROBABILITY = 0.01  # of any class at any location before training (RetinaNet)


class PAAHead(nn.Module):
    """Two towers shared over the levels; `cls` from the first, `reg` (times a learned scale per level) and `iou` from
    the second (PAA, Kim and Lee, ECCV 2020; layout of OpenMMLab's PAAHead).

    kind: "paa", or "cop" or "iop", whose auxiliary prediction from the second tower changes the class probabilities.
    iou_branch: without it the score of a box is its class probability alone.
    from_scratch: He initialization of the towers. RetinaNet's std of .01, used otherwise, is made for SGD: before a
    normalization the scale of weights changes nothing but their pace, and Adam's steps overrun such small ones.
    """

    def __init__(
        self, channels: int, num_classes: int, kind: str = "paa", iou_branch: bool = True, from_scratch: bool = False
    ) -> None:
        super().__init__()
        self.kind = kind
        self.cls_tower, self.reg_tower = _tower(channels), _tower(channels)
        self.cls = nn.Conv2d(channels, num_classes, 3, padding=1)
        self.reg = nn.Conv2d(channels, 4, 3, padding=1)
        self.iou = nn.Conv2d(channels, 1, 3, padding=1) if iou_branch else None
        self.auxiliary = AUXILIARY[kind](channels) if kind in AUXILIARY else None
        self.scale = nn.Parameter(torch.ones(len(STRIDES)))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        if isinstance(self.auxiliary, ImplicitObjectness):
            self.auxiliary.reset_bias()
        if from_scratch:
            for module in (*self.cls_tower, *self.reg_tower):
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.constant_(self.cls.bias, -math.log((1 - PRIOR_PROBABILITY) / PRIOR_PROBABILITY))  # type: ignore[arg-type]

    def forward(self, levels: Sequence[Tensor]) -> HeadOutputs:
        """P3 … P7, each [N, channels, h, w] → outputs flat over levels, float32 under autocast too."""
        cls_logits: list[Tensor] = []
        box_deltas: list[Tensor] = []
        iou_logits: list[Tensor] = []
        for level, scale in zip(levels, self.scale, strict=True):
            cls_feature, reg_feature = self.cls_tower(level), self.reg_tower(level)
            cls_map = self.cls(cls_feature)
            if self.auxiliary is not None:
                cls_map = self.auxiliary(cls_map, reg_feature)
            cls_logits.append(_flatten(cls_map))  # [N, hw, C]
            box_deltas.append(_flatten(self.reg(reg_feature)).float() * scale)  # [N, hw, 4]
            if self.iou is not None:
                iou_logits.append(_flatten(self.iou(reg_feature)).squeeze(-1))  # [N, hw]
        return HeadOutputs(
            torch.cat(cls_logits, dim=1).float(),
            torch.cat(box_deltas, dim=1),
            torch.cat(iou_logits, dim=1).float() if iou_logits else None,
        )


def _tower(channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(TOWER_DEPTH):
        layers += [nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.GroupNorm(NORM_GROUPS, channels)]
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def _flatten(feature: Tensor) -> Tensor:
    return feature.flatten(2).transpose(1, 2)  # [N, K, h, w] → [N, hw, K]
