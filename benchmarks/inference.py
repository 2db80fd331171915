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
from lad.models.detector import Detector, build_detector

IMAGE_HW = (800, 1333)
CANDIDATES = 1000
LAD = {"PAA-R50 (lad)": "r50", "PAA-R101 (lad)": "r101"}
TORCHVISION = {"RetinaNet-R50 (torchvision)": retinanet_resnet50_fpn, "FCOS-R50 (torchvision)": fcos_resnet50_fpn}
REFERENCE = "RetinaNet-R50 (torchvision)"
THRESHOLD = 0.05**2 / 0.5  # of the class probability: sqrt(cls · iou) > 0.05 for iou = ½


def random_image(hw: tuple[int, int] = IMAGE_HW) -> torch.Tensor:
    """Return the image [3, H, W] in [0, 1] of all measurements."""
    return torch.rand(3, *hw, generator=torch.Generator().manual_seed(0))


IMAGE = random_image()


def build(name: str) -> Callable[[torch.Tensor], list]:
    """Build a detector; return a function from an image [3, H, W] in [0, 1] to its detections, in a list."""
    if name in LAD:
        detector = calibrated_detector(LAD[name], IMAGE)
        return lambda image: predict(detector, image, views=[TTAView(*IMAGE_HW)])
    torch.manual_seed(0)
    detector = TORCHVISION[name](weights=None, weights_backbone=None, num_classes=81).eval()

    def run(image: torch.Tensor) -> list:
        return detector([image])

    threshold = 0.05 if name == REFERENCE else 0.2**2 / 0.5  # FCOS: sqrt(cls · centerness) > 0.2
    calibrate(detector.head.classification_head.cls_logits, lambda: run(IMAGE), threshold)
    return run


def calibrated_detector(backbone: str, image: torch.Tensor, device: str = "cpu") -> Detector:
    """Build a detector of `lad` with random weights, of whose boxes in `image` about 1,000 exceed the threshold."""
    torch.manual_seed(0)
    detector = build_detector(backbone, num_classes=80).eval().to(device, memory_format=torch.channels_last)
    calibrate(detector.head.cls, lambda: predict(detector, image, views=[TTAView(*image.shape[1:])]), THRESHOLD)
    return detector


def calibrate(classifier: nn.Conv2d, run: Callable[[], object], threshold: float) -> None:
    """Shift the classifier's bias so that its `CANDIDATES` best probabilities over all levels exceed the threshold.

    Args:
        classifier: The last layer of the detector's class branch.
        run: Runs the detector on an image.
        threshold: Probability.
    """
    with torch.no_grad():
        classifier.weight.normal_(0, 0.05)
        classifier.bias.fill_(-50.0)  # no box exceeds the threshold: this run is fast
    logits: list[torch.Tensor] = []
    hook = classifier.register_forward_hook(lambda module, inputs, output: logits.append(output.flatten()))
    run()
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
