"""Stage "compiled" of `gpu.py`: variants of `step.py` with torch.compile; the first round includes the compilation."""

import torch
from gpu_stage import Left, Save, Settings
from gpu_steps import measure_variants

COMPILED = ("bare network", "baseline", "LAD")


def run(settings: Settings, save: Save, left: Left) -> None:
    """Measure the compiled variants of R50, then of R101."""
    torch._dynamo.utils.counters.clear()
    students = ("r18",) if settings.is_tiny else ("r50", "r101")
    names = COMPILED[:1] if settings.is_tiny else COMPILED
    measure_variants(settings, save, left, students, names, compile=True)
    save({"graph_breaks": sum(torch._dynamo.utils.counters["graph_break"].values())})
