"""Any values given as parameters make a run or raise one line that says what is wrong."""

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

MAX_LINE = 5000  # characters


def billion_laughs() -> list[Any]:
    """Return 10^30 values in 300 references, as YAML's aliases can make them."""
    value: list[Any] = ["lol"]
    for _ in range(30):
        value = [value] * 10
    return value


def deep_list() -> list[Any]:
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
    [10**5000, "x" * 10**6, [32] * 10**5, list(range(10**4)), ["a"] * 1000, billion_laughs(), deep_list(), [], {},
     {"a": {1: 2}}, np.zeros((3, 3)), np.float32(0.5), np.int64(3), float("nan"), (), {1, 2}]
)  # fmt: skip
OPTIONS = st.dictionaries(
    st.one_of(st.sampled_from(["topk", "min_iou", "cls_weight", "box_weight", "a\nb"]), st.text(max_size=6), SCALARS),
    st.one_of(SCALARS, ABSURD),
    max_size=3,
)
NAMES = {
    "profile": PROFILES, "method": METHODS, "student": BACKBONES, "teacher": BACKBONES, "head": HEADS,
    "teacher_head": HEADS, "cost_selection": COST_SELECTIONS, "assigner": ASSIGNERS, "optimizer": ["sgd", "adamw"],
    "schedule": ["step", "cosine"], "weights": ["none", "imagenet"], "data": ["toy", "mini"],
    "precision": ["32-true", "bf16-mixed"], "teacher_epochs": [1, 20], "teacher_width": [0.25, 0.5, 1.0],
    "width": [0.25, 1.0], "frozen_stages": [-1, 1], "norm_eval": [True, False], "iou_branch": [True, False],
    "cache_teacher": [True], "short_sides": [[32], [64, 128]], "epochs": [1, "3"], "devices": [1, 2],
    "assigner_options": [{}, {"topk": 13}, {"topk": "3", "min_iou": 0.2}, {"topk_ious": 5}, {"topkk": 1}, {"topk": 0},
                         {"separation": "b", "normalize_cost": True}],
    "method_options": [{}, {"cls_weight": 5}, {"min_iou": 0.3, "box_weight": 0}, {"min_iou": True}, {"weight": 1}],
    "rerun": ["stale", "never", "always"],
    "augment": [["zoom_out"], {"photometric": {"hue": "0.1"}}, ["zoomout"], {"iou_crop": {"p": 1}}, {"zoom_out": None}],
}  # fmt: skip


@st.composite
def given_values(draw: st.DrawFn) -> dict[Any, Any]:
    """Draw up to six parameters, most of them plausible on their own, some absurd ones, and some without a name."""
    values: dict[Any, Any] = {}
    for name in draw(st.lists(st.sampled_from(list(NAMES)), max_size=6)):
        values[name] = draw(st.sampled_from(list(NAMES[name])))
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 2]))):
        name = draw(st.one_of(st.sampled_from(list(Parameters.model_fields)), st.text(max_size=9), SCALARS))
        value = st.one_of(SCALARS, PATHS, ABSURD, st.lists(SCALARS, max_size=3), OPTIONS)
        values[name] = draw(PATHS if name in ("data", "out", "weights") and draw(st.booleans()) else value)
    return values


def is_one_line(error: ValueError) -> bool:
    return type(error) is ValueError and len(str(error).splitlines()) == 1 and len(str(error)) < MAX_LINE


@FUZZ
@given(given_values())
def test_any_values_make_a_run_or_raise_one_line_that_names_the_parameter(values):
    """A run and its teacher's run survive a round trip through JSON, and a folder can have their names."""
    try:
        parameters = make_parameters(values)
    except ValueError as error:
        assert is_one_line(error)
        assert any(name in str(error) for name in ("is unknown", "is now called", *Parameters.model_fields))
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
def test_any_file_has_plain_values_or_raises_one_line_that_names_it(tmp_path_factory, content):
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
def test_any_text_of_a_command_line_is_a_plain_value_or_raises_one_line_that_names_the_parameter(text):
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
def test_the_parameters_of_any_notebook_cells_are_among_its_variables(cells, settings):
    namespace = {"In": [*cells, "settings = None"], "epochs": 3, "x": 1, "lr": 0.1, "settings": settings}
    try:
        values = notebook_values(namespace)
    except ValueError as error:
        assert is_one_line(error) and "parameter 'settings'" in str(error) and not isinstance(settings, dict)
        return
    assert set(values) <= {"epochs", "x", "lr", *(settings if isinstance(settings, dict) else ())}
