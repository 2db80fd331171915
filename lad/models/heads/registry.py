"""The registry of heads: one entry per name."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class HeadEntry:
    """Everything the project knows about one head. OpenMMLab's names are relative to its `bbox_head`.

    Attributes:
        title: Name for people, as in tables of papers.
        build: Constructor, called with `channels`, `num_classes`, `iou_branch` and `from_scratch`; the module maps the
            pyramid's levels [P3 … P7] to `HeadOutputs`.
        openmmlab_rules: (pattern of our names, OpenMMLab's name) for names that differ; the first full match counts.
        openmmlab_key: The tensor that identifies this head in a checkpoint; None for the head of checkpoints without
            any such tensor.
        openmmlab_unused: Beginnings of the names of branches that checkpoints contain but the published forward pass
            does not use.
    """

    title: str
    build: Callable[..., nn.Module]
    openmmlab_rules: tuple[tuple[str, str], ...] = ()
    openmmlab_key: str | None = None
    openmmlab_unused: tuple[str, ...] = ()


HEADS: dict[str, HeadEntry] = {}


def register_head(name: str, entry: HeadEntry) -> None:
    """Add a head under the name that users type.

    Raises:
        ValueError: If the name is already taken.
    """
    if name in HEADS:
        raise ValueError(f"head '{name}' is already registered ({HEADS[name].title}); choose another name")
    HEADS[name] = entry
