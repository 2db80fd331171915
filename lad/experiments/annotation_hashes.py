"""Hashes of a data set's annotations, by which a finished run of other annotations is recognized."""

import functools
from collections.abc import Mapping
from itertools import starmap
from pathlib import Path
from typing import Any

from lad.config.experiment import Parameters
from lad.data.layouts import locate_split
from lad.data.synthetic.difficulties import DIFFICULTIES
from lad.utils.download import sha256_of


def annotation_hashes(parameters: Parameters) -> dict[str, str]:
    """Return the SHA-256 of the annotations of both parts, as in results.json; empty for data that cannot be found.

    A file is read once, and again after it changed.
    """
    if parameters.data in DIFFICULTIES:
        return {}  # its version is one of the parameters
    try:
        files = [locate_split(Path(parameters.data), split, parameters.images).path for split in ("train", "val")]
        states = [(file, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
        return dict(zip(("training_sha256", "validation_sha256"), starmap(_hash_of, states), strict=True))
    except (OSError, ValueError):
        return {}


@functools.lru_cache(maxsize=64)
def _hash_of(file: Path, _size: int, _changed_at: int) -> str:
    return sha256_of(file)


def has_annotations(results: Mapping[str, Any], hashes: Mapping[str, str]) -> bool:
    """Return whether a run's results are of these annotations; those that are unknown do not matter."""
    return all(results.get(name) in (None, digest) for name, digest in hashes.items())
