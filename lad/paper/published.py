"""Published results: every number with its source.

Numbers are percent, as printed; none of them comes from runs of this code. A table's own file can give further ones.
"""

from typing import Literal

from pydantic.dataclasses import dataclass

from lad.paper.fields import Line, Percent, Title
from lad.utils.options import OPTIONS

PAPER = "Nguyen et al., Improving Object Detection by Label Assignment Distillation, WACV 2022"
ZOO_PAA = "OpenMMLab model zoo, configs/paa"
ZOO_LAD = "OpenMMLab model zoo, configs/lad"
AUTHORS_PAA = "README of the authors of PAA (kkhoot/PAA)"
RETRAINED_LAD = "retrained in MMDetection by the authors of LAD"
CROSSKD = "Wang et al., CrossKD, CVPR 2024"
PKD = "Cao et al., PKD, NeurIPS 2022"
BCKD = "Yang et al., BCKD, ICCV 2023"
LD = "Zheng et al., LD, CVPR 2022"
FGD = "README of the authors of FGD (CVPR 2022)"
TOOD = "Feng et al., TOOD, ICCV 2021"
ZOO_TOOD = "OpenMMLab model zoo, configs/tood"


@dataclass(frozen=True, config=OPTIONS)
class Published:
    """A published result on COCO.

    Attributes:
        ap: AP in percent.
        source: Table or document that prints it.
        schedule: In units of 12 COCO epochs, "ms" for multi-scale training; "" if unknown.
        split: "val" (val2017), "test-dev", or "unknown" if the source does not state it.
        ap50: AP at IoU .5, in percent.
        ap75: AP at IoU .75.
        ap_small: AP of small objects.
        ap_medium: AP of medium objects.
        ap_large: AP of large objects.
        head: Head, if it is not that of the runs of this project: such a result is never a row's published gain.
        teacher: Teacher of a result with another head; "" without one, or if the source does not name it.
        alone: AP in percent of the same student without a teacher, in the same source.
    """

    ap: Percent
    source: Title
    schedule: Line = ""
    split: Literal["val", "test-dev", "unknown"] = "val"
    ap50: Percent | None = None
    ap75: Percent | None = None
    ap_small: Percent | None = None
    ap_medium: Percent | None = None
    ap_large: Percent | None = None
    head: Line = ""
    teacher: Line = ""
    alone: Percent | None = None


def _test_dev(*numbers: float, schedule: str = "2x ms") -> Published:
    """Return a result of the paper's comparison on test-dev: AP, AP50, AP75, and AP of small, medium, large objects."""
    ap, ap50, ap75, small, medium, large = numbers
    return Published(ap, "paper, Table 7", schedule, "test-dev", ap50, ap75, small, medium, large)


def _other_head(
    head: str, ap: float, alone: float | None, source: str, schedule: str = "1x", teacher: str = "R101, 2x ms"
) -> Published:
    """Return a result on val of an R50 with another head than PAA's, and of the same student without a teacher."""
    return Published(ap, source, schedule, head=head, teacher=teacher, alone=alone)


# Results with a published checkpoint have the name of its file in params/published/.
PUBLISHED = {
    "paa_r18_1x": Published(35.8, "paper, appendix, Table 1", "1x"),
    "paa_r50_1x": Published(40.4, ZOO_PAA, "1x"),
    "paa_r50_1x_without_voting": Published(40.2, ZOO_PAA, "1x"),
    "paa_r50_1.5x": Published(41.4, ZOO_PAA, "1.5x"),
    "paa_r50_1.5x_without_voting": Published(41.2, ZOO_PAA, "1.5x"),
    "paa_r50_1.5x_of_authors": Published(41.1, AUTHORS_PAA, "1.5x"),
    "paa_r50_1.5x_of_authors_test_dev": Published(41.2, AUTHORS_PAA, "1.5x", "test-dev"),
    "paa_r50_2x": Published(41.6, ZOO_PAA, "2x"),
    "paa_r50_3x_ms": Published(43.3, ZOO_PAA, "3x ms"),
    "paa_r101_1x": Published(42.6, ZOO_PAA, "1x"),
    "paa_r101_1x_without_voting": Published(42.4, ZOO_PAA, "1x"),
    "paa_r101_2x": Published(43.5, ZOO_PAA, "2x"),
    "paa_r101_3x_ms": Published(45.1, ZOO_PAA, "3x ms"),
    "paa_r101_2x_ms_of_authors": Published(44.6, AUTHORS_PAA, "2x ms"),
    "paa_r101_2x_ms_of_authors_test_dev": Published(44.9, AUTHORS_PAA, "2x ms", "test-dev"),
    "paa_x101_2x_ms_of_authors": Published(46.4, AUTHORS_PAA, "2x ms"),
    "paa_x101_2x_ms_of_authors_test_dev": Published(46.8, AUTHORS_PAA, "2x ms", "test-dev"),
    "lad_r50_from_r101_1x": Published(41.4, ZOO_LAD, "1x"),
    "lad_r50_from_r101_1x_retrained": Published(
        41.6, RETRAINED_LAD, "1x", ap50=59.8, ap75=45.6, ap_small=23.9, ap_medium=45.5, ap_large=55.0
    ),
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
    "lad_r50_from_swin_b_1x": Published(43.7, "paper, abstract", "1x", "unknown"),
    "lad_r101_from_swin_b": Published(47.9, "paper, abstract", "", "unknown"),
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
    # Other heads than PAA's, on val; the key is the name shown.
    "GFL-R50, CrossKD": _other_head("GFL", 43.7, 40.2, CROSSKD),
    "GFL-R50, CrossKD + PKD": _other_head("GFL", 43.9, 40.2, CROSSKD),
    "GFL-R50, BCKD": _other_head("GFL", 43.2, 40.1, BCKD),
    "GFL-R50, LD": _other_head("GFL", 42.1, 40.1, LD),
    "GFL-R50, FGD": _other_head("GFL", 43.5, 40.2, FGD, teacher=""),
    "ATSS-R50, CrossKD": _other_head("ATSS", 41.8, 39.4, CROSSKD, teacher="R101, 1x"),
    "RetinaNet-R50, PKD": _other_head("RetinaNet", 40.3, 36.5, PKD, teacher="FCOS-X101"),
    "TOOD-R50": _other_head("TOOD", 42.5, None, TOOD, teacher=""),
    "TOOD-R50 of OpenMMLab": _other_head("TOOD", 42.4, None, ZOO_TOOD, teacher=""),
}
