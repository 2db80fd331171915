"""What the README tells people to type works."""

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from lad.config.evaluation import EvaluationConfig
from lad.config.experiment import Parameters
from lad.models.detector import build_detector
from lad.models.serialization import save_openmmlab

PROJECT = Path(__file__).parents[1]
README = (PROJECT / "README.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_snippet_about_checkpoints_runs(tmp_path, monkeypatch):
    """With a slim network, whose file is named after its own digest, and small pictures under the names it uses."""
    (snippet,) = (text for text in SNIPPETS if "save_openmmlab" in text)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    save_openmmlab(build_detector("r18", num_classes=80, width=0.25, channels=64), "made.pth")
    digest = hashlib.sha256(Path("made.pth").read_bytes()).hexdigest()[:8]
    file = re.search(r"checkpoints/\S+-(\w{8})\.pth", snippet)
    Path("made.pth").rename(file[0].replace(file[1], digest))
    snippet = snippet.replace(file[1], digest)
    for name in ("street.jpg", "kitchen.png"):
        Image.fromarray(np.zeros((48, 64, 3), dtype=np.uint8)).save(name)
    exec(snippet.replace("(800, 1344)", "(64, 96)"), {})
    assert {path.name for path in tmp_path.glob("detector.*")} == {
        f"detector.{s}" for s in ("safetensors", "pth", "onnx")
    }


@pytest.mark.parametrize("path", sorted(set(re.findall(r"params/[\w./]+\.yaml", README))))
def test_parameter_files_it_names_are_there(path):
    assert yaml.safe_load((PROJECT / path).read_text())


def test_links_and_files_it_names_are_there():
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", README):
        file, _, heading = target.partition("#")
        assert (PROJECT / file).exists(), target
        headings = re.findall(r"^#+ (.+)$", (PROJECT / file).read_text(), re.MULTILINE) if heading else []
        assert not heading or heading in {title.lower().replace(" ", "-") for title in headings}, target
    for name in re.findall(r"`((?:notebooks|lad|docs|tests)/[\w./]+)`", README):
        assert (PROJECT / name).exists(), name


def test_parameters_it_passes_are_parameters():
    known = {*Parameters.model_fields, *EvaluationConfig.model_fields}
    assert set(re.findall(r" -p (\w+) ", README)) <= known
