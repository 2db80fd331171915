"""Validation of evaluation parameters, and the parameter files of the published checkpoints."""

import json
from pathlib import Path

import pytest
import yaml

from lad.config.evaluation import EvaluationConfig, make_evaluation_config
from lad.models.detector import build_detector
from lad.models.serialization import save_detector

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
        (
            {"checkpoint": "nowhere.pth", "source": "https://example.org/x"},
            "; download it from https://example.org/x",
        ),
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
def test_every_published_checkpoint_has_a_file_a_source_and_an_expected_ap(path, tmp_path):
    given = yaml.safe_load(path.read_text())
    first_line = path.read_text().splitlines()[0]
    assert f"Published: AP {given['expected_ap']} on COCO val2017." in first_line
    is_link = given["source"].endswith("/" + Path(given["checkpoint"]).name)
    assert given["source"].startswith("https://") and (is_link or "README links the file" in given["source"])
    with pytest.raises(ValueError, match="download it from https://"):
        make_evaluation_config({**given, "data": "toy", "checkpoint": str(tmp_path / Path(given["checkpoint"]).name)})
    (tmp_path / "checkpoint.pth").touch()
    config = make_evaluation_config({**given, "checkpoint": str(tmp_path / "checkpoint.pth"), "data": str(tmp_path)})
    assert isinstance(config, EvaluationConfig) and 35 < config.expected_ap < 46


def test_model_zoo_checkpoints_have_their_published_ap():
    expected = {path.stem: yaml.safe_load(path.read_text())["expected_ap"] for path in PUBLISHED}
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
