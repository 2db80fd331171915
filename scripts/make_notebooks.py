"""Write the notebooks of the paper's tables, which differ only in their introduction and their figures.

python scripts/make_notebooks.py    # or: make notebooks
"""

from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from lad.paper.published import TABLES

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


@dataclass(frozen=True)
class Section:
    """A heading with a paragraph, and the code cell below it; `name` becomes part of the cells' ids."""

    name: str
    text: str
    code: str


@dataclass(frozen=True)
class TableNotebook:
    """The cells that are special to the notebook of one table; `extra` sections precede the training curves."""

    introduction: str
    training: Section
    extra: tuple[Section, ...] = ()


HOW = """\
Change the parameters below and run all cells. To train several runs in parallel, use the command line; it resumes
after an interruption, and continues with the other rows if one fails:

    lad table {name} --profile toy --seeds 3 --jobs 2

Each row is a file in `params/{name}/`. Its teacher is a run of its own and is trained first. Finished runs are
loaded, not trained again."""

PARAMETERS = """\
profile: str = "toy"  # toy, mini, coco_1x or coco_2x_ms: data set, schedule and network size
seeds: int = 1  # number of seeds per row: seeds 0, 1, …
train: bool = True  # train missing runs; False shows finished runs only
epochs: int = None  # epochs of every run, instead of the profile's
data: str = None  # a folder in COCO format, or toy or mini, the generated data sets
train_images: int = None  # train on the first N images only
accelerator: str = None  # auto, cpu or cuda
devices: int = None  # number of devices
out: str = None  # folder of the runs; None is runs/ of this project
settings: dict = None  # any other parameter of every run by name, for instance {{"width": 0.5}}"""

SETUP = """\
from functools import partial

from lad.paper.tables import notebook_table
from lad.report.notebook import setup_notebook

table = partial(notebook_table, "{name}")
experiments = setup_notebook(globals(), table, switches=["train"])"""

RUNS = "results = experiments.run() if train else experiments.finished()"

TABLE = Section(
    "table",
    """\
## The table

AP in percent, mean ± standard deviation over the seeds; S, M and L are small, medium and large objects. The
difference is to the row's baseline, paired by seed, with a 95 % confidence interval. The last column is the published
result on COCO. APs on other data sets are not comparable with it; differences between rows may be. “–” means not run,
or not published.""",
    """\
from lad.paper.tables import summary

summary(results)""",
)

SEEDS = Section(
    "seeds",
    """\
## Each seed

A dot is one run, a bar the mean of its row.""",
    """\
from lad import figures

figures.draw_comparison(results.ap_by_row())""",
)

PUBLISHED = Section(
    "published",
    "## Published results and their sources",
    """\
from lad.paper.tables import published_table

published_table(results.table)""",
)

ANSWER = Section(
    "answer",
    "## The answer",
    """\
from lad.paper.tables import conclusions

print(conclusions(results))""",
)


def training_curves(*rows: str) -> Section:
    """Return the section of the training curves of these rows, by default of all rows."""
    return Section(
        "training",
        """\
## Training curves

Agreement is the Jaccard index between the positives of a network's own assignment and those of the assignment that it
trains on; a baseline trains on its own. Soft labels use no assignment: their agreement is with the teacher's, for
comparison. Seed 0.""",
        f"""\
panels = {{"agreement": "agreement", "cls": "classification loss", "box": "box loss", "AP": "AP"}}
figures.draw_training(results.epochs({", ".join(f'"{row}"' for row in rows)}), panels)""",
    )


