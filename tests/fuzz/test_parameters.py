"""Whatever people give as parameters becomes a run or one line that says what is wrong."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from strategies import FUZZ

from lad.assigners.base import ASSIGNERS
from lad.config.experiment import Parameters, make_parameters
from lad.config.notebook import notebook_values
from lad.config.profiles import PROFILES
from lad.config.yaml_file import read_value, read_values
from lad.distillation.cost_selection import COST_SELECTIONS
from lad.distillation.methods import METHODS
from lad.models.backbones.registry import BACKBONES
from lad.models.heads.registry import HEADS

LONGEST = 5000  # characters of a line


def laughs() -> list[Any]:
    """Ten to the thirtieth values in three hundred references, as YAML's aliases make them."""
    value: list[Any] = ["lol"]
    for _ in range(30):
        value = [value] * 10
    return value


def deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(5000):
        value = [value]
    return value


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 300),
    st.integers(),
    st.floats(),
    st.sampled_from([1e-4, "1e-4", "nan", "inf", "-1", "yes", "no", "true", "2024-01-31", "010", 10**30, "1" * 5000]),
    st.text(max_size=10),
    st.binary(max_size=4),
    st.dates(),
)
PATHS = st.sampled_from(
    ["", ".", "..", "../../etc", "/etc/passwd", "/dev/null/x", "~", "~nobody-of-this-name/x", "a\0b", "\ud800", "a\nb",
     "x" * 300, "x/" * 3000, "toy", "mini", Path("here")]
)  # fmt: skip
ABSURD = st.sampled_from(
    [10**5000, "x" * 10**6, [32] * 10**5, list(range(10**4)), ["a"] * 1000, laughs(), deep(), [], {}, {"a": {1: 2}},
     np.zeros((3, 3)), np.float32(0.5), np.int64(3), float("nan"), (), {1, 2}]
)  # fmt: skip
NAMES = {
    "profile": PROFILES, "method": METHODS, "student": BACKBONES, "teacher": BACKBONES, "head": HEADS,
    "teacher_head": HEADS, "cost_selection": COST_SELECTIONS, "assigner": ASSIGNERS, "optimizer": ["sgd", "adamw"],
    "schedule": ["step", "cosine"], "weights": ["none", "imagenet"], "data": ["toy", "mini"],
    "precision": ["32-true", "bf16-mixed"], "teacher_epochs": [1, 20], "teacher_width": [0.25, 0.5, 1.0],
    "width": [0.25, 1.0], "frozen_stages": [-1, 1], "norm_eval": [True, False], "iou_branch": [True, False],
    "cache_teacher": [True], "short_sides": [[32], [64, 128]], "epochs": [1, "3"], "devices": [1, 2],
}  # fmt: skip


@st.composite
def given_values(draw: st.DrawFn) -> dict[Any, Any]:
    """Up to six parameters, most of them plausible by themselves; now and then one that is absurd, or has no name."""
    values: dict[Any, Any] = {}
    for name in draw(st.lists(st.sampled_from(list(NAMES)), max_size=6)):
        values[name] = draw(st.sampled_from(list(NAMES[name])))
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 2]))):
        name = draw(st.one_of(st.sampled_from(list(Parameters.model_fields)), st.text(max_size=9), SCALARS))
        value = st.one_of(SCALARS, PATHS, ABSURD, st.lists(SCALARS, max_size=3))
        values[name] = draw(PATHS if name in ("data", "out", "weights") and draw(st.booleans()) else value)
    return values


def is_one_line(error: ValueError) -> bool:
    return type(error) is ValueError and len(str(error).splitlines()) == 1 and len(str(error)) < LONGEST


