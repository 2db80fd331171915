"""Published checkpoints by name, and the files behind names and web addresses, downloaded on first use."""

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import torch
from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

from lad.models.safe_load import DIGEST
from lad.utils.download import check_digits, download, sha256_of
from lad.utils.paths import project_folder

COCO_CLASSES: tuple[str, ...] = tuple(
    name for name in FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"] if name not in ("__background__", "N/A")
)
OPENMMLAB = "https://download.openmmlab.com/mmdetection/v2.0"
# The paper's own server has no https. Its files are read without executing anything and verified by eight digits.
PAPER = "http://118.69.233.170:60001/open/LAD_WACV22"
PAPER_REPOSITORY = "https://github.com/cybercore-co-ltd/CoLAD"
WEIGHTS_FILE = "model.safetensors"  # of a finished run's folder
WEB_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True)
class PublishedCheckpoint:
    """A checkpoint that its authors publish, trained on COCO.

    Attributes:
        title: Name for people.
        url: Address of the file.
        ap: Published AP in percent.
        megabytes: Approximate size, from the number of parameters.
        schedule: In units of 12 COCO epochs, "ms" for multi-scale training.
        split: Of the published AP: "val" (val2017) or "test-dev".
        iou_branch: Whether its head was trained with the IoU branch.
        vote: Whether the published AP is with score voting.
        sha256: SHA-256 of the file; "" if only the first digits, in the file's name, are known.
    """

    title: str
    url: str
    ap: float
    megabytes: int
    schedule: str = "1x"
    split: str = "val"
    iou_branch: bool = True
    vote: bool = True
    sha256: str = ""


def _openmmlab(title: str, ap: float, megabytes: int, path: str, **facts: object) -> PublishedCheckpoint:
    """Return an entry of OpenMMLab's model zoo; `path` is "<method>/<config>/<end of the file's name>"."""
    method, config, end = path.split("/")
    return PublishedCheckpoint(title, f"{OPENMMLAB}/{method}/{config}/{config}{end}", ap, megabytes, **facts)  # type: ignore[arg-type]


def _paper(title: str, ap: float, megabytes: int, file: str, **facts: object) -> PublishedCheckpoint:
    """Return an entry of the paper's repository, which keeps each file in a folder of its name without the digits."""
    folder = file.rpartition("-")[0]
    return PublishedCheckpoint(title, f"{PAPER}/{folder}/{file}", ap, megabytes, **facts)  # type: ignore[arg-type]


_R50, _R101 = "paa/paa_r50_fpn_1x_coco/_20200821-936edec3.pth", "paa/paa_r101_fpn_1x_coco/_20200821-0a1825a4.pth"
_R50_3X = "paa/paa_r50_fpn_mstrain_3x_coco/_20210121_145722-06a6880b.pth"
_R101_3X = "paa/paa_r101_fpn_mstrain_3x_coco/_20210122_084202-83250d22.pth"
_LAD_R50 = "lad/lad_r50_paa_r101_fpn_coco_1x/_20220708_124246-74c76ff0.pth"
_LAD_R101 = "lad/lad_r101_paa_r50_fpn_coco_1x/_20220708_124357-9407ac54.pth"

