"""What a run runs on: whether the machine has it, over how many processes, and what it is."""

import os
import platform
from typing import Any

import psutil
import torch
from lightning.fabric import Fabric
from torch.distributed import is_torchelastic_launched

from lad.config.experiment import Parameters


def find_accelerator(accelerator: str, devices: int = 1, precision: str = "32-true") -> str:
    """ "cuda" or "cpu". Raises ValueError when the machine has not the devices that are asked for."""
    wants_cuda = accelerator == "cuda" or (accelerator == "auto" and torch.cuda.is_available())
    found = torch.cuda.device_count()
    if wants_cuda and found < devices:
        raise ValueError(f"devices={devices}, but this machine has {found} CUDA devices; give fewer or accelerator=cpu")
    if precision == "16-mixed" and not wants_cuda:
        raise ValueError("precision=16-mixed needs a CUDA device; give 32-true or bf16-mixed")
    return "cuda" if wants_cuda else "cpu"


def devices_and_nodes(parameters: Parameters) -> tuple[int, int]:
    """Devices of this machine, and machines. Raises ValueError when torchrun started another number of processes."""
    if not is_torchelastic_launched():
        return parameters.devices, 1
    world_size, here = int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
    if world_size != parameters.devices:
        raise ValueError(f"devices={parameters.devices}, but {world_size} processes were started; give as many")
    return here, world_size // here


def hardware(fabric: Fabric) -> dict[str, Any]:
    """What a run ran on."""
    is_gpu = fabric.device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(fabric.device) if is_gpu else platform.processor() or "cpu",
        "devices": fabric.world_size,
        "platform": platform.platform(terse=True),
        "cpu_cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
    }
