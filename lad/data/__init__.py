"""Data sets in COCO format, the embedded shapes among them, their transforms and batches."""

from lad.data.batch import BACKGROUND, IGNORED, Batch, Sample, Targets, batches_of_one_size, collate
from lad.data.coco import CocoAnnotations, CocoDataset, find_split, read_annotations
from lad.data.images import load_image
from lad.data.shapes import shapes_folder
from lad.data.transforms import eval_transform, train_transform

__all__ = [
    "BACKGROUND",
    "IGNORED",
    "Batch",
    "CocoAnnotations",
    "CocoDataset",
    "Sample",
    "Targets",
    "batches_of_one_size",
    "collate",
    "eval_transform",
    "find_split",
    "load_image",
    "read_annotations",
    "shapes_folder",
    "train_transform",
]
