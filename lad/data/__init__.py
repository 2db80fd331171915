"""Data sets in COCO format, the embedded shapes among them, their transforms and batches."""

from lad.data.annotations import CocoAnnotations, read_annotations
from lad.data.batch import BACKGROUND, IGNORED, Batch, Sample, Targets, batches_of_one_size, collate
from lad.data.coco import CocoDataset, find_split
from lad.data.findings import Finding
from lad.data.images import load_image
from lad.data.mending import fix
from lad.data.order import Draw, TrainingOrder
from lad.data.shapes import data_folder, shapes_folder
from lad.data.transforms import eval_transform, train_transform
from lad.data.validation import ensure_usable, validate, validate_folder

__all__ = [
    "BACKGROUND",
    "IGNORED",
    "Batch",
    "CocoAnnotations",
    "CocoDataset",
    "Draw",
    "Finding",
    "Sample",
    "Targets",
    "TrainingOrder",
    "batches_of_one_size",
    "collate",
    "data_folder",
    "ensure_usable",
    "eval_transform",
    "find_split",
    "fix",
    "load_image",
    "read_annotations",
    "shapes_folder",
    "train_transform",
    "validate",
    "validate_folder",
]
