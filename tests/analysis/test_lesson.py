"""The picture of the first lesson, and what a bare threshold makes of one."""

import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection

from lad import figures
from lad.analysis.positives import NEITHER, open_picture, positives_by_iou
from lad.data.annotations import read_annotations
from lad.data.coco import CocoDataset, find_split
from lad.data.synthetic.shapes import write_shapes
from lad.data.transforms import eval_transform
from lad.geometry import make_anchors
from lad.structures import Targets

# Two gts on an image of 96 x 128, padded by 32 rows: an anchor of P3 itself, 64 pixels wide, and one much smaller.
ONE = Targets(
    boxes=torch.tensor([[32.0, 0, 96, 64], [116, 72, 126, 80]]),
    labels=torch.tensor([0, 1]),
    image=torch.tensor([0, 0]),
    image_hw=torch.tensor([[96, 128]]),
)
ANCHORS = make_anchors((128, 128))


def claimed(threshold: float, targets: Targets = ONE) -> set[tuple[float, float, int]]:
    positives = positives_by_iou(ANCHORS, targets, threshold)
    assert (positives.by == NEITHER).all()
    return {
        (*ANCHORS.center[a].tolist(), gt)
        for a, gt in zip(positives.anchor.tolist(), positives.gt.tolist(), strict=True)
    }


def test_the_anchor_that_is_the_gt_is_its_own():
    assert claimed(0.99) == {(64, 32, 0)}


def test_its_neighbors_a_stride_away_overlap_it_by_seven_ninths():
    assert claimed(0.7) == {(64, 32, 0), (56, 32, 0), (72, 32, 0), (64, 24, 0), (64, 40, 0)}


def test_a_gt_smaller_than_every_anchor_gets_none_until_the_threshold_is_tiny():
    assert {gt for *_, gt in claimed(0.1)} == {0}
    assert {gt for *_, gt in claimed(0.01)} == {0, 1}


def test_an_anchor_in_the_padding_is_nobodys():
    low = Targets(torch.tensor([[32.0, 40, 96, 96]]), ONE.labels[:1], ONE.image[:1], ONE.image_hw)
    assert max(y for _, y, _ in claimed(0.3, low)) < 96


def test_a_picture_is_opened_with_its_anchors(tmp_path):
    write_shapes(tmp_path / "shapes", "toy", {"train": 1, "val": 2})
    images, path = find_split(tmp_path / "shapes", "val")
    dataset = CocoDataset(images, read_annotations(path), eval_transform(128, 128))
    batch, anchors = open_picture(dataset, 1)
    assert torch.equal(batch.images[0], dataset[1].image) and len(anchors.boxes) == 341
    with pytest.raises(ValueError, match=r"no picture 2; give 0 … 1"):
        open_picture(dataset, 2)


def test_of_anchors_that_fit_equally_well_the_closest_is_drawn():
    """An anchor of P5 is 256 pixels wide: each near the image holds the gt whole, with the same IoU."""
    figure = figures.draw_anchors(torch.zeros(3, 128, 128), ONE, ANCHORS, gt=0, levels=(0, 2), margin=0.5)
    FigureCanvasAgg(figure).draw()
    fine, coarse = figure.axes
    assert [ax.get_title()[:2] for ax in figure.axes] == ["P3", "P5"]
    assert coarse.get_xlim() == (-64, 192) and coarse.get_ylim() == (144, -48)
    for ax, frame, place in ((fine, (32, 0, 64, 64), (64, 32)), (coarse, (-64, -96, 256, 256), (64, 32))):
        _gt, anchor = ax.patches
        assert (*anchor.get_xy(), anchor.get_width(), anchor.get_height()) == frame
        _all, best = (found for found in ax.collections if isinstance(found, PathCollection))
        assert tuple(best.get_offsets()[0]) == place
