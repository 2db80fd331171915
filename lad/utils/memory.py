"""Memory of this process: the C library's allocator, and the largest amount in use."""

import ctypes
import os
from pathlib import Path

import torch

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # numbers of these options in glibc's malloc.h
KEPT_BYTES = 2**29
MAX_KEPT_BLOCK = 2**25  # glibc's own limit; larger blocks come from the system, else they would leave holes
USER_SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_memory() -> bool:
    """Let this process keep up to 512 MiB of freed memory for its next allocations; return whether that was possible.

    By default glibc returns memory to the system whenever the end of its heap is free, several times in every step of a
    network on a CPU, and gets it back by one page fault for each 4 KiB: about 6 % of a small step. The two options
    belong together: setting one alone fixes the other at its small initial value. Does nothing with another C library,
    or if the user has set the allocator's options.
    """
    if any(name in os.environ for name in USER_SETTINGS):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc, or not a POSIX system
        return False
    return bool(mallopt(MMAP_THRESHOLD, MAX_KEPT_BLOCK) and mallopt(TRIM_THRESHOLD, KEPT_BYTES))


def reset_peak_memory() -> None:
    """Start a new measurement of `peak_memory`; without effect on the CPU outside Linux."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets the peak of the resident memory
    except OSError:
        return


def peak_memory(device: torch.device) -> int | None:
    """Return the largest amount of memory in use since `reset_peak_memory`, in bytes.

    It is the memory of PyTorch's tensors on a GPU, and the resident memory of this process on the CPU: its code and
    data are part of that. None if the system does not tell.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    peak = next((line for line in lines if line.startswith("VmHWM:")), None)
    return None if peak is None else int(peak.split()[1]) * 1024
