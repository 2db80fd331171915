"""predict takes images of any kind and size and returns boxes in pixels of each image."""

import copy
import dataclasses
import gc
import weakref
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from lad.data.annotations import read_annotations
from lad.data.coco import CocoDataset, find_split
from lad.data.synthetic.folders import write_shapes
from lad.geometry import encode_deltas, make_anchors
from lad.inference.predictor import predict, predict_stream
from lad.inference.tta import TTAView, with_flips
from lad.models.detector import Configuration, Detector, build_detector
from lad.structures import Detections, HeadOutputs


@pytest.fixture(scope="module")
def detector() -> Detector:
    """A random detector whose scores are high enough for detections in every image."""
    torch.manual_seed(0)
    detector = build_detector("r18", num_classes=3, width=0.25, channels=64).eval()
    with torch.no_grad():
        detector.head.cls.weight.mul_(20)
        detector.head.cls.bias.fill_(-1.0)
    detector.configuration = dataclasses.replace(detector.configuration, short_side=96, long_side=160)
    return detector


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    sizes = [(60, 80), (120, 90), (100, 100), (61, 80), (200, 90), (60, 80)]
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def assert_same(first: list[Detections], second: list[Detections]) -> None:
    assert len(first) == len(second)
    for actual, expected in zip(first, second, strict=True):
        assert len(actual.boxes) > 0
        torch.testing.assert_close(actual.boxes, expected.boxes, atol=2e-2, rtol=0)
        torch.testing.assert_close(actual.scores, expected.scores, atol=1e-5, rtol=0)


def test_paths_pil_images_arrays_and_tensors_give_the_same_detections(detector, pictures, tmp_path):
    for index, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / f"{index}.png")
    paths = [tmp_path / f"{index}.png" for index in range(len(pictures))]
    expected = predict(detector, pictures)
    assert_same(predict(detector, paths), expected)
    assert_same(predict(detector, [str(path) for path in paths]), expected)
    assert_same(predict(detector, (Image.open(path) for path in paths)), expected)
    as_bytes = [torch.from_numpy(picture).permute(2, 0, 1) for picture in pictures]
    assert_same(predict(detector, as_bytes), expected)
    small = TTAView(*pictures[2].shape[:2])  # no resizing, which would round uint8 values but not floats
    assert_same(predict(detector, as_bytes[2] / 255, views=[small]), predict(detector, pictures[2], views=[small]))


def test_a_single_image_needs_no_list_and_a_gray_image_no_channels(detector, pictures):
    assert_same(predict(detector, pictures[0]), predict(detector, pictures[:1]))
    gray = pictures[0][..., 0]
    assert_same(predict(detector, gray), predict(detector, np.repeat(gray[..., None], 3, axis=2)))


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_an_images_boxes_do_not_depend_on_the_others(detector, pictures, batch_size):
    alone = [predict(detector, picture)[0] for picture in pictures]
    assert_same(predict(detector, pictures, batch_size=batch_size), alone)


class Oracle(nn.Module):
    """A network that detects the only red rectangle of an image, at any place and size."""

    def __init__(self) -> None:
        super().__init__()
        self.configuration = Configuration("r18", num_classes=2, short_side=128, long_side=256)
        self.anything = nn.Parameter(torch.zeros(()))

    def forward(self, images: torch.Tensor) -> HeadOutputs:
        anchors = make_anchors(tuple(images.shape[-2:])).boxes
        logits = torch.full((len(images), len(anchors), 2), -20.0)
        deltas = torch.zeros(len(images), len(anchors), 4)
        for row, image in enumerate(images):
            rows, columns = ((image[0] > 1.5) & (image[1] < -1)).nonzero(as_tuple=True)
            box = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()
            logits[row, 7, 1], deltas[row, 7] = 3.0, encode_deltas(anchors[7], box)
        return HeadOutputs(logits, deltas, torch.full((len(images), len(anchors)), 10.0))


