"""Time of post-processing, with and without score voting, compared with the published implementation.

    python benchmarks/postprocess.py [--rounds 30] [--objects 30] [--candidates 1000]

One image of 800 x 1344 pixels and 80 classes. The outputs imitate a trained network: around each object they predict
its class and its box, with a score that rises with the anchor's IoU, and a bias on all classes sets the number of boxes
above the score threshold. A round runs every variant once.
"""

import argparse
import statistics

import torch
from measure import alternate, machine, median_ratio
from published import detect_published

from lad.geometry import Anchors, box_iou, encode_deltas, make_anchors
from lad.inference.postprocess import MIN_SCORE, detect, score_candidates
from lad.structures import Detections, HeadOutputs

HW, CLASSES = (800, 1344), 80

Scene = tuple[HeadOutputs, Anchors, torch.Tensor]


def make_scene(objects: int, candidates: int) -> Scene:
    """Make outputs, anchors and size of an image; its objects have sides from 16 to 512 px, uniform in log scale."""
    torch.manual_seed(0)
    anchors, wh = make_anchors(HW), torch.tensor([HW[1], HW[0]])
    side, shape = 16 * 32 ** torch.rand(objects, 1), 3 ** (torch.rand(objects, 1) - 0.5)
    half = torch.minimum(torch.cat([side * shape, side / shape], dim=1), wh * 0.9) / 2
    center = half + torch.rand(objects, 2) * (wh - 2 * half)
    boxes, labels = torch.cat([center - half, center + half], dim=1), torch.randint(CLASSES, (objects,))

    overlap, nearest = box_iou(anchors.boxes[:, None], boxes).max(dim=1)  # [A]
    count = len(anchors.boxes)
    box = torch.where(overlap[:, None] > 0.3, boxes[nearest], anchors.boxes)
    deltas = encode_deltas(anchors.boxes, box) + torch.randn(count, 4) / 2
    cls_logits = torch.randn(count, CLASSES)
    cls_logits[torch.arange(count), labels[nearest]] += 12 * overlap
    iou_logits = torch.randn(count) / 2 + 4 * overlap
    threshold = torch.logit(MIN_SCORE**2 / iou_logits.sigmoid())[:, None]  # logit at which sqrt(cls · iou) is MIN_SCORE
    cls_logits -= (cls_logits - threshold).flatten().topk(candidates + 1).values[-1]  # the best one stays below
    return HeadOutputs(cls_logits[None], deltas[None], iou_logits[None]), anchors, torch.tensor([HW])


def assert_same(lad: Detections, published: Detections) -> None:
    """Compare the detections in order of score; the published code orders them by class."""
    order = published.scores.argsort(descending=True)
    torch.testing.assert_close(lad.boxes, published.boxes[order], rtol=0, atol=1e-2)
    assert torch.equal(lad.labels, published.labels[order])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--objects", type=int, default=30)
    parser.add_argument("--candidates", type=int, default=1000, help="boxes above the score threshold")
    given = parser.parse_args()
    scene = make_scene(given.objects, given.candidates)
    (candidates,) = score_candidates(*scene)
    tasks = {}
    for vote in (False, True):
        tasks["lad", vote] = lambda vote=vote: detect(*scene, vote=vote)
        tasks["published", vote] = lambda vote=vote: detect_published(*scene, vote)
        assert_same(tasks["lad", vote]()[0], tasks["published", vote]()[0])
    seconds = alternate(tasks, given.rounds)
    print(
        f"{machine()}; {len(candidates.scores)} boxes above the threshold in {len(candidates.labels.unique())} of "
        f"{CLASSES} classes, {len(tasks['lad', True]()[0].scores)} detections; medians of {given.rounds} rounds.\n"
    )
    print("| score voting | published, ms | lad, ms | times faster |")
    print("|---|---:|---:|---:|")
    for vote in (True, False):
        lad, published = seconds["lad", vote], seconds["published", vote]
        milliseconds = [f"{1000 * statistics.median(times):.1f}" for times in (published, lad)]
        print(f"| {'yes' if vote else 'no'} | {' | '.join(milliseconds)} | {median_ratio(published, lad):.1f} |")


if __name__ == "__main__":
    main()
