"""Stage "steps" of `gpu.py`: the variants of `step.py`, each alone, with their peak memory.

A variant that does not fit the device's memory is repeated with half the batch, which its row states.
"""

import argparse
import functools
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from gpu_stage import UNFINISHED, Left, Save, Settings
from lightning_fabric import Fabric
from measure import free_memory, measure_task
from step import add_arguments, step_builders

FULL = {"batch": 8, "height": 800, "width": 1344, "precision": "bf16-mixed"}
TINY = {"batch": 2, "height": 128, "width": 128, "precision": "32-true"}
EFFORT = {"rounds": 15, "seconds": 3.0, "warm_up": 3}  # arguments of `measure_task`
TINY_EFFORT = {"rounds": 1, "seconds": 0.0, "warm_up": 1}
RESERVE = 4.0  # seconds that must be left to start another variant

Row = dict[str, Any]


def run(settings: Settings, save: Save, left: Left) -> None:
    """Measure all variants without compilation."""
    students = ("r18",) if settings.is_tiny else ("r50", "r101")
    measure_variants(settings, save, left, students)


def measure_variants(
    settings: Settings, save: Save, left: Left, students: tuple[str, ...], names: tuple[str, ...] = (), **options: bool
) -> None:
    """Measure the variants of each student and save after each.

    Args:
        settings: Settings of all stages.
        save: Saves the rows.
        left: Returns the seconds that are left.
        students: Backbones; the teacher is R101.
        names: Variants, keys of `step_builders`; by default all.
        options: Switches of `step.py`, such as `compile`.
    """
    rows: list[Row] = []
    size, effort = (TINY, TINY_EFFORT) if settings.is_tiny else (FULL, EFFORT)
    for student in students:
        teacher = "r18" if settings.is_tiny else "r101"
        given = step_arguments(student=student, teacher=teacher, device=settings.device, **size, **options)
        with tempfile.TemporaryDirectory() as folder:
            known = step_builders(given, open_fabric(given), Path(folder))
        for name in names or known:
            if left() < RESERVE:
                save({"status": UNFINISHED, "note": f"no time was left for {name} of {student} and what follows"})
                return
            rows.append({"student": student, "teacher": teacher, "step": name, **measure_step(given, name, effort)})
            save({"size": size, "gts": given.gts, "variants": rows})


def step_arguments(**values: object) -> argparse.Namespace:
    """Return the arguments of `step.py` with these values."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    parser.set_defaults(**values)
    return parser.parse_args([])


def open_fabric(given: argparse.Namespace) -> Fabric:
    """Return the device and precision of the arguments."""
    return Fabric(accelerator=given.device, devices=1, precision=given.precision)


def measure_step(given: argparse.Namespace, name: str, effort: Mapping[str, float] = EFFORT) -> Row:
    """Return the row of a variant, or of as large a batch of it as fits the memory; "error" if it fails."""
    batch = given.batch
    while True:
        changed = argparse.Namespace(**{**vars(given), "batch": batch})
        row, is_out_of_memory = attempt(functools.partial(measure_batch, changed, name, effort))
        if not is_out_of_memory or batch == 1:
            break
        free_memory()  # the error, which kept tensors alive, is gone
        batch //= 2
    if given.compile:
        torch.compiler.reset()
    note = {} if batch == given.batch else {"note": f"a batch of {given.batch} does not fit the memory"}
    throughput = {"images_per_second": 1000 * batch / row["ms"]} if "ms" in row else {}
    return {"batch": batch, **row, **throughput, **note}


def attempt(measure: Callable[[], Row]) -> tuple[Row, bool]:
    """Return a measurement, or its error, and whether the memory was too small."""
    try:
        return measure(), False
    except torch.OutOfMemoryError as error:
        return {"error": str(error).splitlines()[0]}, True
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:500]}, False


def measure_batch(given: argparse.Namespace, name: str, effort: Mapping[str, float]) -> Row:
    """Measure a variant of `step.py`."""
    with tempfile.TemporaryDirectory() as folder:
        return measure_task(step_builders(given, open_fabric(given), Path(folder))[name], **effort)
