"""The networks: what they compute, what they train, and what they say when they cannot be built."""

import dataclasses
import hashlib
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torchvision
from reference import reference_detector

from lad.assigners.candidates import match_candidates
from lad.distillation.methods import baseline
from lad.geometry import level_sizes, make_anchors
from lad.inference.predictor import predict
from lad.models.backbones.registry import ARCHITECTURES, BACKBONES
from lad.models.detector import build_detector
from lad.models.heads.paa import HEADS


@pytest.mark.parametrize("backbone", ["r18", "r50"])
def test_reference_outputs(golden, backbone):
    """Every output within 1e-3 of its own standard deviation, from weights under OpenMMLab's names."""
    case = golden("full_model")
    detector = reference_detector(backbone, int(case.num_classes)).eval()
    with torch.no_grad():
        levels = detector.fpn(detector.backbone(case.image))
        outputs = detector(case.image)
    ours = {
        "cls_logits": outputs.cls_logits,
        "box_deltas": outputs.box_deltas,
        "iou_logits": outputs.iou_logits,
        "p3_mean": levels[0].mean(dim=(2, 3)),
        "p7": levels[4],
    }
    for name, tensor in ours.items():
        expected = case[f"{backbone}_{name}"]
        assert (tensor - expected).abs().max() < 1e-3 * expected.std(), name


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_slim_detector_covers_every_anchor_and_trains(backbone):
    detector = build_detector(backbone, num_classes=6, width=0.25, channels=64).train()
    images = torch.randn(2, 3, 96, 160)
    outputs = detector(images)
    num_anchors = len(make_anchors((96, 160)).boxes)
    assert outputs.cls_logits.shape == (2, num_anchors, 6)
    assert outputs.box_deltas.shape == (2, num_anchors, 4)
    assert outputs.iou_logits.shape == (2, num_anchors)
    (outputs.cls_logits.sum() + outputs.box_deltas.sum() + outputs.iou_logits.sum()).backward()
    assert all(parameter.grad is not None for parameter in detector.parameters() if parameter.requires_grad)


def test_outputs_are_flat_row_major_levels():
    """The head's output at anchor i is that of i's level and location: seen by poking a single location."""
    detector = build_detector("r18", num_classes=2, width=0.25, channels=64).eval()
    levels = [torch.zeros(1, 64, rows, columns) for rows, columns in level_sizes((64, 96))]
    with torch.no_grad():
        quiet = detector.head(levels).cls_logits
        levels[1][0, :, 1, 2] = 100.0  # P4, row 1, column 2
        poked = detector.head(levels).cls_logits
    anchors = make_anchors((64, 96))
    changed = ((poked - quiet).abs().sum(dim=-1)[0] > 0) & (anchors.level == 1)
    location = ((anchors.level == 1) & (anchors.center == torch.tensor([2 * 16.0, 16.0])).all(dim=1)).nonzero().item()
    assert changed[location] and changed.sum() > 1  # GroupNorm sees the whole map
    assert not (((poked - quiet).abs().sum(dim=-1)[0] > 0) & (anchors.level != 1)).any()


def test_every_class_starts_rare():
    outputs = build_detector("r18", num_classes=3, width=0.25, channels=64).eval()(torch.zeros(1, 3, 64, 64))
    torch.testing.assert_close(outputs.cls_logits.sigmoid().mean(), torch.tensor(0.01), atol=5e-3, rtol=0)


def test_frozen_stages_and_statistics_stay():
    detector = build_detector("r18", num_classes=3, width=0.25, channels=64, frozen_stages=1, norm_eval=True).train()
    backbone = detector.backbone
    frozen = [*backbone.conv1.parameters(), *backbone.bn1.parameters(), *backbone.layer1.parameters()]
    assert not any(parameter.requires_grad for parameter in frozen)
    assert all(parameter.requires_grad for parameter in backbone.layer2.parameters())
    before = backbone.layer3[0].bn1.running_mean.clone()
    detector(torch.randn(2, 3, 64, 64))
    assert torch.equal(backbone.layer3[0].bn1.running_mean, before)


def test_from_scratch_the_statistics_are_learned():
    detector = build_detector("r18", num_classes=3, width=0.25, channels=64).train()
    before = detector.backbone.layer3[0].bn1.running_mean.clone()
    detector(torch.randn(2, 3, 64, 64))
    assert not torch.equal(detector.backbone.layer3[0].bn1.running_mean, before)


def test_weights_of_torchvision_load_from_a_file(tmp_path):
    import torchvision

    classifier = torchvision.models.resnet18()
    torch.save(classifier.state_dict(), tmp_path / "resnet18.pth")
    detector = build_detector("r18", num_classes=3, weights=str(tmp_path / "resnet18.pth"))
    assert torch.equal(detector.backbone.layer4[1].conv2.weight, classifier.layer4[1].conv2.weight)
    images = torch.randn(1, 3, 64, 64)
    features = classifier.eval().maxpool(classifier.relu(classifier.bn1(classifier.conv1(images))))
    for stage in (classifier.layer1, classifier.layer2, classifier.layer3, classifier.layer4):
        features = stage(features)
    torch.testing.assert_close(detector.eval().backbone(images)[-1], features)


