"""The user's own photo in the explorer: the image, its detections and the box that the user draws on it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors

from lad.data.collate import collate
from lad.data.images import load_image
from lad.data.transforms import eval_transform
from lad.explorer.session import ExplorerSession, detector_at_epoch
from lad.geometry import make_anchors
from lad.inference.postprocess import detect
from lad.structures import Detections, Sample

SCORE_THRESHOLD = 0.3  # a detection on the user's photo with at least this score is one of its objects
MAX_DETECTIONS = 5  # objects on the user's photo besides the user's box
MAX_DISPLAY_SIDE = 640  # pixels of the longer side of an image to draw


@dataclass(frozen=True, eq=False)
class Photo:
    """The user's own image and what the student detects on it.

    Attributes:
        pixels: [h, w, 3] uint8, the image to draw.
        sample: The image as the networks get it, without gts.
        detections: The student's detections, in pixels of the sample.
    """

    pixels: np.ndarray
    sample: Sample
    detections: Detections


@dataclass(frozen=True)
class UserBox:
    """A box that the user draws on their photo.

    Attributes:
        corners: x0, y0, x1, y1 as fractions of the photo's width and height.
        label: Class of the box.
    """

    corners: tuple[float, float, float, float] = (0.25, 0.25, 0.75, 0.75)
    label: int = 0


DEFAULT_BOX = UserBox()


def open_photo(session: ExplorerSession, source: Path | BinaryIO) -> Photo:
    """Read the user's image and run the student with its final weights on it.

    Raises:
        ValueError: The file cannot be read as an image.
    """
    pixels = load_image(source)
    size = session.detectors["student"].configuration
    transform = eval_transform(size.short_side, size.long_side)
    image = transform(tv_tensors.Image(torch.from_numpy(pixels).permute(2, 0, 1))).as_subclass(Tensor)
    original_hw = (pixels.shape[0], pixels.shape[1])
    sample = Sample(image, torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), 0, original_hw)
    batch = collate([sample])
    outputs = detector_at_epoch(session, "student", None)(batch.images)
    anchors = make_anchors(batch.padded_hw)
    (detections,) = detect(outputs, anchors, batch.targets.image_hw, min_score=SCORE_THRESHOLD)
    return Photo(shrink(pixels), sample, detections)


def photo_sample(photo: Photo, box: UserBox) -> Sample:
    """Return the photo's sample with the user's box and the student's detections as gts."""
    height, width = photo.sample.image.shape[-2:]
    user_box = torch.tensor([box.corners]) * torch.tensor([width, height, width, height])
    boxes = torch.cat([user_box, photo.detections.boxes[:MAX_DETECTIONS]])
    labels = torch.cat([torch.tensor([box.label]), photo.detections.labels[:MAX_DETECTIONS]])
    return replace(photo.sample, boxes=boxes, labels=labels)


def shrink(pixels: np.ndarray) -> np.ndarray:
    """Return an image of at most `MAX_DISPLAY_SIDE` pixels."""
    image = Image.fromarray(pixels)
    image.thumbnail((MAX_DISPLAY_SIDE, MAX_DISPLAY_SIDE))
    return np.asarray(image)
