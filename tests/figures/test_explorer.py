"""Figures of one image under the glass: checked on the artists and on the files, not on pixels."""

import dataclasses
import re
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PatchCollection, PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from lad import figures
from lad.analysis.assignment import analyze
from lad.analysis.positives import BOTH, NEITHER, STUDENT_ONLY, TEACHER_ONLY, Positives, cost_map, find_positives
from lad.data.collate import collate
from lad.geometry import box_iou, inside_images, make_anchors
from lad.models.detector import build_detector
from lad.structures import Sample, Targets

HW, PADDED = (90, 120), (96, 128)
ANCHORS = make_anchors(PADDED)
FIRST = [sum(ANCHORS.level_counts[:level]) for level in range(5)]  # anchor of each level
COLORS = {
    STUDENT_ONLY: figures.STUDENT,
    TEACHER_ONLY: figures.TEACHER,
    BOTH: figures.BOTH,
    NEITHER: figures.NEITHER,
}
NO_CLAIMS = Positives(*(torch.zeros(0, dtype=torch.int64) for _ in range(3)))


def targets_of(*boxes) -> Targets:
    gts = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return Targets(gts, torch.arange(len(gts)), torch.zeros(len(gts), dtype=torch.int64), torch.tensor([HW]))


TARGETS = targets_of([10, 10, 60, 70], [30, 5, 110, 88])
CLAIMS = Positives(
    torch.tensor([40, 55, 57, FIRST[1] + 9, FIRST[1] + 10, FIRST[2] + 1, FIRST[4]]),
    torch.tensor([0, 0, 1, 0, 1, 1, 0]),
    torch.tensor([STUDENT_ONLY, TEACHER_ONLY, BOTH, BOTH, NEITHER, STUDENT_ONLY, TEACHER_ONLY]),
)
PICTURE = np.full((180, 240, 3), 200, dtype=np.uint8)


@pytest.fixture(autouse=True)
def no_warning(recwarn):
    """A figure is drawn without a word."""
    yield
    assert [str(warning.message) for warning in recwarn] == []


def drawn(figure: Figure) -> Figure:
    FigureCanvasAgg(figure).draw()
    return figure


def of_kind(ax, kind):
    return [c for c in ax.collections if type(c) is kind]


def dots(scatter) -> list[tuple[float, float, str]]:
    colors = scatter.get_facecolors()[: len(scatter.get_offsets())]
    return sorted((*p, to_hex(c).upper()) for p, c in zip(scatter.get_offsets().tolist(), colors, strict=True))


def expected(positives) -> list[tuple[float, float, str]]:
    places = ANCHORS.center[positives.anchor].tolist()
    return sorted((x, y, COLORS[by]) for (x, y), by in zip(places, positives.by.tolist(), strict=True))


