"""File names: found in other spellings, never outside the images folder, never the same file for two names."""

import json
import unicodedata

import pytest

from lad.data.annotations import read_annotations
from lad.data.file_names import find_names, stays_inside


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.png", "sub/b.png", unicodedata.normalize("NFD", "Größe.png")):
        (folder / name).write_bytes(b"")
    return folder


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("a.png", "a.png"),
        ("sub/b.png", "sub/b.png"),
        ("sub\\b.png", "sub/b.png"),
        ("images/a.png", "a.png"),
        ("images\\sub\\b.png", "sub/b.png"),
        ("train\\a.png", "a.png"),
        (".\\a.png", "a.png"),
        (unicodedata.normalize("NFC", "Größe.png"), unicodedata.normalize("NFD", "Größe.png")),
        ("images\\" + unicodedata.normalize("NFC", "Größe.png"), unicodedata.normalize("NFD", "Größe.png")),
    ],
)
def test_an_image_is_found_in_other_spellings(images, given, found):
    result = find_names(images, [given])
    assert result.names == [found] and result.found == 1
    assert (result.note is None) == (result.exact == 1) == (given == found)


@pytest.mark.parametrize("name", ["elsewhere/a.png", "b.png", "sub", "sub\\a.png", "x" * 5000, "a\0b", "\ud800"])
def test_an_image_that_is_elsewhere_is_not_found(images, name):
    result = find_names(images, [name])
    assert result.names == [name] and result.note is None and (result.found == 0 or name == "sub")


def test_a_file_with_a_backslash_in_its_name_is_taken_first(images):
    (images / "sub\\b.png").write_bytes(b"")
    assert find_names(images, ["sub\\b.png"]).names == ["sub\\b.png"]


def test_two_names_never_become_the_same_file(images):
    names = ["train/a.png", "val/a.png"]
    assert find_names(images, names).names == names and find_names(images, names).found == 0
    assert find_names(images, ["a.png", "val/a.png"]).names == ["a.png", "val/a.png"]


def test_one_line_says_what_was_changed(images):
    note = find_names(images, ["a.png", "sub\\b.png", "images/a.png"]).note
    assert note == r"1 image file is found under another spelling (\ read as /), such as sub\b.png as sub/b.png"


@pytest.mark.parametrize(
    "name",
    ["../a.png", "..\\a.png", "b\\..\\..\\a.png", "/a.png", "\\a.png", "C:\\a.png", "c:a.png", "\\\\host\\s\\a.png"],
)
def test_names_outside_the_images_folder_are_refused(tmp_path, name):
    assert not stays_inside(name)
    path = tmp_path / "instances_train.json"
    image = {"id": 1, "file_name": name, "width": 4, "height": 3}
    path.write_text(json.dumps({"images": [image], "annotations": [], "categories": [{"id": 1, "name": "a"}]}))
    with pytest.raises(ValueError, match="image 1 has no file_name inside the images folder"):
        read_annotations(path)
