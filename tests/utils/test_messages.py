"""Messages name any value in one readable line."""

import numpy as np
import pytest
from pydantic import BaseModel, ValidationError

from lad.utils.messages import counted, format_validation_error, format_value, given_values, invalid_choice_message


class Model(BaseModel):
    epochs: int = 1
    sides: list[int] = [1]


def explained(**given) -> str:
    with pytest.raises(ValidationError) as caught:
        Model(**given)
    return format_validation_error(caught.value)


@pytest.mark.parametrize(
    "name",
    [1, None, True, ("a", "b"), "epo\nchs", "x" * 10**6],
    ids=["int", "none", "bool", "pair", "two lines", "long"],
)
def test_an_unknown_name_of_any_type_is_refused_in_one_line(name):
    with pytest.raises(ValueError, match=r"^parameter .* is unknown") as caught:
        given_values({name: 1}, Model)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000


def nested(depth: int) -> list:
    value: list = [1]
    for _ in range(depth):
        value = [value] * 10  # as YAML anchors allow: one list, referred to many times
    return value


@pytest.mark.parametrize(
    "value",
    ["x" * 10**6, nested(30), 10**5000, list(range(10**5)), np.zeros((100, 100)), "two\nlines", ["\r"] * 3],
    ids=["long", "nested", "large", "many", "array", "two lines", "carriage returns"],
)
def test_a_value_is_formatted_in_one_line_of_readable_length(value):
    assert len(format_value(value)) < 1000 and len(format_value(value).splitlines()) == 1
    line = explained(epochs=[value])
    assert line.startswith("parameter 'epochs' = ") and len(line) < 1000 and len(line.splitlines()) == 1
    assert len(invalid_choice_message("method", value, ["lad", "solad"])) < 1000


def test_only_the_first_of_many_errors_are_listed():
    line = explained(sides=["a"] * 1000)
    assert line.startswith("parameter 'sides.0' = 'a': ") and line.endswith("; and 990 more")
    with pytest.raises(ValueError, match=r"; and 5 more$"):
        given_values(dict.fromkeys("abcdefghijklmno"), Model)


def test_a_number_has_its_noun_in_singular_or_plural():
    assert [counted(number, "image") for number in (0, 1, 1024)] == ["0 images", "1 image", "1,024 images"]
