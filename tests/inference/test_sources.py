"""Files to predict: from files, folders and patterns, each once, with different names and COCO's image ids."""

import sys
from pathlib import Path

import pytest

from lad.inference.sources import find_sources


@pytest.fixture
def folder(tmp_path) -> Path:
    """Images, a text, hidden files and the folder of an earlier prediction."""
    names = (
        "b.jpg", "a.PNG", "note.txt", ".hidden.png", "sub/c.webp", "sub/deep/d.gif", ".cache/e.png",
        "predicted/a.png", "predicted/predictions.json",
    )  # fmt: skip
    for name in names:
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).touch()
    return tmp_path / "photos"


def names(*given: str | Path) -> list[str]:
    return [source.name for source in find_sources(given)]


def test_a_folder_gives_all_images_below_it_sorted_but_no_hidden_ones_and_no_predictions(folder):
    assert names(folder) == ["a.PNG", "b.jpg", "sub/c.webp", "sub/deep/d.gif"]
    assert [source.image_id for source in find_sources(folder)] == [1, 2, 3, 4]
    assert all(source.path.is_absolute() and source.path.is_file() for source in find_sources(folder))


def test_a_linked_folder_is_searched_and_a_circle_of_links_only_once(folder):
    (folder / "sub" / "deep" / "circle").symlink_to(folder)
    (folder.parent / "linked").mkdir()
    (folder.parent / "linked" / "photos").symlink_to(folder)
    assert names(folder.parent / "linked") == [
        "photos/a.PNG", "photos/b.jpg", "photos/sub/c.webp", "photos/sub/deep/d.gif",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jpg", ["b.jpg"]),
        ("?.*", ["a.PNG", "b.jpg"]),
        ("**/*.webp", ["sub/c.webp"]),
        ("sub/*/*", ["deep/d.gif"]),
        ("*", ["a.PNG", "b.jpg"]),
    ],
)
def test_a_pattern_gives_the_images_that_match_named_below_its_fixed_folder(folder, pattern, expected, monkeypatch):
    assert names(folder / pattern) == expected
    monkeypatch.chdir(folder)
    assert names(pattern) == expected


def test_a_folder_before_a_pattern_may_have_brackets_in_its_name(folder, monkeypatch):
    moved = folder.rename(folder.with_name("photos [1]"))
    assert names(moved / "*.jpg") == ["b.jpg"]
    monkeypatch.chdir(moved)
    assert names("*.jpg") == ["b.jpg"] and names("sub/*/*") == ["deep/d.gif"]


def test_a_file_is_taken_whatever_its_name_even_with_brackets(folder):
    (folder / "x[1].jpg").touch()
    assert names(folder / "x[1].jpg", folder / "note.txt") == ["x[1].jpg", "note.txt"]


def test_no_file_is_taken_twice(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert names("b.jpg", folder, "./*.jpg", "sub/../b.jpg") == ["b.jpg", "a.PNG", "sub/c.webp", "sub/deep/d.gif"]


def test_files_of_the_same_name_are_named_by_their_folders(tmp_path):
    for name in ("one/x.jpg", "two/x.jpg", "two/y.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert names(tmp_path / "one", tmp_path / "two") == ["one/x.jpg", "two/x.jpg", "two/y.jpg"]
    assert names(tmp_path / "one", tmp_path / "two" / "y.jpg") == ["x.jpg", "y.jpg"]


@pytest.mark.parametrize(
    ("files", "ids"),
    [
        (["000000000139.jpg", "000000000285.jpg"], [139, 285]),
        (["1.jpg", "01.jpg"], [1, 2]),
        (["7.jpg", "x.jpg"], [1, 2]),
        (["²³.jpg", "7.jpg"], [1, 2]),
        (["1" * 30 + ".jpg"], [1]),
    ],
)
def test_image_ids_are_the_numbers_in_the_names_if_all_have_different_ones(tmp_path, files, ids):
    for name in files:
        (tmp_path / name).touch()
    assert [source.image_id for source in find_sources([tmp_path / name for name in files])] == ids


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["nowhere.jpg"], r"nowhere\.jpg: no such file or folder"),
        (["photos/*.tif"], r"photos/\*\.tif: no images found \(files that end with \.apng "),
        (["empty"], r"empty: no images found"),
        ([], "no images given"),
        (["a\0b"], "parameter 'source' = .* is not a path"),
        ([""], "parameter 'source' = '' is not a path"),
    ],
)
def test_what_has_no_images_is_one_line(folder, given, message, monkeypatch):
    monkeypatch.chdir(folder.parent)
    Path("empty").mkdir()
    with pytest.raises(ValueError, match=message) as error:
        find_sources(given)
    assert "\n" not in str(error.value)


def test_a_video_without_opencv_is_refused_at_once(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    (folder / "clip.MP4").touch()
    with pytest.raises(ValueError, match=r"clip\.MP4: videos need OpenCV"):
        find_sources([folder, folder / "clip.MP4"])
    assert "clip.MP4" not in names(folder)
