"""The validation part of data without one: the same images anywhere, of every class, about as many as asked for."""

import hashlib
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lad.data.val_share import validation_rows

SETS = st.lists(st.frozensets(st.integers(0, 4), max_size=3), min_size=2, max_size=9)
SHARES = st.floats(0.05, 0.95)


def names_of(classes):
    return [f"{number}.png" for number in range(len(classes))]


def validation_names(names, classes, share=0.2):
    return {name for name, is_val in zip(names, validation_rows(names, classes, share), strict=True) if is_val}


def one_sided(classes, rows):
    """Return the classes of two images or more that are in one part only."""
    parts = {
        label: [is_val for of_image, is_val in zip(classes, rows, strict=True) if label in of_image]
        for label in set().union(*classes)
    }
    return {label for label, of_class in parts.items() if len(of_class) > 1 and len(set(of_class)) == 1}


def test_the_images_are_those_of_the_lowest_hashes():
    names = [f"{number:03}.jpg" for number in range(20)]
    lowest = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())[:4]
    assert validation_names(names, [{0}] * 20) == set(lowest) == {"000.jpg", "003.jpg", "009.jpg", "017.jpg"}


@given(SETS, SHARES, st.randoms(use_true_random=False))
def test_neither_the_order_nor_the_spelling_of_names_matters(classes, share, random):
    names = names_of(classes)
    expected = validation_names(names, classes, share)
    pairs = list(zip(names, classes, strict=True))
    random.shuffle(pairs)
    shuffled, their_classes = zip(*pairs, strict=True)
    assert validation_names(shuffled, their_classes, share) == expected
    for prefix in ("images/", "images\\", "./", "a/b/"):
        rows = validation_rows([prefix + name for name in names], classes, share)
        assert {name for name, is_val in zip(names, rows, strict=True) if is_val} == expected


@given(SETS, SHARES)
@settings(deadline=None)
def test_each_class_of_two_images_is_in_both_parts_where_any_split_has_that(classes, share):
    rows = validation_rows(names_of(classes), classes, share)
    fewest = min(
        len(one_sided(classes, any_rows)) for any_rows in itertools.product((False, True), repeat=len(classes))
    )
    assert len(one_sided(classes, rows)) == fewest
    assert 0 < sum(rows) < len(rows)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5, 0.9])
def test_the_share_is_that_of_the_images_of_each_class(share):
    classes = [{number % 5} for number in range(500)]
    rows = validation_rows(names_of(classes), classes, share)
    for label in range(5):
        assert sum(rows[label::5]) == share * 100


def test_images_of_many_classes_do_not_reduce_the_share():
    classes = [set(range(10))] * 50
    assert sum(validation_rows(names_of(classes), classes, 0.2)) == 10


def test_entries_with_the_same_file_name_stay_together():
    names = [f"{number}.png" for number in range(10)] * 2
    rows = validation_rows(names, [{0}] * 20, 0.3)
    assert rows[:10] == rows[10:] and sum(rows) == 6
