"""What tests share: one thread for each of several processes, reference cases, real data, finished tiny runs."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if "PYTEST_XDIST_WORKER" in os.environ:  # before NumPy and torch are imported, and for the processes that tests start
    os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pytest
import torch
from filelock import FileLock

from lad.structures import Targets

if TYPE_CHECKING:
    from lad.experiments.run_store import Run

TESTS = Path(__file__).parent
GOLDEN = TESTS / "golden"
REAL_DATA = Path(os.environ.get("LAD_TEST_DATA", TESTS.parents[1] / "shared" / "data"))
MARKED_FOLDERS = {"browser": pytest.mark.browser, "notebooks": pytest.mark.notebook}
# With several test processes, a file's tests run in the same one, where its fixtures are; but for these:
SPREAD = {  # tests of seconds each that share no fixture of their own
    "experiments/test_fingerprint.py",
    "experiments/test_runner.py",
    "inference/test_onnx.py",
    "notebooks/test_notebooks.py",
    "paper/test_runner.py",
    "reliability/test_kills.py",
    "test_benchmarks.py",
}
TOGETHER = {  # files that share an expensive fixture, or whose tests start several processes and should take turns
    **dict.fromkeys(
        (
            "browser/test_explorer.py",
            "browser/test_notebook_comforts.py",
            "browser/test_report.py",
            "browser/test_voila.py",
        ),
        "browser",
    ),
    **dict.fromkeys(("reliability/test_devices.py", "training/test_distributed.py"), "devices"),
}

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of folders."""
    for item in items:
        marker = MARKED_FOLDERS.get(item.path.relative_to(TESTS).parts[0])
        if marker is not None:
            item.add_marker(marker)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Distribute the tests over processes. xdist's own groups need markers, which pytest 9.2 does not pass on to it."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::")[0].removeprefix("tests/")
            return nodeid if file in SPREAD else TOGETHER.get(file, file)

    return ByFile(config, log)


class Case(dict):
    """The arrays of one reference case as tensors."""

    def __getattr__(self, name: str) -> torch.Tensor:
        return self[name]


@pytest.fixture(scope="session")
def golden() -> Callable[[str], Case]:
    def load(name: str) -> Case:
        with np.load(GOLDEN / f"{name}.npz", allow_pickle=False) as arrays:
            return Case({key: torch.from_numpy(arrays[key]) for key in arrays.files if arrays[key].dtype.kind != "U"})

    return load


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    def find(name: str) -> Path:
        folder = REAL_DATA / name
        if not folder.exists():
            pytest.skip(f"the real data set {name} is not in {REAL_DATA}; set LAD_TEST_DATA to the folder that has it")
        return folder

    return find


@pytest.fixture(scope="session")
def make_once(tmp_path_factory) -> Callable[[str, Callable[[Path], None]], Path]:
    """Makes a folder in the first of several processes to ask for it; all of them read it, and none writes."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"

    def folder_of(name: str, make: Callable[[Path], None]) -> Path:
        folder, complete = shared / name, shared / f"{name}.complete"
        shared.mkdir(exist_ok=True)
        with FileLock(shared / f"{name}.lock"):
            if not complete.exists():
                make(folder)
                complete.touch()
        return folder

    return folder_of


@pytest.fixture(scope="session")
def shapes(make_once) -> Path:
    """The toy shapes, small: twelve images to train on and six to evaluate."""
    from lad.data.synthetic.folders import write_shapes

    return make_once("shapes", lambda folder: write_shapes(folder, "toy", {"train": 12, "val": 6}))


@pytest.fixture(scope="session")
def trained_runs(make_once, shapes) -> "dict[str, Run]":
    """Finished runs of two epochs to read, oldest first: "plain", "without epochs", "teacher" and its student, "lad".

    A test that writes into a run's folder copies it first.
    """
    from tiny_runs import open_runs, train_runs

    return open_runs(make_once("runs", lambda out: train_runs(shapes, out)))


@pytest.fixture
def targets() -> Targets:
    """Three gts on two images of 96 x 128 and 90 x 120 pixels."""
    return Targets(
        boxes=torch.tensor([[10.0, 10, 60, 70], [30.0, 5, 120, 90], [5.0, 20, 40, 40]]),
        labels=torch.tensor([0, 1, 2]),
        image=torch.tensor([0, 0, 1]),
        image_hw=torch.tensor([[96, 128], [90, 120]]),
    )
