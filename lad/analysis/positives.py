"""One image under the glass: who positives which anchors, what each anchor costs, and a table of one gt's candidates."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from lad.analysis.assignment import AssignmentAnalysis
from lad.assigners.base import ASSIGNERS, PAA, own_assignment
from lad.assigners.candidates import Candidates, match_candidates
from lad.assigners.cost import cost_terms
from lad.assigners.paa import assign
from lad.data.coco import CocoDataset
from lad.data.collate import collate
from lad.distillation.cost_selection import COST_SELECTIONS
from lad.geometry import Anchors, box_iou, decode_deltas, inside_images, make_anchors
from lad.inference.postprocess import class_scores
from lad.structures import Batch, HeadOutputs, Targets

SOURCES = ("student only", "teacher only", "both", "neither")
STUDENT_ONLY, TEACHER_ONLY, BOTH, NEITHER = range(4)
ASSIGNMENTS = {
    "each": "each network's own, overlaid (PAA)",
    "student": "the student's own (PAA)",
    "teacher": "the teacher's (LAD)",
    "colad_std_mean": "co-learning's choice, std/mean",
    "colad_fisher": "co-learning's choice, Fisher",
    "atss": "ATSS, no network asked",
    "fixed_iou": "fixed IoU, no network asked",
    "tal": "TAL, the student asked",
    "simota": "SimOTA, the student asked",
}
NEED_TEACHER = ("teacher", "colad_std_mean", "colad_fisher")
OWN_PAA = {"each": ("student", "teacher"), "student": ("student",), "teacher": ("teacher",)}  # whose own PAA decides
MAX_PREDICTED = 3  # boxes of a network that are told apart


@dataclass(frozen=True)
class Positives:
    """The P positives of an image. anchor: [P]. gt: [P], whose positive it is. by: [P], who would claim it for that gt
    by its own PAA assignment, a place in `SOURCES`."""

    anchor: Tensor
    gt: Tensor
    by: Tensor

    def where(self, wanted: Tensor) -> "Positives":
        """Those of the rows `wanted`, [P] bool."""
        return Positives(self.anchor[wanted], self.gt[wanted], self.by[wanted])


@torch.no_grad()
def find_positives(assignment: str, analyses: Mapping[str, AssignmentAnalysis], targets: Targets) -> Positives:
    """The positives of an assignment of one image, one of `ASSIGNMENTS`, and who positives them. analyses: of the student
    and, if there is one, the teacher. Under "each" an anchor that the two give to different gts stands in two rows.

    Raises ValueError for an assignment that is unknown, or that needs a teacher where there is none.
    """
    student, teacher = analyses["student"], analyses.get("teacher")
    own = student.gt_index[0]
    other = torch.full_like(own, -1) if teacher is None else teacher.gt_index[0]
    if assignment == "each":
        anchor = torch.cat([torch.where(own >= 0)[0], torch.where((other >= 0) & (other != own))[0]])
        gt = torch.cat([own[own >= 0], other[(other >= 0) & (other != own)]])
    else:
        gt_index = _gt_index(assignment, student, teacher, targets)[0]
        anchor = torch.where(gt_index >= 0)[0]
        gt = gt_index[anchor]
    by_student, by_teacher = own[anchor] == gt, other[anchor] == gt
    by = torch.full_like(gt, NEITHER)
    by[by_student], by[by_teacher], by[by_student & by_teacher] = STUDENT_ONLY, TEACHER_ONLY, BOTH
    return Positives(anchor, gt, by)


def cost_map(outputs: HeadOutputs, anchors: Anchors, targets: Targets, gt: int) -> Tensor:
    """What every anchor of a gt's image would cost it, [A]; NaN in the padding. Only some of them are candidates."""
    image = targets.image[gt]
    inside = inside_images(anchors, targets.image_hw)[image]
    cls_cost, box_cost = cost_terms(outputs, _all_pairs(anchors, targets, gt), anchors, targets)
    return (cls_cost + box_cost).masked_fill(~inside, torch.nan)


