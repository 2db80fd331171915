"""Each comparison of a table is a claim, and its verdict follows by a rule from p-value and sign."""

import json

import pytest
from finished_tables import APS, TABLE_2, finish

from lad.paper.claims import VERDICTS, Claim, claims, claims_table, conclusions
from lad.paper.definitions import TABLES, published_gain
from lad.paper.statistics import Difference, holm, min_permutation_p
from lad.paper.tables import Results, open_table

COMPARISONS = [  # of Table 2
    ("soft label", "baseline"), ("LAD", "baseline"), ("LAD", "soft label"),
    ("SoLAD", "baseline"), ("SoLAD", "soft label"), ("SoLAD", "LAD"),
]  # fmt: skip


def claim(direction: str, mean: float, p: float | None) -> Claim:
    return Claim("LAD", "baseline", direction, Difference(mean, mean - 1, mean + 1, 5, p), p)


def finished(folder, aps: dict[str, list[float]], table: str = TABLE_2) -> Results:
    seeds = max(map(len, aps.values()))
    return finish(open_table(table, seeds=seeds, changes={"out": str(folder)}), aps)


@pytest.mark.parametrize(
    ("direction", "mean", "p", "verdict"),
    [
        ("better", 2.0, 0.049, "supported"),
        ("better", -2.0, 0.049, "contradicted"),
        ("better", 2.0, 0.05, "not distinguished"),
        ("worse", -2.0, 0.01, "supported"),
        ("worse", 2.0, 0.01, "contradicted"),
        ("worse", -2.0, 0.3, "not distinguished"),
        ("open", 2.0, 0.01, "differs"),
        ("open", -2.0, 0.01, "differs"),
        ("open", 2.0, 0.3, "not distinguished"),
        ("better", 2.0, None, "one seed"),
        ("open", 2.0, None, "one seed"),
    ],
)
def test_the_verdict_follows_from_the_adjusted_p_value_the_sign_and_the_claim(direction, mean, p, verdict):
    assert claim(direction, mean, p).verdict == verdict and verdict in VERDICTS


def test_p_values_are_adjusted_for_all_comparisons_of_the_table_that_have_one(results):
    made = claims(results)
    assert [(one.title, one.against) for one in made] == COMPARISONS
    tested, solad = made[:3], made[3:]
    assert [one.p_adjusted for one in tested] == holm([one.difference.p for one in tested])
    assert tested[1].p_adjusted == pytest.approx(3 * tested[1].difference.p)
    assert all(one.p_adjusted is None and one.verdict == "one seed" for one in solad)


def test_a_difference_whose_own_interval_excludes_zero_can_be_lost_among_many(tmp_path):
    aps = {"baseline": [0.60, 0.60, 0.60], "LAD": [0.615, 0.62, 0.625]}
    (alone,) = claims(finished(tmp_path / "alone", aps, "distillation_methods"))
    others = {title: [0.601, 0.59, 0.61] for title in ("soft label", "PKD", "CrossKD", "BCKD")}
    beside = next(
        made for made in claims(finished(tmp_path / "all", aps | others, "distillation_methods")) if made.title == "LAD"
    )
    assert alone.difference == beside.difference and alone.difference.low > 0
    assert (alone.verdict, beside.verdict) == ("supported", "not distinguished")
    assert beside.p_adjusted == pytest.approx(5 * alone.p_adjusted)


def test_the_answer_counts_the_verdicts_says_each_claim_and_how_to_read_it(results):
    count, soft_label, lad, _, solad, *_, reading, few, one = conclusions(results).splitlines()
    assert count == "6 comparisons: 2 supported, 1 not distinguished, 3 with one seed."
    assert soft_label.startswith(
        "soft label is better than baseline: not distinguished, +0.0 [-4.3, +4.3] points over 3"
    )
    assert lad == (
        "LAD is better than baseline: supported, +5.0 [+2.5, +7.5] points over 3 seeds (p .039, permutation p .250, "
        "effect +5.0)."
    )
    assert solad == "SoLAD is better than baseline: one seed, +6.0 points."
    assert "adjusted for 3 comparisons (Holm)" in reading
    assert few.startswith("With 3 seeds, a permutation p cannot be below .250, so that it cannot decide")
    assert one == "With one seed, a difference of one or two points may be due to chance."


def test_with_enough_seeds_nothing_is_said_of_few(tmp_path):
    seeds = 6
    aps = {"baseline": [0.60 + seed / 100 for seed in range(seeds)], "LAD": [0.5 + seed / 90 for seed in range(seeds)]}
    text = conclusions(finished(tmp_path, aps))
    assert "LAD is better than baseline: contradicted, -9.7" in text
    assert "cannot be below" not in text and "one seed" not in text and min_permutation_p(seeds) < 0.05


def test_a_row_is_compared_with_further_rows_after_its_baseline(tmp_path):
    """Does LAD add to PKD? Both comparisons are paired by seed, like that with the baseline."""
    aps = {"baseline": [0.60, 0.61], "LAD": [0.63, 0.64], "PKD": [0.64, 0.66], "LAD + PKD": [0.65, 0.66]}
    results = finished(tmp_path, aps, "distillation_methods")
    made = [one for one in claims(results) if one.title == "LAD + PKD"]
    assert [(one.against, one.difference.mean) for one in made] == [
        ("baseline", pytest.approx(5.0)), ("LAD", pytest.approx(2.0)), ("PKD", pytest.approx(0.5)),
    ]  # fmt: skip


def test_runs_that_are_equal_in_every_seed_are_not_distinguished(tmp_path):
    """The control of teacher_quality: a teacher that never assigns."""
    aps = {"R50 alone": [0.60, 0.61], "R101 until 0 %": [0.60, 0.61]}
    (control,) = claims(finished(tmp_path, aps, "teacher_quality"))
    assert str(control).startswith(
        "R101 until 0 % compared with R50 alone: not distinguished, +0.0 [+0.0, +0.0] points"
    )
    assert str(control).endswith("(p 1.000, permutation p 1.000, effect –).")


def test_the_table_of_claims_has_every_statistic_of_each(results):
    table = claims_table(results)
    assert list(table.index) == [title for title, _ in COMPARISONS]
    assert table.iloc[1].to_list() == [
        "better than baseline", "supported", "+5.0 [+2.5, +7.5]", ".039", ".250", "+5.0", "3",
    ]  # fmt: skip
    assert table.iloc[3].to_list() == ["better than baseline", "one seed", "+6.0", "–", "–", "–", "1"]


def test_without_runs_there_is_no_claim(tmp_path):
    results = open_table(TABLE_2, seeds=3, changes={"out": str(tmp_path)}).finished()
    assert claims(results) == [] and claims_table(results).empty
    assert conclusions(results) == "No runs to compare yet."


def test_json_has_all_numbers_of_a_claim(results):
    content = claims(results)[1].to_json()
    assert (content["against"], content["claim"], content["verdict"]) == ("baseline", "better", "supported")
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert content["p_adjusted"] == pytest.approx(3 * content["p"]) and content["effect"] == pytest.approx(5.0)


@pytest.mark.parametrize("name", TABLES)
def test_a_table_claims_what_is_published(name):
    """Where both rows are published on one split, the sign of the published gain is the claim."""
    for row in TABLES[name].rows:
        gain = published_gain(TABLES[name], row) if row.against else None
        if gain is not None:
            assert row.claim == ("better" if gain > 0 else "worse"), row.title


def test_equal_runs_give_equal_answers(tmp_path):
    texts = {conclusions(finished(tmp_path / name, APS)) for name in "ab"}
    assert len(texts) == 1
