"""The reference case of the distillation terms, as inputs of a term."""

from collections.abc import Callable

import pytest
import torch
from reference import reference_features, reference_head

from lad.assigners.base import AssignmentContext
from lad.assigners.candidates import match_candidates
from lad.distillation.terms import TermInputs
from lad.geometry import make_anchors
from lad.models.heads.paa import PAAHead
from lad.structures import BACKGROUND, IGNORED, Targets


@pytest.fixture
def term_inputs(golden) -> Callable[[], TermInputs]:
    """A function that returns new inputs each time; the student's features require gradients.

    Its argument is the student's head, if the test needs that.
    """
    case = golden("distillation")

    def make(head: PAAHead | None = None) -> TermInputs:
        gt_index = torch.where(case["ignored"], IGNORED, BACKGROUND)
        gt_index[case["is_positive"]] = 0
        box = torch.tensor([[10.0, 10.0, 60.0, 70.0]])
        targets = Targets(box, torch.zeros(1, dtype=torch.long), torch.zeros(1, dtype=torch.long), case["image_hw"])
        anchors = make_anchors(tuple(case["padded_hw"].tolist()))
        return TermInputs(
            reference_features(case, "student", head, requires_grad=True),
            reference_features(case, "teacher"),
            reference_head("teacher.").requires_grad_(False),
            gt_index,
            AssignmentContext(match_candidates(anchors, targets), anchors, targets),
        )

    return make
