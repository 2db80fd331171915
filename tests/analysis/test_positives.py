"""Who positives which anchors and what each one costs: checked against the functions that training uses."""

import dataclasses

import pytest
import torch

from lad.analysis.assignment import analyze
from lad.analysis.positives import (
    ASSIGNMENTS,
    BOTH,
    MAX_PREDICTED,
    NEED_TEACHER,
    NEITHER,
    SOURCES,
    STUDENT_ONLY,
    TEACHER_ONLY,
    candidate_table,
    cost_map,
    find_positives,
    predicted_boxes,
)
from lad.assigners.base import ASSIGNERS, own_assignment
from lad.assigners.candidates import match_candidates
from lad.assigners.cost import anchor_cost
from lad.assigners.paa import assign
from lad.data.annotations import read_annotations
from lad.data.coco import CocoDataset, find_split
from lad.data.collate import collate
from lad.data.synthetic.shapes import write_shapes
from lad.data.transforms import eval_transform
from lad.distillation.cost_selection import choose_cost_fisher, choose_cost_std_mean
from lad.geometry import decode_deltas, inside_images
from lad.inference.postprocess import class_scores
from lad.models.detector import build_detector
from lad.structures import Sample


@pytest.fixture(scope="module")
def networks():
    """A student and a teacher that know nothing, so that they disagree."""
    torch.manual_seed(0)
    return {name: build_detector("r18", 6, width=0.25, channels=64) for name in ("student", "teacher")}


@pytest.fixture(scope="module")
def scene(tmp_path_factory, networks):
    """The image of the most gts of a few, cropped so that right and below of it is padding; the two analyses of it."""
    folder = tmp_path_factory.mktemp("data") / "shapes"
    write_shapes(folder, "toy", {"train": 1, "val": 8})
    images, path = find_split(folder, "val")
    samples = list(CocoDataset(images, read_annotations(path), eval_transform(128, 128)))
    whole = max(samples, key=lambda sample: len(sample.boxes))
    cut = dataclasses.replace(whole, image=whole.image[:, :90, :120], boxes=whole.boxes.clamp(max=90))
    wide = dataclasses.replace(whole, image=whole.image[:, :90].repeat(1, 1, 2))  # pads both to 128 x 256
    batch = collate([cut, wide])
    batch = dataclasses.replace(
        batch.take([0]), images=torch.nn.functional.pad(batch.images[:1], (0, 0, 0, 32))
    )  # of 160 x 256 pixels, 90 x 120 of them image
    return batch, {name: analyze(detector, batch) for name, detector in networks.items()}


def of_boxes(networks, boxes):
    """A gray image of 96 x 128 pixels with these gts, and the analyses of it."""
    gts = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    batch = collate([Sample(torch.zeros(3, 96, 128), gts, torch.arange(len(gts)) % 6, 0, (96, 128))])
    return batch, {name: analyze(detector, batch) for name, detector in networks.items()}


def assigned_by(name, student, teacher, targets):
    """The assignment [A] as training would make it."""
    anchors = student.anchors
    candidates = match_candidates(anchors, targets)
    own, other = (anchor_cost(one.outputs, candidates, anchors, targets) for one in (student, teacher))
    chosen = {"student": own, "teacher": other}
    chosen["colad_std_mean"], _ = choose_cost_std_mean(own, other, candidates, targets)
    chosen["colad_fisher"], _ = choose_cost_fisher(own, other, candidates, targets)
    if name in chosen:
        return assign(candidates, chosen[name], anchors, targets)[0]
    return own_assignment(ASSIGNERS[name], student.outputs, anchors, targets)[0]


def pairs(gt_index):
    return {(anchor, gt) for anchor, gt in enumerate(gt_index.tolist()) if gt >= 0}


def triples(positives):
    return list(zip(positives.anchor.tolist(), positives.gt.tolist(), positives.by.tolist(), strict=True))


