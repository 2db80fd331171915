"""What values of an instances JSON mean: text as numbers, missing values, and what cannot be read."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lad.data.values import area_of, is_box, is_crowd_flag, read_box, read_crowd, read_integer, read_number

WRONG = [None, "", " ", "one", "1,5", "1_000", "0x10", "nan", "inf", "1e", "٣", "9" * 41, [], {}, [1]]


@given(st.integers(-(10**39), 10**39))
def test_an_integer_as_text_is_the_integer(number):
    assert read_number(str(number)) == read_integer(f" {number} ") == number
    assert type(read_integer(str(number))) is int


@given(st.floats(-1e30, 1e30))
def test_a_float_as_text_is_the_float(number):
    assert read_number(repr(number)) == number or len(repr(number)) > 40


@given(st.integers(-(2**53), 2**53))
def test_a_whole_number_with_decimals_is_an_integer(number):
    assert read_integer(float(number)) == read_integer(f"{number}.0") == number


@pytest.mark.parametrize("value", [*WRONG, 1.5, "1.5", True, math.nan, math.inf, 1e300])
def test_what_is_not_an_integer_stays_as_it_is(value):
    assert read_integer(value) is value


@pytest.mark.parametrize("value", WRONG)
def test_what_is_not_a_number_stays_as_it_is(value):
    assert read_number(value) is value


def test_a_box_of_texts_is_a_box_of_numbers():
    assert read_box(["1", " 2.5", 3, "4e1"]) == [1, 2.5, 3, 40] and is_box(read_box(["1", "2", "3", "4"]))
    for box in (["1", "2", "3"], ["1", "2", "3", "x"], [1, 2, 3, None], [1, 2, 3, math.nan], "1 2 3 4", None):
        assert not is_box(read_box(box))


@pytest.mark.parametrize(("value", "crowd"), [(None, 0), (False, 0), (True, 1), ("0", 0), ("1", 1), (0.0, 0), (2, 2)])
def test_a_crowd_flag_is_a_number(value, crowd):
    assert read_crowd(value) == crowd and is_crowd_flag(read_crowd(value))


@pytest.mark.parametrize("value", ["no", "true", "", [], {}, math.nan])
def test_other_crowd_flags_are_refused(value):
    assert not is_crowd_flag(read_crowd(value))


@pytest.mark.parametrize(
    ("value", "area"), [(7.5, 7.5), (0, 0), (None, 12), (-5.0, 12), (math.nan, 12), ("x", 12), (True, 12)]
)
def test_an_area_that_is_none_is_that_of_the_box(value, area):
    assert area_of(value, [1, 2, 3, 4]) == area
