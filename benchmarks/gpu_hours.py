"""Expected GPU-hours of every row of every table, as params/README.md lists them.

    python benchmarks/gpu_hours.py

Nothing is measured. A run's operations are counted, from its parameters alone:

    images × epochs × 2 × multiply-adds × (3 for each network that learns: forward and twice that backward,
                                           1 for a teacher that only looks)

and divided by SUSTAINED operations per second, which is assumed. Evaluation, frozen stages and image loading are left
out. Multiply-adds are those of `backbones.py`, at the profile's images.
"""

import math

from backbones import cost

from lad.config.experiment import Parameters
from lad.distillation.methods import CO_LEARNING, METHODS_WITH_TEACHER
from lad.paper.published import TABLES, Table
from lad.paper.tables import open_table

SUSTAINED = 10e12  # operations per second: what detection training gets out of one data-center GPU in mixed precision
IMAGES = {"mini": 4000, "coco_1x": 118_287, "coco_2x_ms": 118_287}  # toy runs on a CPU
LANDSCAPE = 4 / 3  # of a typical photograph of COCO


def forward(parameters: Parameters) -> float:
    """Operations of one forward pass of the student, at the middle of the training images' sizes."""
    short = sum(parameters.short_sides) / len(parameters.short_sides)
    padded_hw = tuple(math.ceil(side / 32) * 32 for side in (short, min(short * LANDSCAPE, parameters.long_side)))
    return 2e9 * cost(parameters.student, padded_hw, parameters.width, parameters.channels)[1]


def gpu_hours(parameters: Parameters) -> float:
    """Of the run alone, without the runs of its teachers."""
    one_image = 3 * forward(parameters)
    if parameters.method in METHODS_WITH_TEACHER:
        looks_or_learns = 3 if parameters.method in CO_LEARNING else 1
        one_image += looks_or_learns * forward(parameters.of_teacher())
    return IMAGES[parameters.profile] * parameters.epochs * one_image / SUSTAINED / 3600


def runs_of(parameters: Parameters) -> dict[str, Parameters]:
    """The run and the runs of teachers that it needs, by name."""
    found = {parameters.run_name: parameters}
    beside = parameters.method in CO_LEARNING and parameters.teacher_epochs is None
    if parameters.method in METHODS_WITH_TEACHER and not beside:
        found |= runs_of(parameters.of_teacher())
    return found


def in_words(hours: float) -> str:
    return f"{hours:.2g}" if hours < 10 else f"{hours:.0f}"


def lines(table: Table) -> list[str]:
    """Markdown: a line per file of the table, and one for all runs of one seed with their teachers."""
    experiments = {profile: open_table(table.name, profile).parameters for profile in IMAGES}
    listed = [f"| `{table.name}/<profile>/` | rows | {' | '.join(IMAGES)} |", "|---|---|" + "---:|" * len(IMAGES)]
    for file in dict.fromkeys(row.file for row in table.rows):
        rows = [row for row in table.rows if row.file == file]
        hours = [in_words(gpu_hours(experiments[profile][rows[0]][0])) for profile in IMAGES]
        listed.append(f"| `{file}.yaml` | {'; '.join(row.title for row in rows)} | {' | '.join(hours)} |")
    totals = []
    for profile in IMAGES:
        runs = {name: run for one in experiments[profile].values() for name, run in runs_of(one[0]).items()}
        totals.append(in_words(sum(map(gpu_hours, runs.values()))))
    listed.append(f"| **all, with teachers** | | {' | '.join(totals)} |")
    return listed


def main() -> None:
    print("\n\n".join("\n".join(lines(table)) for table in TABLES.values()))


if __name__ == "__main__":
    main()
