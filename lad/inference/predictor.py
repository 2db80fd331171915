"""Prediction: images of any kind and size → boxes in pixels of these images."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
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
from lad.inference.postprocess import (
    MAX_DETECTIONS,
    MAX_DETECTIONS_LIMIT,
    MIN_SCORE,
    NMS_IOU,
    score_candidates,
    suppress,
)
from lad.inference.tta import TTAView, concatenate_detections, soft_vote, to_original_image
from lad.models.detector import Detector
from lad.structures import Batch, Detections, HeadOutputs, Sample

Merge = Literal["nms", "soft_vote"]
MAX_PIXELS = 8 * 800 * 1344  # per forward pass, unless a single image has more


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
    """Detect the objects of images of any kind and size.

    Images are batched only if they are padded to the same size, so that the boxes of an image do not depend on the
    other images.

    Args:
        detector: The detector, in any floating-point precision; it runs on its own device and is left in eval mode.
        images: One image or several, each a path, a PIL image, an array [H, W, 3] or [H, W], or a tensor [3, H, W],
            with uint8 values or floats in [0, 1]. A file's EXIF rotation is applied; a PIL image is used as it is.
        batch_size: Maximal number of images that are read, and batched, at once.
        views: Sizes and mirrorings for test-time augmentation; by default the single size of the detector's
            configuration.
        merge: "nms": one NMS over the candidates of all views. "soft_vote": NMS in each view, then soft box voting.
        vote: Whether boxes are refined by score voting after the NMS.
        min_score: Score that a detection must exceed.
        nms_iou: IoU above which NMS suppresses a box of the same class.
        max_detections: Maximal number of detections of an image.

    Returns:
        Detections of each image, best first, in pixels of the image as given.

    Raises:
        ValueError: If an argument is invalid or an image cannot be read.
    """
    return list(predict_stream(detector, images, batch_size, views, merge, vote, min_score, nms_iou, max_detections))


def predict_stream(
    detector: Detector,
    images: Any,
    batch_size: int = 8,
    views: Sequence[TTAView] = (),
    merge: Merge = "nms",
    vote: bool = True,
    min_score: float = MIN_SCORE,
    nms_iou: float = NMS_IOU,
    max_detections: int = MAX_DETECTIONS,
) -> Iterator[Detections]:
    """Yield the detections of each image; `predict` is the list of them.

    Images are taken from `images`, such as a generator, `batch_size` at a time and forgotten once they are predicted:
    memory does not depend on their number. The arguments are those of `predict`.

    Raises:
        ValueError: If an argument is invalid; later, when an image cannot be read.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size} must be 1 or more")
    if not 1 <= max_detections <= MAX_DETECTIONS_LIMIT:
        raise ValueError(f"max_detections={max_detections} must be a number from 1 to {MAX_DETECTIONS_LIMIT}")
    for name, value in (("min_score", min_score), ("nms_iou", nms_iou)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name}={value} must be a number from 0 to 1")
    images = [images] if _is_one_image(images) else images
    if not isinstance(images, Iterable):
        raise ValueError(f"images is a {type(images).__name__}; pass one image or several")
    if merge not in ("nms", "soft_vote"):
        raise ValueError(f"merge='{merge}' is not one of nms, soft_vote")
    configuration = detector.configuration
    views = tuple(views) or (TTAView(configuration.short_side, configuration.long_side),)
    detector.eval()

    @torch.no_grad()
    def predict_batch(chunk: Iterable[Any], start: int) -> list[Detections]:
        pixels = [_to_pixels(image, number) for number, image in enumerate(chunk, start)]
        by_image: list[list[Detections]] = [[] for _ in pixels]  # candidates of each image, one entry per view
        for view in views:
            for index, candidates in _view_candidates(detector, pixels, view, min_score):
                if merge == "soft_vote":
                    candidates = suppress(candidates, vote, nms_iou, max_detections)
                by_image[index].append(candidates)
        if merge == "soft_vote":
            return [
                soft_vote(concatenate_detections(views_of), min_score=min_score, max_detections=max_detections)
                for views_of in by_image
            ]
        return [suppress(concatenate_detections(views_of), vote, nms_iou, max_detections) for views_of in by_image]

    return _by_batch(iter(images), batch_size, predict_batch)


