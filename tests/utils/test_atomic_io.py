"""A file is replaced whole or not at all."""

import pytest

from lad.utils.atomic_io import atomic_write, remove_unfinished, write_text


def test_a_file_takes_the_place_of_the_older_one(tmp_path):
    path = tmp_path / "results.json"
    write_text(path, "old")
    write_text(path, "new")
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_an_error_in_the_middle_leaves_the_older_one_and_nothing_else(tmp_path):
    path = tmp_path / "results.json"
    write_text(path, "old")
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as unfinished:
        unfinished.write_text("ha")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_named(tmp_path):
    with pytest.raises(OSError, match=r"nowhere/results\.json: cannot be written \(No such file or directory\)"):
        write_text(tmp_path / "nowhere" / "results.json", "new")


def test_what_a_kill_left_in_the_middle_is_removed_and_nothing_else(tmp_path):
    whole = tmp_path / "epochs" / "0001.safetensors"
    whole.parent.mkdir()
    write_text(whole, "whole")
    for left in (tmp_path / "checkpoint-1.pt.unfinished", whole.with_name("0002.safetensors.unfinished")):
        left.write_text("ha")
    remove_unfinished(tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [whole]
