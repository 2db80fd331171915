"""The recipes of CONTRIBUTING.md work: their code is run, and what it adds can be used by its name."""

import re
from pathlib import Path
from unittest import mock

import pytest
import torch
from PIL import Image

from lad.assigners import ASSIGNERS, assign_by_predictions, build_assigner
from lad.config.experiment import make_parameters
from lad.data.annotations import read_annotations
from lad.data.coco import find_split
from lad.data.importing.coco_folder import write_coco_folder
from lad.distillation import TERMS
from lad.geometry import make_anchors
from lad.models.backbones import BACKBONES
from lad.models.detector import build_detector
from lad.models.heads import HEADS
from lad.structures import Targets

PAGE = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
TARGETS = Targets(torch.tensor([[10.0, 10, 50, 60]]), torch.tensor([1]), torch.tensor([0]), torch.tensor([[96, 96]]))


@pytest.fixture
def recipes() -> dict[str, dict]:
    """The variables of each recipe's code by the recipe's heading; what it registers is forgotten afterwards."""
    with mock.patch.dict(ASSIGNERS), mock.patch.dict(TERMS), mock.patch.dict(HEADS), mock.patch.dict(BACKBONES):
        variables = {}
        for section in re.split(r"^## ", PAGE, flags=re.MULTILINE):
            for code in re.findall(r"```python\n(.*?)```", section, re.DOTALL):
                heading = section.partition("\n")[0]
                variables[heading] = {"__name__": "recipe"}
                exec(code, variables[heading])
        yield variables


def test_there_are_five_recipes(recipes):
    names = ["An assigner", "A distillation term", "A head", "A backbone", "A data format"]
    assert list(recipes) == names


def test_what_they_register_can_be_used_by_name(recipes):
    given = {"student": "mobilenet_v3", "head": "foreground", "distill": ["cls_mse"]}
    given["method_options"] = {"cls_mse_weight": 2}
    parameters = make_parameters({**given, "assigner": "lowest_cost", "assigner_options": {"topk": 5}})
    assert parameters.method_options == {"cls_mse_weight": 2.0} and parameters.assigner_options == {"topk": 5}
    with pytest.raises(ValueError, match="topk"):
        make_parameters({"assigner": "lowest_cost", "assigner_options": {"topk": 0}})


def test_the_assigner_makes_at_most_topk_positives(recipes):
    anchors = make_anchors((96, 96))
    detector = build_detector("mobilenet_v3", 2, width=0.5, head="foreground", channels=64).eval()
    with torch.no_grad():
        outputs = detector(torch.zeros(1, 3, 96, 96))
    for topk in (1, 5):
        gt_index = assign_by_predictions(build_assigner("lowest_cost", {"topk": topk}), outputs, anchors, TARGETS)
        assert int((gt_index >= 0).sum()) == topk


def test_the_reader_s_data_set_becomes_a_folder_that_training_reads(recipes, tmp_path):
    for split in ("train", "val"):
        (tmp_path / "csv" / split).mkdir(parents=True)
        Image.new("RGB", (80, 40)).save(tmp_path / "csv" / split / "one.jpg")
    (tmp_path / "csv" / "boxes.csv").write_text("train/one.jpg,30,10,50,30,dog\nval/one.jpg,0,0,9,9,cat\n")
    read_csv = recipes["A data format"]["read_csv"]
    write_coco_folder(read_csv(tmp_path / "csv"), tmp_path / "coco")
    _, path = find_split(tmp_path / "coco", "train")
    annotations = read_annotations(path)
    assert list(annotations.class_names) == ["cat", "dog"]
    assert annotations.records[0].boxes.tolist() == [[30.0, 10.0, 50.0, 30.0]]
    assert annotations.records[0].labels.tolist() == [1]
    (tmp_path / "csv" / "boxes.csv").write_text("train/one.jpg,30,10,50,dog\n")
    with pytest.raises(ValueError, match=r"boxes\.csv, line 1: is not file,"):
        read_csv(tmp_path / "csv")