@pytest.mark.parametrize("merge", ["nms", "soft_vote"])
def test_all_views_together_find_the_rectangle_once_and_where_it_is(merge):
    """The box is in pixels of the original, up to one pixel of rounding, from four sizes and their mirrored views."""
    picture = np.zeros((100, 160, 3), dtype=np.uint8)
    picture[20:60, 90:150, 0] = 255
    views = with_flips([TTAView(100, 160), TTAView(50, 80), TTAView(200, 320), TTAView(150, 200)])
    (detections,) = predict(Oracle(), picture, views=views, merge=merge, min_score=0.3)
    assert detections.labels.tolist() == [1]
    torch.testing.assert_close(detections.boxes, torch.tensor([[90.0, 20, 150, 60]]), atol=1.0, rtol=0)


def test_boxes_outside_the_range_of_every_view_are_not_detected():
    """The rectangle's side is 49 pixels in the small view, 98 in the large one."""
    picture = np.zeros((100, 160, 3), dtype=np.uint8)
    picture[20:60, 90:150, 0] = 255
    views = [TTAView(100, 160, max_box_side=40), TTAView(200, 320, min_box_side=100)]
    assert len(predict(Oracle(), picture, views=views)[0].boxes) == 0
    assert len(predict(Oracle(), picture, views=[*views, TTAView(200, 320, min_box_side=90)])[0].boxes) == 1


def test_predictions_equal_those_of_an_evaluation(detector, tmp_path):
    """Predicting the files of a data set gives the detections of its evaluation during training."""
    from lightning_fabric import Fabric

    from lad.data.collate import collate
    from lad.data.transforms import eval_transform
    from lad.evaluation.evaluate import coco_results, predict_batches

    write_shapes(tmp_path / "shapes", "toy", {"train": 1, "val": 4})
    images, path = find_split(tmp_path / "shapes", "val")
    dataset = CocoDataset(images, read_annotations(path), eval_transform(96, 160))
    batch = collate([dataset[index] for index in range(4)])
    detector.configuration = dataclasses.replace(detector.configuration, short_side=96, long_side=160)
    expected = predict_batches(detector, [batch], dataset.annotations, Fabric(accelerator="cpu", devices=1))
    detections = predict(detector, [images / record.file_name for record in dataset.annotations.records])
    results = [
        result
        for record, of_image in zip(dataset.annotations.records, detections, strict=True)
        for result in coco_results(record.image_id, of_image, dataset.annotations.category_ids)
    ]
    assert len(results) == len(expected) > 0
    for result, other in zip(results, expected, strict=True):
        assert result["image_id"] == other["image_id"]
        assert result["score"] == pytest.approx(other["score"], abs=1e-5)
        assert result["bbox"] == pytest.approx(other["bbox"], abs=1e-2)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (["nowhere.jpg"], "nowhere.jpg: no such image file"),
        ([{"a": 1}], "image 0 is a dict; pass a path, a PIL image, an array or a tensor"),
        ([torch.zeros(4, 10, 10)], r"image 0 has shape \[4, 10, 10\]; an array must be \[H, W, 3\]"),
        ([np.zeros((3, 10, 10), dtype=np.uint8)], r"image 0 has shape \[3, 10, 10\]; an array must be"),
        ([np.zeros((0, 10, 3), dtype=np.uint8)], r"image 0 has shape \[0, 10, 3\]; .* neither may be empty"),
        ([torch.full((3, 8, 8), 255.0)], r"image 0 \(torch.float32\): values must be uint8 or floats in \[0, 1\]"),
        ([torch.full((3, 8, 8), float("nan"))], r"image 0 \(torch.float32\): values must be"),
        ([np.zeros((8, 8, 3), dtype=np.int64)], r"image 0 \(torch.int64\): values must be"),
    ],
)
def test_what_is_not_an_image_is_refused_in_one_line(detector, images, message):
    with pytest.raises(ValueError, match=message):
        predict(detector, images)


def test_unreadable_images_and_invalid_arguments_are_refused_in_one_line(detector, pictures, tmp_path):
    Image.fromarray(pictures[0]).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:-3000])
    with pytest.raises(ValueError, match="image 0 cannot be read"):
        predict(detector, Image.open(tmp_path / "cut.png"))
    with pytest.raises(ValueError, match=r"image 0 cannot be read \(mode F"):
        predict(detector, Image.fromarray(np.zeros((8, 8), dtype=np.float32)))
    with pytest.raises(ValueError, match="images is a NoneType; pass one image or several"):
        predict(detector, None)
    with pytest.raises(ValueError, match="batch_size=0 must be 1 or more"):
        predict(detector, pictures, batch_size=0)


