"""The README, CONTRIBUTING and docs/ name commands, files and parameters that exist."""

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from lad.cli import COMMANDS
from lad.config.evaluation import EvaluationConfig
from lad.config.experiment import Parameters
from lad.models.detector import build_detector
from lad.models.serialization import save_openmmlab
from lad.paper.definitions import TABLES

PROJECT = Path(__file__).parents[1]
PAGES = [
    PROJECT / "README.md",
    PROJECT / "CONTRIBUTING.md",
    *sorted((PROJECT / "docs").glob("*.md")),
    PROJECT / "params" / "README.md",
    PROJECT / "benchmarks" / "README.md",
]
FOLDERS = "notebooks|lad|docs|tests|params|scripts|benchmarks"
MAX_README_LINES = 150

by_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(PROJECT)))


def commands(page: Path) -> list[str]:
    """Return the lines of indented and fenced blocks, without their comments."""
    blocks = re.findall(r"^(?: {4}|\t)(.+)$", page.read_text(), re.MULTILINE)
    blocks += "\n".join(re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL)).splitlines()
    return [re.split(r"\s+#", line)[0].strip() for line in blocks]


def test_the_readme_is_short():
    assert len((PROJECT / "README.md").read_text().splitlines()) <= MAX_README_LINES


def test_the_snippet_about_checkpoints_runs(tmp_path, monkeypatch):
    """With a slim network, whose file is named after its own digest, and small images under the names it uses."""
    snippets = re.findall(r"```python\n(.*?)```", (PROJECT / "docs" / "checkpoints.md").read_text(), re.DOTALL)
    (snippet,) = (text for text in snippets if "save_openmmlab" in text)
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
        f"detector.{suffix}" for suffix in ("safetensors", "pth", "onnx")
    }


def test_the_snippets_from_python_use_the_public_interface():
    import lad

    for page in PAGES:
        for snippet in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
            compile(snippet, str(page), "exec")
            assert set(re.findall(r"\blad\.([a-z_]+)\(", snippet)) <= set(lad.__all__), page


@by_page
def test_links_lead_to_files_and_headings(page):
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", prose):
        file, _, heading = target.partition("#")
        path = page.parent / file if file else page
        assert path.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
            assert heading in {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}, target


@by_page
def test_files_it_names_exist(page):
    text = re.sub(r"^Files: .*$", "", page.read_text(), flags=re.MULTILINE)  # of a recipe, to be written
    for name in re.findall(rf"`((?:{FOLDERS})/[\w./]+)`", text):
        assert (PROJECT / name).exists(), name
    for name in re.findall(r"(?:^|[ /])(params/[\w./]+\.yaml)", text):
        assert yaml.safe_load((PROJECT / name).read_text()), name
    for name in re.findall(r"papermill (?:--help-notebook )?(?:notebooks/)?(\w+\.ipynb)", text):
        assert (PROJECT / "notebooks" / name).exists(), name


@by_page
def test_parameters_it_passes_are_known(page):
    known = {*Parameters.model_fields, *EvaluationConfig.model_fields, "compare", "seeds", "train", "table"}
    for line in commands(page):
        if line.startswith(("papermill", "lad ")):
            assert set(re.findall(r" -p '?(\w+)[ =]", f"{line} ")) <= known, line
            for settings in re.findall(r"-y '(.+?)'", line):
                assert set(yaml.safe_load(settings)["settings"]) <= known, line


@by_page
def test_subcommands_make_targets_and_tables_exist(page):
    targets = re.search(r"^\.PHONY: (.+)$", (PROJECT / "Makefile").read_text(), re.MULTILINE)[1].split()
    for line in commands(page):
        words = line.split()
        if words[:1] == ["lad"]:
            assert words[1] in COMMANDS or words[1].startswith("--"), line
            assert words[1] != "table" or words[2] in {*TABLES, "TABLE", "<table>", "mine.yaml"}, line
        if words[:1] == ["make"]:
            assert words[1] in targets, line
        if words[:1] == ["python"] and words[1].endswith(".py"):
            assert (PROJECT / words[1]).exists(), line


def test_the_architecture_page_names_every_module():
    text = (PROJECT / "docs" / "architecture.md").read_text()
    modules = {path.stem for path in (PROJECT / "lad").rglob("*.py") if path.stem != "__init__"}
    assert {name for name in modules if not re.search(rf"\b{name}\b", text)} == set()
