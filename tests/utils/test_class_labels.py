"""Labels of classes: short, on one line, distinguishable, and in characters that can be drawn."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lad.utils import class_labels as module
from lad.utils import fonts
from lad.utils.class_labels import MAX_LABEL_LENGTH, class_labels, shorten


@pytest.fixture(autouse=True)
def forget_messages():
    """Forget which messages were logged."""
    module._class_labels.cache_clear()
    yield
    module._class_labels.cache_clear()


def test_a_short_name_is_its_own_label():
    assert class_labels(["person", "$x_1^{2}$", "سيارة"]) == ("person", "$x_1^{2}$", "سيارة")


def test_a_long_name_ends_in_an_ellipsis():
    assert class_labels(["blue " * 30, "red"]) == ("blue blue blue blue…", "red")


def test_long_names_with_an_equal_beginning_get_their_numbers():
    assert class_labels(["blue " * 30, "red", "blue " * 29 + "green"]) == (
        "blue blue blue… (0)", "red", "blue blue blue… (2)",
    )  # fmt: skip


def test_chinese_letters_count_twice_as_they_are_twice_as_wide():
    assert shorten("红" * 10) == "红" * 10 and shorten("红" * 11) == "红" * 9 + "…"


def test_a_name_that_cannot_be_drawn_becomes_its_number_and_one_line_names_the_letters(capsys, monkeypatch):
    monkeypatch.setattr(fonts, "_font_of", {})
    monkeypatch.setattr(fonts, "_installed_files", list)  # no font but the default one
    for _ in range(2):
        assert class_labels(["红色", "red", "a 红"]) == ("class 0", "red", "class 2")
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("2 of 3 class names cannot be drawn: no installed font has 红色;")
    assert "Noto Sans CJK" in line


def test_line_breaks_and_invisible_characters_are_left_out():
    assert class_labels(["traffic\nlight", "a\u202eb\ufe0f", " \n"]) == ("traffic light", "ab", "class 2")


@given(st.lists(st.text("ab (0)1$_", max_size=40), unique=True))
def test_labels_of_different_names_differ(names):
    distinct = list({" ".join(name.split()) for name in names} - {""})
    assert len(set(class_labels(distinct))) == len(distinct)
    assert all(len(label) <= MAX_LABEL_LENGTH + 6 for label in class_labels(distinct))
