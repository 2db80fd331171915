"""A small validation set that the tests of evaluation share."""

import pytest

from lad.data.annotations import read_annotations
from lad.data.coco import CocoDataset, find_split
from lad.data.synthetic.folders import write_shapes
from lad.data.transforms import eval_transform


@pytest.fixture(scope="session")
def val_set(tmp_path_factory) -> CocoDataset:
    folder = tmp_path_factory.mktemp("data") / "shapes"
    write_shapes(folder, "toy", {"train": 1, "val": 6})
    images, path = find_split(folder, "val")
    return CocoDataset(images, read_annotations(path), eval_transform(128, 128))
