"""`lad checkpoints` lists every published checkpoint and where its file is."""

from pathlib import Path

import pytest

from lad.cli import main
from lad.models import zoo
from lad.models.zoo import CHECKPOINTS


@pytest.fixture
def lines(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(zoo, "project_folder", lambda: tmp_path / "project")

    def printed() -> dict[str, str]:
        assert main(["checkpoints"]) == 0
        return {line.split("  ")[0]: line for line in capsys.readouterr().out.splitlines()}

    return printed


def test_every_published_checkpoint_is_a_line_with_its_facts(lines):
    printed = lines()
    assert list(printed) == ["name", *CHECKPOINTS]
    for fact in ("PAA-R101", "43.5", "val", "2x", "~206", "not downloaded"):
        assert f"  {fact}" in printed["paa_r101_2x"]
    for fact in ("CoLAD", "46.0", "test-dev", "2x ms"):
        assert fact in printed["colad_r101"]


@pytest.mark.parametrize("folder", ["hub/checkpoints", "project/checkpoints"])
def test_a_file_that_is_here_is_shown_with_its_size_and_place(lines, tmp_path, folder):
    file = tmp_path / folder / Path(CHECKPOINTS["paa_r50_1x"].url).name
    file.parent.mkdir(parents=True)
    file.write_bytes(bytes(3_000_000))
    printed = lines()
    assert printed["paa_r50_1x"].endswith(f"  3   {file}") or printed["paa_r50_1x"].endswith(f"  3     {file}")
    assert "not downloaded" in printed["paa_r50_2x"]
