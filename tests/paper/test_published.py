"""Every published result has a source, and those of other heads say so."""

import pytest

from lad.paper.published import PUBLISHED


@pytest.mark.parametrize("key", PUBLISHED)
def test_a_published_result_has_a_source_a_split_and_a_plausible_ap(key):
    result = PUBLISHED[key]
    assert result.source and 0 < result.ap < 100 and result.split in ("val", "test-dev", "unknown")
    assert result.alone is None or 0 < result.alone < result.ap


def test_the_results_that_support_the_papers_claims():
    ap = {key: result.ap for key, result in PUBLISHED.items()}
    assert (ap["paa_r50_1x"], ap["paa_r101_1x"], ap["paa_r101_2x"]) == (40.4, 42.6, 43.5)
    assert (ap["paper_lad_r50_from_r101_1x"], ap["lad_r50_from_r101_1x"]) == (41.6, 41.4)
    assert (ap["paper_lad_r101_from_r50_1x"], ap["lad_r101_from_r50_1x"]) == (43.3, 43.2)
    assert ap["paper_solad_r50_from_r101_1x"] == 42.4
    assert (ap["colad_r101"], ap["colad_x101"], ap["lad_r101_from_swin_b"]) == (46.0, 47.5, 47.9)
    assert all(PUBLISHED[key].split == "test-dev" for key in ("colad_r101", "colad_x101", "OTA", "ATSS"))
    assert {PUBLISHED[key].split for key in ("lad_r50_from_swin_b_1x", "lad_r101_from_swin_b")} == {"unknown"}


def test_the_gains_of_other_distillation_methods_are_those_of_another_head():
    gains = {
        key: (result.head, round(result.ap - result.alone, 1))
        for key, result in PUBLISHED.items()
        if result.alone is not None
    }
    assert gains == {
        "GFL-R50, CrossKD": ("GFL", 3.5), "GFL-R50, CrossKD + PKD": ("GFL", 3.7), "GFL-R50, BCKD": ("GFL", 3.1),
        "GFL-R50, LD": ("GFL", 2.0), "GFL-R50, FGD": ("GFL", 3.3), "ATSS-R50, CrossKD": ("ATSS", 2.4),
        "RetinaNet-R50, PKD": ("RetinaNet", 3.8),
    }  # fmt: skip
