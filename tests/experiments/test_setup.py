"""Data sets without gts: refused for training, reported for validation."""

import json
from pathlib import Path

import pytest
from PIL import Image

from lad.analysis.assignment import first_images
from lad.config.experiment import Parameters, make_parameters
from lad.experiments.setup import open_data


def write(folder: Path, split: str, gts: int) -> None:
    (folder / split).mkdir(parents=True)
    Image.new("RGB", (40, 30)).save(folder / split / "1.png")
    gt = {"image_id": 1, "category_id": 1, "bbox": [5, 6, 10, 12], "area": 120, "iscrowd": 0}
    content = {
        "images": [{"id": 1, "file_name": "1.png", "width": 40, "height": 30}],
        "categories": [{"id": 1, "name": "car"}],
        "annotations": [{**gt, "id": number} for number in range(1, gts + 1)],
    }
    (folder / f"instances_{split}.json").write_text(json.dumps(content))


def parameters_of(folder: Path, train_gts: int, val_gts: int, **given) -> Parameters:
    write(folder, "train", train_gts)
    write(folder, "val", val_gts)
    return make_parameters({"data": str(folder), "method": "baseline", **given})


def test_a_training_set_without_gts_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"instances_train\.json: its images have no gts, so nothing can be learned"):
        open_data(parameters_of(tmp_path, 0, 1))


def test_a_validation_set_without_gts_is_reported_and_figures_show_training_images(tmp_path, capsys):
    train_set, val_set = open_data(parameters_of(tmp_path, 2, 0))
    printed = capsys.readouterr()
    assert "instances_val.json: has no gts, so AP cannot be computed" in printed.out + printed.err
    batch = first_images(val_set, count=4, instead=train_set)
    assert len(batch.targets.boxes) == 2 and not batch.is_flipped.any()
    with pytest.raises(ValueError, match="no image has a ground-truth box"):
        first_images(val_set, count=4)
