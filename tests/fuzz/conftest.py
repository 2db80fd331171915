"""The number of inputs of every test of this folder: LAD_FUZZ; by default 40, the same ones each time.

A long run with new inputs each time:

    LAD_FUZZ=10000 python -m pytest tests/fuzz
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))  # so that tests can import strategies.py

DEFAULT_INPUTS = 40
INPUTS = int(os.environ.get("LAD_FUZZ", DEFAULT_INPUTS))

settings.register_profile(
    "fuzz",
    max_examples=INPUTS,
    derandomize=INPUTS == DEFAULT_INPUTS,
    database=None,
    deadline=None,
    print_blob=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)


@pytest.fixture(scope="module", autouse=True)
def _inputs() -> Iterator[None]:
    settings.load_profile("fuzz")
    yield
    settings.load_profile("default")