TABLE_NOTEBOOKS = {
    "table2_soft_label_vs_lad": TableNotebook(
        """\
A student can imitate its teacher in two ways. With **soft labels** it learns the teacher's outputs, class by class
and box by box. With **label assignment distillation** (LAD) it learns only which locations are foreground, and
everything else from the ground truth. **SoLAD** combines the two.

This notebook is Table 2 of the paper: a ResNet-50 student of a ResNet-101 teacher. There, LAD gains 1.2 points over
the plain student, soft labels 0.9, and both together 2.0.""",
        training_curves("baseline", "soft label", "LAD", "SoLAD"),
    ),
    "table3_small_teacher": TableNotebook(
        """\
Imitation has a ceiling: a network that copies the outputs of a weaker one becomes weaker. An assignment has no such
ceiling, because it says where to look and not what to predict. Table 3 of the paper trains a ResNet-101 with a
**smaller** teacher, a ResNet-50: soft labels lose 2.2 points, LAD gains 0.7, as much as training nearly twice as
long.""",
        training_curves("baseline", "soft label", "LAD"),
    ),
    "co_learning": TableNotebook(
        """\
LAD needs a trained teacher. **Co-learning** (CoLAD) does not: two networks train together, and for every object and
level the network whose costs separate foreground from background better provides the assignment for both. The paper
measures the separation by the **std/mean** of the costs, or by **Fisher's** criterion on the two fitted Gaussians.
This table compares both with a fixed choice, where the same network always provides the assignment.""",
        Section(
            "training",
            """\
## Which network provides the assignment, and how well they agree

The share of candidates that use ResNet-101's costs, the student's agreement with the assignment that it trains on,
and the mean and standard deviation of the costs. Seed 0.""",
            """\
co_learned = {title: epochs for title, epochs in results.epochs().items() if title.startswith("R50, ")}
panels = {
    "teacher_chosen": "share of R101's costs",
    "agreement": "agreement of R50",
    "cost_mean": "mean cost",
    "cost_std": "standard deviation of the cost",
}
figures.draw_training(co_learned, panels)""",
        ),
    ),
    "sota_r101_x101": TableNotebook(
        """\
The paper's strongest convolutional results: a ResNet-101 and a ResNeXt-101, each with the COP head, learn together
with a pretrained PAA-ResNet-50, with multi-scale training, twice the usual schedule, and COCO test-dev for
evaluation. The small profiles repeat the experiment on small data. AP is computed on the validation set, because only
COCO's evaluation server has the ground truth of test-dev ([test_dev.ipynb](test_dev.ipynb) writes the file to
upload).""",
        training_curves(),
        (
            Section(
                "literature",
                """\
## Comparison with the literature

ResNet-101 with other label assignments, on COCO test-dev, as printed in the paper. None of these was run here.""",
                """\
from lad.paper.published import PUBLISHED

names = {name: name for name in results.table.not_trained} | {"PAA": "paa_r101", "CoLAD": "colad_r101"}
published = {name: [PUBLISHED[key].ap] for name, key in names.items()}
figures.draw_comparison(published, unit="published AP on test-dev, %")""",
            ),
        ),
    ),
    "swin_teacher": TableNotebook(
        """\
An assignment is a list of locations. It does not depend on the architecture of the teacher, so a Swin transformer can
teach a ResNet without any adapter layer between them. In the paper, a ResNet-50 reaches 43.7 AP this way after 12
epochs, 3.3 more than alone.""",
        training_curves("R50", "R50 taught by Swin-B", "R101", "R101 taught by Swin-B"),
        (
            Section(
                "assignments",
                """\
## Where each network looks

The plain ResNet-50, the Swin-B teacher, and the ResNet-50 that it taught; seed 0, the first validation images.""",
                """\
from lad.analysis.assignment import analyze, first_images
from lad.experiments.setup import open_data

names = {"plain student": "R50", "teacher": "Swin-B, the teacher", "taught student": "R50 taught by Swin-B"}
runs = {name: results.run(title) for name, title in names.items()}
if all(runs.values()):
    train_set, val_set = open_data(runs["teacher"].parameters)
    batch = first_images(val_set, count=3, instead=train_set)
    analyses = {name: analyze(run.load_detector(), batch, run.assigner) for name, run in runs.items()}
    display(figures.draw_assignments(batch.images, batch.targets, analyses))""",
            ),
        ),
    ),
    "auxiliary_heads": TableNotebook(
        """\
Besides class and box, PAA's head predicts the **IoU** of its own box, which it multiplies into the score. The paper
tries two other quantities. **IOP**, implicit objectness: is there any object here? **COP**, conditional objectness:
each of the nine neighbors of a location predicts a class, and the location predicts which of them to trust. Both work
with the IoU branch or instead of it.""",
        Section(
            "training",
            """\
## Training curves

The classification losses of different heads are losses of different probabilities, and not comparable. Seed 0,
ResNet-50.""",
            """\
r50 = {title: epochs for title, epochs in results.epochs().items() if title.startswith("R50")}
panels = {"cls": "classification loss", "box": "box loss", "positives_per_gt": "positives per object", "AP": "AP"}
figures.draw_training(r50, panels)""",
        ),
    ),
}


def make_notebook(name: str) -> nbformat.NotebookNode:
    """Return the notebook of a table, without outputs; the ids of its cells do not depend on their order."""
    notebook = TABLE_NOTEBOOKS[name]
    cells = [
        new_markdown_cell(f"# {TABLES[name].question}\n\n{notebook.introduction}", id="question"),
        new_markdown_cell(HOW.format(name=name), id="how"),
        new_code_cell(PARAMETERS.format(), id="parameters", metadata={"tags": ["parameters"]}),
        new_code_cell(SETUP.format(name=name), id="setup"),
        new_code_cell(RUNS, id="runs"),
    ]
    for section in (TABLE, SEEDS, *notebook.extra, notebook.training, PUBLISHED, ANSWER):
        cells.append(new_markdown_cell(section.text, id=f"{section.name}-text"))
        cells.append(new_code_cell(section.code, id=section.name))
    return new_notebook(cells=cells, metadata=METADATA)


def main() -> None:
    """Write all notebooks of tables."""
    for name in TABLE_NOTEBOOKS:
        path = NOTEBOOKS / f"{name}.ipynb"
        path.write_text(nbformat.writes(make_notebook(name)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