def test_imagenet_weights_out_of_reach_say_what_to_do(tmp_path, monkeypatch):
    def unreachable(*_arguments, **_options):
        raise OSError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", unreachable)
    with pytest.raises(ValueError, match=r"weights 'imagenet' for r18 .*no route to host.*fetch https://.*put it at"):
        build_detector("r18", num_classes=3, weights="imagenet")


class Harmful:
    """Creates a file when it is unpickled the usual way."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self):
        return (open, (str(self.witness), "w"))


@pytest.fixture
def published(tmp_path, monkeypatch) -> Path:
    """ImageNet weights of r18 as torchvision publishes them, under the first digits of their hash, at an address on
    this machine; the cache is empty."""
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "new.pth")
    digest = hashlib.sha256((tmp_path / "new.pth").read_bytes()).hexdigest()[:8]
    file = (tmp_path / "new.pth").rename(tmp_path / f"resnet18-{digest}.pth")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    here = ARCHITECTURES["r18"]._replace(imagenet=SimpleNamespace(url=file.as_uri()))
    monkeypatch.setitem(ARCHITECTURES, "r18", here)
    return file


def test_imagenet_weights_are_downloaded_once(published):
    first = build_detector("r18", num_classes=3, weights="imagenet")
    published.unlink()
    second = build_detector("r18", num_classes=3, weights="imagenet")
    assert torch.equal(first.backbone.conv1.weight, second.backbone.conv1.weight)


def test_a_download_that_is_not_of_its_hash_is_refused_and_not_kept(published, tmp_path):
    published.write_bytes(published.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"weights 'imagenet' for r18 could not be downloaded \(invalid hash value"):
        build_detector("r18", num_classes=3, weights="imagenet")
    assert not list((tmp_path / "cache" / "hub" / "checkpoints").iterdir())


def test_a_file_in_the_cache_is_checked_and_not_unpickled_either(published, tmp_path):
    cached = tmp_path / "cache" / "hub" / "checkpoints" / published.name
    cached.parent.mkdir(parents=True)
    torch.save({"fc.weight": Harmful(tmp_path / "harm")}, cached)
    with pytest.raises(ValueError, match=rf"weights 'imagenet' at .*{published.name}: its SHA-256 begins with"):
        build_detector("r18", num_classes=3, weights="imagenet")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("name", [name for name, one in ARCHITECTURES.items() if one.imagenet])
def test_every_imagenet_file_is_fetched_by_https_and_has_its_hash_in_its_name(name):
    assert re.fullmatch(r"https://\S+-[0-9a-f]{8}\.pth", ARCHITECTURES[name].imagenet.url)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 0}, "num_classes=0 must be 1 or more"),
        ({"width": -1}, "width=-1 more than 0"),
        ({"frozen_stages": 9}, "frozen_stages=9 must lie between -1 .* and 4"),
        (
            {"backbone": "r19"},
            "backbone 'r19' is unknown; choose one of r18, r34, r50, r101, x101_64x4d, x101_64x4d_dcn, swin_t, swin_s",
        ),
        ({"head": "pa"}, "head 'pa' is unknown; choose one of paa, cop, iop"),
        ({"channels": 100}, "channels=100 must be 64 or another multiple of 32"),
        ({"weights": "nowhere.pth"}, "weights 'nowhere.pth': no such file"),
    ],
)
def test_what_cannot_be_built_is_one_clear_line(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_detector(**{"backbone": "r18", "num_classes": 3, **arguments})


def test_weights_of_another_network_are_refused(tmp_path):
    import torchvision

    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "resnet18.pth")
    with pytest.raises(ValueError, match="do not fit backbone r50"):
        build_detector("r50", num_classes=3, weights=str(tmp_path / "resnet18.pth"))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_takes_a_training_step_and_predicts(backbone, targets):
    """One step of plain PAA on two images reaches every part; then the same network detects on a picture."""
    torch.manual_seed(0)
    detector = build_detector(backbone, num_classes=3, width=0.25, channels=64).train()
    detector.configuration = dataclasses.replace(detector.configuration, short_side=96, long_side=128)
    images, anchors = torch.randn(2, 3, 96, 128), make_anchors((96, 128))
    before = {name: parameter.clone() for name, parameter in detector.named_parameters() if parameter.requires_grad}
    loss = sum(baseline(detector(images), None, match_candidates(anchors, targets), anchors, targets).terms.values())
    loss.backward()
    torch.optim.SGD((p for p in detector.parameters() if p.requires_grad), lr=0.01).step()
    assert loss.isfinite()
    moved = [name for name, p in detector.named_parameters() if name in before and not torch.equal(p, before[name])]
    assert {name.split(".")[0] for name in moved} == {"backbone", "fpn", "head"}
    (found,) = predict(detector, torch.rand(3, 90, 120))
    assert found.boxes.isfinite().all() and found.boxes.shape == (len(found.scores), 4)


@pytest.mark.parametrize("head", HEADS)
def test_a_detector_compiles_without_a_break_in_its_graph(head):
    """`fullgraph` raises where Python would have to take over; images of another size need no break either."""
    torch.manual_seed(0)
    detector = build_detector("r18", 3, 0.25, head, channels=64).train()
    compiled = torch.compile(detector, backend="eager", fullgraph=True)
    for size in ((64, 96), (96, 64)):
        images = torch.randn(2, 3, *size)
        for ours, plain in zip(compiled(images), detector(images), strict=True):
            torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-4)
