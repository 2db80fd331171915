"""Reference cases and real data that the tests share."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from lad.structures import Targets

GOLDEN = Path(__file__).parent / "golden"
REAL_DATA = Path(__file__).parents[2] / "shared" / "data"


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
            pytest.skip(f"the real data set {name} is not at {REAL_DATA}")
        return folder

    return find


@pytest.fixture
def targets() -> Targets:
    """Three gts on two images of 96 x 128 and 90 x 120 pixels."""
    return Targets(
        boxes=torch.tensor([[10.0, 10, 60, 70], [30.0, 5, 120, 90], [5.0, 20, 40, 40]]),
        labels=torch.tensor([0, 1, 2]),
        image=torch.tensor([0, 0, 1]),
        image_hw=torch.tensor([[96, 128], [90, 120]]),
    )
