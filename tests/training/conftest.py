"""A device, a batch and small networks that the tests of training share."""

from collections.abc import Callable

import pytest
import torch
from lightning_fabric import Fabric

from lad.models.detector import Detector, build_detector
from lad.structures import Batch, Targets


@pytest.fixture
def fabric() -> Fabric:
    return Fabric(accelerator="cpu", devices=1)


@pytest.fixture
def batch(targets: Targets) -> Batch:
    """Two random images with three gts."""
    torch.manual_seed(0)
    image_id, is_flipped = torch.tensor([7, 8]), torch.tensor([False, True])
    return Batch(torch.randn(2, 3, 96, 128), targets, image_id, targets.image_hw, is_flipped)


@pytest.fixture
def make_detectors() -> Callable[[], tuple[Detector, Detector]]:
    """A function that builds a student and a teacher, with equal weights each time."""

    def make() -> tuple[Detector, Detector]:
        torch.manual_seed(1)
        student, teacher = (build_detector("r18", 3, 0.25, channels=64).eval() for _ in range(2))
        return student, teacher

    return make
