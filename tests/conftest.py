"""Reference cases and real data that the tests share."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

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