def claimants(found, student, teacher):
    """Who positives each pair, by sets."""
    own, other = pairs(student.gt_index[0]), pairs(teacher.gt_index[0]) if teacher else set()
    names = {(True, False): STUDENT_ONLY, (False, True): TEACHER_ONLY, (True, True): BOTH, (False, False): NEITHER}
    return [(*pair, names[pair in own, pair in other]) for pair in sorted(found)]


@pytest.mark.parametrize("name", [name for name in ASSIGNMENTS if name != "each"])
def test_the_claims_are_the_positives_that_training_would_make(name, scene):
    batch, analyses = scene
    found = pairs(assigned_by(name, *analyses.values(), batch.targets))
    assert found
    positives = find_positives(name, analyses, batch.targets)
    assert sorted(triples(positives)) == claimants(found, *analyses.values())


def test_each_shows_what_either_network_claims(scene):
    batch, analyses = scene
    found = set().union(*(pairs(one.gt_index[0]) for one in analyses.values()))
    positives = find_positives("each", analyses, batch.targets)
    assert sorted(triples(positives)) == claimants(found, *analyses.values())
    assert set(positives.by.tolist()) == {STUDENT_ONLY, TEACHER_ONLY, BOTH}


def test_an_anchor_that_the_networks_give_to_two_gts_is_shown_with_both(scene):
    batch, analyses = scene
    own = analyses["student"].gt_index
    anchor = int((own[0] >= 0).nonzero()[0])
    gt = int(own[0, anchor])
    other = own.clone()
    other[0, anchor] = 1 - gt if gt < 2 else 0
    teacher = dataclasses.replace(analyses["teacher"], gt_index=other)
    positives = find_positives("each", {"student": analyses["student"], "teacher": teacher}, batch.targets)
    rows = [(by, of) for at, of, by in triples(positives) if at == anchor]
    assert rows == [(STUDENT_ONLY, gt), (TEACHER_ONLY, int(other[0, anchor]))]


def test_what_a_rule_ignores_nobody_claims(scene):
    """Fixed IoU has anchors that are neither positive nor background."""
    batch, analyses = scene
    one = analyses["student"]
    ignoring = dataclasses.replace(one, gt_index=torch.full_like(one.gt_index, -2))
    positives = find_positives("each", {"student": one, "teacher": ignoring}, batch.targets)
    assert set(positives.by.tolist()) == {STUDENT_ONLY}


@pytest.mark.parametrize("name", [name for name in ASSIGNMENTS if name not in NEED_TEACHER])
def test_without_a_teacher_nothing_is_claimed_by_one(name, scene):
    batch, analyses = scene
    alone = find_positives(name, {"student": analyses["student"]}, batch.targets)
    assert len(alone.anchor) and not {TEACHER_ONLY, BOTH} & set(alone.by.tolist())


@pytest.mark.parametrize("name", NEED_TEACHER)
def test_a_missing_teacher_is_one_clear_line(name, scene):
    batch, analyses = scene
    with pytest.raises(ValueError, match=rf"^assignment '{name}' needs a teacher; give a run that has one, or .*$"):
        find_positives(name, {"student": analyses["student"]}, batch.targets)


def test_an_unknown_assignment_is_one_clear_line_with_those_that_there_are(scene):
    batch, analyses = scene
    with pytest.raises(ValueError, match=f"^assignment 'paa' is not one of {', '.join(ASSIGNMENTS)}$"):
        find_positives("paa", analyses, batch.targets)


def test_a_part_of_the_claims_keeps_each_row_whole(scene):
    batch, analyses = scene
    positives = find_positives("each", analyses, batch.targets)
    part = positives.where(positives.gt == 1)
    assert triples(part) == [row for row in triples(positives) if row[1] == 1]


def test_the_cost_map_is_the_cost_of_every_candidate_and_empty_in_the_padding_alone(scene):
    batch, analyses = scene
    anchors = analyses["student"].anchors
    inside = inside_images(anchors, batch.targets.image_hw)[0]
    assert 0 < inside.sum() < len(inside)
    candidates = match_candidates(anchors, batch.targets)
    for one in analyses.values():
        cost = anchor_cost(one.outputs, candidates, anchors, batch.targets)
        for gt in range(len(batch.targets.boxes)):
            mapped = cost_map(one.outputs, anchors, batch.targets, gt)
            mine = candidates.gt == gt
            torch.testing.assert_close(mapped[candidates.anchor[mine]], cost[mine])
            assert torch.equal(mapped.isnan(), ~inside)


