"""Everything that only a GPU can show, in eight minutes: `make gpu`.

    python benchmarks/gpu.py --device cuda
    python benchmarks/gpu.py --device cuda --stages mini --minutes 60 --epochs 24
    python benchmarks/gpu.py --device cpu --tiny                # the same code, small, as in the tests

Stages, each a process with a time limit; what is left over goes to the later ones:

    checks      the reference cases on the device against the CPU; device synchronizations; kernels
    steps       a training step of each variant, R50 and R101, with peak memory
    inference   detection with score voting
    compiled    some of the steps with torch.compile
    mini        Table 2 on generated images, which are drawn while the first stages run

Each writes <out>/<card>/<stage>.json after every result, and <out>/<card>/summary.md follows, so a run that is cut off
keeps what it has. Run it again with --stages for the rest.
"""

import argparse
import re
import shlex
import signal
import sys
import time
from pathlib import Path

import psutil
import torch
from gpu_stage import FAILED, Settings, run_stage, start_process, stop_process
from gpu_summary import write_summary
from gpu_table import draw

from lad.utils.paths import project_folder
from lad.utils.progress import log

STAGES = {  # module, and share of the time that is left for it and the later ones
    "checks": ("gpu_checks", 50),
    "steps": ("gpu_steps", 130),
    "inference": ("gpu_inference", 40),
    "compiled": ("gpu_compiled", 80),
    "mini": ("gpu_table", 160),
}
END = 20  # seconds at the end, to save checkpoints and write the table
MAX_DRAWING = 30  # seconds that the measurements wait for the drawing of images, which needs the CPU


def main() -> int:
    """Run the stages; return 1 if one of them failed, else 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--minutes", type=float, default=8, help="total time")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES), metavar="STAGE")
    parser.add_argument("--epochs", type=int, help="of the runs of mini; by default as many as fit")
    parser.add_argument("--out", type=Path, default=project_folder() / "results" / "gpu")
    parser.add_argument("--runs", type=Path, default=project_folder() / "runs", help="folder of the training runs")
    parser.add_argument("--tiny", action="store_true", help="small sizes, for a test")
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA device was found; --device cpu --tiny tests the benchmark itself")
    if given.device == "cpu" and not given.tiny:
        parser.error("the sizes are those of a GPU; add --tiny to test the benchmark on the CPU")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped; what was measured is saved"))
    card = torch.cuda.get_device_name() if given.device == "cuda" else "cpu"
    folder = given.out.resolve() / re.sub(r"[^a-z0-9]+", "-", card.lower()).strip("-")
    folder.mkdir(parents=True, exist_ok=True)
    command = shlex.join(["python", "benchmarks/gpu.py", *sys.argv[1:]])
    settings = Settings(given.device, given.tiny, folder, given.runs.resolve(), given.epochs, command, card)
    return run_stages(settings, [name for name in STAGES if name in given.stages], 60 * given.minutes)


def run_stages(settings: Settings, names: list[str], seconds: float) -> int:
    """Run these stages one after the other within so many seconds; return 1 if one of them failed, else 0."""
    seconds -= time.time() - psutil.Process().create_time()  # imports take some
    end, statuses = time.monotonic() + seconds, []
    drawing = start_process(draw) if "mini" in names and not settings.is_tiny and seconds > END else None
    try:
        for index, name in enumerate(names):
            if drawing is not None and name != "checks":
                drawing.join(min(max(0, end - time.monotonic()), seconds if name == "mini" else MAX_DRAWING))
            module, share = STAGES[name]
            left = end - END - time.monotonic()
            content = run_stage(name, module, settings, left * share / sum(STAGES[later][1] for later in names[index:]))
            write_summary(settings, list(STAGES))
            statuses.append(content["status"])
            log(f"{name}: {content['status']}, {content['seconds']:.0f} s {content.get('error', '')}")
    finally:
        if drawing is not None:
            stop_process(drawing)
    log(f"\n{(settings.folder / 'summary.md').read_text(encoding='utf-8')}\nwritten to {settings.folder}")
    return int(FAILED in statuses)


if __name__ == "__main__":
    sys.exit(main())
