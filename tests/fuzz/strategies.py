"""Hypothesis strategies for batches of every shape: gts of all sizes and places, and outputs of networks."""

from typing import NamedTuple

import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor

from lad.assigners import Assigner, AssignmentContext
from lad.data.collate import padded_hw
from lad.geometry import Anchors, encode_deltas, make_anchors
from lad.structures import HeadOutputs, Targets

FUZZ = settings.get_profile("fuzz")  # see conftest.py
CLASSES = 3
PLAIN = ("ordinary", "border", "whole image")
KINDS = (*PLAIN, "identical", "nested", "grid", "tiny", "denormal", "one step", "without area", "outside")
SIDES = (1, 2, 31, 32, 33, 64, 97, 128)
COUNTS = (1, 1, 2, 3, 8)
ORDINARY = (0.0, 1.0, 8.0, 30.0)  # magnitudes of outputs whose losses and gradients must be finite
ABSURD = (*ORDINARY, 1e4, 1e30)  # of outputs that must cause neither an error nor NaN


class Scenario(NamedTuple):
    """A batch and the outputs of a network."""

    padded_hw: tuple[int, int]
    targets: Targets
    outputs: HeadOutputs

    @property
    def anchors(self) -> Anchors:
        return make_anchors(self.padded_hw)

    def context(self, assigner: Assigner) -> AssignmentContext:
        candidates = assigner.find_candidates(self.anchors, self.targets)
        return AssignmentContext(candidates, self.anchors, self.targets)


def seeds() -> st.SearchStrategy[torch.Generator]:
    """Return generators for the many numbers; Hypothesis draws the few that decide a case."""
    return st.integers(0, 2**32 - 1).map(lambda seed: torch.Generator().manual_seed(seed))


@st.composite
def targets(draw: st.DrawFn, kinds: tuple[str, ...] = KINDS, sides: tuple[int, ...] = SIDES) -> Targets:
    """Draw one to three images, each with up to three kinds of gts; one batch in a hundred has 2,000 of a kind."""
    image_hw = draw(st.lists(st.tuples(*[st.sampled_from(sides)] * 2), min_size=1, max_size=3))
    crowd = 2000 if draw(st.integers(0, 99)) == 57 else 0
    generator = draw(seeds())
    groups = st.lists(st.tuples(st.sampled_from(kinds), st.sampled_from(COUNTS)), max_size=3)
    boxes, image = [torch.zeros(0, 4)], []
    for row, hw in enumerate(image_hw):
        for kind, count in draw(groups):
            boxes.append(boxes_of(kind, count + crowd, hw, generator))
            image += [row] * (count + crowd)
            crowd = 0
    labels = torch.randint(CLASSES, (len(image),), generator=generator)
    return Targets(torch.cat(boxes), labels, torch.tensor(image, dtype=torch.int64), torch.tensor(image_hw))


@st.composite
def scenes(
    draw: st.DrawFn,
    magnitudes: tuple[float, ...] = ORDINARY,
    kinds: tuple[str, ...] = KINDS,
    sides: tuple[int, ...] = SIDES,
) -> Scenario:
    """Draw gts and the outputs of a network, with no more padding than the images need."""
    gts = draw(targets(kinds, sides))
    hw = padded_hw(gts.image_hw.amax(dim=0).tolist())
    return Scenario(hw, gts, draw(head_outputs(hw, gts, magnitudes)))


@st.composite
def head_outputs(
    draw: st.DrawFn, hw: tuple[int, int], gts: Targets, magnitudes: tuple[float, ...] = ORDINARY
) -> HeadOutputs:
    """Draw outputs of one magnitude each, or boxes that fit a gt roughly; some without the IoU branch."""
    num_images, anchors, generator = len(gts.image_hw), make_anchors(hw), draw(seeds())
    shape = (num_images, len(anchors.boxes))
    of_logits, of_deltas = draw(st.sampled_from(magnitudes)), draw(st.sampled_from(magnitudes))
    logits, deltas, iou = (
        magnitude * torch.randn(*shape, *tail, generator=generator)
        for magnitude, tail in ((of_logits, (CLASSES,)), (of_deltas, (4,)), (of_logits, ()))
    )
    has_area = (gts.boxes[:, 2:] > gts.boxes[:, :2]).all(dim=1)
    if has_area.any() and draw(st.booleans()):
        some = gts.boxes[has_area][torch.randint(int(has_area.sum()), shape, generator=generator)]
        fitting = encode_deltas(anchors.boxes.double(), some.double()).float().clamp(-100, 100)
        deltas = fitting + 0.3 * torch.randn(*shape, 4, generator=generator)
    return HeadOutputs(logits, deltas, iou if draw(st.booleans()) else None)


def boxes_of(kind: str, count: int, hw: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Return boxes [count, 4] of a kind, within an image of this (height, width) unless the kind is "outside"."""
    wh = torch.tensor(hw).flip(0).float()
    low = torch.rand(count, 2, generator=generator) * wh
    size = torch.rand(count, 2, generator=generator).square() * (wh - low)
    high = low + size
    match kind:
        case "ordinary":
            pass
        case "identical":
            low, high = low[:1].expand(count, 2), high[:1].expand(count, 2)
        case "nested":
            center, half = wh / 2, wh / 2 * torch.linspace(1, 0.1, count)[:, None]
            low, high = center - half, center + half
        case "grid":  # on that of the anchors: many IoUs are equal
            low = (low / 8).floor() * 8
            high = low + ((size / 8).floor() + 1) * 8
        case "border":
            is_low = torch.rand(count, 2, generator=generator) < 0.5
            low, high = torch.where(is_low, 0, low), torch.where(is_low, high, wh)
        case "whole image":
            low, high = torch.zeros(count, 2), wh.expand(count, 2)
        case "tiny":
            high = low + 1e-3
        case "denormal":  # smaller than the smallest normal number
            low, high = torch.zeros(count, 2), torch.full((count, 2), 1e-40)
        case "one step":
            high = torch.nextafter(low, torch.tensor(torch.inf))
        case "without area":
            high = torch.stack([low[:, 0], high[:, 1]], dim=1)
        case "outside":
            return torch.cat([low + wh, high + 2 * wh], dim=1)
    return torch.cat([torch.minimum(low, wh), torch.minimum(high, wh)], dim=1)
