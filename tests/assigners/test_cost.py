"""The cost of a candidate to a network."""

import torch
from reference import reference_context, reference_outputs
from torch.nn import functional as F

from lad.assigners.cost import anchor_cost, cost_terms, predicted_iou
from lad.geometry import box_giou_loss, box_iou, decode_deltas


def test_costs_are_those_of_the_published_code(golden):
    case = golden("paa_assignment")
    context = reference_context(case)
    cost = anchor_cost(reference_outputs(case), context.candidates, context.anchors, context.targets)
    torch.testing.assert_close(cost, case.candidate_cost, rtol=1e-4, atol=0)


def test_the_cost_is_the_sum_of_both_terms_and_the_box_term_scales_with_its_weight(golden):
    case = golden("paa_assignment")
    context, outputs = reference_context(case), reference_outputs(case)
    arguments = (outputs, context.candidates, context.anchors, context.targets)
    cls_cost, box_cost = cost_terms(*arguments, box_weight=2.0)
    torch.testing.assert_close(anchor_cost(*arguments, box_weight=2.0), cls_cost + box_cost)
    torch.testing.assert_close(anchor_cost(*arguments, box_weight=0.0), cls_cost)
    torch.testing.assert_close(anchor_cost(*arguments), cls_cost + 0.65 * box_cost)


def test_the_terms_are_focal_loss_over_the_classes_and_giou_loss_of_the_decoded_box(golden):
    case = golden("paa_assignment")
    context, outputs = reference_context(case), reference_outputs(case)
    candidates, targets = context.candidates, context.targets
    boxes = decode_deltas(
        context.anchors.boxes[candidates.anchor], outputs.box_deltas[candidates.image, candidates.anchor]
    )
    logits = outputs.cls_logits[candidates.image, candidates.anchor]
    one_hot = F.one_hot(targets.labels[candidates.gt], logits.shape[1]).float()
    entropy = F.binary_cross_entropy_with_logits(logits, one_hot, reduction="none")
    missed = (one_hot - logits.sigmoid()).abs()
    focal = torch.where(one_hot == 1, 0.25, 0.75) * missed**2 * entropy
    cls_cost, box_cost = cost_terms(outputs, candidates, context.anchors, targets, box_weight=1.0)
    torch.testing.assert_close(cls_cost, focal.sum(dim=1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(box_cost, box_giou_loss(boxes, targets.boxes[candidates.gt]))
    iou = predicted_iou(outputs, candidates, context.anchors, targets)
    torch.testing.assert_close(iou, box_iou(boxes, targets.boxes[candidates.gt]))
