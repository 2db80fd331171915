"""Positives, their sources and costs, checked against the functions that training uses."""

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
    positives_by_iou,
    predicted_boxes,
)
from lad.assigners.base import assign_by_predictions, build_assigner
from lad.assigners.candidates import match_candidates
from lad.assigners.cost import anchor_cost
from lad.assigners.paa import assign
from lad.data.annotations import read_annotations
from lad.data.coco import CocoDataset, find_split
from lad.data.collate import collate
from lad.data.synthetic.folders import write_shapes
from lad.data.transforms import eval_transform
from lad.distillation.cost_selection import choose_cost_fisher, choose_cost_std_mean
from lad.geometry import decode_deltas, inside_images, make_anchors
from lad.inference.postprocess import class_scores
from lad.models.detector import build_detector
from lad.structures import Sample, Targets

# Two gts on an image of 96 x 128, padded by 32 rows: an anchor of P3 itself, 64 pixels wide, and one much smaller.
TARGETS = Targets(
    boxes=torch.tensor([[32.0, 0, 96, 64], [116, 72, 126, 80]]),
    labels=torch.tensor([0, 1]),
    image=torch.tensor([0, 0]),
    image_hw=torch.tensor([[96, 128]]),
)
ANCHORS = make_anchors((128, 128))


@pytest.fixture(scope="module")
def networks():
    """An untrained student and an untrained teacher, which disagree."""
    torch.manual_seed(0)
    return {name: build_detector("r18", 6, width=0.25, channels=64) for name in ("student", "teacher")}


@pytest.fixture(scope="module")
def scene(tmp_path_factory, networks):
    """An image with several gts and padding at the right and bottom, and both networks' analyses of it."""
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


def analyze_boxes(networks, boxes):
    """Return a gray image of 96 x 128 pixels with these gts, and the analyses of it."""
    gts = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    batch = collate([Sample(torch.zeros(3, 96, 128), gts, torch.arange(len(gts)) % 6, 0, (96, 128))])
    return batch, {name: analyze(detector, batch) for name, detector in networks.items()}


def assign_as_training(name, student, teacher, targets):
    """Compute the assignment [A] as training does."""
    anchors = student.anchors
    candidates = match_candidates(anchors, targets)
    own, other = (anchor_cost(analysis.outputs, candidates, anchors, targets) for analysis in (student, teacher))
    chosen = {"student": own, "teacher": other}
    chosen["colad_std_mean"], _ = choose_cost_std_mean(own, other, candidates, targets)
    chosen["colad_fisher"], _ = choose_cost_fisher(own, other, candidates, targets)
    if name in chosen:
        return assign(candidates, chosen[name], anchors, targets)[0]
    return assign_by_predictions(build_assigner(name), student.outputs, anchors, targets)[0]


def pairs(gt_index):
    return {(anchor, gt) for anchor, gt in enumerate(gt_index.tolist()) if gt >= 0}


def triples(positives):
    return list(zip(positives.anchor.tolist(), positives.gt.tolist(), positives.source.tolist(), strict=True))


def expected_triples(expected_pairs, student, teacher):
    """Return (anchor, gt, source) of these pairs, by set operations."""
    own, other = pairs(student.gt_index[0]), pairs(teacher.gt_index[0]) if teacher else set()
    names = {(True, False): STUDENT_ONLY, (False, True): TEACHER_ONLY, (True, True): BOTH, (False, False): NEITHER}
    return [(*pair, names[pair in own, pair in other]) for pair in sorted(expected_pairs)]


@pytest.mark.parametrize("name", [name for name in ASSIGNMENTS if name != "each"])
def test_positives_are_those_of_training(name, scene):
    batch, analyses = scene
    expected = pairs(assign_as_training(name, *analyses.values(), batch.targets))
    assert expected
    positives = find_positives(name, analyses, batch.targets)
    assert sorted(triples(positives)) == expected_triples(expected, *analyses.values())


def test_each_has_the_positives_of_either_network(scene):
    batch, analyses = scene
    expected = set().union(*(pairs(analysis.gt_index[0]) for analysis in analyses.values()))
    positives = find_positives("each", analyses, batch.targets)
    assert sorted(triples(positives)) == expected_triples(expected, *analyses.values())
    assert set(positives.source.tolist()) == {STUDENT_ONLY, TEACHER_ONLY, BOTH}