@FUZZ
@given(given_values())
def test_any_values_are_a_run_or_a_line_that_names_what_is_wrong(values):
    """A run has a name that can be a folder's, is the same after a way through JSON, and so has its teacher's run."""
    try:
        parameters = make_parameters(values)
    except ValueError as error:
        assert is_one_line(error)
        assert any(str(name) in str(error) for name in ("is unknown", *Parameters.model_fields))
        return
    runs = [parameters] if parameters.teacher is None else [parameters, parameters.of_teacher()]
    for run in runs:
        assert Parameters(**json.loads(json.dumps(run.model_dump()))) == run
        assert "/" not in run.run_name and "\0" not in run.run_name and run.run_name.endswith(f"-{run.hash}")
        assert run.summary() and Path(run.out).is_absolute()


TRICKS = st.sampled_from(
    ["!!python/object/apply:os.system [ls]", "!!python/name:os.system", "!!binary aGk=", "!!set {a, b}", "&a [*a]",
     "&a 1", "*a", "yes", "no", "on", "~", "2024-01-31", "1:30", "010", "0x1F", "1e-4", "1e3", ".inf", ".nan", "1_000",
     "[1, 2", "{a: 1", "'", '"', "@x", "%x", "`x", "a: b: c", "- 1", "? a", "|", ">", "---", "...", "\t", "<<: {a: 1}",
     "[" * 5000, "{a: " * 2000, "9" * 5000, "0x" + "f" * 5000, "x" * 200_000, "\0", "\ufeff", "\u2028", "# comment"]
)  # fmt: skip
LINES = st.one_of(
    st.sampled_from(["epochs: 3", "student: r50", "short_sides: [32, 64]", "teacher: null", "lr: 0.01", "1: 2", ""]),
    st.builds("{}: {}".format, st.sampled_from(["epochs", "student", "yes", "1", "a b", "'q'"]), TRICKS),
    st.builds("{}: {}".format, st.sampled_from(list(Parameters.model_fields)), SCALARS),
    TRICKS,
    st.text(max_size=12),
)
YAML = st.lists(LINES, max_size=5).map("\n".join)
PLAIN = (str, int, float, bool, list, dict, type(None))


@FUZZ
@given(st.one_of(YAML.map(lambda text: text.encode(errors="surrogatepass")), st.binary(max_size=30)))
def test_any_file_is_plain_values_or_a_line_that_names_it(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "row.yaml"
    path.write_bytes(content)
    try:
        values = read_values(path)
    except ValueError as error:
        assert is_one_line(error) and str(error).startswith(f"{path}: ")
        return
    assert all(type(name) is str and type(value) in PLAIN for name, value in values.items())
    try:
        make_parameters(values)
    except ValueError as error:
        assert is_one_line(error)


@FUZZ
@given(st.one_of(TRICKS, st.text(max_size=12), SCALARS.map(str)))
def test_any_text_on_the_command_line_is_a_plain_value_or_a_line_that_names_the_parameter(text):
    try:
        value = read_value("epochs", text)
    except ValueError as error:
        assert is_one_line(error) and str(error).startswith("parameter 'epochs': ")
        return
    assert type(value) in PLAIN


CELLS = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["%matplotlib inline", "!ls", "epochs = 3", "a, b = 1, 2", "x = y = 1", "f(1)", "x += 1", "x: int"]
    ),
    st.sampled_from(["# Parameters\nlr = float('nan')", "epochs = 3\0", "-" * 10_000 + "1", "(" * 500, "x = '\ud800'"]),
)


@FUZZ
@given(st.lists(CELLS, max_size=4), st.one_of(st.none(), st.dictionaries(st.text(max_size=5), SCALARS), SCALARS))
def test_any_cells_of_a_notebook_assign_what_is_in_its_variables(cells, settings):
    namespace = {"In": [*cells, "settings = None"], "epochs": 3, "x": 1, "lr": 0.1, "settings": settings}
    try:
        found = notebook_values(namespace)
    except ValueError as error:
        assert is_one_line(error) and "parameter 'settings'" in str(error) and not isinstance(settings, dict)
        return
    assert set(found) <= {"epochs", "x", "lr", *(settings if isinstance(settings, dict) else ())}
