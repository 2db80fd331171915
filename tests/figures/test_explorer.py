"""Figures of one image, checked on the artists and on the files."""

import dataclasses
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
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
NO_POSITIVES = Positives(*(torch.zeros(0, dtype=torch.int64) for _ in range(3)))


def targets_of(*boxes) -> Targets:
    gts = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return Targets(gts, torch.arange(len(gts)), torch.zeros(len(gts), dtype=torch.int64), torch.tensor([HW]))


TARGETS = targets_of([10, 10, 60, 70], [30, 5, 110, 88])
POSITIVES = Positives(
    torch.tensor([40, 55, 57, FIRST[1] + 9, FIRST[1] + 10, FIRST[2] + 1, FIRST[4]]),
    torch.tensor([0, 0, 1, 0, 1, 1, 0]),
    torch.tensor([STUDENT_ONLY, TEACHER_ONLY, BOTH, BOTH, NEITHER, STUDENT_ONLY, TEACHER_ONLY]),
)
PIXELS = np.full((180, 240, 3), 200, dtype=np.uint8)


@pytest.fixture(autouse=True)
def no_warning(recwarn):
    """Fail if a figure causes a warning."""
    yield
    assert [str(warning.message) for warning in recwarn] == []


def render(figure: Figure) -> Figure:
    """Render the figure, which fails on what cannot be drawn."""
    FigureCanvasAgg(figure).draw()
    return figure


def of_kind(ax, kind):
    return [c for c in ax.collections if type(c) is kind]


def dots(scatter) -> list[tuple[float, float, str]]:
    colors = scatter.get_facecolors()[: len(scatter.get_offsets())]
    return sorted((*p, to_hex(c).upper()) for p, c in zip(scatter.get_offsets().tolist(), colors, strict=True))


def expected(positives) -> list[tuple[float, float, str]]:
    places = ANCHORS.center[positives.anchor].tolist()
    return sorted((x, y, COLORS[source]) for (x, y), source in zip(places, positives.source.tolist(), strict=True))