def candidate_table(one: AssignmentAnalysis, targets: Targets, gt: int, positives: Positives) -> pd.DataFrame:
    """What a network says of one gt's candidates and of what else is positive for it, the cheapest first. Columns:
    level, x and y of the location in pixels, cost, positive, claimed by, cls cost and box cost (its two parts), score
    of the gt's class, IoU (of the predicted box), anchor IoU (of the anchor with the gt), component of the mixture (0
    foreground, 1 background, – where it is not among its level's nine cheapest)."""
    mine = positives.where(positives.gt == gt)
    claimed = dict(zip(mine.anchor.tolist(), mine.by.tolist(), strict=True))
    candidates = match_candidates(one.anchors, targets)
    anchor = torch.unique(torch.cat([candidates.anchor[candidates.gt == gt], torch.tensor([*claimed]).long()]))
    cls_cost, box_cost = (term[anchor] for term in cost_terms(
        one.outputs, _all_pairs(one.anchors, targets, gt), one.anchors, targets
    ))  # fmt: skip
    image, box, label = targets.image[gt], targets.boxes[gt], targets.labels[gt]
    predicted = decode_deltas(one.anchors.boxes[anchor], one.outputs.box_deltas[image, anchor].float())
    count = int(one.count[gt])
    component = dict(
        zip(one.anchor[gt, :count].tolist(), one.mixture.component[gt, :count].tolist(), strict=True)
    )  # of pooled samples
    rows = pd.DataFrame(
        {
            "level": [f"P{3 + level}" for level in one.anchors.level[anchor].tolist()],
            "x": one.anchors.center[anchor, 0].int(),
            "y": one.anchors.center[anchor, 1].int(),
            "cost": cls_cost + box_cost,
            "positive": ["yes" if place in claimed else "" for place in anchor.tolist()],
            "claimed by": [SOURCES[claimed[place]] if place in claimed else "" for place in anchor.tolist()],
            "cls cost": cls_cost,
            "box cost": box_cost,
            "score": class_scores(one.outputs)[image, anchor, label],
            "IoU": box_iou(predicted, box),
            "anchor IoU": box_iou(one.anchors.boxes[anchor], box),
            "component": [str(component.get(place, "–")) for place in anchor.tolist()],
        }
    )
    return rows.sort_values("cost", ignore_index=True)


def predicted_boxes(
    outputs: HeadOutputs, anchors: Anchors, targets: Targets, gt: int, anchor: Tensor, most: int = MAX_PREDICTED
) -> Tensor:
    """The boxes [≤ most, 4] that a network predicts for a gt at these anchors [P], clipped to its image: those of the
    highest score of its class, the best first."""
    image = targets.image[gt]
    score = class_scores(outputs)[image, anchor, targets.labels[gt]]
    anchor = anchor[score.argsort(descending=True)[:most]]
    deltas = outputs.box_deltas[image, anchor].float()
    return decode_deltas(anchors.boxes[anchor], deltas, clip_hw=targets.image_hw[image])


def _gt_index(
    assignment: str, student: AssignmentAnalysis, teacher: AssignmentAnalysis | None, targets: Targets
) -> Tensor:
    if assignment not in ASSIGNMENTS:
        raise ValueError(f"assignment '{assignment}' is not one of {', '.join(ASSIGNMENTS)}")
    if assignment in NEED_TEACHER and teacher is None:
        raise ValueError(f"assignment '{assignment}' needs a teacher; give a run that has one, or compare_with")
    if assignment == "student":
        return student.gt_index
    if teacher is not None and assignment == "teacher":
        return teacher.gt_index
    if teacher is not None and assignment in NEED_TEACHER:
        candidates = match_candidates(student.anchors, targets)
        own, other = (PAA.score(one.outputs, candidates, one.anchors, targets)[:, 0] for one in (student, teacher))
        cost, _ = COST_SELECTIONS[assignment.removeprefix("colad_")](own, other, candidates, targets)
        return assign(candidates, cost, student.anchors, targets)
    return own_assignment(ASSIGNERS[assignment], student.outputs, student.anchors, targets)


def _all_pairs(anchors: Anchors, targets: Targets, gt: int) -> Candidates:
    """Every anchor with this gt."""
    every = torch.arange(len(anchors.boxes))
    return Candidates(targets.image[gt].expand_as(every), every, torch.full_like(every, gt), anchors.level)


def open_picture(dataset: CocoDataset, index: int) -> tuple[Batch, Anchors]:
    """A batch of this one image, and the anchors on it. Raises ValueError if the set has no such image."""
    if not 0 <= index < len(dataset):
        raise ValueError(f"there is no picture {index}; give 0 … {len(dataset) - 1}")
    batch = collate([dataset[index]])
    return batch, make_anchors(batch.padded_hw)


def positives_by_iou(anchors: Anchors, targets: Targets, threshold: float) -> Positives:
    """The positives of one image if each anchor goes to the gt that it overlaps most, where their IoU reaches the
    threshold; no network positives them."""
    iou, gt = box_iou(targets.boxes[:, None], anchors.boxes).max(dim=0)  # [A]
    anchor = torch.where((iou >= threshold) & inside_images(anchors, targets.image_hw)[0])[0]
    return Positives(anchor, gt[anchor], torch.full_like(anchor, NEITHER))
