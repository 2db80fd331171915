"""Atomic writing: a file is replaced completely or not at all."""

import pytest

from lad.utils.atomic_io import atomic_write, remove_unfinished, write_text


def test_a_file_replaces_the_older_one(tmp_path):
    path = tmp_path / "results.json"
    write_text(path, "old")
    write_text(path, "new")
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_an_error_while_writing_leaves_the_older_file_and_nothing_else(tmp_path):
    path = tmp_path / "results.json"
    write_text(path, "old")
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as unfinished:
        unfinished.write_text("ha")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(OSError, match=r"nowhere/results\.json: cannot be written \(No such file or directory\)"):
        write_text(tmp_path / "nowhere" / "results.json", "new")


def test_only_unfinished_files_are_removed(tmp_path):
    whole = tmp_path / "epochs" / "0001.safetensors"
    whole.parent.mkdir()
    write_text(whole, "whole")
    for unfinished in (tmp_path / "checkpoint-1.pt.unfinished", whole.with_name("0002.safetensors.unfinished")):
        unfinished.write_text("ha")
    remove_unfinished(tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [whole]