def legend_texts(figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def draw_positives(**changes) -> Figure:
    given = {"image": PIXELS, "targets": TARGETS, "anchors": ANCHORS, "positives": POSITIVES, **changes}
    return render(figures.draw_positives(**given))


def test_every_positive_is_a_dot_at_its_anchors_center_in_the_color_of_its_source():
    (ax,) = draw_positives().axes
    (scatter,) = of_kind(ax, PathCollection)
    assert dots(scatter) == expected(POSITIVES)


def test_a_line_leads_from_each_dot_to_the_center_of_its_gt():
    (ax,) = draw_positives().axes
    (lines,) = of_kind(ax, LineCollection)
    middles = {0: [35.0, 40.0], 1: [70.0, 46.5]}
    places = ANCHORS.center[POSITIVES.anchor].tolist()
    ends = [[place, middles[gt]] for place, gt in zip(places, POSITIVES.gt.tolist(), strict=True)]
    assert [path.tolist() for path in lines.get_segments()] == ends


def test_dots_are_larger_on_coarser_levels():
    (ax,) = draw_positives().axes
    (scatter,) = of_kind(ax, PathCollection)
    levels = ANCHORS.level[POSITIVES.anchor].tolist()
    size = dict(zip(levels, scatter.get_sizes().tolist(), strict=True))
    assert sorted(size) == [0, 1, 2, 4] and sorted(size.values()) == [size[level] for level in sorted(size)]


def test_the_chosen_gt_is_bold_and_the_others_pale():
    (ax,) = draw_positives(gt=1).axes
    pale, bold = of_kind(ax, PathCollection)
    assert dots(bold) == expected(POSITIVES.select(POSITIVES.gt == 1))
    assert dots(pale) == expected(POSITIVES.select(POSITIVES.gt == 0))
    assert max(pale.get_facecolors()[:, 3]) < 0.5 < min(bold.get_facecolors()[:, 3])
    (others,), (frame,) = of_kind(ax, PolyCollection), ax.patches
    assert others.get_linestyle()[0][1] and frame.get_linestyle() == "solid"
    assert frame.get_linewidth() > others.get_linewidth()[0]


def test_a_pale_dot_has_an_opaque_white_rim():
    (ax,) = draw_positives(gt=1).axes
    pale, _ = of_kind(ax, PathCollection)
    assert pale.get_alpha() is None and pale.get_edgecolors().tolist() == [[1, 1, 1, 1]]


def test_hidden_levels_have_no_dots_and_do_not_count():
    figure = draw_positives(levels=[1, 2])
    (ax,) = figure.axes
    (scatter,) = of_kind(ax, PathCollection)
    is_shown = torch.isin(ANCHORS.level[POSITIVES.anchor], torch.tensor([1, 2]))
    assert dots(scatter) == expected(POSITIVES.select(is_shown))
    assert [text.get_text() for text in ax.texts] == ["1", "2"]
    assert legend_texts(figure) == ["student only", "both", "neither", "P4", "P5"]


def test_every_gt_has_its_name_and_count_and_the_title_counts_the_chosen_gts_sources():
    (ax,) = draw_positives(gt=0, gt_names=["star", "ring"]).axes
    assert [text.get_text() for text in ax.texts] == ["star: 4", "ring: 3"]
    assert ax.get_title(loc="left") == "star: 4 positives – 1 student only, 2 teacher only, 1 both"


def test_without_a_chosen_gt_the_title_counts_all_positives():
    (ax,) = draw_positives().axes
    assert ax.get_title(loc="left").startswith("all objects: 7 positives – ")
    (ax,) = draw_positives(gt=1).axes
    assert ax.get_title(loc="left").startswith("gt 1: 3 positives – ")


def test_the_legend_has_only_sources_with_positives():
    of_both = POSITIVES.select(POSITIVES.source == BOTH)
    assert legend_texts(draw_positives(positives=of_both)) == ["both", "P3", "P4", "P5", "P6", "P7"]


def test_anchor_boxes_are_those_of_the_chosen_gts_shown_positives():
    (ax,) = draw_positives(gt=0, show_anchors=True, levels=[0, 4]).axes
    boxes = of_kind(ax, PolyCollection)[0]
    boxes_of_gt = ANCHORS.boxes[[40, 55, FIRST[4]]]
    corners = torch.tensor(np.array([path.vertices[[0, 2]].reshape(4) for path in boxes.get_paths()])).float()
    assert torch.equal(corners, boxes_of_gt)
    edges = [to_hex(color).upper() for color in boxes.get_edgecolors()]
    assert edges == [figures.STUDENT, figures.TEACHER, figures.TEACHER]


def test_predicted_boxes_are_dashed_in_their_networks_color():
    predicted = {"student": torch.tensor([[1.0, 2, 30, 40]]), "teacher": torch.tensor([[5.0, 6, 50, 60]] * 3)}
    figure = draw_positives(predicted=predicted)
    (ax,) = figure.axes
    student, teacher, _ = of_kind(ax, PolyCollection)
    assert student.get_paths()[0].vertices[[0, 2]].tolist() == [[1, 2], [30, 40]]
    assert len(teacher.get_paths()) == 3
    assert {"predicted by the student", "predicted by the teacher"} <= set(legend_texts(figure))
    colors = [to_hex(boxes.get_edgecolor()[0], keep_alpha=False).upper() for boxes in (student, teacher)]
    assert colors == [figures.STUDENT, figures.TEACHER]
    assert all(boxes.get_linestyle()[0][1] for boxes in (student, teacher))  # with gaps


@pytest.mark.parametrize("image", [PIXELS, torch.zeros(3, *PADDED)], ids=["pixels", "tensor"])
def test_pixels_and_the_normalized_tensor_are_drawn_in_the_same_coordinates(image):
    (ax,) = draw_positives(image=image).axes
    (shown,) = ax.images
    assert list(shown.get_extent()) == [0, 120, 90, 0]
    assert (ax.get_xlim(), ax.get_ylim()) == ((0, 120), (90, 0))
    assert shown.get_array().shape[:2] == ((180, 240) if image is PIXELS else HW)


@pytest.mark.parametrize("gt", [None, 0])
def test_an_image_without_positives_can_be_drawn(gt):
    no_boxes = {"student": torch.zeros(0, 4)}
    (ax,) = draw_positives(positives=NO_POSITIVES, gt=gt, show_anchors=True, predicted=no_boxes).axes
    assert ax.get_title(loc="left").endswith(": 0 positives")
    assert not [text for text in legend_texts(ax.figure) if "predicted" in text]


def test_an_image_without_gts_can_be_drawn():
    (ax,) = draw_positives(targets=targets_of(), positives=NO_POSITIVES).axes
    assert not ax.texts


@pytest.mark.parametrize("levels", [[], [3]])
def test_few_levels_or_none_can_be_drawn(levels):
    (ax,) = draw_positives(levels=levels, gt=0, show_anchors=True).axes
    assert not of_kind(ax, PathCollection)
    costs = {"student": torch.rand(len(ANCHORS.boxes))}
    maps = render(figures.draw_cost_maps(costs, ANCHORS, TARGETS, 0, POSITIVES, levels))
    every = render(figures.draw_anchors(PIXELS, TARGETS, ANCHORS, 0, levels))
    for figure in (maps, every):
        assert len(figure.axes) == len(levels)  # and no color bar without a map
        assert ["no level is selected" in text.get_text() for text in figure.texts] == [True] * (not levels)


def maps(costs=None, gt=0, positives=POSITIVES, targets=TARGETS, **changes):
    """The axes of a figure of cost maps, its maps, its scales and its rows of dots."""
    if costs is None:
        costs = {"student": torch.linspace(1, 2, len(ANCHORS.boxes)), "teacher": torch.linspace(5, 9, FIRST[4] + 1)}
        outside = ~inside_images(ANCHORS, TARGETS.image_hw)[0]
        costs = {name: cost.masked_fill(outside, torch.nan) for name, cost in costs.items()}
    (ax,) = render(figures.draw_cost_maps(costs, ANCHORS, targets, gt, positives, **changes)).axes
    count = len(changes.get("levels", range(5)))
    rows = [ax.images[row * (count + 1) : (row + 1) * (count + 1)] for row in range(len(costs))]
    return ax, [row[:-1] for row in rows], [row[-1] for row in rows]


def test_each_network_has_a_map_per_level_that_holds_its_costs():
    cost = torch.rand(len(ANCHORS.boxes))
    ax, rows, _ = maps({"student": cost, "teacher": 10 * cost})
    for row, scale in zip(rows, (1, 10), strict=True):
        for level, shown in enumerate(row):
            expected_cost = scale * cost[ANCHORS.level == level]
            assert shown.get_array().shape == tuple(ANCHORS.level_hw[level].tolist())
            assert np.asarray(shown.get_array()).flatten() == pytest.approx(expected_cost.numpy())
    assert [text.get_text() for text in ax.texts if "px" in text.get_text()] == [
        f"P{3 + level} · {8 * 2**level} px" for level in range(5)
    ]


def test_each_network_has_its_own_color_scale_for_all_levels():
    cost = torch.rand(len(ANCHORS.boxes))
    ax, rows, scales = maps({"student": cost, "teacher": 10 * cost})
    ranges = [{shown.get_clim() for shown in row} for row in rows]
    assert all(len(limits) == 1 for limits in ranges)
    (student,), (teacher,) = ranges
    assert np.array(teacher) == pytest.approx(10 * np.array(student))
    assert student[0] == pytest.approx(cost.min().item())
    assert [scale.get_clim() for scale in scales] == [student, teacher]
    numbers = [f"{value:.2g}" for limits in (student, teacher) for value in limits]
    assert set(numbers) <= {text.get_text() for text in ax.texts}


def test_low_costs_are_bright():
    cost = torch.linspace(0, 1, len(ANCHORS.boxes))
    _, rows, _ = maps({"student": cost})
    finest = rows[0][0]
    low, high = (finest.to_rgba(value)[:3] for value in (0.0, 1.0))
    assert sum(low) > sum(high)


def test_a_location_is_the_center_of_its_cell_on_the_map():
    _, rows, _ = maps({"student": torch.rand(len(ANCHORS.boxes))})
    left, right, bottom, top = rows[0][0].get_extent()
    next_left = rows[0][1].get_extent()[0]
    assert (right - left, bottom - top) == (128, 96)
    assert next_left - left == pytest.approx(120 * 1.09 - 8 / 2)  # half a cell of P4, less half of P3's


def test_dots_on_the_maps_are_the_gts_positives():
    ax, rows, _ = maps(gt=0)
    drawn_dots = [dots(scatter) for scatter in of_kind(ax, PathCollection)]
    assert len(drawn_dots) == 10 and drawn_dots[0] and drawn_dots[0] != drawn_dots[5]
    for row, of_network in enumerate(rows):
        for level, shown in enumerate(of_network):
            of_level = POSITIVES.select((POSITIVES.gt == 0) & (ANCHORS.level[POSITIVES.anchor] == level))
            half = 4 * 2**level
            left, _, _, top = shown.get_extent()
            corner = np.array([left + half, top + half])
            moved = [(x + corner[0], y + corner[1], color) for x, y, color in expected(of_level)]
            assert [x[:2] for x in drawn_dots[5 * row + level]] == [pytest.approx(x[:2], abs=1e-3) for x in moved]
            assert [x[2] for x in drawn_dots[5 * row + level]] == [x[2] for x in moved]


def test_hidden_levels_have_no_map():
    ax, (row,), _ = maps({"student": torch.rand(len(ANCHORS.boxes))}, levels=[0, 2])
    assert [shown.get_array().shape for shown in row] == [(12, 16), (3, 4)]
    assert [text.get_text() for text in ax.texts if "px" in text.get_text()] == ["P3 · 8 px", "P5 · 32 px"]


@pytest.mark.parametrize("cost", [torch.ones(len(ANCHORS.boxes)), torch.zeros(len(ANCHORS.boxes))])
def test_equal_costs_can_be_drawn(cost):
    maps({"student": cost}, positives=NO_POSITIVES)


def test_anchors_are_shown_by_level_with_the_one_of_the_highest_iou():
    figure = render(figures.draw_anchors(torch.zeros(3, *PADDED), TARGETS, ANCHORS, 1))
    iou = box_iou(ANCHORS.boxes, TARGETS.boxes[1])
    assert len(figure.axes) == 5
    for level, ax in enumerate(figure.axes):
        of_level = ANCHORS.level == level
        every, best = of_kind(ax, PathCollection)
        assert every.get_offsets().tolist() == ANCHORS.center[of_level].tolist()
        assert f"P{3 + level}: {int(of_level.sum())} anchors of\n{64 * 2**level} px" in ax.get_title()
        assert ax.get_title().endswith(f"best IoU {iou[of_level].max():.2f}")
        gt, anchor = ax.patches
        assert gt.get_bbox().extents.tolist() == TARGETS.boxes[1].tolist()
        center = anchor.get_bbox().extents.reshape(2, 2).mean(axis=0)
        assert center.tolist() == pytest.approx(best.get_offsets()[0].tolist())
        assert iou[of_level & (ANCHORS.center == torch.tensor(center)).all(dim=1)] == pytest.approx(
            iou[of_level].max().item(), abs=1e-4
        )


def test_anchors_of_many_levels_stand_two_by_two():
    figure = render(figures.draw_anchors(PIXELS, TARGETS, ANCHORS, 1))
    tops = [round(ax.get_position().y1, 2) for ax in figure.axes]
    assert tops[0] == tops[1] > tops[2] == tops[3] > tops[4]


def test_a_margin_shows_space_around_the_image():
    figure = render(figures.draw_anchors(PIXELS, TARGETS, ANCHORS, 0, levels=[0, 1], margin=0.5))
    assert [(ax.get_xlim(), ax.get_ylim()) for ax in figure.axes] == [((-60, 180), (135, -45))] * 2


def test_of_anchors_with_the_same_iou_the_closest_is_drawn():
    """An anchor of P5 is 256 pixels wide: each one near the image covers the whole gt, with the same IoU."""
    targets = dataclasses.replace(targets_of([32, 0, 96, 64], [116, 72, 126, 80]), image_hw=torch.tensor([[96, 128]]))
    anchors = make_anchors((128, 128))
    figure = render(figures.draw_anchors(torch.zeros(3, 128, 128), targets, anchors, gt=0, levels=(0, 2), margin=0.5))
    fine, coarse = figure.axes
    assert [ax.get_title()[:2] for ax in figure.axes] == ["P3", "P5"]
    assert coarse.get_xlim() == (-64, 192) and coarse.get_ylim() == (144, -48)
    for ax, box, center in ((fine, (32, 0, 64, 64), (64, 32)), (coarse, (-64, -96, 256, 256), (64, 32))):
        _gt, anchor = ax.patches
        assert (*anchor.get_xy(), anchor.get_width(), anchor.get_height()) == box
        _all, best = of_kind(ax, PathCollection)
        assert tuple(best.get_offsets()[0]) == center


RARE_BOXES = {
    "thin": [3, 0, 3.01, 90],
    "without area": [50, 50, 50, 50],
    "outside": [600, 600, 640, 640],
}


@pytest.fixture(scope="module")
def detector():
    torch.manual_seed(0)
    return build_detector("r18", 6, width=0.25, channels=64)


@pytest.mark.parametrize("box", RARE_BOXES.values(), ids=RARE_BOXES)
def test_a_gt_that_hardly_any_anchor_overlaps_can_be_drawn(box, detector):
    gts = torch.tensor([box, [20.0, 20, 80, 80]])
    batch = collate([Sample(torch.zeros(3, *HW), gts, torch.tensor([0, 1]), 0, HW)])
    analysis = analyze(detector, batch)
    analyses = {"student": analysis, "teacher": dataclasses.replace(analysis)}
    positives = find_positives("each", analyses, batch.targets)
    costs = {name: cost_map(each, batch.targets, 0) for name, each in analyses.items()}
    render(figures.draw_positives(PIXELS, batch.targets, analysis.anchors, positives, 0, ["a", "b"], show_anchors=True))
    render(figures.draw_cost_maps(costs, analysis.anchors, batch.targets, 0, positives))
    render(figures.draw_anchors(PIXELS, batch.targets, analysis.anchors, 0))
    figure = render(figures.draw_mixtures(analyses, 0, "a"))
    without = [not count for count in (int(each.count[0]) for each in analyses.values())]
    assert [[text.get_text() for text in ax.texts] == ["no candidates"] for ax in figure.axes] == without
    assert [ax.get_title() for ax in figure.axes] == ["student: a", "teacher: a"]


def test_extreme_aspect_ratios_can_be_drawn():
    """A panorama, and a tower."""
    for hw in ((16, 640), (640, 16)):
        anchors = make_anchors((max(hw[0], 32), max(hw[1], 32)))
        targets = dataclasses.replace(targets_of([2, 2, 14, 14]), image_hw=torch.tensor([hw]))
        render(figures.draw_positives(np.zeros((*hw, 3), np.uint8), targets, anchors, NO_POSITIVES, 0, ["a"]))
        costs = {"student": torch.rand(len(anchors.boxes))}
        render(figures.draw_cost_maps(costs, anchors, targets, 0, NO_POSITIVES))


def every_figure() -> dict[str, Figure]:
    costs = {name: torch.rand(len(ANCHORS.boxes)) for name in ("student", "teacher")}
    names = ["<script>alert('&')</script>", 'a "ring" & <b>star</b>']
    return {
        "positives": figures.draw_positives(PIXELS, TARGETS, ANCHORS, POSITIVES, 0, names, show_anchors=True),
        "costs": figures.draw_cost_maps(costs, ANCHORS, TARGETS, 0, POSITIVES),
        "anchors": figures.draw_anchors(PIXELS, TARGETS, ANCHORS, 0),
    }


@pytest.mark.parametrize("name", ["positives", "costs", "anchors"])
def test_every_figure_can_be_saved_as_png_and_svg(name, tmp_path):
    figure = every_figure()[name]
    figure.savefig(tmp_path / "figure.png")
    figure.savefig(tmp_path / "figure.svg")
    with Image.open(tmp_path / "figure.png") as image:
        assert image.width > 400
    assert ElementTree.parse(tmp_path / "figure.svg").getroot().tag.endswith("svg")


@pytest.mark.parametrize("name", ["positives", "costs", "anchors"])
def test_an_svg_is_well_formed_and_refers_to_nothing_outside(name):
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


def test_dollars_in_a_name_are_not_a_formula():
    names = ["$alpha$ & $", r"$\frac{$"]
    (ax,) = render(figures.draw_positives(PIXELS, TARGETS, ANCHORS, POSITIVES, 0, names)).axes
    assert [text.get_text() for text in ax.texts] == ["$alpha$ & $: 4", r"$\frac{$: 3"]
    svg = figures.to_svg(ax.figure)
    assert "$alpha$ &amp; $: 4" in svg


def test_markup_in_a_name_is_text():
    svg = figures.to_svg(every_figure()["positives"])
    assert "<script" not in svg and "<b>" not in svg
    texts = [
        "".join(element.itertext()) for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("}text")
    ]
    assert "<script>alert('&')</script>: 4" in texts and 'a "ring" & <b>star</b>: 3' in texts