# `lad.paper.published.PUBLISHED` has the same names, and where each AP is printed.
CHECKPOINTS: dict[str, PublishedCheckpoint] = {
    "paa_r18_1x": _paper("PAA-R18", 35.8, 77, "paa_r18_fpn_1x_coco-3056bd16.pth"),
    "paa_r50_1x": _openmmlab("PAA-R50", 40.4, 129, _R50),
    "paa_r50_1x_without_voting": _openmmlab("PAA-R50, without score voting", 40.2, 129, _R50, vote=False),
    "paa_r50_1.5x": _openmmlab(
        "PAA-R50", 41.4, 129, "paa/paa_r50_fpn_1.5x_coco/_20200823-805d6078.pth", schedule="1.5x"
    ),
    "paa_r50_2x": _openmmlab("PAA-R50", 41.6, 129, "paa/paa_r50_fpn_2x_coco/_20200821-c98bfc4e.pth", schedule="2x"),
    "paa_r50_3x_ms": _openmmlab("PAA-R50", 43.3, 129, _R50_3X, schedule="3x ms"),
    "paa_r101_1x": _openmmlab("PAA-R101", 42.6, 206, _R101),
    "paa_r101_1x_without_voting": _openmmlab("PAA-R101, without score voting", 42.4, 206, _R101, vote=False),
    "paa_r101_2x": _openmmlab("PAA-R101", 43.5, 206, "paa/paa_r101_fpn_2x_coco/_20200821-6829f96b.pth", schedule="2x"),
    "paa_r101_3x_ms": _openmmlab("PAA-R101", 45.1, 206, _R101_3X, schedule="3x ms"),
    "lad_r50_from_r101_1x": _openmmlab("LAD, R50 taught by R101", 41.4, 129, _LAD_R50),
    "lad_r101_from_r50_1x": _openmmlab("LAD, R101 taught by R50", 43.2, 206, _LAD_R101),
    "paper_soft_label_r50_from_r101_1x": _paper(
        "soft label, R50 taught by R101", 41.3, 335, "kd_r50_r101p1x_kl_i05_g05_1x_coco-996efb61.pth"
    ),
    "paper_soft_label_r101_from_r50_1x": _paper(
        "soft label, R101 taught by R50", 40.4, 335, "kd_r101_r50p1x_kl_i05_g05_1x_coco-797cf19c.pth"
    ),
    "paper_lad_r50_from_r101_1x": _paper(
        "LAD, R50 taught by R101", 41.6, 335, "paa_lad_r50_r101p1x_1x_coco-a6e0b93b.pth"
    ),
    "paper_lad_r101_from_r50_1x": _paper(
        "LAD, R101 taught by R50", 43.3, 335, "paa_lad_r101_r50p1x_1x_coco-70d7eabf.pth"
    ),
    "paper_solad_r50_from_r101_1x": _paper(
        "SoLAD, R50 taught by R101", 42.4, 335, "paa_solad_r50_r101p1x_1x_coco-fd940fa4.pth"
    ),
    "paper_iou_iop_r18_1x": _paper("PAA-R18, IoU and IOP", 36.7, 77, "paaio_r18_fpn_1x_coco-d6040127.pth"),
    "paper_iou_cop_r18_1x": _paper("PAA-R18, IoU and COP", 36.9, 77, "paacop_r18_fpn_1x_coco-3e409398.pth"),
    "paper_iop_r18_1x": _paper("PAA-R18, IOP", 36.6, 77, "paaiobase_r18_fpn_1x_coco-7d08035f.pth", iou_branch=False),
    "paper_cop_r18_1x": _paper("PAA-R18, COP", 36.9, 77, "paacopbase_r18_fpn_1x_coco-3cb73ed9.pth", iou_branch=False),
    "paper_iou_iop_r50_1x": _paper("PAA-R50, IoU and IOP", 41.6, 129, "paaio_r50_fpn_1x_coco-d2bbc136.pth"),
    "paper_iou_cop_r50_1x": _paper("PAA-R50, IoU and COP", 41.6, 129, "paacop_r50_fpn_1x_coco-9bf2b466.pth"),
    "paper_iop_r50_1x": _paper("PAA-R50, IOP", 41.1, 129, "paaiobase_r50_fpn_1x_coco-e04c30be.pth", iou_branch=False),
    "paper_cop_r50_1x": _paper("PAA-R50, COP", 41.2, 129, "paacopbase_r50_fpn_1x_coco-6f74865c.pth", iou_branch=False),
    "colad_r101": _paper(
        "CoLAD, R101 with COP, with R50",
        46.0,
        335,
        "paa_colad_stdmean_r101cop_r50p3x_ms_2x-5689838f.pth",
        schedule="2x ms",
        split="test-dev",
    ),
}


