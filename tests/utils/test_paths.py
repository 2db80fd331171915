"""Folders for results: whether they can be written is tried before the work."""

import errno
import os
from pathlib import Path

import pytest

from lad.utils.paths import ensure_writable


def refusal(folder: Path) -> str:
    with pytest.raises(
        ValueError, match=r"^parameter 'out' = '.*: cannot be written .*; give another folder$"
    ) as caught:
        ensure_writable(folder, "out")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_that_can_be_made_is_not_made_yet(tmp_path):
    ensure_writable(tmp_path / "a" / "b", "out")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_unchanged(tmp_path):
    (tmp_path / "results.json").write_text("{}")
    ensure_writable(tmp_path, "out")
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_a_file_in_the_place_of_the_folder_or_above_it_is_refused(tmp_path):
    file = tmp_path / "file"
    file.touch()
    assert "(Not a directory)" in refusal(file)
    assert "(Not a directory)" in refusal(file / "a" / "b")


def test_a_name_that_is_too_long_leaves_no_folders(tmp_path):
    assert "(File name too long)" in refusal(tmp_path / "a" / "b" / ("c" * 300))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc, which nobody can write")
def test_a_file_system_without_files_of_users_is_refused():
    refusal(Path("/proc/results"))


def test_a_full_disk_is_refused_and_leaves_no_folders(tmp_path, monkeypatch):
    def full(_file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert "(No space left on device)" in refusal(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="permissions do not bind root")
def test_a_folder_without_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    assert "(Permission denied)" in refusal(tmp_path / "a")
