"""The check of all images before training: cached for files that passed, and strict or skipping."""

import os
from collections.abc import Callable

import pytest
from dataset_faults import FAULTS, save, tiny, write

from lad.data.annotations import read_annotations
from lad.data.coco import CocoDataset
from lad.data.validation.image_files import ensure_usable


@pytest.fixture
def open_tiny(tmp_path) -> Callable[[], CocoDataset]:
    images, path = write(tmp_path, tiny())
    return lambda: CocoDataset(images, read_annotations(path))


def test_a_usable_data_set_is_checked_once_with_a_log_line(open_tiny, capsys):
    dataset = open_tiny()
    assert ensure_usable(dataset, "stop") is dataset
    assert capsys.readouterr().out == "instances_train.json: checked 4 images\n"
    assert ensure_usable(open_tiny(), "stop") is not None and capsys.readouterr().out == ""


def test_the_images_of_a_subset_are_not_checked_again(open_tiny, capsys):
    ensure_usable(open_tiny().subset([0, 2]), "stop")
    assert "checked 2 images" in capsys.readouterr().out
    ensure_usable(open_tiny(), "stop")
    assert "checked 2 images" in capsys.readouterr().out


def test_an_image_that_changed_is_checked_again(open_tiny, capsys):
    ensure_usable(open_tiny(), "stop")
    file = open_tiny().images / "2.png"
    before = file.stat()
    file.write_bytes(b"x" * before.st_size)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    with pytest.raises(ValueError, match=r"2\.png: cannot be read as an image"):
        ensure_usable(open_tiny(), "stop")
    assert "checked 1 image\n" in capsys.readouterr().out


def test_all_images_are_checked_again_when_the_json_changed(open_tiny, tmp_path, capsys):
    ensure_usable(open_tiny(), "stop")
    document = tiny()
    document["images"][1]["width"] += 1
    save(tmp_path, document)
    with pytest.raises(ValueError, match=r"1\.png: is 16 x 12 pixels, annotated as 17 x 12"):
        ensure_usable(open_tiny(), "stop")
    assert capsys.readouterr().out.count("checked 4 images") == 2


def test_an_image_that_failed_is_not_cached(open_tiny):
    (open_tiny().images / "1.png").write_text("text")
    for _ in range(2):
        with pytest.raises(ValueError, match=r"1\.png"):
            ensure_usable(open_tiny(), "stop")


@pytest.mark.parametrize("content", ["", "[]", "{", '{"0": 5}', "[" * 100_000])
def test_a_corrupted_cache_counts_as_empty(open_tiny, cache, capsys, content):
    ensure_usable(open_tiny(), "stop")
    (cache_file,) = cache.rglob("*.json")
    cache_file.write_text(content)
    ensure_usable(open_tiny(), "stop")
    assert capsys.readouterr().out.count("checked 4 images") == 2


def test_without_a_writable_cache_all_images_are_checked_each_time(open_tiny, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setenv("LAD_CACHE", str(tmp_path / "file"))
    for _ in range(2):
        ensure_usable(open_tiny(), "stop")
    assert capsys.readouterr().out.count("checked 4 images") == 2


def test_an_unusable_image_stops_with_the_command_that_lists_all(open_tiny, tmp_path):
    for i in (1, 3):
        (open_tiny().images / f"{i}.png").unlink()
    with pytest.raises(ValueError) as caught:
        ensure_usable(open_tiny(), "stop")
    assert str(caught.value) == (
        f"{open_tiny().images / '1.png'}: no such image file and 1 more images; repair or remove the file, or set "
        f"bad_images=skip to train without it; `lad validate {tmp_path}` lists all problems"
    )


def test_an_unusable_image_is_skipped_if_the_user_says_so(open_tiny, capsys):
    (open_tiny().images / "1.png").unlink()
    usable = ensure_usable(open_tiny(), "skip")
    assert usable.annotations.records.image_id.tolist() == [0, 2, 3]
    assert "skipped unusable images: " in capsys.readouterr().out


def test_a_data_set_without_usable_images_is_refused_either_way(open_tiny):
    for file in open_tiny().images.iterdir():
        file.unlink()
    with pytest.raises(ValueError, match=r"none of the images of .*instances_train\.json can be used"):
        ensure_usable(open_tiny(), "skip")
    with pytest.raises(ValueError, match="lists no images"):
        ensure_usable(open_tiny().subset([]), "skip")


def test_an_image_behind_a_link_out_of_the_folder_is_refused(open_tiny, tmp_path):
    FAULTS["a link to outside"][0](tiny(), open_tiny().images, 1)
    with pytest.raises(ValueError, match=r"1\.png: is a link out of the images folder, to .*elsewhere\.png; copy"):
        ensure_usable(open_tiny(), "stop")


def test_the_images_folder_itself_may_be_a_link(open_tiny, tmp_path):
    (tmp_path / "linked").symlink_to(open_tiny().images)
    dataset = CocoDataset(tmp_path / "linked", open_tiny().annotations)
    assert len(ensure_usable(dataset, "stop")) == 4