def test_an_anchor_that_the_networks_assign_to_two_gts_has_a_row_for_each(scene):
    batch, analyses = scene
    own = analyses["student"].gt_index
    anchor = int((own[0] >= 0).nonzero()[0])
    gt = int(own[0, anchor])
    other = own.clone()
    other[0, anchor] = 1 - gt if gt < 2 else 0
    teacher = dataclasses.replace(analyses["teacher"], gt_index=other)
    positives = find_positives("each", {"student": analyses["student"], "teacher": teacher}, batch.targets)
    rows = [(source, row_gt) for row_anchor, row_gt, source in triples(positives) if row_anchor == anchor]
    assert rows == [(STUDENT_ONLY, gt), (TEACHER_ONLY, int(other[0, anchor]))]


def test_ignored_anchors_are_not_positives(scene):
    """Fixed IoU has anchors that are neither positive nor background."""
    batch, analyses = scene
    analysis = analyses["student"]
    ignoring = dataclasses.replace(analysis, gt_index=torch.full_like(analysis.gt_index, -2))
    positives = find_positives("each", {"student": analysis, "teacher": ignoring}, batch.targets)
    assert set(positives.source.tolist()) == {STUDENT_ONLY}


@pytest.mark.parametrize("name", [name for name in ASSIGNMENTS if name not in NEED_TEACHER])
def test_without_a_teacher_no_positive_has_the_teacher_as_source(name, scene):
    batch, analyses = scene
    alone = find_positives(name, {"student": analyses["student"]}, batch.targets)
    assert len(alone.anchor) and not {TEACHER_ONLY, BOTH} & set(alone.source.tolist())


@pytest.mark.parametrize("name", NEED_TEACHER)
def test_a_missing_teacher_is_reported(name, scene):
    batch, analyses = scene
    with pytest.raises(ValueError, match=rf"^assignment '{name}' needs a teacher; give a run that has one, or .*$"):
        find_positives(name, {"student": analyses["student"]}, batch.targets)


def test_an_unknown_assignment_is_reported_with_the_known_ones(scene):
    batch, analyses = scene
    with pytest.raises(ValueError, match=f"^assignment 'paa' is not one of {', '.join(ASSIGNMENTS)}$"):
        find_positives("paa", analyses, batch.targets)


def test_selecting_positives_keeps_their_rows(scene):
    batch, analyses = scene
    positives = find_positives("each", analyses, batch.targets)
    part = positives.select(positives.gt == 1)
    assert triples(part) == [row for row in triples(positives) if row[1] == 1]


def test_the_cost_map_has_the_cost_of_every_candidate_and_is_nan_only_in_the_padding(scene):
    batch, analyses = scene
    anchors = analyses["student"].anchors
    inside = inside_images(anchors, batch.targets.image_hw)[0]
    assert 0 < inside.sum() < len(inside)
    candidates = match_candidates(anchors, batch.targets)
    for analysis in analyses.values():
        cost = anchor_cost(analysis.outputs, candidates, anchors, batch.targets)
        for gt in range(len(batch.targets.boxes)):
            mapped = cost_map(analysis, batch.targets, gt)
            of_gt = candidates.gt == gt
            torch.testing.assert_close(mapped[candidates.anchor[of_gt]], cost[of_gt])
            assert torch.equal(mapped.isnan(), ~inside)


