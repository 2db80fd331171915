"""What is special to the notebook of each table: its introduction, its figures and its own sections."""

from dataclasses import dataclass


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
curves = results.epochs({", ".join(f'"{row}"' for row in rows)})
figures.draw_training(curves, panels, results.ap_by_row())""",
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
figures.draw_training(co_learned, panels, results.ap_by_row())""",
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
epochs; the paper does not say on which part of COCO.""",
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
figures.draw_training(r50, panels, results.ap_by_row())""",
        ),
    ),
    "distillation_methods": TableNotebook(
        """\
Knowledge distillation for detectors transfers different things. **Soft labels** transfer the teacher's outputs,
**PKD** the features of its pyramid, **CrossKD** its predictions on the student's head features, **BCKD** its scores and
boxes, and **LAD** only its assignment. Published results of these methods have different heads, teachers and schedules
and cannot be compared. Here they share everything but the method: a ResNet-50 student of a ResNet-101 teacher.

LAD changes the targets of the detection loss; the others add a loss beside it. They can be combined: does LAD add to
each of them?""",
        training_curves("baseline", "LAD", "PKD", "CrossKD", "BCKD"),
        (
            Section(
                "costs",
                """\
## What each method costs

Time per step and peak memory beside the baseline's of the same seed, averaged over the seeds, and the Jaccard index
between the assignments that the trained student and the teacher make on 64 validation images (seed 0). LAD alone can
cache the teacher's assignment: then most steps do not run the teacher. Compare times only of runs on the same machine
with nothing beside them. On a CPU, memory is that of the whole process: compare runs of `lad table`, which trains each
in a process of its own, while a notebook keeps memory of the runs before.""",
                """\
from lad.paper.costs import costs

costs(results)""",
            ),
            Section(
                "targets",
                """\
## What each method passes on

For one validation image: what the teacher has for the student to learn. Seed 0.""",
                """\
from lad.analysis.assignment import first_images
from lad.analysis.distillation import compare_networks
from lad.experiments.setup import open_data

student, teacher = results.run("baseline"), results.run("teacher")
if student and teacher:
    train_set, val_set = open_data(student.parameters)
    batch = first_images(val_set, count=1, instead=train_set)
    view = compare_networks(student.load_detector(), teacher.load_detector(), batch, student.assigner)
    display(figures.draw_distillation(batch.images[0], batch.targets, view))""",
            ),
        ),
    ),
    "assigners": TableNotebook(
        """\
LAD was published with PAA, which chooses positives by a mixture of two Gaussians. Later assigners, **TAL** (of TOOD)
and **SimOTA** (of YOLOX), choose them by the student's scores and boxes, too. Does a teacher still help them? Each of
the three assigns once from the student's own outputs and once from those of a ResNet-101 that was trained with the
same assigner. **ATSS** and **fixed IoU** thresholds depend on the anchors alone, so that a teacher cannot change them.

All rows have PAA's head and losses: only the assigner differs. So these are not TOOD and YOLOX; TOOD's published AP is
below for comparison.""",
        training_curves("PAA", "PAA, LAD", "TAL", "TAL, LAD", "SimOTA", "SimOTA, LAD"),
    ),
    "teacher_quality": TableNotebook(
        """\
A ResNet-50 learns the assignment of teachers of different **quality**: a ResNet-101 that was trained for an eighth of
the usual epochs up to one and a half times as many, a ResNet-50 like itself, a wider network, and two teachers whose
costs are averaged. And for different **times**: with “R101 until 50 %” the teacher assigns in the first half of the
epochs only, and the student itself in the rest. “R101 until 0 %” is a control: the teacher never assigns, and with the
same seed the weights are those of “R50 alone”.

The wider teacher is a ResNet-101 of twice the width. There are no ImageNet weights of it, so that on COCO it is a
ResNeXt-101 64x4d. A value of `epochs` below is also that of all teachers: the rows of a shorter or longer teacher are
then the same run as “R101”.""",
        training_curves("R50 alone", "R101 until 50 %", "R101 until 80 %", "R101"),
        (
            Section(
                "quality",
                """\
## A better teacher, a better student?

The mean AP of each student over that of its teacher, the mean of both for two teachers. The horizontal line is the
same network alone. On the dashed line, a student is as good as its teacher.""",
                """\
from lad.paper.teachers import teacher_quality

figures.draw_teacher_quality(teacher_quality(results), list(results.values("R50 alone").values()))""",
            ),
        ),
    ),
}

OWN_TABLE = TableNotebook(
    """\
Which of several detectors is better, and is the difference more than chance? A **table** has a row for each, says which
row each is to beat, and runs all of them with the same seeds. A difference is **paired**: that of two runs of one seed,
averaged over the seeds.""",
    training_curves(),
)
