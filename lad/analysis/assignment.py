"""What a network calls foreground, and why: its assignment of a batch, laid open for figures and tables."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lad.assigners.base import ASSIGNERS, own_assignment
from lad.assigners.candidates import match_candidates
from lad.assigners.cost import anchor_cost
from lad.assigners.gmm import Mixture, fit_mixture
from lad.assigners.paa import select_positives, topk_per_level
from lad.data.coco import CocoDataset
from lad.data.collate import collate
from lad.distillation.statistics import jaccard
from lad.geometry import STRIDES, Anchors, make_anchors
from lad.inference.postprocess import detect
from lad.structures import Batch, Detections, HeadOutputs

IMAGES_AT_ONCE = 4  # through a network: feature maps of many photographs would fill a laptop's memory


@dataclass(frozen=True)
class AssignmentAnalysis:
    """What one network says about a batch. gt_index: [N, A], its own assignment. PAA's pooled samples, which decide it
    where PAA is the assigner: cost [T, 45] ascending, level and anchor [T, 45], positive [T, 45] bool; the first
    `count` [T] of each row are valid."""

    outputs: HeadOutputs
    anchors: Anchors
    gt_index: Tensor
    cost: Tensor
    level: Tensor
    anchor: Tensor
    count: Tensor
    positive: Tensor
    mixture: Mixture


@torch.no_grad()
def analyze(detector: nn.Module, batch: Batch, assigner: str = "paa") -> AssignmentAnalysis:
    """The network's own assignment of the batch, in eval mode, on the CPU."""
    detector.eval()
    parts = [detector(images) for images in batch.images.split(IMAGES_AT_ONCE)]
    outputs = HeadOutputs(
        torch.cat([part.cls_logits for part in parts]),
        torch.cat([part.box_deltas for part in parts]),
        torch.cat([part.iou_logits for part in parts]) if parts[0].iou_logits is not None else None,
    )
    return analyze_outputs(outputs, batch, assigner)


def analyze_outputs(outputs: HeadOutputs, batch: Batch, assigner: str = "paa") -> AssignmentAnalysis:
    """The same of the outputs that a network gave for the batch."""
    anchors = make_anchors(batch.padded_hw)
    candidates = match_candidates(anchors, batch.targets)
    cost = anchor_cost(outputs, candidates, anchors, batch.targets)
    pooled_cost, pooled_candidate, count = topk_per_level(candidates, cost, len(batch.targets.boxes))
    mixture = fit_mixture(pooled_cost, count)
    level, anchor = (
        torch.cat([of_candidate, of_candidate.new_zeros(1)])[pooled_candidate]
        for of_candidate in (candidates.level, candidates.anchor)
    )
    return AssignmentAnalysis(
        outputs=outputs,
        anchors=anchors,
        gt_index=own_assignment(ASSIGNERS[assigner], outputs, anchors, batch.targets),
        cost=pooled_cost,
        level=level,
        anchor=anchor,
        count=count,
        positive=select_positives(mixture, pooled_cost, count),
        mixture=mixture,
    )


def detections_of(opinion: AssignmentAnalysis, batch: Batch) -> list[Detections]:
    """The network's detections, in pixels of the resized images."""
    return detect(opinion.outputs, opinion.anchors, batch.targets.image_hw)


def first_images(dataset: CocoDataset, count: int) -> Batch:
    """A batch of the first `count` images that have gts, or of fewer, if there are not so many.

    Raises ValueError if there is none.
    """
    records = dataset.annotations.records
    chosen = [index for index, record in enumerate(records) if len(record.boxes)][:count]
    if not chosen:
        raise ValueError(f"{dataset.annotations.path}: no image with a gt to show")
    return collate([dataset[index] for index in chosen])


def agreement(first: Tensor, second: Tensor) -> float:
    """Jaccard index of two assignments of one shape: positives that both give to the same gt / positives of either."""
    return jaccard(first, second).item()


def agreement_with(reference: str, analyses: Mapping[str, AssignmentAnalysis]) -> str:
    """One line per other network: how much of its assignment it shares with `reference`; empty without a reference."""
    if reference not in analyses:
        return ""
    taught = analyses[reference].gt_index
    others = {name: one for name, one in analyses.items() if name != reference}
    return "\n".join(
        f"{name}: {agreement(one.gt_index, taught):.0%} agreement with the {reference}" for name, one in others.items()
    )


def positives_per_level(analyses: Mapping[str, AssignmentAnalysis]) -> dict[str, list[float]]:
    """Mean number of positives per gt on each level P3 … P7, by network."""
    table = {}
    for name, one in analyses.items():
        positive_level = one.level[one.positive]
        number = torch.bincount(positive_level, minlength=len(STRIDES)) / max(len(one.count), 1)
        table[name] = number.tolist()
    return table


def clearest_gt(analyses: Mapping[str, AssignmentAnalysis]) -> int:
    """The gt with the most samples in every network's mixture: the best example to look at."""
    return int(torch.stack([one.count for one in analyses.values()]).amin(dim=0).argmax())
