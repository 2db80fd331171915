"""Label Assignment Distillation: PAA detectors, label assignment, and the methods of the LAD paper, with figures.

The names in `__all__` are imported on first use, so that `import lad` does not load torch.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lad.config.experiment import make_parameters
    from lad.experiments.evaluate import evaluate_checkpoint
    from lad.experiments.runner import compare, run_experiment
    from lad.inference.files import predict_files
    from lad.inference.predictor import predict, predict_stream
    from lad.models.serialization import load_detector, save_detector

# OpenMP's threads spin while they wait for each other, by default for milliseconds: beside other processes, an epoch
# can take ten times as long. This bounds the spin, unless the user has set it; it has to precede the import of torch.
os.environ.setdefault("GOMP_SPINCOUNT", "5000")
# Large tensors on the CPU get huge pages: one page fault per 2 MiB instead of 4 KiB, a sixth of a step at 800×1344.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

__version__ = "0.2.0"
__all__ = [
    "compare",
    "evaluate_checkpoint",
    "load_detector",
    "make_parameters",
    "predict",
    "predict_files",
    "predict_stream",
    "run_experiment",
    "save_detector",
]
_MODULES = {
    "compare": "lad.experiments.runner",
    "evaluate_checkpoint": "lad.experiments.evaluate",
    "load_detector": "lad.models.serialization",
    "make_parameters": "lad.config.experiment",
    "predict": "lad.inference.predictor",
    "predict_files": "lad.inference.files",
    "predict_stream": "lad.inference.predictor",
    "run_experiment": "lad.experiments.runner",
    "save_detector": "lad.models.serialization",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'lad' has no attribute '{name}'")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