def test_the_pixels_of_a_forward_pass_are_limited(detector, pictures, monkeypatch):
    """A batch has as many images as fit the limit, or a single larger one; the boxes are the same."""
    sizes = []
    forward = detector.forward
    monkeypatch.setattr(detector, "forward", lambda images: (sizes.append(len(images)), forward(images))[1])
    expected = predict(detector, [pictures[0]] * 5)
    monkeypatch.setattr("lad.inference.predictor.MAX_PIXELS", 2 * 96 * 160)
    assert_same(predict(detector, [pictures[0]] * 5), expected)
    monkeypatch.setattr("lad.inference.predictor.MAX_PIXELS", 1)
    assert_same(predict(detector, [pictures[0]] * 2), expected[:2])
    assert sizes == [5, 2, 2, 1, 1, 1]


def test_an_unknown_merge_is_refused(detector):
    with pytest.raises(ValueError, match="max_detections=-5 must be a number from 1 to 5000"):
        predict(detector, pictures, max_detections=-5)
    with pytest.raises(ValueError, match="nms_iou=60 must be a number from 0 to 1"):
        predict(detector, pictures, nms_iou=60)
    with pytest.raises(ValueError, match="merge='wbf' is not one of nms, soft_vote"):
        predict(detector, [], merge="wbf")


def test_no_images_give_no_detections(detector):
    assert predict(detector, []) == []


def test_the_stream_yields_what_predict_returns_in_the_order_of_the_images(detector, pictures):
    assert_same(list(predict_stream(detector, iter(pictures), batch_size=4)), predict(detector, pictures))
    assert_same(list(predict_stream(detector, pictures[0])), predict(detector, pictures[0]))


def test_no_more_than_a_batch_of_images_is_in_memory(detector, pictures):
    alive: set[int] = set()

    class Counted(np.ndarray):
        pass

    def images() -> Iterator[np.ndarray]:
        for number, picture in enumerate(3 * pictures):
            gc.collect()
            assert len(alive) <= 2  # the third of its batch is this one
            image = picture.copy().view(Counted)
            alive.add(number)
            weakref.finalize(image, alive.discard, number)
            yield image
            del image

    assert len(list(predict_stream(detector, images(), batch_size=3))) == 18


def test_invalid_arguments_are_refused_when_the_stream_is_made(detector, pictures):
    with pytest.raises(ValueError, match="batch_size=0 must be 1 or more"):
        predict_stream(detector, pictures, batch_size=0)


def test_gradients_are_off_in_the_network_but_not_for_who_reads_the_stream(detector, pictures):
    for detections in predict_stream(detector, pictures[:2]):
        assert torch.is_grad_enabled() and not detections.boxes.requires_grad


@pytest.mark.parametrize(("precision", "atol"), [("half", 0.1), ("bfloat16", 1.0), ("double", 0.01)])
def test_a_detector_in_another_precision_gives_about_the_same_boxes(detector, pictures, precision, atol):
    (expected,) = predict(detector, pictures[0])
    (actual,) = predict(getattr(copy.deepcopy(detector), precision)(), pictures[0])
    assert len(actual.boxes) == len(expected.boxes) and actual.boxes.dtype == torch.float32
    torch.testing.assert_close(actual.boxes[:5], expected.boxes[:5], atol=atol, rtol=0)
    torch.testing.assert_close(actual.scores[:5], expected.scores[:5], atol=0.02, rtol=0)


def test_an_operation_without_the_precision_is_one_line_with_the_remedy(detector, pictures, monkeypatch):
    deformable = build_detector("x101_64x4d_dcn", num_classes=3, width=0.25, channels=64).bfloat16()
    message = (
        r"cannot run in torch.bfloat16 on 'cpu' \(\"deformable_im2col\" not implemented .*; use detector.float\(\)"
    )
    with pytest.raises(ValueError, match=message):
        predict(deformable, pictures[0])

    def fail(images: torch.Tensor) -> HeadOutputs:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(detector, "forward", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        predict(detector, pictures[0])
