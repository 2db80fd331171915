"""Validation of evaluation parameters, and the parameter files of the published checkpoints."""

import json
from pathlib import Path

import pytest
import yaml

from lad.config.evaluation import EvaluationConfig, make_evaluation_config
from lad.models.detector import build_detector
from lad.models.serialization import save_detector
from lad.models.zoo import CHECKPOINTS
from lad.paper.published import PUBLISHED as PUBLISHED_RESULTS

PROJECT = Path(__file__).parents[2]
PUBLISHED = sorted((PROJECT / "params" / "published").glob("*.yaml"))


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    path = tmp_path / "model.safetensors"
    save_detector(build_detector("r18", num_classes=6, width=0.25, channels=64), path)
    return path


def test_values_are_coerced_and_defaults_filled_in(checkpoint):
    config = make_evaluation_config({"checkpoint": str(checkpoint), "data": "toy", "views": None, "batch_size": "4"})
    assert config.checkpoint == checkpoint and config.data == "toy"
    assert (config.split, config.views, config.batch_size) == ("val", "one", 4)
    assert config.out == PROJECT / "runs" / "evaluations"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"chekpoint": "x"}, "parameter 'chekpoint' is unknown; did you mean 'checkpoint'?"),
        (
            {"checkpoint": "nowhere.pth"},
            "parameter 'checkpoint' = 'nowhere.pth': no such file or folder in the current folder",
        ),
        ({"checkpoint": "paa_r50_1"}, "; did you mean the published 'paa_r50_1x'? `lad checkpoints` lists them"),
        ({"checkpoint": "nowhere.pth", "source": "https://example.org/x"}, "parameter 'source' is unknown"),
        ({"sha256": "123"}, "parameter 'sha256' = '123': string should match pattern"),
        ({"data": "nowhere"}, "parameter 'data' = 'nowhere': no such file or folder"),
        ({"views": "strongest", "short_side": 128}, "views='strongest' has its own sizes"),
        ({"data": None}, "parameter 'data' is missing"),
        ({"views": "both"}, "'views' = 'both' is not one of one, flip, multi_scale, strongest"),
        (
            {"part": "teecher"},
            "parameter 'part' = 'teecher' is not one of student, teacher, ema; did you mean 'teacher'?",
        ),
        ({"vote": "yes"}, "parameter 'vote' = 'yes': input should be a valid boolean"),
        ({"min_score": 1}, "parameter 'min_score' = 1: input should be less than 1"),
        ({"expected_ap": 404}, "parameter 'expected_ap' = 404: input should be less than or equal to 100"),
    ],
)
def test_invalid_parameter_raises_one_line(checkpoint, given, message):
    with pytest.raises(ValueError) as caught:
        make_evaluation_config({"checkpoint": str(checkpoint), "data": "toy", **given})
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_a_published_file_has_the_name_of_its_checkpoint_and_its_published_ap(path, tmp_path, monkeypatch):
    """Nothing is downloaded: a checkpoint is only fetched when it is evaluated."""
    given = yaml.safe_load(path.read_text())
    assert given == {"checkpoint": path.stem, "data": "data/coco"}
    entry, result = CHECKPOINTS[path.stem], PUBLISHED_RESULTS[path.stem]
    assert f"Published: AP {result.ap} on COCO val2017." in path.read_text().splitlines()[0]
    assert (entry.ap, entry.split, entry.schedule) == (result.ap, result.split, result.schedule)
    (tmp_path / "data" / "coco").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    config = make_evaluation_config(given)
    assert (config.checkpoint, config.expected_ap) == (path.stem, result.ap)
    assert (config.vote, config.iou_branch) == (entry.vote, entry.iou_branch)


def test_every_published_checkpoint_on_val_has_a_file_and_every_entry_a_published_result():
    assert {path.stem for path in PUBLISHED} == CHECKPOINTS.keys() - {"colad_r101"}
    for name, entry in CHECKPOINTS.items():
        result = PUBLISHED_RESULTS[name]
        assert (entry.ap, entry.split, entry.schedule) == (result.ap, result.split, result.schedule), name
    assert CHECKPOINTS["colad_r101"].split == "test-dev"


def test_what_a_published_name_implies_can_be_given(tmp_path, monkeypatch):
    (tmp_path / "data" / "coco").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    implied = make_evaluation_config({"checkpoint": "paa_r50_1x_without_voting"})
    assert (implied.expected_ap, implied.vote, implied.data) == (40.2, False, str(tmp_path / "data" / "coco"))
    given = {"checkpoint": "paper_cop_r50_1x", "data": "toy", "expected_ap": 1, "vote": False, "iou_branch": True}
    config = make_evaluation_config(given)
    assert (config.data, config.expected_ap, config.vote, config.iou_branch) == ("toy", 1, False, True)


def test_an_ap_of_another_split_is_not_expected(tmp_path, monkeypatch):
    (tmp_path / "data" / "coco").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    for name, split, expected in (
        ("colad_r101", "val", None),
        ("colad_r101", "test-dev", None),
        ("paa_r50_1x", "test-dev", None),
        ("paa_r50_1x", "val", 40.4),
    ):
        assert make_evaluation_config({"checkpoint": name, "split": split}).expected_ap == expected


def test_a_web_address_is_a_checkpoint_and_needs_data():
    url = "https://example.org/paa-12345678.pth"
    assert make_evaluation_config({"checkpoint": url, "data": "toy"}).checkpoint == url
    with pytest.raises(ValueError, match="parameter 'data' is missing"):
        make_evaluation_config({"checkpoint": url})


def test_model_zoo_checkpoints_have_their_published_ap():
    expected = {name: entry.ap for name, entry in CHECKPOINTS.items()}
    assert expected["paa_r50_1x"] == 40.4 and expected["paa_r101_1x"] == 42.6
    assert expected["lad_r50_from_r101_1x"] == 41.4 and expected["lad_r101_from_r50_1x"] == 43.2


@pytest.mark.parametrize("name", ["evaluate", "test_dev"])
def test_notebook_defaults_are_those_of_the_config(name):
    notebook = json.loads((PROJECT / "notebooks" / f"{name}.ipynb").read_text())
    (cell,) = (cell for cell in notebook["cells"] if "parameters" in cell["metadata"].get("tags", []))
    defaults: dict = {}
    exec("".join(cell["source"]), defaults)
    for field, default in defaults.items():
        if field in EvaluationConfig.model_fields and default is not None and field not in ("data", "split"):
            assert EvaluationConfig.model_fields[field].default == default, field
