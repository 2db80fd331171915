"""From images of any kind and size to boxes in their own pixels."""

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors

from lad.data.collate import batches_of_one_size, collate
from lad.data.images import load_image, to_rgb
from lad.data.transforms import eval_transform
from lad.geometry import make_anchors
from lad.inference.postprocess import MAX_DETECTIONS, MIN_SCORE, NMS_IOU, score_candidates, suppress
from lad.inference.tta import TTAView, joined, seen_in_original, soft_vote
from lad.models.detector import Detector
from lad.structures import Batch, Detections, Sample

Merge = Literal["nms", "soft_vote"]
MAX_PIXELS = 8 * 800 * 1344  # through the network at once, unless a single image has more


@torch.no_grad()
def predict(
    detector: Detector,
    images: Any,
    batch_size: int = 8,
    views: Sequence[TTAView] = (),
    merge: Merge = "nms",
    vote: bool = True,
    min_score: float = MIN_SCORE,
    nms_iou: float = NMS_IOU,
    max_detections: int = MAX_DETECTIONS,
) -> list[Detections]:
    """Detections of each image, best first, in pixels of the image as given.

    images: one or many, of any sizes, each a path, a PIL image, an array [H, W, 3] or [H, W], or a tensor [3, H, W];
    bytes 0 … 255, or floats in [0, 1]. A file's EXIF rotation is applied; a PIL image is taken as it is. Images are put
    together only where they are padded to the same size, so that no image's boxes depend on the others. batch_size:
    images read, and at most put together, at once.

    views: at which sizes to look; by default once, at the size the detector was trained for. merge: "nms" puts the
    candidates of all views into one NMS; "soft_vote" runs NMS in each view and merges by soft box voting.

    The detector is used on the device it is on and is left in eval mode. Raises ValueError for what is no image.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size} must be 1 or more")
    several = [images] if _is_one_image(images) else images
    if not isinstance(several, Iterable):
        raise ValueError(f"images: a {type(images).__name__}; give an image or several")
    if merge not in ("nms", "soft_vote"):
        raise ValueError(f"merge='{merge}' is not one of nms, soft_vote")
    size = detector.configuration
    views = tuple(views) or (TTAView(size.short_side, size.long_side),)
    detector.eval()
    detections: list[Detections] = []
    many = iter(several)
    while chunk := list(islice(many, batch_size)):
        pixels = [_pixels(image, len(detections) + place) for place, image in enumerate(chunk)]
        found: list[list[Detections]] = [[] for _ in pixels]  # of each image, by view
        for view in views:
            for place, candidates in _look(detector, pixels, view, min_score):
                if merge == "soft_vote":
                    candidates = suppress(candidates, vote, nms_iou, max_detections)
                found[place].append(candidates)
        if merge == "soft_vote":
            detections += [soft_vote(joined(one), min_score=min_score, max_detections=max_detections) for one in found]
        else:
            detections += [suppress(joined(one), vote, nms_iou, max_detections) for one in found]
    return detections


def _look(
    detector: Detector, pixels: Sequence[Tensor], view: TTAView, min_score: float
) -> Iterable[tuple[int, Detections]]:
    """The candidates of each image in a view, with the image's place in `pixels`."""
    device = next(detector.parameters()).device
    transform = eval_transform(view.short_side, view.long_side, view.flip)
    samples = [_sample(transform(tv_tensors.Image(one)), place, one) for place, one in enumerate(pixels)]
    largest = max((sample.image[0].numel() for sample in samples), default=1)
    for indices in batches_of_one_size(
        [sample.image.shape[-2:] for sample in samples], batch_size=max(1, MAX_PIXELS // largest)
    ):
        batch = collate([samples[index] for index in indices]).to(device)
        found = score_candidates(
            detector(batch.images.contiguous(memory_format=torch.channels_last)),
            make_anchors(batch.padded_hw, device),
            batch.targets.image_hw,
            original_hw=batch.original_hw,
            min_score=min_score,
        )
        for row, candidates in enumerate(found):
            yield int(batch.image_id[row]), _seen(candidates, view, batch, row)


def _seen(candidates: Detections, view: TTAView, batch: Batch, row: int) -> Detections:
    height, width = (batch.targets.image_hw[row] / batch.original_hw[row]).tolist()
    on_cpu = Detections(candidates.boxes.cpu(), candidates.scores.cpu(), candidates.labels.cpu())
    return seen_in_original(on_cpu, view, (width, height), int(batch.original_hw[row, 1]))


def _sample(image: Tensor, place: int, original: Tensor) -> Sample:
    hw = (original.shape[-2], original.shape[-1])
    return Sample(image.as_subclass(Tensor), torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), place, hw)


def _is_one_image(images: Any) -> bool:
    is_array = isinstance(images, np.ndarray | Tensor) and images.ndim <= 3
    return is_array or isinstance(images, str | Path | Image.Image)


def _loaded(image: Image.Image, number: int) -> np.ndarray:
    try:
        return to_rgb(image)
    except (OSError, ValueError) as error:  # files are read as late as this
        raise ValueError(f"image {number}: cannot be read ({error})") from None


def _pixels(image: Any, number: int) -> Tensor:
    """An image as a tensor [3, H, W], bytes or floats in [0, 1]."""
    if isinstance(image, str | Path):
        image = load_image(Path(image))
    elif isinstance(image, Image.Image):
        image = _loaded(image, number)
    given = list(getattr(image, "shape", ()))
    if isinstance(image, np.ndarray):
        image = np.repeat(image[:, :, None], 3, axis=2) if image.ndim == 2 else image
        image = torch.from_numpy(np.ascontiguousarray(image)).movedim(-1, 0)
    if not isinstance(image, Tensor):
        raise ValueError(f"image {number}: a {type(image).__name__}; give a path, a PIL image, an array or a tensor")
    if image.ndim != 3 or image.shape[0] != 3 or 0 in image.shape:
        raise ValueError(
            f"image {number}: has shape {given}; an array must be [H, W, 3] or [H, W], a tensor [3, H, W], none empty"
        )
    if image.dtype == torch.uint8:
        return image
    if not image.is_floating_point() or not (image.isfinite().all() and image.min() >= 0 and image.max() <= 1):
        raise ValueError(f"image {number}: {image.dtype} values must be bytes (uint8, 0 … 255) or floats in [0, 1]")
    return image.float()
