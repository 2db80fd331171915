"""The tables, row by row: those of the paper, and further comparisons of its methods with others."""

from dataclasses import dataclass

from lad.paper.published import PUBLISHED, Published


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        title: Name of the row.
        file: Parameters of its runs: params/<table>/<file>.yaml.
        against: Title of the row that it is compared with, its baseline.
        published: Keys of `PUBLISHED`, the result that is reproduced first.
        is_teacher_network: Whether the row is the teacher, the second network, of a co-learning run.
        also_against: Titles of further rows that it is compared with in the conclusions.
    """

    title: str
    file: str
    against: str | None = None
    published: tuple[str, ...] = ()
    is_teacher_network: bool = False
    also_against: tuple[str, ...] = ()

    @property
    def compared_with(self) -> tuple[str, ...]:
        """Return the titles of all rows that it is compared with, its baseline first."""
        return () if self.against is None else (self.against, *self.also_against)


@dataclass(frozen=True)
class Table:
    """A table of the paper.

    Attributes:
        name: Name of its notebook and of its folder in params/.
        question: Question that the table answers, its heading.
        rows: Rows, in order.
        not_trained: Keys of `PUBLISHED` of results that the paper compares with and that are not trained here.
    """

    name: str
    question: str
    rows: tuple[Row, ...]
    not_trained: tuple[str, ...] = ()


LAD_R50 = ("paper_lad_r50_from_r101_1x", "lad_r50_from_r101_1x", "lad_r50_from_r101_1x_retrained")
ALONE = "R50 alone"
OTHER_HEADS = (
    "GFL-R50, CrossKD", "GFL-R50, CrossKD + PKD", "GFL-R50, BCKD", "GFL-R50, LD", "GFL-R50, FGD", "ATSS-R50, CrossKD",
    "RetinaNet-R50, PKD",
)  # fmt: skip
_TERMS = (("PKD", "pkd"), ("CrossKD", "crosskd"), ("BCKD", "bckd"))
_AUXILIARY = (("IoU + IOP", "iou_iop"), ("IoU + COP", "iou_cop"), ("IOP", "iop"), ("COP", "cop"))

TABLES = {
    table.name: table
    for table in (
        Table(
            "table2_soft_label_vs_lad",
            "Soft labels, label assignment, or both: what should a student learn from its teacher?",
            (
                Row("teacher", "teacher", None, ("paa_r101_1x",)),
                Row("baseline", "baseline", None, ("paa_r50_1x",)),
                Row("soft label", "soft_label", "baseline", ("paper_soft_label_r50_from_r101_1x",)),
                Row("LAD", "lad", "baseline", LAD_R50),
                Row("SoLAD", "solad", "baseline", ("paper_solad_r50_from_r101_1x",)),
            ),
        ),
        Table(
            "table3_small_teacher",
            "Can a smaller teacher make a larger student better?",
            (
                Row("teacher", "teacher", None, ("paa_r50_1x",)),
                Row("baseline", "baseline", None, ("paa_r101_1x",)),
                Row("baseline, twice as long", "baseline_2x", "baseline", ("paa_r101_2x",)),
                Row("soft label", "soft_label", "baseline", ("paper_soft_label_r101_from_r50_1x",)),
                Row("LAD", "lad", "baseline", ("paper_lad_r101_from_r50_1x", "lad_r101_from_r50_1x")),
            ),
        ),
        Table(
            "co_learning",
            "Two networks that teach each other: is each better than alone, and who should decide?",
            (
                Row("R50 alone", "r50", None, ("paa_r50_1x",)),
                Row("R50, CoLAD by std/mean", "colad_std_mean", "R50 alone"),
                Row("R50, CoLAD by Fisher", "colad_fisher", "R50 alone"),
                Row("R50, always R50 decides", "colad_student", "R50 alone"),
                Row("R50, always R101 decides", "colad_teacher", "R50 alone"),
                Row("R101 alone", "r101", None, ("paa_r101_1x",)),
                Row("R101, CoLAD by std/mean", "colad_std_mean", "R101 alone", is_teacher_network=True),
                Row("R101, CoLAD by Fisher", "colad_fisher", "R101 alone", is_teacher_network=True),
                Row("R101, always R50 decides", "colad_student", "R101 alone", is_teacher_network=True),
                Row("R101, always R101 decides", "colad_teacher", "R101 alone", is_teacher_network=True),
            ),
        ),
        Table(
            "sota_r101_x101",
            "How far does co-learning carry the largest networks?",
            (
                Row(
                    "PAA R101",
                    "paa_r101",
                    None,
                    ("paa_r101", "paa_r101_2x_ms_of_authors_test_dev", "paa_r101_2x_ms_of_authors"),
                ),
                Row("CoLAD R101", "colad_r101", "PAA R101", ("colad_r101",)),
                Row(
                    "PAA X101",
                    "paa_x101",
                    None,
                    ("paa_x101_2x_ms_of_authors_test_dev", "paa_x101_2x_ms_of_authors"),
                ),
                Row("CoLAD X101", "colad_x101", "PAA X101", ("colad_x101",)),
            ),
            ("OTA", "IQDet", "AutoAssign", "ATSS", "MAL", "SAPD", "FreeAnchor", "NoisyAnchor", "FCOS"),
        ),
        Table(
            "swin_teacher",
            "Can a transformer teach a convolutional network where to look?",
            (
                Row("Swin-B, the teacher", "teacher"),
                Row("R50", "r50", None, ("paa_r50_1x",)),
                Row("R50 taught by Swin-B", "r50_from_swin_b", "R50", ("lad_r50_from_swin_b_1x",)),
                Row("R101", "r101", None, ("paa_r101_1x",)),
                Row("R101 taught by Swin-B", "r101_from_swin_b", "R101", ("lad_r101_from_swin_b",)),
            ),
        ),
        Table(
            "auxiliary_heads",
            "Beside the class, what should a head predict: overlap, objectness (IOP) or conditional objectness (COP)?",
            (
                Row("R18, IoU", "r18_iou", None, ("paa_r18_1x",)),
                *(
                    Row(f"R18, {title}", f"r18_{file}", "R18, IoU", (f"paper_{file}_r18_1x",))
                    for title, file in _AUXILIARY
                ),
                Row("R50, IoU", "r50_iou", None, ("paa_r50_1x",)),
                *(
                    Row(f"R50, {title}", f"r50_{file}", "R50, IoU", (f"paper_{file}_r50_1x",))
                    for title, file in _AUXILIARY
                ),
            ),
        ),
        Table(
            "distillation_methods",
            "What should a student learn from its teacher: outputs, features, or the assignment?",
            (
                Row("teacher", "teacher", None, ("paa_r101_1x",)),
                Row("baseline", "baseline", None, ("paa_r50_1x",)),
                Row("soft label", "soft_label", "baseline", ("paper_soft_label_r50_from_r101_1x",)),
                Row("baseline + soft label", "baseline_soft_label", "baseline", also_against=("soft label",)),
                Row("LAD", "lad", "baseline", LAD_R50),
                Row("SoLAD", "solad", "baseline", ("paper_solad_r50_from_r101_1x",), also_against=("LAD",)),
                *(Row(title, file, "baseline") for title, file in _TERMS),
                *(
                    Row(f"LAD + {title}", f"lad_{file}", "baseline", also_against=("LAD", title))
                    for title, file in _TERMS
                ),
            ),
            OTHER_HEADS,
        ),
        Table(
            "assigners",
            "Does a teacher still help a modern assigner?",
            (
                Row("PAA", "paa", None, ("paa_r50_1x",)),
                Row("PAA, LAD", "paa_lad", "PAA", LAD_R50),
                Row("TAL", "tal"),
                Row("TAL, LAD", "tal_lad", "TAL"),
                Row("SimOTA", "simota"),
                Row("SimOTA, LAD", "simota_lad", "SimOTA"),
                Row("ATSS", "atss"),
                Row("fixed IoU", "fixed_iou"),
            ),
            ("TOOD-R50", "TOOD-R50 of OpenMMLab"),
        ),
        Table(
            "teacher_quality",
            "How good must a teacher be, and how long should a student listen?",
            (
                Row(ALONE, "alone", None, ("paa_r50_1x",)),
                Row("R101, 1/8 as long", "r101_eighth", ALONE),
                Row("R101, 1/4 as long", "r101_quarter", ALONE),
                Row("R101, half as long", "r101_half", ALONE),
                Row("R101", "r101", ALONE, LAD_R50),
                Row("R101, 3/2 as long", "r101_longer", ALONE),
                Row("R50, itself trained before", "r50", ALONE, also_against=("R101",)),
                Row("a wider teacher", "wider", ALONE, also_against=("R101",)),
                Row("mean of R101 and R50", "two_teachers", ALONE, also_against=("R101",)),
                Row("R101 until 0 %", "until_0", ALONE, also_against=("R101",)),
                Row("R101 until 50 %", "until_50", ALONE, also_against=("R101",)),
                Row("R101 until 80 %", "until_80", ALONE, also_against=("R101",)),
            ),
        ),
    )
}


def published_gain(table: Table, row: Row) -> float | None:
    """Return the published AP gain of a row over its baseline; None unless both are published on one, known split."""
    (baseline,) = (candidate for candidate in table.rows if candidate.title == row.against)
    if not row.published or not baseline.published:
        return None
    result, reference = PUBLISHED[row.published[0]], PUBLISHED[baseline.published[0]]
    is_comparable = result.split == reference.split != "unknown" and result.head == reference.head == ""
    return result.ap - reference.ap if is_comparable else None


def format_published(row: Row) -> str:
    """Format the published APs of a row with split and schedule; "–" if there is none."""
    results = [PUBLISHED[key] for key in row.published]
    return "; ".join(f"{result.ap} ({', '.join(_origin(result))})" for result in results) or "–"


def _origin(result: Published) -> list[str]:
    split = "split unknown" if result.split == "unknown" else result.split
    return [text for text in (split, result.schedule) if text]