def _by_batch(
    images: Iterator[Any], batch_size: int, predict_batch: Callable[[Iterable[Any], int], list[Detections]]
) -> Iterator[Detections]:
    """Yield the detections of all images; no image of a batch is referenced while the next batch is read."""
    count = 0
    while detections := predict_batch(islice(images, batch_size), count):
        yield from detections
        count += len(detections)


def _view_candidates(
    detector: Detector, pixels: Sequence[Tensor], view: TTAView, min_score: float
) -> Iterator[tuple[int, Detections]]:
    """Yield the index of each image in `pixels` with its candidates in a view, in pixels of the image."""
    weights = next(detector.parameters())
    transform = eval_transform(view.short_side, view.long_side, view.flip)
    samples = [_to_sample(transform(tv_tensors.Image(image)), index, image) for index, image in enumerate(pixels)]
    max_numel = max((sample.image[0].numel() for sample in samples), default=1)
    for indices in batches_of_one_size(
        [sample.image.shape[-2:] for sample in samples], batch_size=max(1, MAX_PIXELS // max_numel)
    ):
        batch = collate([samples[index] for index in indices]).to(weights.device)
        batch_candidates = score_candidates(
            _forward(detector, batch.images.to(weights.dtype)),
            make_anchors(batch.padded_hw, weights.device),
            batch.targets.image_hw,
            original_hw=batch.original_hw,
            min_score=min_score,
        )
        for row, candidates in enumerate(batch_candidates):
            yield int(batch.image_id[row]), _undo_view(candidates, view, batch, row)


def _forward(detector: Detector, images: Tensor) -> HeadOutputs:
    """Compute the head's outputs; report an operation that the device lacks in half precision."""
    try:
        return detector(images.contiguous(memory_format=torch.channels_last))
    except RuntimeError as error:
        missing = re.search(r'("\S+" )?not implemented for.*', str(error))
        if missing is None:
            raise
        raise ValueError(
            f"the detector cannot run in {images.dtype} on '{images.device}' ({missing[0]}); use detector.float()"
        ) from None


def _undo_view(candidates: Detections, view: TTAView, batch: Batch, row: int) -> Detections:
    """Map the candidates of one image of a batch to the original image, on the CPU."""
    height, width = (batch.targets.image_hw[row] / batch.original_hw[row]).tolist()
    on_cpu = Detections(candidates.boxes.cpu(), candidates.scores.cpu(), candidates.labels.cpu())
    return to_original_image(on_cpu, view, (width, height), int(batch.original_hw[row, 1]))


def _to_sample(image: Tensor, index: int, original: Tensor) -> Sample:
    """Make a sample without gts of a transformed image."""
    hw = (original.shape[-2], original.shape[-1])
    return Sample(image.as_subclass(Tensor), torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), index, hw)


def _is_one_image(images: Any) -> bool:
    is_array = isinstance(images, np.ndarray | Tensor) and images.ndim <= 3
    return is_array or isinstance(images, str | Path | Image.Image)


def _to_rgb(image: Image.Image, number: int) -> np.ndarray:
    """Convert a PIL image to an array [H, W, 3]."""
    try:
        return to_rgb(image)
    except (OSError, ValueError) as error:  # PIL decodes an opened file only now
        raise ValueError(f"image {number} cannot be read ({error})") from None


def _to_pixels(image: Any, number: int) -> Tensor:
    """Convert an image of any kind to a tensor [3, H, W], uint8 or floats in [0, 1]."""
    if isinstance(image, str | Path):
        image = load_image(Path(image))
    elif isinstance(image, Image.Image):
        image = _to_rgb(image, number)
    given_shape = list(getattr(image, "shape", ()))
    if isinstance(image, np.ndarray):
        image = np.repeat(image[:, :, None], 3, axis=2) if image.ndim == 2 else image
        image = torch.from_numpy(np.ascontiguousarray(image)).movedim(-1, 0)
    if not isinstance(image, Tensor):
        raise ValueError(f"image {number} is a {type(image).__name__}; pass a path, a PIL image, an array or a tensor")
    if image.ndim != 3 or image.shape[0] != 3 or 0 in image.shape:
        raise ValueError(
            f"image {number} has shape {given_shape}; an array must be [H, W, 3] or [H, W], a tensor [3, H, W], and "
            "neither may be empty"
        )
    if image.dtype == torch.uint8:
        return image
    if not image.is_floating_point() or not (image.isfinite().all() and image.min() >= 0 and image.max() <= 1):
        raise ValueError(f"image {number} ({image.dtype}): values must be uint8 or floats in [0, 1]")
    return image.float()
