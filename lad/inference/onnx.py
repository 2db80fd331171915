"""ONNX export: network and post-processing as one file. Needs the extra `lad-suite[onnx]`."""

import copy
import dataclasses
import importlib.util
import json
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.ops import nms

from lad.data.collate import SIZE_DIVISOR
from lad.data.transforms import IMAGENET_MEAN, IMAGENET_STD
from lad.geometry import make_anchors
from lad.inference.postprocess import MAX_DETECTIONS, MIN_SCORE, NMS_IOU, score_candidates, vote_boxes
from lad.models.detector import Detector
from lad.models.heads.paa import PAAHead
from lad.utils.atomic_io import atomic_write

OPSET = 19  # minimal version for deformable convolutions
INPUTS, OUTPUTS = ("image", "image_hw"), ("boxes", "scores", "labels")


class _EndToEnd(nn.Module):
    """Network and post-processing of one image, equal to `lad.inference.postprocess.detect`."""

    def __init__(self, detector: Detector, padded_hw: tuple[int, int], vote: bool) -> None:
        super().__init__()
        self.detector, self.padded_hw, self.vote = detector, padded_hw, vote
        self.anchors = make_anchors(padded_hw)

    def forward(self, image: Tensor, image_hw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (candidates,) = score_candidates(self.detector(image), self.anchors, image_hw, min_score=MIN_SCORE)
        # As batched_nms, but without its branch on the number of boxes: an offset per class separates the classes.
        offset = candidates.labels[:, None] * float(max(self.padded_hw) + 1)
        best = nms(candidates.boxes + offset, candidates.scores, NMS_IOU)[:MAX_DETECTIONS]
        boxes = vote_boxes(candidates, best) if self.vote else candidates.boxes[best]
        return boxes, candidates.scores[best], candidates.labels[best]


def export_onnx(
    detector: Detector, path: Path | str, padded_hw: tuple[int, int] = (800, 1344), vote: bool = True
) -> None:
    """Export the detector to an ONNX file.

    Inputs of the file: `image` [1, 3, H, W] float32, normalized and zero-padded right and bottom; `image_hw` [1, 2]
    int64, (height, width) before padding. Outputs: `boxes` [D, 4] in pixels of that image, `scores` [D], `labels` [D],
    best first, D ≤ 100. The metadata contains the configuration and the mean and std of the normalization.

    Args:
        detector: The detector; it is not changed.
        path: The file.
        padded_hw: (height, width) of the padded images, multiples of 32.
        vote: Whether boxes are refined by score voting.

    Raises:
        ValueError: If the size is not a multiple of 32, a package is missing, or the head is not a `PAAHead`.
    """
    if any(side <= 0 or side % SIZE_DIVISOR for side in padded_hw):
        raise ValueError(f"padded_hw={tuple(padded_hw)} must be multiples of {SIZE_DIVISOR}")
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(f"ONNX export needs {' and '.join(missing)}; run: pip install 'lad-suite[onnx]'")
    if not isinstance(detector.head, PAAHead):
        raise ValueError(f"head {type(detector.head).__name__} cannot be exported to ONNX; only PAAHead can")
    network = _EndToEnd(copy.deepcopy(detector).cpu(), padded_hw, vote).eval()
    image, image_hw = torch.zeros(1, 3, *padded_hw), torch.tensor([padded_hw])
    with torch.no_grad():
        program = torch.onnx.export(
            network, (image, image_hw), dynamo=True, input_names=INPUTS, output_names=OUTPUTS, opset_version=OPSET,
            verbose=False,
        )  # fmt: skip
    assert program is not None
    program.model.metadata_props.update(
        configuration=json.dumps(dataclasses.asdict(detector.configuration)),
        mean=json.dumps(IMAGENET_MEAN),
        std=json.dumps(IMAGENET_STD),
    )
    with atomic_write(Path(path)) as unfinished:
        program.save(unfinished, external_data=False)
