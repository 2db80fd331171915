"""Positives of one image: which anchors are positive under an assignment, for which networks, and at which cost."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from lad.analysis.assignment import AssignmentAnalysis
from lad.assigners import AssignmentContext, assign_by_predictions, build_assigner
from lad.assigners.candidates import Candidates
from lad.assigners.cost import cost_terms
from lad.distillation.cost_selection import COST_SELECTIONS
from lad.geometry import Anchors, box_iou, decode_deltas, inside_images
from lad.inference.postprocess import class_scores
from lad.structures import HeadOutputs, Targets

SOURCES = ("student only", "teacher only", "both", "neither")
STUDENT_ONLY, TEACHER_ONLY, BOTH, NEITHER = range(4)
ASSIGNMENTS = {
    "each": "each network's own, overlaid (PAA)",
    "student": "the student's own (PAA)",
    "teacher": "the teacher's (LAD)",
    "colad_std_mean": "co-learning (std/mean)",
    "colad_fisher": "co-learning (Fisher)",
    "atss": "ATSS (no predictions)",
    "fixed_iou": "fixed IoU (no predictions)",
    "tal": "TAL (student's predictions)",
    "simota": "SimOTA (student's predictions)",
}
NEED_TEACHER = ("teacher", "colad_std_mean", "colad_fisher")
# The networks whose own PAA decides the assignment.
OWN_PAA = {"each": ("student", "teacher"), "student": ("student",), "teacher": ("teacher",)}
MAX_PREDICTED = 3  # more overlapping boxes of a network cannot be distinguished in a figure


@dataclass(frozen=True)
class Positives:
    """The P positives of an image under one assignment.

    Attributes:
        anchor: [P] int64, the positive anchors.
        gt: [P] int64, the gt that each anchor is assigned to.
        source: [P] int64, the networks whose own PAA assignment has the same positive, an index into `SOURCES`.
    """

    anchor: Tensor
    gt: Tensor
    source: Tensor

    def select(self, mask: Tensor) -> "Positives":
        """Return the rows of a mask, [P] bool."""
        return Positives(self.anchor[mask], self.gt[mask], self.source[mask])


@torch.no_grad()
def find_positives(assignment: str, analyses: Mapping[str, AssignmentAnalysis], targets: Targets) -> Positives:
    """Find the positives of one image under an assignment.

    Args:
        assignment: A key of `ASSIGNMENTS`. Under "each", an anchor that the networks assign to different gts has two
            rows.
        analyses: The analysis of the image by the "student" and, if there is one, the "teacher".
        targets: The gts of the image.

    Raises:
        ValueError: The assignment is unknown, or needs a teacher and there is none.
    """
    student, teacher = analyses["student"], analyses.get("teacher")
    student_index = student.gt_index[0]  # [A]
    teacher_index = torch.full_like(student_index, -1) if teacher is None else teacher.gt_index[0]
    if assignment == "each":
        in_student, differs = student_index >= 0, (teacher_index >= 0) & (teacher_index != student_index)
        anchor = torch.cat([torch.where(in_student)[0], torch.where(differs)[0]])
        gt = torch.cat([student_index[in_student], teacher_index[differs]])
    else:
        gt_index = _gt_index(assignment, student, teacher, targets)[0]
        anchor = torch.where(gt_index >= 0)[0]
        gt = gt_index[anchor]
    in_student, in_teacher = student_index[anchor] == gt, teacher_index[anchor] == gt  # [P]
    source = torch.full_like(gt, NEITHER)
    source[in_student], source[in_teacher], source[in_student & in_teacher] = STUDENT_ONLY, TEACHER_ONLY, BOTH
    return Positives(anchor, gt, source)


def positives_by_iou(anchors: Anchors, targets: Targets, threshold: float) -> Positives:
    """Find the positives of one image by an IoU threshold alone.

    Each anchor within the image is assigned to the gt that it overlaps most, if their IoU reaches the threshold. The
    source of all positives is "neither".
    """
    iou, gt = box_iou(targets.boxes[:, None], anchors.boxes).max(dim=0)  # [A]
    anchor = torch.where((iou >= threshold) & inside_images(anchors, targets.image_hw)[0])[0]
    return Positives(anchor, gt[anchor], torch.full_like(anchor, NEITHER))


def cost_map(analysis: AssignmentAnalysis, targets: Targets, gt: int) -> Tensor:
    """Compute the PAA cost of every anchor of a gt's image for this gt, [A]; NaN in the padding.

    Only some of the anchors are candidates of the gt.
    """
    outputs, anchors = analysis.outputs, analysis.anchors
    inside = inside_images(anchors, targets.image_hw)[targets.image[gt]]
    pairs = _all_pairs(anchors, targets, gt)
    cls_cost, box_cost = cost_terms(
        outputs, pairs, anchors, targets, analysis.paa.box_weight, analysis.paa.class_weight
    )
    return (cls_cost + box_cost).masked_fill(~inside, torch.nan)


def candidate_table(analysis: AssignmentAnalysis, targets: Targets, gt: int, positives: Positives) -> pd.DataFrame:
    """Return a table of a gt's candidates and positives, sorted by ascending cost.

    Args:
        analysis: The network whose costs and predictions the table has.
        targets: The gts of the image.
        gt: The row of the gt in `targets`.
        positives: The positives of the image under the assignment of interest.

    Returns:
        Columns: level; x and y of the location in pixels; cost; positive ("yes" or ""); source, of `SOURCES`; cls cost
        and box cost, the terms of the cost; score of the gt's class; IoU of the predicted box with the gt; anchor IoU
        of the anchor with the gt; component of the mixture (0 foreground, 1 background, – for candidates that are not
        among the pooled samples).
    """
    anchors, outputs = analysis.anchors, analysis.outputs
    image, box, label = targets.image[gt], targets.boxes[gt], targets.labels[gt]
    of_gt = positives.select(positives.gt == gt)
    source = dict(zip(of_gt.anchor.tolist(), of_gt.source.tolist(), strict=True))
    candidates = analysis.paa.find_candidates(anchors, targets)
    anchor = torch.unique(torch.cat([candidates.anchor[candidates.gt == gt], torch.tensor([*source]).long()]))
    weights = (analysis.paa.box_weight, analysis.paa.class_weight)
    all_terms = cost_terms(outputs, _all_pairs(anchors, targets, gt), anchors, targets, *weights)
    cls_cost, box_cost = (term[anchor] for term in all_terms)
    predicted = decode_deltas(anchors.boxes[anchor], outputs.box_deltas[image, anchor].float())
    count = int(analysis.count[gt])
    sampled_anchor, sampled_component = analysis.anchor[gt, :count], analysis.mixture.component[gt, :count]
    component = dict(zip(sampled_anchor.tolist(), sampled_component.tolist(), strict=True))
    rows = pd.DataFrame(
        {
            "level": [f"P{3 + level}" for level in anchors.level[anchor].tolist()],
            "x": anchors.center[anchor, 0].int(),
            "y": anchors.center[anchor, 1].int(),
            "cost": cls_cost + box_cost,
            "positive": ["yes" if index in source else "" for index in anchor.tolist()],
            "source": [SOURCES[source[index]] if index in source else "" for index in anchor.tolist()],
            "cls cost": cls_cost,
            "box cost": box_cost,
            "score": class_scores(outputs)[image, anchor, label],
            "IoU": box_iou(predicted, box),
            "anchor IoU": box_iou(anchors.boxes[anchor], box),
            "component": [str(component.get(index, "–")) for index in anchor.tolist()],
        }
    )
    return rows.sort_values("cost", ignore_index=True)


def predicted_boxes(
    outputs: HeadOutputs, anchors: Anchors, targets: Targets, gt: int, anchor: Tensor, max_boxes: int = MAX_PREDICTED
) -> Tensor:
    """Return the best boxes that a network predicts for a gt at the given anchors.

    Args:
        outputs: The network's outputs for the batch.
        anchors: The A anchors of the batch.
        targets: The gts of the batch.
        gt: The row of the gt in `targets`.
        anchor: [P] int64, the anchors to choose from.
        max_boxes: The largest number of boxes to return.

    Returns:
        [≤ max_boxes, 4], the boxes with the highest scores for the gt's class, best first, clipped to the image.
    """
    image = targets.image[gt]
    score = class_scores(outputs)[image, anchor, targets.labels[gt]]
    anchor = anchor[score.argsort(descending=True)[:max_boxes]]
    deltas = outputs.box_deltas[image, anchor].float()
    return decode_deltas(anchors.boxes[anchor], deltas, clip_hw=targets.image_hw[image])


def _gt_index(
    assignment: str, student: AssignmentAnalysis, teacher: AssignmentAnalysis | None, targets: Targets
) -> Tensor:
    """Compute the gt index [N, A] of an assignment other than "each"."""
    if assignment not in ASSIGNMENTS:
        raise ValueError(f"assignment '{assignment}' is not one of {', '.join(ASSIGNMENTS)}")
    if assignment in NEED_TEACHER and teacher is None:
        raise ValueError(f"assignment '{assignment}' needs a teacher; give a run that has one, or set compare_with")
    if assignment == "student":
        return student.gt_index
    if teacher is not None and assignment == "teacher":
        return teacher.gt_index
    if teacher is not None and assignment in NEED_TEACHER:
        paa = student.paa
        candidates = paa.find_candidates(student.anchors, targets)
        student_cost, teacher_cost = (
            network.paa.score(network.outputs, AssignmentContext(candidates, network.anchors, targets))[:, 0]
            for network in (student, teacher)
        )
        select_cost = COST_SELECTIONS[assignment.removeprefix("colad_")]
        cost, _ = select_cost(student_cost, teacher_cost, candidates, targets)
        return paa.assign(cost[:, None], AssignmentContext(candidates, student.anchors, targets))
    return assign_by_predictions(build_assigner(assignment), student.outputs, student.anchors, targets)


def _all_pairs(anchors: Anchors, targets: Targets, gt: int) -> Candidates:
    """Pair every anchor with this gt."""
    anchor = torch.arange(len(anchors.boxes))
    return Candidates(targets.image[gt].expand_as(anchor), anchor, torch.full_like(anchor, gt), anchors.level)
