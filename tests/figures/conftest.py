"""Fixtures of the tests of figures: two images and what three untrained networks assign on them."""

import pytest
import torch

from lad.analysis.assignment import analyze, first_images
from lad.data.annotations import read_annotations
from lad.data.coco import CocoDataset, find_split
from lad.data.synthetic.folders import write_shapes
from lad.data.transforms import eval_transform
from lad.models.detector import build_detector


@pytest.fixture(scope="package")
def scene(tmp_path_factory):
    """Two images with their gts, and the analyses of three untrained networks."""
    folder = tmp_path_factory.mktemp("data") / "shapes"
    write_shapes(folder, "toy", {"train": 1, "val": 6})
    images, path = find_split(folder, "val")
    batch = first_images(CocoDataset(images, read_annotations(path), eval_transform(128, 128)), 2)
    torch.manual_seed(0)
    names = ("plain student", "teacher", "LAD student")
    return batch, {name: analyze(build_detector("r18", 6, width=0.25, channels=64), batch) for name in names}