def said(figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def claimed(**changes) -> Figure:
    given = {"image": PICTURE, "targets": TARGETS, "anchors": ANCHORS, "positives": CLAIMS, **changes}
    return drawn(figures.draw_positives(**given))


def test_every_claim_is_a_dot_at_its_anchors_center_in_the_color_of_who_claims_it():
    (ax,) = claimed().axes
    (scatter,) = of_kind(ax, PathCollection)
    assert dots(scatter) == expected(CLAIMS)


def test_a_tie_leads_from_each_dot_to_the_middle_of_its_gt():
    (ax,) = claimed().axes
    (ties,) = of_kind(ax, LineCollection)
    middles = {0: [35.0, 40.0], 1: [70.0, 46.5]}
    places = ANCHORS.center[CLAIMS.anchor].tolist()
    ends = [[place, middles[gt]] for place, gt in zip(places, CLAIMS.gt.tolist(), strict=True)]
    assert [path.tolist() for path in ties.get_segments()] == ends


def test_a_dot_is_the_larger_the_coarser_its_level():
    (ax,) = claimed().axes
    (scatter,) = of_kind(ax, PathCollection)
    levels = ANCHORS.level[CLAIMS.anchor].tolist()
    size = dict(zip(levels, scatter.get_sizes().tolist(), strict=True))
    assert sorted(size) == [0, 1, 2, 4] and sorted(size.values()) == [size[level] for level in sorted(size)]


def test_the_chosen_gt_is_bold_and_the_others_pale():
    (ax,) = claimed(gt=1).axes
    pale, bold = of_kind(ax, PathCollection)
    assert dots(bold) == expected(CLAIMS.where(CLAIMS.gt == 1))
    assert dots(pale) == expected(CLAIMS.where(CLAIMS.gt == 0))
    assert max(pale.get_facecolors()[:, 3]) < 0.5 < min(bold.get_facecolors()[:, 3])
    frames = [(patch.get_linestyle(), patch.get_linewidth()) for patch in ax.patches]
    assert frames[0][0] == "--" and frames[1][0] == "-" and frames[1][1] > frames[0][1]


def test_a_pale_dot_keeps_a_rim_that_is_seen_on_any_color():
    (ax,) = claimed(gt=1).axes
    pale, _ = of_kind(ax, PathCollection)
    assert pale.get_alpha() is None and pale.get_edgecolors().tolist() == [[1, 1, 1, 1]]


def test_levels_that_are_hidden_have_no_dots_and_do_not_count():
    figure = claimed(levels=[1, 2])
    (ax,) = figure.axes
    (scatter,) = of_kind(ax, PathCollection)
    is_shown = torch.isin(ANCHORS.level[CLAIMS.anchor], torch.tensor([1, 2]))
    assert dots(scatter) == expected(CLAIMS.where(is_shown))
    assert [text.get_text() for text in ax.texts] == ["1", "2"]
    assert said(figure) == ["student only", "both", "neither", "P4", "P5"]


def test_every_gt_has_its_name_and_number_and_the_title_says_who_claims_the_chosen_ones():
    (ax,) = claimed(gt=0, gt_names=["star", "ring"]).axes
    assert [text.get_text() for text in ax.texts] == ["star: 4", "ring: 3"]
    assert ax.get_title(loc="left") == "star: 4 positives – 1 student only, 2 teacher only, 1 both"


def test_without_a_chosen_gt_the_title_is_of_all_objects():
    (ax,) = claimed().axes
    assert ax.get_title(loc="left").startswith("all objects: 7 positives – ")
    (ax,) = claimed(gt=1).axes
    assert ax.get_title(loc="left").startswith("gt 1: 3 positives – ")


def test_the_legend_has_only_those_who_claim_something():
    assert said(claimed(positives=CLAIMS.where(CLAIMS.by == BOTH))) == ["both", "P3", "P4", "P5", "P6", "P7"]


def test_anchor_boxes_are_those_of_the_chosen_gts_shown_positives():
    (ax,) = claimed(gt=0, show_anchors=True, levels=[0, 4]).axes
    (boxes,) = of_kind(ax, PatchCollection)
    mine = ANCHORS.boxes[[40, 55, FIRST[4]]]
    corners = torch.tensor(np.array([path.vertices[[0, 2]].reshape(4) for path in boxes.get_paths()])).float()
    assert torch.equal(corners, mine)
    edges = [to_hex(color).upper() for color in boxes.get_edgecolors()]
    assert edges == [figures.STUDENT, figures.TEACHER, figures.TEACHER]


def test_predicted_boxes_are_dashed_in_their_networks_color():
    predicted = {"student": torch.tensor([[1.0, 2, 30, 40]]), "teacher": torch.tensor([[5.0, 6, 50, 60]] * 3)}
    figure = claimed(predicted=predicted)
    (ax,) = figure.axes
    student, teacher = of_kind(ax, PatchCollection)
    assert student.get_paths()[0].vertices[[0, 2]].tolist() == [[1, 2], [30, 40]]
    assert len(teacher.get_paths()) == 3
    assert {"predicted by the student", "predicted by the teacher"} <= set(said(figure))
    colors = [to_hex(boxes.get_edgecolor()[0], keep_alpha=False).upper() for boxes in (student, teacher)]
    assert colors == [figures.STUDENT, figures.TEACHER]
    assert all(boxes.get_linestyle()[0][1] for boxes in (student, teacher))  # with gaps


@pytest.mark.parametrize("image", [PICTURE, torch.zeros(3, *PADDED)], ids=["pixels", "tensor"])
def test_a_photo_and_the_tensor_the_network_sees_have_the_same_coordinates(image):
    (ax,) = claimed(image=image).axes
    (shown,) = ax.images
    assert list(shown.get_extent()) == [0, 120, 90, 0]
    assert (ax.get_xlim(), ax.get_ylim()) == ((0, 120), (90, 0))
    assert shown.get_array().shape[:2] == ((180, 240) if image is PICTURE else HW)


@pytest.mark.parametrize("gt", [None, 0])
def test_no_claims_at_all_can_be_drawn(gt):
    (ax,) = claimed(positives=NO_CLAIMS, gt=gt, show_anchors=True, predicted={"student": torch.zeros(0, 4)}).axes
    assert ax.get_title(loc="left").endswith(": 0 positives")
    assert not [text for text in said(ax.figure) if "predicted" in text]


def test_an_image_without_gts_can_be_drawn():
    (ax,) = claimed(targets=targets_of(), positives=NO_CLAIMS).axes
    assert not ax.texts


@pytest.mark.parametrize("levels", [[], [3]])
def test_few_levels_or_none_can_be_drawn(levels):
    (ax,) = claimed(levels=levels, gt=0, show_anchors=True).axes
    assert not of_kind(ax, PathCollection)
    costs = {"student": torch.rand(len(ANCHORS.boxes))}
    maps = drawn(figures.draw_cost_maps(costs, ANCHORS, TARGETS, 0, CLAIMS, levels))
    every = drawn(figures.draw_anchors(PICTURE, TARGETS, ANCHORS, 0, levels))
    for figure in (maps, every):
        assert len(figure.axes) == len(levels)  # and no color bar without a map
        assert ["no level is shown" in text.get_text() for text in figure.texts] == [True] * (not levels)


def maps(costs=None, gt=0, positives=CLAIMS, targets=TARGETS, **changes):
    """The axes of a figure of cost maps, its maps, its scales and its rows of dots."""
    if costs is None:
        costs = {"student": torch.linspace(1, 2, len(ANCHORS.boxes)), "teacher": torch.linspace(5, 9, FIRST[4] + 1)}
        outside = ~inside_images(ANCHORS, TARGETS.image_hw)[0]
        costs = {name: cost.masked_fill(outside, torch.nan) for name, cost in costs.items()}
    (ax,) = drawn(figures.draw_cost_maps(costs, ANCHORS, targets, gt, positives, **changes)).axes
    count = len(changes.get("levels", range(5)))
    rows = [ax.images[row * (count + 1) : (row + 1) * (count + 1)] for row in range(len(costs))]
    return ax, [row[:-1] for row in rows], [row[-1] for row in rows]


def test_each_network_has_a_map_per_level_that_holds_its_costs():
    cost = torch.rand(len(ANCHORS.boxes))
    ax, rows, _ = maps({"student": cost, "teacher": 10 * cost})
    for row, scale in zip(rows, (1, 10), strict=True):
        for level, shown in enumerate(row):
            here = scale * cost[ANCHORS.level == level]
            assert shown.get_array().shape == tuple(ANCHORS.level_hw[level].tolist())
            assert np.asarray(shown.get_array()).flatten() == pytest.approx(here.numpy())
    assert [text.get_text() for text in ax.texts if "px" in text.get_text()] == [
        f"P{3 + level} · {8 * 2**level} px" for level in range(5)
    ]


def test_each_network_has_a_scale_of_its_own_that_its_levels_share():
    cost = torch.rand(len(ANCHORS.boxes))
    ax, rows, scales = maps({"student": cost, "teacher": 10 * cost})
    ranges = [{shown.get_clim() for shown in row} for row in rows]
    assert all(len(one) == 1 for one in ranges)
    (student,), (teacher,) = ranges
    assert np.array(teacher) == pytest.approx(10 * np.array(student))
    assert student[0] == pytest.approx(cost.min().item())
    assert [scale.get_clim() for scale in scales] == [student, teacher]
    numbers = [f"{value:.2g}" for one in (student, teacher) for value in one]
    assert set(numbers) <= {text.get_text() for text in ax.texts}


def test_the_cheapest_location_is_the_brightest():
    cost = torch.linspace(0, 1, len(ANCHORS.boxes))
    _, rows, _ = maps({"student": cost})
    finest = rows[0][0]
    cheap, dear = (finest.to_rgba(value)[:3] for value in (0.0, 1.0))
    assert sum(cheap) > sum(dear)


def test_a_location_is_the_middle_of_its_cell_on_the_map():
    _, rows, _ = maps({"student": torch.rand(len(ANCHORS.boxes))})
    left, right, bottom, top = rows[0][0].get_extent()
    next_left = rows[0][1].get_extent()[0]
    assert (right - left, bottom - top) == (128, 96)
    assert next_left - left == pytest.approx(120 * 1.09 - 8 / 2)  # half a cell of P4, less half of P3's


def test_dots_on_the_maps_are_the_gts_positives():
    ax, rows, _ = maps(gt=0)
    found = [dots(scatter) for scatter in of_kind(ax, PathCollection)]
    assert len(found) == 10 and found[0] and found[0] != found[5]
    for row, of_network in enumerate(rows):
        for level, shown in enumerate(of_network):
            mine = CLAIMS.where((CLAIMS.gt == 0) & (ANCHORS.level[CLAIMS.anchor] == level))
            half = 4 * 2**level
            left, _, _, top = shown.get_extent()
            corner = np.array([left + half, top + half])
            wanted = [(x + corner[0], y + corner[1], color) for x, y, color in expected(mine)]
            assert [x[:2] for x in found[5 * row + level]] == [pytest.approx(x[:2], abs=1e-3) for x in wanted]
            assert [x[2] for x in found[5 * row + level]] == [x[2] for x in wanted]


def test_hidden_levels_have_no_map():
    ax, (row,), _ = maps({"student": torch.rand(len(ANCHORS.boxes))}, levels=[0, 2])
    assert [shown.get_array().shape for shown in row] == [(12, 16), (3, 4)]
    assert [text.get_text() for text in ax.texts if "px" in text.get_text()] == ["P3 · 8 px", "P5 · 32 px"]


@pytest.mark.parametrize("cost", [torch.ones(len(ANCHORS.boxes)), torch.zeros(len(ANCHORS.boxes))])
def test_equal_costs_can_be_drawn(cost):
    maps({"student": cost}, positives=NO_CLAIMS)


def test_anchors_are_shown_level_by_level_with_the_one_that_fits_best():
    figure = drawn(figures.draw_anchors(torch.zeros(3, *PADDED), TARGETS, ANCHORS, 1))
    iou = box_iou(ANCHORS.boxes, TARGETS.boxes[1])
    assert len(figure.axes) == 5
    for level, ax in enumerate(figure.axes):
        here = ANCHORS.level == level
        every, best = of_kind(ax, PathCollection)
        assert every.get_offsets().tolist() == ANCHORS.center[here].tolist()
        assert f"P{3 + level}: {int(here.sum())} anchors of\n{64 * 2**level} px" in ax.get_title()
        assert ax.get_title().endswith(f"best IoU {iou[here].max():.2f}")
        gt, anchor = ax.patches
        assert gt.get_bbox().extents.tolist() == TARGETS.boxes[1].tolist()
        middle = anchor.get_bbox().extents.reshape(2, 2).mean(axis=0)
        assert middle.tolist() == pytest.approx(best.get_offsets()[0].tolist())
        assert iou[here & (ANCHORS.center == torch.tensor(middle)).all(dim=1)] == pytest.approx(
            iou[here].max().item(), abs=1e-4
        )


def test_anchors_of_many_levels_stand_two_by_two():
    figure = drawn(figures.draw_anchors(PICTURE, TARGETS, ANCHORS, 1))
    tops = [round(ax.get_position().y1, 2) for ax in figure.axes]
    assert tops[0] == tops[1] > tops[2] == tops[3] > tops[4]


def test_a_margin_shows_what_is_around_the_image():
    figure = drawn(figures.draw_anchors(PICTURE, TARGETS, ANCHORS, 0, levels=[0, 1], margin=0.5))
    assert [(ax.get_xlim(), ax.get_ylim()) for ax in figure.axes] == [((-60, 180), (135, -45))] * 2


LONELY = {
    "thin": [3, 0, 3.01, 90],
    "without area": [50, 50, 50, 50],
    "outside": [600, 600, 640, 640],
}


@pytest.fixture(scope="module")
def detector():
    torch.manual_seed(0)
    return build_detector("r18", 6, width=0.25, channels=64)


@pytest.mark.parametrize("box", LONELY.values(), ids=LONELY)
def test_a_gt_that_hardly_any_anchor_meets_can_be_drawn(box, detector):
    gts = torch.tensor([box, [20.0, 20, 80, 80]])
    batch = collate([Sample(torch.zeros(3, *HW), gts, torch.tensor([0, 1]), 0, HW)])
    one = analyze(detector, batch)
    analyses = {"student": one, "teacher": dataclasses.replace(one)}
    positives = find_positives("each", analyses, batch.targets)
    costs = {name: cost_map(each.outputs, one.anchors, batch.targets, 0) for name, each in analyses.items()}
    drawn(figures.draw_positives(PICTURE, batch.targets, one.anchors, positives, 0, ["a", "b"], show_anchors=True))
    drawn(figures.draw_cost_maps(costs, one.anchors, batch.targets, 0, positives))
    drawn(figures.draw_anchors(PICTURE, batch.targets, one.anchors, 0))
    figure = drawn(figures.draw_mixtures(analyses, 0, "a"))
    without = [not count for count in (int(each.count[0]) for each in analyses.values())]
    assert [[text.get_text() for text in ax.texts] == ["no candidates"] for ax in figure.axes] == without
    assert [ax.get_title() for ax in figure.axes] == ["student: a", "teacher: a"]


def test_what_is_drawn_is_not_always_what_the_looked_at_assignment_does(detector):
    batch = collate([Sample(torch.zeros(3, *HW), torch.tensor([[20.0, 20, 80, 80]]), torch.tensor([0]), 0, HW)])
    (ax,) = drawn(figures.draw_mixtures({"student": analyze(detector, batch)}, 0, "a", "what PAA would do")).axes
    assert ax.get_title() == "student: a\nwhat PAA would do"


def test_a_very_flat_picture_can_be_drawn():
    """A panorama, and a tower."""
    for hw in ((16, 640), (640, 16)):
        anchors = make_anchors((max(hw[0], 32), max(hw[1], 32)))
        targets = dataclasses.replace(targets_of([2, 2, 14, 14]), image_hw=torch.tensor([hw]))
        drawn(figures.draw_positives(np.zeros((*hw, 3), np.uint8), targets, anchors, NO_CLAIMS, 0, ["a"]))
        costs = {"student": torch.rand(len(anchors.boxes))}
        drawn(figures.draw_cost_maps(costs, anchors, targets, 0, NO_CLAIMS))


def every_figure() -> dict[str, Figure]:
    costs = {name: torch.rand(len(ANCHORS.boxes)) for name in ("student", "teacher")}
    names = ["<script>alert('&')</script>", 'a "ring" & <b>star</b>']
    return {
        "positives": figures.draw_positives(PICTURE, TARGETS, ANCHORS, CLAIMS, 0, names, show_anchors=True),
        "costs": figures.draw_cost_maps(costs, ANCHORS, TARGETS, 0, CLAIMS),
        "anchors": figures.draw_anchors(PICTURE, TARGETS, ANCHORS, 0),
    }


@pytest.mark.parametrize("name", ["positives", "costs", "anchors"])
def test_every_figure_can_be_saved_for_a_paper_and_for_a_page(name, tmp_path):
    figure = every_figure()[name]
    figure.savefig(tmp_path / "figure.png")
    figure.savefig(tmp_path / "figure.svg")
    with Image.open(tmp_path / "figure.png") as image:
        assert image.width > 400
    assert ElementTree.parse(tmp_path / "figure.svg").getroot().tag.endswith("svg")


@pytest.mark.parametrize("name", ["positives", "costs", "anchors"])
def test_an_svg_for_a_page_is_well_formed_and_needs_nothing_from_elsewhere(name):
    svg = figures.to_svg(every_figure()[name])
    assert svg.startswith("<svg ")
    root = ElementTree.fromstring(svg)
    for element in root.iter():
        assert not element.tag.endswith(("script", "foreignObject"))
        for key, value in element.attrib.items():
            if key.split("}")[-1] in ("href", "src"):
                assert value.startswith(("#", "data:image/png;base64,"))
            assert not key.lower().startswith("on") and "url(http" not in value
    assert "@import" not in svg and "url(http" not in svg
    assert "<style" not in svg  # which would hold for the whole page
    assert "stroke-linejoin: round" in root.get("style")


def test_an_svg_is_as_wide_as_its_place_allows_and_never_wider_than_it_was_made():
    figure = figures.draw_positives(PICTURE, TARGETS, ANCHORS, CLAIMS)
    head = figures.to_svg(figure).split(">")[0]
    assert "viewBox=" in head and not re.search(r' (width|height)="', head)
    assert f"width: 100%; max-width: {4.6 * 96:.0f}px; height: auto" in head


def test_text_and_axes_of_an_svg_take_the_color_of_the_page(detector):
    gts = torch.tensor([[20.0, 20, 80, 80]])
    batch = collate([Sample(torch.zeros(3, *HW), gts, torch.tensor([0]), 0, HW)])
    svg = figures.to_svg(figures.draw_mixtures({"student": analyze(detector, batch)}, 0, "star"))
    assert "fill: currentColor" in svg.split(">")[0]
    assert "#000000" not in svg and "stroke: currentColor" in svg
    texts = [one for one in ElementTree.fromstring(svg).iter() if one.tag.endswith("}text")]
    assert "student: star" in ["".join(text.itertext()) for text in texts]
    title = next(text for text in texts if "".join(text.itertext()) == "student: star")
    assert "fill" not in title.get("style", "")


def test_dollars_in_a_name_are_no_formula():
    names = ["$alpha$ & $", r"$\frac{$"]
    (ax,) = drawn(figures.draw_positives(PICTURE, TARGETS, ANCHORS, CLAIMS, 0, names)).axes
    assert [text.get_text() for text in ax.texts] == ["$alpha$ & $: 4", r"$\frac{$: 3"]
    svg = figures.to_svg(ax.figure)
    assert "$alpha$ &amp; $: 4" in svg


def test_markup_in_a_name_is_text():
    svg = figures.to_svg(every_figure()["positives"])
    assert "<script" not in svg and "<b>" not in svg
    texts = ["".join(one.itertext()) for one in ElementTree.fromstring(svg).iter() if one.tag.endswith("}text")]
    assert "<script>alert('&')</script>: 4" in texts and 'a "ring" & <b>star</b>: 3' in texts
