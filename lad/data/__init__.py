"""Data sets in COCO format, the embedded shapes among them, their transforms and batches."""

from lad.data.annotations import CocoAnnotations, read_annotations
from lad.data.batch import BACKGROUND, IGNORED, Batch, Sample, Targets, batches_of_one_size, collate
from lad.data.coco import CocoDataset, find_split
from lad.data.images import load_image
from lad.data.order import Draw, TrainingOrder
from lad.data.shapes import data_folder, shapes_folder
from lad.data.transforms import eval_transform, train_transform

__all__ = [
    "BACKGROUND",
    "IGNORED",
    "Batch",
    "CocoAnnotations",
    "CocoDataset",
    "Draw",
    "Sample",
    "Targets",
    "TrainingOrder",
    "batches_of_one_size",
    "collate",
    "data_folder",
    "eval_transform",
    "find_split",
    "load_image",
    "read_annotations",
    "shapes_folder",
    "train_transform",
]
