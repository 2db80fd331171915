"""What a head says about every anchor of a batch."""

from typing import NamedTuple

from torch import Tensor


class HeadOutputs(NamedTuple):  # a tuple, not a frozen dataclass: Fabric rebuilds what a wrapped network returns
    """Flat over the levels P3 … P7, each row-major; A anchors of N images, C classes.

    cls_logits: [N, A, C]. box_deltas: [N, A, 4]. iou_logits: [N, A], or None for a head without the IoU branch.
    """

    cls_logits: Tensor
    box_deltas: Tensor
    iou_logits: Tensor | None
