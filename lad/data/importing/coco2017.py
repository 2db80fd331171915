"""Download of COCO 2017: its official archives, verified and unpacked where the profiles look.

Everything is put in a folder beside the new one until it is complete, so that the next call resumes there.
"""

import os
import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from lad.data.importing.coco_folder import check_is_new
from lad.utils.atomic_io import UNFINISHED_SUFFIX
from lad.utils.download import download, sha256_of
from lad.utils.messages import format_path, one_line
from lad.utils.progress import log, progress_bar

SERVER = "http://images.cocodataset.org"  # COCO's own; it has no certificate of its own, the SHA-256 verifies its files
GB = 1e9


@dataclass(frozen=True)
class Archive:
    """An archive of COCO 2017.

    Attributes:
        path: On the server.
        sha256: Of its content.
        num_bytes: Its size; images do not become smaller by compression.
        members: What to unpack: a folder, or single files.
    """

    path: str
    sha256: str
    num_bytes: int
    members: Sequence[str]

    @property
    def name(self) -> str:
        """Its file name."""
        return self.path.rpartition("/")[2]


TRAIN = Archive(
    "zips/train2017.zip",
    "69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
    19_336_861_798,
    ("train2017/",),
)
VAL = Archive(
    "zips/val2017.zip", "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05", 815_585_330, ("val2017/",)
)
ANNOTATIONS = (
    "annotations/annotations_trainval2017.zip",
    "113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
)
TRAIN_JSON, VAL_JSON = (f"annotations/instances_{split}2017.json" for split in ("train", "val"))
SETS: dict[str, tuple[Archive, ...]] = {
    "coco2017": (Archive(*ANNOTATIONS, 252_907_541, (TRAIN_JSON, VAL_JSON)), VAL, TRAIN),
    "coco2017-val": (Archive(*ANNOTATIONS, 252_907_541, (VAL_JSON,)), VAL),
}


def download_coco(name: str, out: Path, keep: bool = False) -> None:
    """Download, verify and unpack COCO 2017; the next call resumes an interrupted one.

    Args:
        name: A key of `SETS`.
        out: New folder for annotations/, val2017/ and train2017/.
        keep: Whether to keep the archives, in out/archives.

    Raises:
        ValueError: `out` exists, there is not enough space, or an archive cannot be downloaded or is not COCO's; one
            line. What was downloaded before is kept for the next call.
        OSError: A file cannot be written; names it.
    """
    check_is_new(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(out.with_name(f".{out.name}.lock")):
        check_is_new(out)  # another process may have finished
        draft = out.with_name(out.name + UNFINISHED_SUFFIX)
        archives = [archive for archive in SETS[name] if not _is_unpacked(archive, draft)]
        _check_space(archives, draft, keep)
        for archive in archives:
            path = draft / "archives" / archive.name
            _download(archive, path)
            _unpack(archive, path, draft)
            if not keep:
                path.unlink()
        for lock in (draft / "archives").glob("*.lock"):
            lock.unlink()
        if not keep:
            shutil.rmtree(draft / "archives", ignore_errors=True)
        draft.rename(out)
    log(f"{name} is in {format_path(out)}")


def _is_unpacked(archive: Archive, draft: Path) -> bool:
    return all((draft / member).exists() for member in archive.members)


def _check_space(archives: Sequence[Archive], draft: Path, keep: bool) -> None:
    """Raise ValueError unless the archives and their contents fit on the disk."""
    sizes = [archive.num_bytes for archive in archives]
    partial = sum(path.stat().st_size for path in (draft / "archives").glob("*.zip*"))
    unpacked = sum(sizes) + max(sizes, default=0) // 20  # JSON unpacks to more, images to as much
    needed = unpacked + (sum(sizes) if keep else max(sizes, default=0)) - partial
    free = shutil.disk_usage(draft.parent).free
    if free < needed:
        raise ValueError(
            f"{format_path(draft.parent)}: {needed / GB:.1f} GB are needed there, and {free / GB:.1f} GB are free; "
            "make room or name another folder"
        )


def _download(archive: Archive, path: Path) -> None:
    is_given = path.is_file()  # by an earlier call, or put there by hand
    download(f"{SERVER}/{archive.path}", path, archive.sha256)
    if is_given and sha256_of(path) != archive.sha256:
        raise ValueError(
            f"{format_path(path)}: its SHA-256 is not that of COCO's archive; delete it to download it again"
        )


def _unpack(archive: Archive, path: Path, draft: Path) -> None:
    """Unpack the archive's members into `draft`, each complete or not at all."""
    unpacking = draft / "unpacking"
    shutil.rmtree(unpacking, ignore_errors=True)
    with _open(path) as content:
        names = [name for name in content.namelist() if name.startswith(tuple(archive.members))]
        missing = [member for member in archive.members if not any(name.startswith(member) for name in names)]
        if missing:
            raise ValueError(f"{format_path(path)}: has no {missing[0]}; it is not COCO's archive")
        for name in progress_bar(names, f"unpacking {archive.name}"):
            if ".." in name.split("/") or "\\" in name:
                raise ValueError(f"{format_path(path)}: {one_line(name, 200)} leads out of the folder; nothing is kept")
            try:
                content.extract(name, unpacking)  # checks the CRC
            except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
                raise ValueError(f"{format_path(path)}: is corrupted ({one_line(str(error))}); delete it") from None
    for member in archive.members:
        (draft / member).parent.mkdir(parents=True, exist_ok=True)
        os.replace(unpacking / member, draft / member)
    shutil.rmtree(unpacking, ignore_errors=True)


def _open(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError) as error:
        raise ValueError(f"{format_path(path)}: is not a zip archive ({one_line(str(error))}); delete it") from None
