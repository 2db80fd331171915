"""PAA's head: class logits, box deltas and an IoU logit at every location of every level."""

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from lad.geometry import STRIDES
from lad.models.heads.registry import HeadEntry, register_head
from lad.structures import HeadOutputs

TOWER_DEPTH = 4
CROSSING = 3 * 3  # layers of a tower before the features of `tower_features`: three of conv, GroupNorm and ReLU
NORM_GROUPS = 32
MIN_CHANNELS = 64  # two per group: a single channel has no variance on a 1x1 map
PRIOR_PROBABILITY = 0.01  # of each class at each location before training (RetinaNet)


class Auxiliary(Protocol):
    """The contract of an auxiliary prediction, a module that changes the class probabilities."""

    def __call__(self, cls_logits: Tensor, reg_feature: Tensor) -> Tensor:
        """Compute class logits [N, C, h, w] from the head's and the regression tower's output [N, channels, h, w]."""

    def reset_biases(self) -> None:
        """Set the initial biases, after the head has set them to zero."""


class PAAHead(nn.Module):
    """PAA's head: two towers shared by all levels.

    The first tower predicts `cls`; the second predicts `reg`, times a learned scale per level, and `iou`.

    Source: PAA (Kim and Lee, ECCV 2020); layout of OpenMMLab's PAAHead.

    Args:
        channels: Number of channels of the levels.
        num_classes: Number of classes C.
        iou_branch: Whether to predict IoUs; without them a box's score is its class probability.
        from_scratch: Whether the towers get He initialization. The alternative, RetinaNet's std of 0.01, is tuned for
            SGD: before a normalization layer the scale of weights only sets their effective learning rate, and Adam's
            steps are too large for weights that small.
        auxiliary: Constructor, called with `channels`, of an auxiliary prediction from the second tower.
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        iou_branch: bool = True,
        from_scratch: bool = False,
        auxiliary: Callable[[int], Auxiliary] | None = None,
    ) -> None:
        super().__init__()
        self.cls_tower, self.reg_tower = _tower(channels), _tower(channels)
        self.cls = nn.Conv2d(channels, num_classes, 3, padding=1)
        self.reg = nn.Conv2d(channels, 4, 3, padding=1)
        self.iou = nn.Conv2d(channels, 1, 3, padding=1) if iou_branch else None
        self.auxiliary = auxiliary(channels) if auxiliary is not None else None
        self.scale = nn.Parameter(torch.ones(len(STRIDES)))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        if self.auxiliary is not None:
            self.auxiliary.reset_biases()
        if from_scratch:
            for module in (*self.cls_tower, *self.reg_tower):
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.constant_(self.cls.bias, -math.log((1 - PRIOR_PROBABILITY) / PRIOR_PROBABILITY))  # type: ignore[arg-type]

    def forward(self, levels: Sequence[Tensor]) -> HeadOutputs:
        """Predict at every location of every level.

        Args:
            levels: P3 … P7, each [N, channels, h, w].

        Returns:
            Outputs flat over the levels; float32 under autocast too.
        """
        return self._predict(levels, levels, first_layer=0)

    def tower_features(self, levels: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Compute the features behind the third convolution of each tower, after its ReLU.

        Args:
            levels: P3 … P7, each [N, channels, h, w].

        Returns:
            Per level, the features [N, channels, h, w] of the classification and of the regression tower.
        """
        towers = (self.cls_tower, self.reg_tower)
        cls_features, reg_features = (tuple(_run(tower, level, 0, CROSSING) for level in levels) for tower in towers)
        return cls_features, reg_features

    def predict_from_features(self, cls_features: Sequence[Tensor], reg_features: Sequence[Tensor]) -> HeadOutputs:
        """Run the rest of the head on features of `tower_features`, which may be those of another network."""
        return self._predict(cls_features, reg_features, first_layer=CROSSING)

    def _predict(self, cls_inputs: Sequence[Tensor], reg_inputs: Sequence[Tensor], first_layer: int) -> HeadOutputs:
        """Run the layers of the towers from the given one, and the predictors."""
        cls_logits: list[Tensor] = []
        box_deltas: list[Tensor] = []
        iou_logits: list[Tensor] = []
        for cls_input, reg_input, scale in zip(cls_inputs, reg_inputs, self.scale, strict=True):
            cls_feature = _run(self.cls_tower, cls_input, first_layer)
            reg_feature = _run(self.reg_tower, reg_input, first_layer)
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
    """Build a tower of 3x3 convolutions, each followed by GroupNorm and ReLU."""
    layers: list[nn.Module] = []
    for _ in range(TOWER_DEPTH):
        layers += [nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.GroupNorm(NORM_GROUPS, channels)]
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def _run(tower: nn.Sequential, feature: Tensor, first_layer: int, last_layer: int | None = None) -> Tensor:
    """Run the layers of a tower from the first up to, and without, the last one."""
    for layer in list(tower)[first_layer:last_layer]:
        feature = layer(feature)
    return feature


def _flatten(feature: Tensor) -> Tensor:
    """Flatten a map row by row: [N, K, h, w] → [N, hw, K]."""
    return feature.flatten(2).transpose(1, 2)


# Layer i of a tower is a convolution, a GroupNorm and a ReLU at the indices 3i, 3i + 1 and 3i + 2.
OPENMMLAB_RULES: tuple[tuple[str, str], ...] = (
    *((rf"(cls|reg)_tower\.{3 * i}\.(.+)", rf"\1_convs.{i}.conv.\2") for i in range(TOWER_DEPTH)),
    *((rf"(cls|reg)_tower\.{3 * i + 1}\.(.+)", rf"\1_convs.{i}.gn.\2") for i in range(TOWER_DEPTH)),
    (r"(cls|reg)\.(.+)", r"atss_\1.\2"),
    (r"iou\.(.+)", r"atss_centerness.\1"),
)
register_head("paa", HeadEntry("PAA", PAAHead, OPENMMLAB_RULES))