def test_a_cost_map_is_of_the_gts_own_image(networks):
    boxes = torch.tensor([[10.0, 10, 60, 70]])
    images = [torch.full((3, 96, 128), shade) for shade in (-1.0, 1.0)]
    both = collate([Sample(image, boxes, torch.tensor([2]), 0, (96, 128)) for image in images])
    one = analyze(networks["student"], both)
    for row, image in enumerate(images):
        alone = collate([Sample(image, boxes, torch.tensor([2]), 0, (96, 128))])
        mapped = cost_map(one.outputs, one.anchors, both.targets, row)
        single = analyze(networks["student"], alone)
        expected = cost_map(single.outputs, single.anchors, alone.targets, 0)
        torch.testing.assert_close(mapped, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("who", ["student", "teacher"])
def test_the_table_has_each_candidate_once_with_its_cost_the_cheapest_first(scene, who):
    batch, analyses = scene
    one, gt = analyses[who], 0
    positives = find_positives("each", analyses, batch.targets)
    table = candidate_table(one, batch.targets, gt, positives)
    candidates = match_candidates(one.anchors, batch.targets)
    mine = candidates.anchor[candidates.gt == gt]
    cost = anchor_cost(one.outputs, candidates, one.anchors, batch.targets)[candidates.gt == gt]
    order = cost.argsort()
    places = one.anchors.center[mine[order]].int().tolist()
    levels = [f"P{3 + level}" for level in one.anchors.level[mine[order]].tolist()]
    assert sorted(zip(table["level"], table["x"], table["y"], strict=True)) == sorted(
        (level, x, y) for level, (x, y) in zip(levels, places, strict=True)
    )
    assert table["cost"].tolist() == pytest.approx(cost[order].tolist())
    assert table["cost"].is_monotonic_increasing
    assert (table["cls cost"] + table["box cost"]).tolist() == pytest.approx(table["cost"].tolist())


def test_the_table_says_who_claims_which_positive(scene):
    batch, analyses = scene
    positives = find_positives("each", analyses, batch.targets)
    mine = positives.where(positives.gt == 0)
    table = candidate_table(analyses["student"], batch.targets, 0, positives)
    positive = table[table["positive"] == "yes"]
    anchors = analyses["student"].anchors
    expected = [
        (f"P{3 + int(anchors.level[anchor])}", *anchors.center[anchor].int().tolist(), SOURCES[by])
        for anchor, by in zip(mine.anchor.tolist(), mine.by.tolist(), strict=True)
    ]
    told = positive[["level", "x", "y", "claimed by"]].itertuples(index=False, name=None)
    assert sorted(told) == sorted(expected)
    assert set(table.loc[table["positive"] == "", "claimed by"]) <= {""}


def test_a_positive_of_paa_is_in_the_foreground_and_below_nine_a_level_have_a_component(scene):
    batch, analyses = scene
    one = analyses["student"]
    positives = find_positives("student", analyses, batch.targets)
    for gt in range(len(batch.targets.boxes)):
        table = candidate_table(one, batch.targets, gt, positives)
        assert set(table.loc[table["positive"] == "yes", "component"]) == {"0"}
        pooled = table[table["component"].isin(["0", "1"])]
        assert len(pooled) == int(one.count[gt])
        assert len(pooled) + int((table["component"] == "–").sum()) == len(table)
        for _, level in table.groupby("level"):
            assert (level["component"] != "–").tolist() == [place < 9 for place in range(len(level))]


def test_the_table_tells_overlaps_and_the_score_of_the_gts_class(scene):
    batch, analyses = scene
    one = analyses["student"]
    table = candidate_table(one, batch.targets, 0, find_positives("student", analyses, batch.targets))
    assert table[["anchor IoU", "IoU", "score"]].stack().between(0, 1).all()
    row = table.iloc[0]
    stride = 8 * 2 ** (int(row["level"][1]) - 3)
    box, half = batch.targets.boxes[0].tolist(), 4 * stride
    anchor = [row["x"] - half, row["y"] - half, row["x"] + half, row["y"] + half]
    wide, high = (min(box[i + 2], anchor[i + 2]) - max(box[i], anchor[i]) for i in (0, 1))
    union = (box[2] - box[0]) * (box[3] - box[1]) + (2 * half) ** 2 - wide * high
    assert row["anchor IoU"] == pytest.approx(wide * high / union, rel=1e-4)
    scores = class_scores(one.outputs)[0, :, batch.targets.labels[0]].tolist()
    assert row["score"] in [pytest.approx(score) for score in scores]


def test_positives_that_are_no_candidates_of_paa_stand_in_the_table_too(networks):
    """ATSS takes nine anchors of each level, however little they overlap; here some were PAA's for another gt."""
    batch, analyses = of_boxes(networks, [[20, 20, 84, 84], [24, 24, 80, 80]])
    candidates = match_candidates(analyses["student"].anchors, batch.targets)
    found = 0
    for gt in (0, 1):
        positives = find_positives("atss", analyses, batch.targets)
        mine = set(positives.anchor[positives.gt == gt].tolist())
        candidate = set(candidates.anchor[candidates.gt == gt].tolist())
        table = candidate_table(analyses["student"], batch.targets, gt, positives)
        assert len(table) == len(mine | candidate) and (table["positive"] == "yes").sum() == len(mine)
        found += len(mine - candidate)
    assert found


@pytest.mark.parametrize("box", [[50, 50, 50, 50], [600, 600, 640, 640]], ids=["without area", "outside"])
def test_a_gt_without_candidates_has_an_empty_table_and_a_cost_everywhere(box, networks):
    batch, analyses = of_boxes(networks, [box, [10, 10, 60, 60]])
    positives = find_positives("each", analyses, batch.targets)
    table = candidate_table(analyses["student"], batch.targets, 0, positives)
    assert len(table) == 0 and {"level", "cost", "claimed by"} <= set(table.columns)
    assert cost_map(analyses["student"].outputs, analyses["student"].anchors, batch.targets, 0).isfinite().all()


def test_an_image_without_gts_has_no_claims(networks):
    batch, analyses = of_boxes(networks, [])
    for name in ASSIGNMENTS:
        assert len(find_positives(name, analyses, batch.targets).anchor) == 0


def test_predicted_boxes_are_the_few_of_the_highest_score_the_best_first(scene):
    batch, analyses = scene
    targets, gt = batch.targets, 1
    for one in analyses.values():
        some = torch.arange(0, len(one.anchors.boxes), 7)
        score = class_scores(one.outputs)[0, some, targets.labels[gt]]
        best = some[score.topk(MAX_PREDICTED).indices]
        expected = decode_deltas(one.anchors.boxes[best], one.outputs.box_deltas[0, best], targets.image_hw[0])
        assert torch.equal(predicted_boxes(one.outputs, one.anchors, targets, gt, some), expected)


def test_the_columns_that_decide_come_first(scene):
    batch, analyses = scene
    positives = find_positives("each", analyses, batch.targets)
    table = candidate_table(analyses["student"], batch.targets, 0, positives)
    assert list(table.columns[:6]) == ["level", "x", "y", "cost", "positive", "claimed by"]


def test_predicted_boxes_lie_on_the_image(scene):
    batch, analyses = scene
    height, width = batch.targets.image_hw[0].tolist()
    for one in analyses.values():
        every = torch.arange(len(one.anchors.boxes))
        x0, y0, x1, y1 = predicted_boxes(one.outputs, one.anchors, batch.targets, 0, every, len(every)).unbind(dim=1)
        assert (x0 >= 0).all() and (x1 <= width).all() and (y0 >= 0).all() and (y1 <= height).all()
        assert (x0 <= x1).all() and (y0 <= y1).all()
