"""PAA's assignment against the published way: image after image, gt after gt, a scikit-learn mixture each.

    python benchmarks/assignment.py [--rounds 7] [--height 800] [--width 1344]

A batch of two images with 80 classes; gts are of COCO's mixed sizes. A round runs everything once. Memory is what a
fresh process needs at its peak, less what it had before the assignment.
"""

import argparse
import statistics

import torch
from measure import alternate, machine, median_ratio, peak_memory
from published import assign_published

from lad.assignment import PAA, own_assignment
from lad.data import Targets
from lad.geometry import Anchors, make_anchors
from lad.models import HeadOutputs

GTS = (2, 8, 32, 100, 500)  # per image
PUBLISHED_UP_TO = 100
IMAGES, CLASSES = 2, 80

Scene = tuple[HeadOutputs, Anchors, Targets]


def scene(gts: int, hw: tuple[int, int], images: int = IMAGES) -> Scene:
    """Outputs as of a network in training, and gts whose sides are spread evenly over the octaves from 8 to 512 px."""
    torch.manual_seed(gts)
    height, width = hw
    wh = torch.tensor([width, height])
    side = 8 * 64 ** torch.rand(images * gts, 1)
    shape = 3 ** (torch.rand(images * gts, 1) - 0.5)
    half = torch.minimum(torch.cat([side * shape, side / shape], dim=1), wh * 0.9) / 2
    center = half + torch.rand(images * gts, 2) * (wh - 2 * half)
    targets = Targets(
        torch.cat([center - half, center + half], dim=1),
        torch.randint(CLASSES, (images * gts,)),
        torch.arange(images).repeat_interleave(gts),
        torch.tensor([hw] * images),
    )
    anchors = make_anchors(hw)
    count = len(anchors.boxes)
    outputs = HeadOutputs(
        torch.randn(images, count, CLASSES) - 4, torch.randn(images, count, 4) / 2, torch.randn(images, count)
    )
    return outputs, anchors, targets


def run(gts: int, hw: tuple[int, int]) -> None:
    outputs, anchors, targets = scene(gts, hw)
    own_assignment(PAA, outputs, anchors, targets)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--height", type=int, default=800)
    parser.add_argument("--width", type=int, default=1344)
    given = parser.parse_args()
    hw = (given.height, given.width)
    print(f"{machine()}; 2 images of {hw[0]} x {hw[1]}, {given.rounds} rounds\n")
    print("| gts per image | published way, ms | lad, ms | times faster | extra memory, MB |")
    print("|---:|---:|---:|---:|---:|")
    for gts in GTS:
        one = scene(gts, hw)
        tasks = {"lad": lambda one=one: own_assignment(PAA, *one)}
        if gts <= PUBLISHED_UP_TO:
            tasks["published"] = lambda one=one: assign_published(*one)
        seconds = alternate(tasks, given.rounds)
        ours = f"{1000 * statistics.median(seconds['lad']):.0f}"
        extra = peak_memory(run, gts, hw) - peak_memory(scene, gts, hw)
        if "published" in seconds:
            theirs = f"{1000 * statistics.median(seconds['published']):.0f}"
            ratio = f"{median_ratio(seconds['published'], seconds['lad']):.1f}"
        else:
            theirs = ratio = "–"
        print(f"| {gts} | {theirs} | {ours} | {ratio} | {extra:.0f} |", flush=True)


if __name__ == "__main__":
    main()
