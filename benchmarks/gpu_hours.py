"""Estimate the GPU-hours of every row of every table, as listed in params/README.md.

    python benchmarks/gpu_hours.py

Nothing is measured. The operations of a run are computed from its parameters,

    images × epochs × 2 × multiply-adds × (3 for each trained network: a forward pass and a backward pass of twice that,
                                           1 for a frozen teacher)

and divided by SUSTAINED operations per second, an assumption. Evaluation, distillation terms, frozen stages and image
loading are left out, and so is what a cache of the teacher's assignment saves.
The multiply-adds are those of `backbones.py` at the profile's image size.
"""

import math

from backbones import cost

from lad.config.experiment import Parameters
from lad.distillation.methods import METHODS
from lad.paper.definitions import TABLES, Table
from lad.paper.runner import plan_tasks
from lad.paper.tables import open_table

SUSTAINED = 10e12  # operations per second of one data-center GPU when training a detector in mixed precision
IMAGES = {"mini": 4000, "coco_1x": 118_287, "coco_2x_ms": 118_287}  # training images; toy runs on a CPU
LANDSCAPE = 4 / 3  # aspect ratio of a typical COCO image


def forward(parameters: Parameters) -> float:
    """Return the operations of one forward pass of the student at the mean of the training sizes."""
    short = sum(parameters.short_sides) / len(parameters.short_sides)
    padded_hw = tuple(math.ceil(side / 32) * 32 for side in (short, min(short * LANDSCAPE, parameters.long_side)))
    return 2e9 * cost(parameters.student, padded_hw, parameters.width, parameters.channels)[1]


def gpu_hours(parameters: Parameters) -> float:
    """Return the GPU-hours of the run alone, without those of its teachers."""
    per_image = 3 * forward(parameters)
    if parameters.needs_teacher:
        passes = 3 if METHODS[parameters.method].trains_teacher else 1
        teacher, *others = map(forward, parameters.of_teachers())
        per_image += parameters.teach_until * (passes * teacher + sum(others))
    return IMAGES[parameters.profile] * parameters.epochs * per_image / SUSTAINED / 3600


def format_hours(hours: float) -> str:
    return f"{hours:.2g}" if hours < 10 else f"{hours:.0f}"


def lines(table: Table) -> list[str]:
    """Return a Markdown table: a line per file, and one for all runs of one seed with their teachers."""
    tables = {profile: open_table(table.name, profile) for profile in IMAGES}
    listed = [f"| `{table.name}/` | rows | {' | '.join(IMAGES)} |", "|---|---|" + "---:|" * len(IMAGES)]
    for file in dict.fromkeys(row.file for row in table.rows):
        rows = [row for row in table.rows if row.file == file]
        hours = [format_hours(gpu_hours(tables[profile].parameters[rows[0]][0])) for profile in IMAGES]
        listed.append(f"| `{file}` | {'; '.join(row.title for row in rows)} | {' | '.join(hours)} |")
    plans = [plan_tasks(experiments).values() for experiments in tables.values()]
    totals = [format_hours(sum(gpu_hours(task.parameters) for task in plan)) for plan in plans]
    listed.append(f"| **all, with teachers** | | {' | '.join(totals)} |")
    return listed


def main() -> None:
    print("\n\n".join("\n".join(lines(table)) for table in TABLES.values()))


if __name__ == "__main__":
    main()
