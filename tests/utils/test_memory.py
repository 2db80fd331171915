"""The allocator keeps freed memory, so that allocating a block again causes no page faults; peaks are measured."""

import os
import platform
import subprocess
import sys

import pytest

needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the options are glibc's")

FAULTS = """
import resource, torch
from lad.utils.memory import keep_freed_memory
torch.set_num_threads(1)
print(keep_freed_memory())
for number in range(3):
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [torch.ones(2**18) for _ in range(128)]  # 128 MiB, 32,768 pages
    del blocks
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults)
"""


PEAKS = """
import torch
from lad.utils.memory import peak_memory, reset_peak_memory
block = torch.ones(2**26)  # 256 MiB
reset_peak_memory()
print(peak_memory(torch.device("cpu")))
del block
reset_peak_memory()
print(peak_memory(torch.device("cpu")))
"""


def run(program: str = FAULTS, **settings: str) -> list[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment | settings, capture_output=True, text=True, check=True)
    return done.stdout.split()


@needs_glibc
def test_a_block_that_is_allocated_again_causes_no_page_faults():
    possible, faults = run()
    assert possible == "True" and int(faults) < 5_000


@needs_glibc
def test_the_users_own_settings_of_the_allocator_are_kept():
    possible, faults = run(MALLOC_TRIM_THRESHOLD_="131072")
    assert possible == "False" and int(faults) > 10_000


@pytest.mark.skipif(platform.system() != "Linux", reason="peaks are measured by Linux's /proc")
def test_the_peak_is_that_since_the_last_reset():
    with_block, without = map(int, run(PEAKS))
    assert 2**27 < without < with_block - 2**27
