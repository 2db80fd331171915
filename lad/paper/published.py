"""Published results: every number with its source, and the tables of the paper, row by row.

Numbers are percent, as printed; none of them comes from runs of this code.
"""

from dataclasses import dataclass

PAPER = "Nguyen et al., Improving Object Detection by Label Assignment Distillation, WACV 2022"
ZOO_PAA = "OpenMMLab model zoo, configs/paa"
ZOO_LAD = "OpenMMLab model zoo, configs/lad"


@dataclass(frozen=True)
class Published:
    """A published result on COCO.

    Attributes:
        ap: AP in percent.
        source: Table or document that prints it.
        schedule: In units of 12 COCO epochs, "ms" for multi-scale training; "" if unknown.
        split: "val" (val2017) or "test-dev".
        ap50: AP at IoU .5, in percent.
        ap75: AP at IoU .75.
        ap_small: AP of small objects.
        ap_medium: AP of medium objects.
        ap_large: AP of large objects.
    """

    ap: float
    source: str
    schedule: str
    split: str = "val"
    ap50: float | None = None
    ap75: float | None = None
    ap_small: float | None = None
    ap_medium: float | None = None
    ap_large: float | None = None


def _test_dev(*numbers: float, schedule: str = "2x ms") -> Published:
    """Return a result of the paper's comparison on test-dev: AP, AP50, AP75, and AP of small, medium, large objects."""
    ap, ap50, ap75, small, medium, large = numbers
    return Published(ap, "paper, Table 7", schedule, "test-dev", ap50, ap75, small, medium, large)


# Results with a published checkpoint have the name of its file in params/published/.
PUBLISHED = {
    "paa_r18_1x": Published(35.8, "paper, appendix, Table 1", "1x"),
    "paa_r50_1x": Published(40.4, ZOO_PAA, "1x"),
    "paa_r50_1x_without_voting": Published(40.2, ZOO_PAA, "1x"),
    "paa_r50_1.5x": Published(41.4, ZOO_PAA, "1.5x"),
    "paa_r50_2x": Published(41.6, ZOO_PAA, "2x"),
    "paa_r50_3x_ms": Published(43.3, ZOO_PAA, "3x ms"),
    "paa_r101_1x": Published(42.6, ZOO_PAA, "1x"),
    "paa_r101_1x_without_voting": Published(42.4, ZOO_PAA, "1x"),
    "paa_r101_2x": Published(43.5, ZOO_PAA, "2x"),
    "paa_r101_3x_ms": Published(45.1, ZOO_PAA, "3x ms"),
    "lad_r50_from_r101_1x": Published(41.4, ZOO_LAD, "1x"),
    "lad_r101_from_r50_1x": Published(43.2, ZOO_LAD, "1x"),
    "paper_soft_label_r50_from_r101_1x": Published(41.3, "paper, Table 2", "1x"),
    "paper_lad_r50_from_r101_1x": Published(41.6, "paper, Table 2", "1x"),
    "paper_solad_r50_from_r101_1x": Published(42.4, "paper, Table 2", "1x"),
    "paper_soft_label_r101_from_r50_1x": Published(40.4, "paper, Table 3", "1x"),
    "paper_lad_r101_from_r50_1x": Published(43.3, "paper, Table 3", "1x"),
    "paper_iou_iop_r18_1x": Published(36.7, "paper, appendix, Table 1", "1x"),
    "paper_iou_cop_r18_1x": Published(36.9, "paper, appendix, Table 1", "1x"),
    "paper_iop_r18_1x": Published(36.6, "paper, appendix, Table 1", "1x"),
    "paper_cop_r18_1x": Published(36.9, "paper, appendix, Table 1", "1x"),
    "paper_iou_iop_r50_1x": Published(41.6, "paper, appendix, Table 1", "1x"),
    "paper_iou_cop_r50_1x": Published(41.6, "paper, appendix, Table 1", "1x"),
    "paper_iop_r50_1x": Published(41.1, "paper, appendix, Table 1", "1x"),
    "paper_cop_r50_1x": Published(41.2, "paper, appendix, Table 1", "1x"),
    "lad_r50_from_swin_b_1x": Published(43.7, "paper, abstract", "1x"),
    "lad_r101_from_swin_b": Published(47.9, "paper, abstract", "", "test-dev"),
    "colad_x101": Published(47.5, "paper, abstract", "", "test-dev"),
    "colad_r101": _test_dev(46.0, 64.4, 50.6, 27.9, 49.9, 57.3),
    "paa_r101": _test_dev(44.8, 63.3, 48.7, 26.5, 48.8, 56.3),
    "OTA": _test_dev(45.3, 63.5, 49.3, 26.9, 48.8, 56.1),
    "IQDet": _test_dev(45.1, 63.4, 49.3, 26.7, 48.5, 56.6),
    "AutoAssign": _test_dev(44.5, 64.3, 48.4, 25.9, 47.4, 55.0),
    "ATSS": _test_dev(43.6, 62.1, 47.4, 26.1, 47.0, 53.6),
    "MAL": _test_dev(43.6, 61.8, 47.1, 25.0, 46.9, 55.8),
    "SAPD": _test_dev(43.5, 63.6, 46.5, 24.9, 46.8, 54.6),
    "FreeAnchor": _test_dev(43.1, 62.2, 46.4, 24.5, 46.1, 54.8),
    "NoisyAnchor": _test_dev(41.8, 61.1, 44.9, 23.4, 44.9, 52.9),
    "FCOS": _test_dev(41.5, 60.7, 45.0, 24.4, 44.8, 51.6),
}


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        title: Name of the row.
        file: Parameters of its runs: params/<table>/<file>.yaml.
        against: Title of the row that it is compared with, its baseline.
        published: Keys of `PUBLISHED`, the result that is reproduced first.
        is_teacher_network: Whether the row is the teacher, the second network, of a co-learning run.
    """

    title: str
    file: str
    against: str | None = None
    published: tuple[str, ...] = ()
    is_teacher_network: bool = False


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
                Row("LAD", "lad", "baseline", ("paper_lad_r50_from_r101_1x", "lad_r50_from_r101_1x")),
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
                Row("PAA R101", "paa_r101", None, ("paa_r101",)),
                Row("CoLAD R101", "colad_r101", "PAA R101", ("colad_r101",)),
                Row("PAA X101", "paa_x101"),
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
    )
}


def published_gain(table: Table, row: Row) -> float | None:
    """Return the published AP gain of a row over its baseline; None if unpublished or published on different splits."""
    (baseline,) = (candidate for candidate in table.rows if candidate.title == row.against)
    if not row.published or not baseline.published:
        return None
    result, reference = PUBLISHED[row.published[0]], PUBLISHED[baseline.published[0]]
    return result.ap - reference.ap if result.split == reference.split else None


def format_published(row: Row) -> str:
    """Format the published APs of a row with split and schedule; "–" if there is none."""
    results = [PUBLISHED[key] for key in row.published]
    return (
        "; ".join(f"{result.ap} ({', '.join(filter(None, (result.split, result.schedule)))})" for result in results)
        or "–"
    )
