"""Time and memory of inference on an image of 800 x 1333 pixels, compared with torchvision's one-stage detectors.

    python benchmarks/inference.py [--rounds 7]

Each network has random weights; its classifier's bias is set so that about 1,000 boxes exceed the score threshold, as
in a trained network. A round runs every network once, from the image tensor to boxes after NMS. Times are medians over
the rounds, ratios medians over the ratios within each round. Memory is the peak of a fresh process that builds and runs
one network.
"""

import argparse
import functools
import statistics
from collections.abc import Callable

import torch
from measure import alternate, machine, median_ratio, peak_memory
from torch import nn
from torchvision.models.detection import fcos_resnet50_fpn, retinanet_resnet50_fpn

from lad.inference.predictor import predict
from lad.inference.tta import TTAView
from lad.models.detector import build_detector

IMAGE_HW = (800, 1333)
CANDIDATES = 1000
LAD = {"PAA-R50 (lad)": "r50", "PAA-R101 (lad)": "r101"}
TORCHVISION = {"RetinaNet-R50 (torchvision)": retinanet_resnet50_fpn, "FCOS-R50 (torchvision)": fcos_resnet50_fpn}
REFERENCE = "RetinaNet-R50 (torchvision)"
IMAGE = torch.rand(3, *IMAGE_HW, generator=torch.Generator().manual_seed(0))


def build(name: str) -> Callable[[torch.Tensor], list]:
    """Build a detector; return a function from an image [3, H, W] in [0, 1] to its detections, in a list."""
    torch.manual_seed(0)
    if name in LAD:
        detector = build_detector(LAD[name], num_classes=80).eval().to(memory_format=torch.channels_last)
        classifier, threshold = detector.head.cls, 0.05**2 / 0.5  # sqrt(cls · iou) > 0.05 for iou = ½

        def run(image: torch.Tensor) -> list:
            return predict(detector, image, views=[TTAView(*IMAGE_HW)])

    else:
        detector = TORCHVISION[name](weights=None, weights_backbone=None, num_classes=81).eval()
        classifier = detector.head.classification_head.cls_logits
        is_retinanet = name == REFERENCE
        threshold = 0.05 if is_retinanet else 0.2**2 / 0.5  # FCOS: sqrt(cls · centerness) > 0.2

        def run(image: torch.Tensor) -> list:
            return detector([image])

    calibrate(classifier, run, threshold)
    return run


def calibrate(classifier: nn.Conv2d, run: Callable[[torch.Tensor], list], threshold: float) -> None:
    """Shift the classifier's bias so that its `CANDIDATES` best probabilities over all levels exceed the threshold."""
    with torch.no_grad():
        classifier.weight.normal_(0, 0.05)
        classifier.bias.fill_(-50.0)  # no box exceeds the threshold: this run is fast
    logits: list[torch.Tensor] = []
    hook = classifier.register_forward_hook(lambda module, inputs, output: logits.append(output.flatten()))
    run(IMAGE)
    hook.remove()
    lowest = torch.cat(logits).topk(CANDIDATES).values[-1]
    with torch.no_grad():
        classifier.bias += torch.logit(torch.tensor(threshold)) - lowest


@torch.inference_mode()
def run_one_image(name: str) -> None:
    """Build a detector and run it on one image."""
    build(name)(IMAGE)


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    names = [*LAD, *TORCHVISION]
    idle = peak_memory(len, ())
    memory = {name: peak_memory(run_one_image, name) for name in names}
    runs = {name: build(name) for name in names}
    assert all(len(run(IMAGE)) == 1 for run in runs.values())
    seconds = alternate({name: functools.partial(run, IMAGE) for name, run in runs.items()}, rounds)
    print(f"{machine()}; median of {rounds} rounds. A process that has only imported torch: {idle:.0f} MB.\n")
    print("| detector | seconds per image | ratio to RetinaNet-R50 | peak memory, MB |")
    print("|---|---|---|---|")
    for name in names:
        ratio = median_ratio(seconds[name], seconds[REFERENCE])
        print(f"| {name} | {statistics.median(seconds[name]):.2f} | {ratio:.2f} | {memory[name]:.0f} |")


if __name__ == "__main__":
    main()
