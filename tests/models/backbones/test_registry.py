"""Every registered backbone keeps the contract; weights are checked and loaded; a new backbone is one entry."""

import dataclasses
import functools
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torchvision
from local_server import LocalServer, serve
from torchvision.models.resnet import BasicBlock

from lad.models.backbones.registry import (
    BACKBONES,
    BackboneEntry,
    build_backbone,
    load_backbone_weights,
    register_backbone,
)
from lad.models.backbones.resnet import ResNet
from lad.models.detector import build_detector
from lad.models.serialization import load_detector, save_detector, save_openmmlab


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("size", [(64, 64), (96, 160)])
def test_features_have_the_strides_and_channels_that_the_pyramid_needs(backbone, size):
    network = build_backbone(backbone, width=0.25).eval()
    with torch.no_grad():
        features = network(torch.zeros(1, 3, *size))
    strides = zip(network.out_channels, (8, 16, 32), strict=True)
    expected = [(channels, size[0] // stride, size[1] // stride) for channels, stride in strides]
    assert [tuple(feature.shape[1:]) for feature in features] == expected


def test_a_registered_backbone_is_built_saved_and_loaded(tmp_path, monkeypatch):
    """Also from a checkpoint under OpenMMLab's names alone, from which the backbone is inferred."""
    entry = BackboneEntry("a ResNet of ten layers", functools.partial(ResNet, BasicBlock, (1, 1, 1, 1)))
    monkeypatch.setitem(BACKBONES, "r10", entry)
    detector = build_detector("r10", num_classes=3, width=0.25, channels=64)
    save_detector(detector, tmp_path / "r10.safetensors")
    save_openmmlab(detector, tmp_path / "r10.pth")
    content = torch.load(tmp_path / "r10.pth", weights_only=True)
    torch.save(content["state_dict"], tmp_path / "bare.pth")
    for file in ("r10.safetensors", "r10.pth", "bare.pth"):
        loaded = load_detector(tmp_path / file)
        assert loaded.configuration == detector.configuration
        state = loaded.state_dict()
        assert all(torch.equal(value, state[name]) for name, value in detector.state_dict().items())


def test_a_name_is_registered_once():
    with pytest.raises(ValueError, match=r"backbone 'r18' is already registered \(ResNet-18\); choose another name"):
        register_backbone("r18", BACKBONES["r50"])
    assert BACKBONES["r18"].title == "ResNet-18"


def test_every_backbone_has_a_title_of_its_own():
    titles = [entry.title for entry in BACKBONES.values()]
    assert all(titles) and len(set(titles)) == len(titles)


@pytest.mark.parametrize("name", [name for name, entry in BACKBONES.items() if entry.imagenet is None])
def test_a_backbone_without_imagenet_weights_names_the_alternative(name):
    with pytest.raises(ValueError, match=rf"weights 'imagenet': torchvision has none for {name}; pass weights="):
        load_backbone_weights(build_backbone(name, width=0.25), name, "imagenet")


@pytest.mark.parametrize("name", [name for name, entry in BACKBONES.items() if entry.imagenet])
def test_every_imagenet_file_is_downloaded_by_https_and_has_its_hash_in_its_name(name):
    assert re.fullmatch(r"https://\S+-[0-9a-f]{8}\.pth", BACKBONES[name].imagenet.url)


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "resnet18.pth")
    with pytest.raises(ValueError, match="do not fit backbone r50"):
        build_detector("r50", num_classes=3, weights=str(tmp_path / "resnet18.pth"))


@pytest.mark.parametrize("save", ["openmmlab", "own", "state dict"])
def test_a_whole_detector_as_weights_of_a_backbone_points_to_init(save, tmp_path):
    detector = build_detector("r18", num_classes=3, width=0.25, channels=64)
    file = tmp_path / ("x.safetensors" if save == "own" else "x.pth")
    if save == "state dict":
        torch.save({f"module.{name}": value for name, value in detector.state_dict().items()}, file)
    else:
        (save_detector if save == "own" else save_openmmlab)(detector, file)
    with pytest.raises(ValueError, match=rf"weights '{file}': is a whole detector, .*; use init={file} instead"):
        build_detector("r18", num_classes=3, weights=str(file))


class Harmful:
    """Creates a file when it is unpickled the usual way."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self):
        return (open, (str(self.witness), "w"))


@pytest.fixture
def server(tmp_path, monkeypatch) -> Iterator[LocalServer]:
    """A server of ImageNet weights of r18 as torchvision publishes them, with the hash in their name; the cache is
    empty."""
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "new.pth")
    content = (tmp_path / "new.pth").read_bytes()
    name = f"resnet18-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    with serve({f"/{name}": content}) as server:
        local = dataclasses.replace(BACKBONES["r18"], imagenet=SimpleNamespace(url=f"{server.url}/{name}"))
        monkeypatch.setitem(BACKBONES, "r18", local)
        yield server


def test_imagenet_weights_are_downloaded_once(server):
    first = build_detector("r18", num_classes=3, weights="imagenet")
    second = build_detector("r18", num_classes=3, weights="imagenet")
    assert torch.equal(first.backbone.conv1.weight, second.backbone.conv1.weight)
    assert len(server.requests) == 1


def test_a_failed_download_of_imagenet_weights_explains_what_to_do(server):
    server.files.clear()
    line = r"weights 'imagenet' for r18: http.*HTTP 404.*put it at .*resnet18-\w+\.pth, or pass weights='none' to train"
    with pytest.raises(ValueError, match=line):
        build_detector("r18", num_classes=3, weights="imagenet")


def test_a_download_with_a_wrong_hash_is_refused_and_not_kept(server, tmp_path):
    server.files = {name: content[:1000] for name, content in server.files.items()}
    with pytest.raises(ValueError, match=r"weights 'imagenet' for r18: http.*its SHA-256 begins with \w+, not with"):
        build_detector("r18", num_classes=3, weights="imagenet")
    assert {file.suffix for file in (tmp_path / "cache" / "hub" / "checkpoints").iterdir()} <= {".lock"}


def test_a_file_in_the_cache_is_checked_and_not_unpickled_either(server, tmp_path):
    (name,) = server.files
    cached = tmp_path / "cache" / "hub" / "checkpoints" / name.strip("/")
    cached.parent.mkdir(parents=True)
    torch.save({"fc.weight": Harmful(tmp_path / "harm")}, cached)
    with pytest.raises(ValueError, match=rf"weights 'imagenet' at .*{name}: its SHA-256 begins with"):
        build_detector("r18", num_classes=3, weights="imagenet")
    assert not (tmp_path / "harm").exists()
