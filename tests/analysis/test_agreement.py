"""Agreement of a student's and a teacher's assignment on validation images."""

import json
import math
import shutil
from dataclasses import replace

import pytest
import torch
from tiny_runs import fabricate, tiny

from lad.analysis import agreement
from lad.analysis.agreement import teacher_agreement
from lad.analysis.assignment import analyze, first_images, open_validation_set
from lad.data.synthetic.folders import write_shapes
from lad.distillation.statistics import jaccard


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    write_shapes(folder, "toy", {"train": 1, "val": 6})
    return folder


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory):
    """Two finished runs with different untrained networks."""
    out = tmp_path_factory.mktemp("runs")
    return [fabricate(tiny(data, out, seed=seed)) for seed in (0, 1)]


def test_the_agreement_is_the_mean_jaccard_index_of_the_first_images(runs):
    student, teacher = runs
    batch = first_images(open_validation_set(student.parameters), 4)
    own, other = (analyze(run.load_detector(), batch, student.assigner).gt_index for run in runs)
    expected = sum(jaccard(*of_image).item() for of_image in zip(own, other, strict=True)) / 4
    assert 0 < teacher_agreement(student, teacher, images=4) < 1
    assert teacher_agreement(student, teacher, images=4) == pytest.approx(expected)


def test_a_network_agrees_with_itself(runs):
    assert teacher_agreement(runs[0], runs[0]) == 1


def test_the_size_of_batches_changes_nothing_and_fewer_images_are_enough(runs, monkeypatch):
    in_one_batch = teacher_agreement(*runs, images=6)
    monkeypatch.setattr(agreement, "IMAGES_PER_BATCH", 4)
    assert teacher_agreement(*runs, images=99) == pytest.approx(in_one_batch)


def test_the_assigner_is_that_of_the_student(runs):
    student, teacher = runs
    by_position = replace(
        student, parameters=student.parameters.model_copy(update={"assigner": "atss", "assigner_options": {}})
    )
    assert teacher_agreement(by_position, teacher) == 1  # ATSS does not use predictions


def test_without_gts_there_is_no_agreement(runs, data, tmp_path):
    folder = shutil.copytree(data, tmp_path / "empty")
    (file,) = folder.rglob("*val*.json")
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "annotations": []}))
    student = replace(runs[0], parameters=runs[0].parameters.model_copy(update={"data": str(folder)}))
    assert math.isnan(teacher_agreement(student, runs[1]))
    assert torch.is_grad_enabled()
