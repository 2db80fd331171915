"""PAA's assignment against the published implementation: loops over images and gts, a scikit-learn mixture for each.

    python benchmarks/assignment.py [--rounds 7] [--height 800] [--width 1344] [--figure FILE]

A batch of two images with 80 classes; the sizes of the gts are mixed as in COCO. A round runs each variant once. Memory
is the growth of a fresh process during the assignment.
"""

import argparse
import functools
import statistics
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
from measure import alternate, extra_memory, machine, median_ratio
from published import assign_published
from scenes import scene

from lad.assigners import PAA, assign_by_predictions

GTS = (2, 8, 32, 100, 500)  # per image
MAX_PUBLISHED_GTS = 100  # per image; more take minutes


def prepare(gts: int, hw: tuple[int, int]) -> Callable[[], object]:
    """Return a task that makes an assignment, after a smaller one has initialized the process."""
    assign_by_predictions(PAA(), *scene(2, (256, 320)))
    return functools.partial(assign_by_predictions, PAA(), *scene(gts, hw))


def draw(medians: dict[str, dict[int, float]], path: Path) -> None:
    """Draw milliseconds against gts per image."""
    figure, axis = plt.subplots(figsize=(5, 3.6), layout="constrained")
    for name, marker, color in (("published", "s--", "#d55e00"), ("lad", "o-", "#0072b2")):
        gts, milliseconds = list(medians[name]), list(medians[name].values())
        axis.loglog(gts, milliseconds, marker, color=color)
        label = "published:\na scikit-learn fit per gt" if name == "published" else "lad:\nall gts at once"
        axis.annotate(label, (gts[-2], milliseconds[-2]), (-10, 8), textcoords="offset points", ha="right", color=color)
    ticks = (5, 10, 50, 100, 500)
    axis.set(
        xlabel="gts per image", ylabel="milliseconds", xticks=GTS, xticklabels=GTS, yticks=ticks, yticklabels=ticks
    )
    axis.minorticks_off()
    axis.set_title("Assignment of two images of 800 × 1344, two CPU cores", fontsize=10)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--height", type=int, default=800)
    parser.add_argument("--width", type=int, default=1344)
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    hw = (given.height, given.width)
    print(f"{machine()}; 2 images of {hw[0]} x {hw[1]}, {given.rounds} rounds\n")
    print("| gts per image | published, ms | lad, ms | times faster | extra memory, MB |")
    print("|---:|---:|---:|---:|---:|")
    medians: dict[str, dict[int, float]] = {"published": {}, "lad": {}}  # milliseconds
    for gts in GTS:
        inputs = scene(gts, hw)
        tasks = {"lad": functools.partial(assign_by_predictions, PAA(), *inputs)}
        if gts <= MAX_PUBLISHED_GTS:
            tasks["published"] = functools.partial(assign_published, *inputs)
        seconds = alternate(tasks, given.rounds)
        for name, times in seconds.items():
            medians[name][gts] = 1000 * statistics.median(times)
        extra = extra_memory(prepare, gts, hw)
        if "published" in seconds:
            published = f"{medians['published'][gts]:.0f}"
            ratio = f"{median_ratio(seconds['published'], seconds['lad']):.1f}"
        else:
            published = ratio = "–"
        print(f"| {gts} | {published} | {medians['lad'][gts]:.1f} | {ratio} | {extra:.0f} |", flush=True)
    if given.figure:
        draw(medians, given.figure)


if __name__ == "__main__":
    main()
