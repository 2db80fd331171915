"""Hyper-parameters by name become the fields of a dataclass or one line that says what is wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, StrictBool
from pydantic.dataclasses import dataclass

from lad.utils.options import OPTIONS, build_options


@dataclass(frozen=True, config=OPTIONS)
class Rule:
    """A rule with two hyper-parameters."""

    topk: int = Field(default=9, ge=1, le=1000)
    min_iou: float = Field(default=0.1, gt=0, lt=1)


@dataclass(frozen=True, config=OPTIONS)
class Switch:
    """A rule that can be switched off."""

    enabled: StrictBool = True


@dataclass(frozen=True, config=OPTIONS)
class NoFields:
    """A rule without hyper-parameters."""


def build(options: dict) -> Rule:
    return build_options("rule_options", "rule 'best'", Rule, options)


def test_given_values_become_fields_and_the_rest_keep_their_defaults():
    assert build({}) == Rule(9, 0.1)
    assert build({"topk": 13}) == Rule(13, 0.1)
    assert build({"min_iou": "0.5", "topk": "3"}) == Rule(3, 0.5)  # as text, from a command line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"topkk": 1}, "'topkk' is unknown for rule 'best'; did you mean 'topk'?"),
        ({"radius": 1}, "'radius' is unknown for rule 'best'; it has topk, min_iou"),
        ({3: 1}, "3 is unknown for rule 'best'; it has topk, min_iou"),
        ({"topk": 0}, "topk = 0 of rule 'best': input should be greater than or equal to 1"),
        ({"topk": 1.5}, "topk = 1.5 of rule 'best': input should be a valid integer"),
        ({"topk": None}, "topk = None of rule 'best': input should be a valid integer"),
        ({"topk": "many"}, "topk = 'many' of rule 'best': input should be a valid integer"),
        ({"topk": True}, "topk = True of rule 'best' cannot be true or false"),
        ({"min_iou": False}, "min_iou = False of rule 'best' cannot be true or false"),
        ({"min_iou": 1}, "min_iou = 1 of rule 'best': input should be less than 1"),
        ({"min_iou": float("nan")}, "min_iou = nan of rule 'best': input should be a finite number"),
        ({"min_iou": [0.1]}, "min_iou = [0.1] of rule 'best': input should be a valid number"),
    ],
)
def test_an_invalid_option_raises_one_line_that_names_parameter_option_and_owner(options, message):
    with pytest.raises(ValueError) as caught:
        build(options)
    assert str(caught.value).startswith(f"parameter 'rule_options': {message}")
    assert "\n" not in str(caught.value) and type(caught.value) is ValueError


def test_only_a_switch_can_be_true_or_false():
    assert build_options("rule_options", "rule 'best'", Switch, {"enabled": False}) == Switch(False)
    for value in ("false", 0):
        with pytest.raises(ValueError, match=r"^parameter 'rule_options': enabled = .* input should be a valid bool"):
            build_options("rule_options", "rule 'best'", Switch, {"enabled": value})


def test_an_owner_without_options_says_so():
    with pytest.raises(
        ValueError, match=r"^parameter 'rule_options': 'topk' is unknown for rule 'plain'; it has no opt"
    ):
        build_options("rule_options", "rule 'plain'", NoFields, {"topk": 1})


HUGE = st.just(5000).map(lambda digits: 10**digits)  # Python refuses to print it
NAMES = st.one_of(st.sampled_from(["topk", "min_iou", "topkk", "a\nb", "", None, ("topk",)]), HUGE, st.text(max_size=6))
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), HUGE, st.floats(), st.text(max_size=6),
    st.lists(st.integers(), max_size=2), st.sampled_from(["x" * 10**5, {"a": {1: 2}}, "a\nb"]),
)  # fmt: skip


@given(st.dictionaries(NAMES, VALUES, max_size=3))
def test_any_mapping_is_a_rule_or_one_short_line(options):
    try:
        rule = build(options)
    except ValueError as error:
        assert type(error) is ValueError and len(str(error).splitlines()) == 1 and len(str(error)) < 1000
        return
    assert 1 <= rule.topk <= 1000 and 0 < rule.min_iou < 1
