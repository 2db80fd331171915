"""Data sets in COCO format: annotations, images, transforms, samplers and batches."""

from lad.data.annotations import CocoAnnotations, read_annotations
from lad.data.coco import CocoDataset, find_split, open_splits
from lad.data.collate import collate
from lad.data.images import load_image

__all__ = [
    "CocoAnnotations",
    "CocoDataset",
    "collate",
    "find_split",
    "load_image",
    "open_splits",
    "read_annotations",
]
