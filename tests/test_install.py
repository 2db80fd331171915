"""The wheel, built from the source distribution, installed into an empty environment and used in a folder elsewhere."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
import torch

import lad

PROJECT = Path(__file__).parents[1]
SOURCES = (
    "lad",
    "notebooks",
    "params",
    "pyproject.toml",
    "setup.py",
    "MANIFEST.in",
    "constraints.txt",
    "README.md",
    "LICENSE",
)
BUILD_SDIST = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
TINY = {
    "student": "r18", "epochs": 1, "train_images": 8, "batch_size": 4, "accelerator": "cpu",
    "short_sides": [128], "test_short_side": 128, "long_side": 128,
}  # fmt: skip

pytestmark = pytest.mark.slow


def run(*words: str | Path, cwd: Path) -> str:
    """Run a program in a folder, without this process's own search path, and return what it prints."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    environment |= {"LAD_CACHE": str(cwd / "cache"), "JUPYTER_DATA_DIR": str(cwd / "jupyter")}  # no kernels of the user
    done = subprocess.run(list(map(str, words)), cwd=cwd, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel that pip builds from the source distribution, offline."""
    folder = tmp_path_factory.mktemp("build")
    sources = folder / "sources"
    sources.mkdir()
    for name in SOURCES:
        copy = shutil.copytree if (PROJECT / name).is_dir() else shutil.copy
        copy(PROJECT / name, sources / name)
    run(sys.executable, "-c", BUILD_SDIST, folder, cwd=sources)
    (sdist,) = folder.glob("lad_suite-*.tar.gz")
    run(*PIP, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", folder, sdist, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def programs(wheel, tmp_path_factory) -> Path:
    """The programs of an environment that has the wheel and, by a path file, the packages of this one.

    A path file of a path file is not read, so that an editable install of this checkout is not found.
    """
    folder = tmp_path_factory.mktemp("installed") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    (site,) = run(
        programs / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder
    ).split()
    packages = {sysconfig.get_path("purelib"), str(Path(torch.__file__).parents[1])}
    (Path(site) / "packages.pth").write_text("".join(f"{path}\n" for path in packages))
    run(*PIP, "--python", programs / "python", "install", "--no-deps", "--no-index", wheel, cwd=folder)
    return programs


@pytest.fixture(scope="module")
def suite(programs, tmp_path_factory) -> Path:
    """A folder that the installed `lad init` made."""
    folder = tmp_path_factory.mktemp("elsewhere")
    run(programs / "lad", "init", "suite", cwd=folder)
    return folder / "suite"


def test_the_wheel_holds_every_module_notebook_parameter_file_and_template_and_nothing_else(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = [path for path in (PROJECT / "lad").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    expected = {path.relative_to(PROJECT).as_posix() for path in files}
    for pattern in ("notebooks/*.ipynb", "params/*.md", "params/**/*.yaml"):
        expected |= {f"lad/suite/{path.relative_to(PROJECT).as_posix()}" for path in PROJECT.glob(pattern)}
    assert names == expected


def test_the_environment_imports_the_wheels_package_with_its_version_and_own_files(programs, tmp_path):
    code = (
        "import importlib.metadata, lad; from lad.utils.paths import project_files, project_folder;"
        "print(lad.__file__, importlib.metadata.version('lad-suite'), project_files('params'), project_folder())"
    )
    file, version, params, project = run(programs / "python", "-c", code, cwd=tmp_path).split()
    assert Path(file).is_relative_to(programs.parent)
    assert version == lad.__version__
    assert Path(params) == Path(file).parent / "suite" / "params"
    assert Path(project) == tmp_path


def test_a_run_from_a_parameter_file_ends_in_the_folders_runs(programs, suite):
    changes = [word for name, value in TINY.items() for word in ("-p", name, str(value))]
    run(programs / "lad", "run", "params/table2_soft_label_vs_lad/baseline.yaml", *changes, cwd=suite)
    (results,) = (suite / "runs").glob("*baseline-r18*/results.json")
    assert json.loads(results.read_text())["versions"]["lad"] == lad.__version__
    assert "baseline" in run(programs / "lad", "results", cwd=suite)


def test_a_notebook_that_papermill_runs_beside_it_finds_the_same_folder(programs, suite):
    given = {"method": "baseline", "compare": False, "seed": 1, "settings": TINY}
    (suite / "tiny.yaml").write_text(json.dumps(given))
    papermill = [programs / "python", "-m", "papermill", "--no-progress-bar"]
    run(*papermill, "run_lad.ipynb", "done.out.ipynb", "-f", "../tiny.yaml", cwd=suite / "notebooks")
    assert [*(suite / "runs").glob("*baseline-r18-s1*/results.json")]
    assert not (suite / "notebooks" / "runs").exists()
