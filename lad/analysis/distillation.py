"""Maps over one image of what each distillation method passes from a teacher to a student."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lad.assigners import Assigner, assign_by_predictions
from lad.distillation.channel_statistics import channel_statistics, standardize
from lad.distillation.crosskd import cross_outputs
from lad.geometry import STRIDES, Anchors, make_anchors
from lad.models.detector import Detector
from lad.structures import Batch, DetectorFeatures


@dataclass(frozen=True)
class DistillationView:
    """What the methods pass on for one image of h × w pixels, without its padding.

    The maps combine all levels, each upsampled bilinearly between its locations.

    Attributes:
        anchors: The A anchors of the padded image.
        gt_index: [A] int64, LAD: the teacher's assignment; gt row of the batch, −1 background, −2 ignored.
        probability: [h, w], soft labels and BCKD: the teacher's highest class probability; maximum over the levels.
        features: [h, w], PKD: |difference| of the standardized pyramids, mean over channels and levels; None if the
            networks have different numbers of channels.
        cross: [h, w], CrossKD: highest |difference| between the class probabilities of the teacher and those of its
            head on the student's features; maximum over the levels. None as for `features`.
    """

    anchors: Anchors
    gt_index: Tensor
    probability: Tensor
    features: Tensor | None
    cross: Tensor | None


@torch.no_grad()
def compare_networks(student: Detector, teacher: Detector, batch: Batch, assigner: Assigner) -> DistillationView:
    """Compute what each method passes on for the first image of a batch; the networks are set to eval mode.

    Statistics of features are those of the whole batch, as in training. Levels of a single location, which have none,
    are left out.

    Args:
        student: The network that learns, on the CPU.
        teacher: The network that it learns from, on the CPU.
        batch: N images with their gts, on the CPU.
        assigner: The rule for the teacher's assignment.
    """
    own, other = (network.eval()(batch.images, with_features=True) for network in (student, teacher))
    anchors, image_hw = make_anchors(batch.padded_hw), batch.targets.image_hw[0]
    gt_index = assign_by_predictions(assigner, other.outputs, anchors, batch.targets)[0]
    probability = _over_levels(_by_level(other.outputs.cls_logits[0].sigmoid().amax(dim=-1), anchors), image_hw)
    features = cross = None
    if student.configuration.channels == teacher.configuration.channels:
        features = _over_levels(_feature_difference(own, other), image_hw).mean(dim=0)
        cross = _over_levels(_cross_difference(own, other, teacher, anchors), image_hw).amax(dim=0)
    return DistillationView(anchors, gt_index, probability.amax(dim=0), features, cross)


def _feature_difference(student: DetectorFeatures, teacher: DetectorFeatures) -> list[Tensor]:
    """Compute the mean |difference| over the channels of the first image's standardized pyramids, each [h, w]."""
    normalized = []
    for network in (student, teacher):
        normalized.append(standardize(network.pyramid, *channel_statistics(network.pyramid)))
    pairs = zip(*normalized, strict=True)
    return [(own - other)[0].abs().mean(dim=0) for own, other in pairs if own[:, 0].numel() > 1]


def _cross_difference(
    student: DetectorFeatures, teacher: DetectorFeatures, network: Detector, anchors: Anchors
) -> list[Tensor]:
    """Compute the highest |difference| of the first image's class probabilities at each location, each [h, w]."""
    outputs = cross_outputs(student, teacher, network.head)
    difference = outputs.cls_logits[0].sigmoid() - teacher.outputs.cls_logits[0].sigmoid()
    levels = _by_level(difference.abs().amax(dim=-1), anchors)
    return [level for level in levels if len(outputs.cls_logits) * level.numel() > 1]


def _by_level(values: Tensor, anchors: Anchors) -> list[Tensor]:
    """Return values of the anchors [A] as a map of each level, [h, w]."""
    levels = values.split(anchors.level_counts)
    return [level.reshape(hw) for level, hw in zip(levels, anchors.level_hw.tolist(), strict=True)]


def _over_levels(levels: list[Tensor], image_hw: Tensor) -> Tensor:
    """Interpolate maps of P3, P4, … at each pixel of the image, [L, h, w]; location i is at i · stride."""
    height, width = image_hw.tolist()
    upsampled = []
    for level, stride in zip(levels, STRIDES, strict=False):  # the coarsest levels may be left out
        y, x = (  # grid_sample's coordinates: −1 and 1 are the outer edges of the first and the last location's cell
            2 * ((torch.arange(pixels) + 0.5) / stride + 0.5) / count - 1
            for pixels, count in zip((height, width), level.shape, strict=True)
        )
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)  # [h, w, 2]
        upsampled.append(
            F.grid_sample(level[None, None].float(), grid[None], padding_mode="border", align_corners=False)[0, 0]
        )
    return torch.stack(upsampled)
