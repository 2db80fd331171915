"""Folders for results are tried before the work; runs and parameter files are in the suite's folder or the checkout."""

import errno
import os
from pathlib import Path

import pytest

from lad.utils import paths
from lad.utils.paths import SUITE_MARKER, ensure_writable, project_files, project_folder, shipped_files

CHECKOUT = Path(__file__).parents[2]


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


def test_a_checkout_is_the_project_wherever_a_command_is_started(tmp_path, monkeypatch):
    for folder in (tmp_path, CHECKOUT, CHECKOUT / "notebooks"):
        monkeypatch.chdir(folder)
        assert project_folder() == CHECKOUT
        assert project_files("params") == shipped_files("params") == CHECKOUT / "params"


@pytest.fixture
def wheel(tmp_path, monkeypatch) -> Path:
    """The folder of a package that is installed outside a checkout, beside stray folders of other packages."""
    for name in ("lad/suite/params", "notebooks", "params"):
        (tmp_path / "site" / name).mkdir(parents=True)
    monkeypatch.setattr(paths, "package_folder", lambda: tmp_path / "site" / "lad")
    return tmp_path / "site" / "lad"


def test_a_wheel_reads_its_own_parameter_files_and_writes_to_the_current_folder(wheel, tmp_path, monkeypatch):
    (tmp_path / "work" / "params").mkdir(parents=True)  # of something else
    monkeypatch.chdir(tmp_path / "work")
    assert project_folder() == tmp_path / "work"
    assert project_files("params") == shipped_files("params") == wheel / "suite" / "params"


@pytest.mark.parametrize("started_in", [".", "notebooks", "notebooks/mine"])
def test_the_nearest_folder_that_lad_init_made_comes_before_a_wheel_and_a_checkout(
    request, tmp_path, monkeypatch, started_in
):
    suite = tmp_path / "outer" / "suite"
    (suite / "notebooks" / "mine").mkdir(parents=True)
    for folder in (suite, suite.parent):
        (folder / SUITE_MARKER).touch()
    monkeypatch.chdir(suite / started_in)
    assert project_folder() == suite and project_files("notebooks") == suite / "notebooks"
    assert shipped_files("notebooks") == CHECKOUT / "notebooks"
    wheel = request.getfixturevalue("wheel")
    assert project_folder() == suite and shipped_files("notebooks") == wheel / "suite" / "notebooks"
