"""Stage "inference" of `gpu.py`: from image tensors on the host to boxes, with and without score voting.

Detectors, images and thresholds are those of `inference.py`.
"""

import functools
import itertools
from collections.abc import Callable
from typing import Any

import torch
from gpu_stage import UNFINISHED, Left, Save, Settings
from gpu_steps import EFFORT, RESERVE, TINY_EFFORT, attempt
from inference import IMAGE_HW, calibrated_detector, random_image
from measure import measure_task

from lad.inference.predictor import predict
from lad.inference.tta import TTAView

TINY_HW = (128, 160)


def run(settings: Settings, save: Save, left: Left) -> None:
    """Measure PAA-R50 and R101, in float32 and float16, one image and eight at once, with and without voting."""
    rows: list[dict[str, Any]] = []
    hw = TINY_HW if settings.is_tiny else IMAGE_HW
    backbones = ("r18",) if settings.is_tiny else ("r50", "r101")
    dtypes = (torch.float32, torch.float16) if settings.device == "cuda" else (torch.float32,)
    effort = TINY_EFFORT if settings.is_tiny else {**EFFORT, "seconds": 1.5}
    batches = (1, 2) if settings.is_tiny else (1, 8)
    for backbone, dtype, images, vote in itertools.product(backbones, dtypes, batches, (True, False)):
        if left() < RESERVE:
            save({"status": UNFINISHED, "note": "no time was left for the variants that follow"})
            return
        build = functools.partial(build_task, backbone, hw, dtype, images, vote, settings.device)
        row, _ = attempt(functools.partial(measure_task, build, **effort))
        speed = {"images_per_second": 1000 * images / row["ms"]} if "ms" in row else {}
        kind = {"detector": backbone, "dtype": str(dtype).removeprefix("torch."), "images": images, "vote": vote}
        rows.append({**kind, **row, **speed})
        save({"hw": hw, "variants": rows})


def build_task(
    backbone: str, hw: tuple[int, int], dtype: torch.dtype, images: int, vote: bool, device: str
) -> Callable[[], object]:
    """Return the detection of the objects in copies of the image; its result is on the host."""
    image = random_image(hw)
    detector = calibrated_detector(backbone, image, device).to(dtype)
    return lambda: predict(detector, [image] * images, images, views=[TTAView(*hw)], vote=vote)
