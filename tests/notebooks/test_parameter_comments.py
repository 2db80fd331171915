"""The comments of the parameters cells are true: the allowed values, and the defaults that None stands for."""

import ast
import re
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import nbformat
import pytest
from pydantic import BaseModel

from lad.analysis.positives import ASSIGNMENTS
from lad.config.evaluation import EvaluationConfig
from lad.config.experiment import Parameters
from lad.config.profiles import PROFILES
from lad.data.synthetic.difficulties import DIFFICULTIES
from lad.distillation.methods import METHODS
from lad.explorer.config import ExplorerConfig
from lad.models.backbones.registry import BACKBONES
from lad.report.provenance import Parameter, parameters_of

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
MODELS: dict[str, type[BaseModel]] = {
    "evaluate": EvaluationConfig, "test_dev": EvaluationConfig, "explore_assignments": ExplorerConfig,
}  # fmt: skip  # of the others: Parameters
CHOICES = {"profile": PROFILES, "method": METHODS, "assignment": ASSIGNMENTS, "data": DIFFICULTIES}
OTHER_DEFAULTS = {  # what the notebook is about, not the default of its parameters
    "00_label_assignment_in_ten_minutes": {"student", "teacher", "epochs", "teacher_epochs", "train_images", "lr",
                                           "eval_every"},
    "explore_assignments": {"image"},
    "test_dev": {"data", "split"},
}  # fmt: skip


def parameters(path: Path) -> list[Parameter]:
    return parameters_of(nbformat.read(path, as_version=4).cells)


CELLS = [
    pytest.param(path.stem, parameter, id=f"{path.stem}-{parameter.name}")
    for path in NOTEBOOKS
    for parameter in parameters(path)
]


def field_of(notebook: str, name: str) -> Any:
    """Return the field of the notebook's model; None for a parameter of the notebook itself."""
    return MODELS.get(notebook, Parameters).model_fields.get(name)


def choices_of(notebook: str, name: str) -> set[str] | None:
    """Return the values that a parameter can have, if they are a closed list."""
    field = field_of(notebook, name)
    if field is not None and get_origin(field.annotation) is Literal:
        return set(get_args(field.annotation))
    return set(CHOICES[name]) if name in CHOICES else None


def listed(comment: str) -> set[str]:
    """Return the words of the list "a, b (explained) or c" in a comment; an empty set without one."""
    text = re.sub(r" \([^)]*\)", "", comment)
    found = re.search(r"((?:[\w-]+, )*[\w-]+) or ([\w-]+)\b", text)
    return {*found[1].split(", "), found[2]} if found else set()


@pytest.mark.parametrize(("notebook", "parameter"), CELLS)
def test_every_parameter_is_explained(notebook, parameter):
    assert parameter.explanation


@pytest.mark.parametrize(("notebook", "parameter"), CELLS)
def test_the_listed_values_are_the_allowed_ones(notebook, parameter):
    choices = choices_of(notebook, parameter.name)
    found = listed(parameter.explanation.split("COCO format, or ")[-1])
    if choices is not None and (found or parameter.name != "data"):
        assert found == choices
    if parameter.name in ("student", "teacher"):
        names = re.findall(r"\b(?:r\d+|x\d+_\w+|swin_\w+)\b", parameter.explanation)
        assert set(names) <= set(BACKBONES)


@pytest.mark.parametrize(("notebook", "parameter"), CELLS)
def test_the_value_is_the_default_or_the_comment_says_what_none_stands_for(notebook, parameter):
    field, value = field_of(notebook, parameter.name), ast.literal_eval(parameter.value)
    if field is None or parameter.name in OTHER_DEFAULTS.get(notebook, ()):
        return
    by_profile = re.search(r"None is ([\d., ]+) by profile", parameter.explanation)
    if by_profile:
        expected = [float(PROFILES[profile][parameter.name]) for profile in PROFILES]
        assert [float(number) for number in by_profile[1].split(", ")] == expected
    elif value is not None:
        assert value == field.default
    elif isinstance(field.default, int | str) and not isinstance(field.default, bool):
        names = {"student": "r50", "out": "runs/"}
        said = re.search(r"None is ([\w/.]*\w/?)", parameter.explanation)
        assert said is not None and said[1] == names.get(parameter.name, str(field.default))