def test_a_cost_map_uses_the_gts_own_image(networks):
    boxes = torch.tensor([[10.0, 10, 60, 70]])
    images = [torch.full((3, 96, 128), shade) for shade in (-1.0, 1.0)]
    both = collate([Sample(image, boxes, torch.tensor([2]), 0, (96, 128)) for image in images])
    analysis = analyze(networks["student"], both)
    for row, image in enumerate(images):
        alone = collate([Sample(image, boxes, torch.tensor([2]), 0, (96, 128))])
        mapped = cost_map(analysis, both.targets, row)
        single = analyze(networks["student"], alone)
        expected = cost_map(single, alone.targets, 0)
        torch.testing.assert_close(mapped, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("network", ["student", "teacher"])
def test_the_table_has_each_candidate_once_by_ascending_cost(scene, network):
    batch, analyses = scene
    analysis, gt = analyses[network], 0
    positives = find_positives("each", analyses, batch.targets)
    table = candidate_table(analysis, batch.targets, gt, positives)
    candidates = match_candidates(analysis.anchors, batch.targets)
    of_gt = candidates.anchor[candidates.gt == gt]
    cost = anchor_cost(analysis.outputs, candidates, analysis.anchors, batch.targets)[candidates.gt == gt]
    order = cost.argsort()
    places = analysis.anchors.center[of_gt[order]].int().tolist()
    levels = [f"P{3 + level}" for level in analysis.anchors.level[of_gt[order]].tolist()]
    assert sorted(zip(table["level"], table["x"], table["y"], strict=True)) == sorted(
        (level, x, y) for level, (x, y) in zip(levels, places, strict=True)
    )
    assert table["cost"].tolist() == pytest.approx(cost[order].tolist())
    assert table["cost"].is_monotonic_increasing
    assert (table["cls cost"] + table["box cost"]).tolist() == pytest.approx(table["cost"].tolist())


def test_the_table_has_the_source_of_each_positive(scene):
    batch, analyses = scene
    positives = find_positives("each", analyses, batch.targets)
    of_gt = positives.select(positives.gt == 0)
    table = candidate_table(analyses["student"], batch.targets, 0, positives)
    positive = table[table["positive"] == "yes"]
    anchors = analyses["student"].anchors
    expected = [
        (f"P{3 + int(anchors.level[anchor])}", *anchors.center[anchor].int().tolist(), SOURCES[source])
        for anchor, source in zip(of_gt.anchor.tolist(), of_gt.source.tolist(), strict=True)
    ]
    rows = positive[["level", "x", "y", "source"]].itertuples(index=False, name=None)
    assert sorted(rows) == sorted(expected)
    assert set(table.loc[table["positive"] == "", "source"]) <= {""}


def test_paa_positives_are_in_component_0_and_only_nine_candidates_per_level_have_a_component(scene):
    batch, analyses = scene
    analysis = analyses["student"]
    positives = find_positives("student", analyses, batch.targets)
    for gt in range(len(batch.targets.boxes)):
        table = candidate_table(analysis, batch.targets, gt, positives)
        assert set(table.loc[table["positive"] == "yes", "component"]) == {"0"}
        pooled = table[table["component"].isin(["0", "1"])]
        assert len(pooled) == int(analysis.count[gt])
        assert len(pooled) + int((table["component"] == "–").sum()) == len(table)
        for _, level in table.groupby("level"):
            assert (level["component"] != "–").tolist() == [place < 9 for place in range(len(level))]


def test_the_table_has_ious_and_the_score_of_the_gts_class(scene):
    batch, analyses = scene
    analysis = analyses["student"]
    table = candidate_table(analysis, batch.targets, 0, find_positives("student", analyses, batch.targets))
    assert table[["anchor IoU", "IoU", "score"]].stack().between(0, 1).all()
    row = table.iloc[0]
    stride = 8 * 2 ** (int(row["level"][1]) - 3)
    box, half = batch.targets.boxes[0].tolist(), 4 * stride
    anchor = [row["x"] - half, row["y"] - half, row["x"] + half, row["y"] + half]
    wide, high = (min(box[i + 2], anchor[i + 2]) - max(box[i], anchor[i]) for i in (0, 1))
    union = (box[2] - box[0]) * (box[3] - box[1]) + (2 * half) ** 2 - wide * high
    assert row["anchor IoU"] == pytest.approx(wide * high / union, rel=1e-4)
    scores = class_scores(analysis.outputs)[0, :, batch.targets.labels[0]].tolist()
    assert row["score"] in [pytest.approx(score) for score in scores]


def test_the_table_has_positives_that_are_not_paa_candidates(networks):
    """ATSS takes nine anchors of each level, however little they overlap; here PAA assigns some to another gt."""
    batch, analyses = analyze_boxes(networks, [[20, 20, 84, 84], [24, 24, 80, 80]])
    candidates = match_candidates(analyses["student"].anchors, batch.targets)
    num_added = 0
    for gt in (0, 1):
        positives = find_positives("atss", analyses, batch.targets)
        of_gt = set(positives.anchor[positives.gt == gt].tolist())
        candidate = set(candidates.anchor[candidates.gt == gt].tolist())
        table = candidate_table(analyses["student"], batch.targets, gt, positives)
        assert len(table) == len(of_gt | candidate) and (table["positive"] == "yes").sum() == len(of_gt)
        num_added += len(of_gt - candidate)
    assert num_added


@pytest.mark.parametrize("box", [[50, 50, 50, 50], [600, 600, 640, 640]], ids=["without area", "outside"])
def test_a_gt_without_candidates_has_an_empty_table_and_a_cost_everywhere(box, networks):
    batch, analyses = analyze_boxes(networks, [box, [10, 10, 60, 60]])
    positives = find_positives("each", analyses, batch.targets)
    table = candidate_table(analyses["student"], batch.targets, 0, positives)
    assert len(table) == 0 and {"level", "cost", "source"} <= set(table.columns)
    assert cost_map(analyses["student"], batch.targets, 0).isfinite().all()


def test_an_image_without_gts_has_no_positives(networks):
    batch, analyses = analyze_boxes(networks, [])
    for name in ASSIGNMENTS:
        assert len(find_positives(name, analyses, batch.targets).anchor) == 0


def test_predicted_boxes_have_the_highest_scores_best_first(scene):
    batch, analyses = scene
    targets, gt = batch.targets, 1
    for analysis in analyses.values():
        some = torch.arange(0, len(analysis.anchors.boxes), 7)
        score = class_scores(analysis.outputs)[0, some, targets.labels[gt]]
        best = some[score.topk(MAX_PREDICTED).indices]
        outputs, anchors = analysis.outputs, analysis.anchors
        expected = decode_deltas(anchors.boxes[best], outputs.box_deltas[0, best], targets.image_hw[0])
        assert torch.equal(predicted_boxes(outputs, anchors, targets, gt, some), expected)


def test_the_most_important_columns_come_first(scene):
    batch, analyses = scene
    positives = find_positives("each", analyses, batch.targets)
    table = candidate_table(analyses["student"], batch.targets, 0, positives)
    assert list(table.columns[:6]) == ["level", "x", "y", "cost", "positive", "source"]


def test_predicted_boxes_are_clipped_to_the_image(scene):
    batch, analyses = scene
    height, width = batch.targets.image_hw[0].tolist()
    for analysis in analyses.values():
        every = torch.arange(len(analysis.anchors.boxes))
        boxes = predicted_boxes(analysis.outputs, analysis.anchors, batch.targets, 0, every, len(every))
        x0, y0, x1, y1 = boxes.unbind(dim=1)
        assert (x0 >= 0).all() and (x1 <= width).all() and (y0 >= 0).all() and (y1 <= height).all()
        assert (x0 <= x1).all() and (y0 <= y1).all()


def positives_at(threshold: float, targets: Targets = TARGETS) -> set[tuple[float, float, int]]:
    positives = positives_by_iou(ANCHORS, targets, threshold)
    assert (positives.source == NEITHER).all()
    return {
        (*ANCHORS.center[anchor].tolist(), gt)
        for anchor, gt in zip(positives.anchor.tolist(), positives.gt.tolist(), strict=True)
    }


def test_an_anchor_equal_to_a_gt_is_its_positive():
    assert positives_at(0.99) == {(64, 32, 0)}


def test_anchors_a_stride_away_overlap_the_gt_by_seven_ninths():
    assert positives_at(0.7) == {(64, 32, 0), (56, 32, 0), (72, 32, 0), (64, 24, 0), (64, 40, 0)}


def test_a_gt_smaller_than_every_anchor_needs_a_tiny_threshold():
    assert {gt for *_, gt in positives_at(0.1)} == {0}
    assert {gt for *_, gt in positives_at(0.01)} == {0, 1}


def test_anchors_in_the_padding_are_not_positives():
    low = Targets(torch.tensor([[32.0, 40, 96, 96]]), TARGETS.labels[:1], TARGETS.image[:1], TARGETS.image_hw)
    assert max(y for _, y, _ in positives_at(0.3, low)) < 96