def published_checkpoint(checkpoint: str | Path) -> PublishedCheckpoint | None:
    """Return the entry of a published name; None for anything else, and if a file has this name."""
    entry = CHECKPOINTS.get(str(checkpoint))
    return None if entry is None or Path(checkpoint).is_file() else entry


def is_published(checkpoint: str | Path) -> bool:
    """Return whether a checkpoint is given by a published name or a web address, and not as a path."""
    is_address = isinstance(checkpoint, str) and WEB_ADDRESS.match(checkpoint) is not None
    return is_address or published_checkpoint(checkpoint) is not None


def checkpoint_file(checkpoint: str | Path, sha256: str | None = None) -> Path:
    """Return the file of a checkpoint; one that is not on this machine is downloaded to torch's cache.

    Args:
        checkpoint: The path of a file or of a finished run's folder, a name in `CHECKPOINTS`, or a web address.
        sha256: SHA-256 of the file, or its first digits, to verify it by. Only a web address whose file name does not
            end in these digits needs it.

    Raises:
        ValueError: If there is no such file or name, or the file cannot be downloaded or has another SHA-256.
    """
    if sha256 is not None:
        check_digits(sha256)
    if not is_published(checkpoint):
        file = Path(checkpoint).expanduser()
        if str(checkpoint) and file.is_dir():
            file = file / WEIGHTS_FILE
            if not file.is_file():
                raise ValueError(f"checkpoint '{checkpoint}': is a folder without {WEIGHTS_FILE}: no finished run")
        if not file.is_file():
            raise ValueError(f"checkpoint '{checkpoint}': no such file{published_hint(checkpoint)}")
    else:
        entry = published_checkpoint(checkpoint)
        file = _download(entry.url, sha256 or entry.sha256) if entry else _download(str(checkpoint), sha256 or "")
    if sha256 is not None and not (digest := sha256_of(file)).startswith(sha256.lower()):
        raise ValueError(
            f"checkpoint '{file}': its SHA-256 begins with {digest[: len(sha256)]}, not with {sha256.lower()}: it is "
            "another file, or was changed"
        )
    return file


def local_file(url: str, sha256: str = "") -> Path | None:
    """Return the file of an address if it is on this machine: in torch's cache or the project's folder checkpoints/."""
    name = _file_name(url, sha256)
    return next((file for file in (_cache() / name, _checkpoints() / name) if file.is_file()), None)


def published_hint(checkpoint: str | Path) -> str:
    """Return the end of the message about a checkpoint that does not exist: the nearest published name."""
    nearest = difflib.get_close_matches(str(checkpoint), CHECKPOINTS, n=1, cutoff=0.5)
    suggestion = f"; did you mean the published '{nearest[0]}'?" if nearest else ", and no published checkpoint;"
    return f"{suggestion} `lad checkpoints` lists them"


def _download(url: str, sha256: str) -> Path:
    """Return the file of an address, downloaded unless it is on this machine."""
    file = local_file(url, sha256)
    if file is not None:
        return file
    name = _file_name(url, sha256)
    digits = sha256 or (named[1] if (named := DIGEST.search(name)) else "")
    if not digits:
        raise ValueError(
            f"checkpoint '{url}': the file's name does not end in digits of its SHA-256; pass sha256=<8 or more of its "
            "first digits>"
        )
    alternative = f"in {_checkpoints()}, or pass the path of a copy"
    if url.startswith(PAPER):
        alternative += f" ({PAPER_REPOSITORY} lists the paper's files)"
    download(url, _cache() / name, digits, alternative)
    return _cache() / name


def _file_name(url: str, sha256: str) -> str:
    """Return the name of an address's file; digits are added where it has none, for many files are called model.pth."""
    path = Path(Path(unquote(urlsplit(url).path)).name or "checkpoint.pth")
    return path.name if not sha256 or DIGEST.search(path.name) else f"{path.stem}-{sha256[:8].lower()}{path.suffix}"


def _cache() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def _checkpoints() -> Path:
    """Return the folder for files that users download themselves."""
    return project_folder() / "checkpoints"
