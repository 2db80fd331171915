"""Devices of a run: whether this machine has them, how many processes use them, and a description for results."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import torch
from lightning_fabric import Fabric
from torch.distributed import is_torchelastic_launched

from lad.config.groups import RuntimeParameters


def find_accelerator(accelerator: str, devices: int = 1, precision: str = "32-true") -> str:
    """Return the accelerator to use, "cuda" or "cpu".

    Args:
        accelerator: "auto", "cuda" or "cpu".
        devices: Number of devices that the run needs.
        precision: Precision of the run; "16-mixed" needs CUDA.

    Raises:
        ValueError: This machine has too few devices, or none for the precision.
    """
    wants_cuda = accelerator == "cuda" or (accelerator == "auto" and torch.cuda.is_available())
    available = torch.cuda.device_count()
    if wants_cuda and available < devices:
        raise ValueError(
            f"devices={devices}, but this machine has {available} CUDA devices; give fewer or accelerator=cpu"
        )
    if precision == "16-mixed" and not wants_cuda:
        raise ValueError("precision=16-mixed needs a CUDA device; give 32-true or bf16-mixed")
    return "cuda" if wants_cuda else "cpu"


def available_cores() -> int:
    """Return the number of cores that this process may use: its affinity, and at most OMP_NUM_THREADS if it is set."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(limit)) if limit.isdigit() and int(limit) > 0 else cores


@contextmanager
def limit_threads(threads: int) -> Iterator[None]:
    """Let PyTorch use this number of CPU threads within the block; 0 changes nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def devices_and_nodes(parameters: RuntimeParameters) -> tuple[int, int]:
    """Return the number of the run's devices on this machine, and the number of machines.

    Raises:
        ValueError: torchrun started more or fewer processes than the run has devices.
    """
    if not is_torchelastic_launched():
        return parameters.devices, 1
    world_size, local_size = int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
    if world_size != parameters.devices:
        raise ValueError(
            f"devices={parameters.devices}, but {world_size} processes were started; start as many as devices"
        )
    return local_size, world_size // local_size


def hardware(fabric: Fabric) -> dict[str, Any]:
    """Describe the device and the machine, for a run's results."""
    is_gpu = fabric.device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(fabric.device) if is_gpu else platform.processor() or "cpu",
        "devices": fabric.world_size,
        "platform": platform.platform(terse=True),
        "cpu_cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
    }
