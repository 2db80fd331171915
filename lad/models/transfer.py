"""Weights from one detector to another: classifiers in another order of classes, and starts from a trained detector."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from lad.models.architecture import build
from lad.models.detector import Configuration, Detector
from lad.models.openmmlab import CLASSIFIER


def with_classes(detector: Detector, class_names: Sequence[str]) -> Detector:
    """Return the detector with its classifier reduced to these classes, in this order; they are matched by name.

    A detector without class names is returned as it is if the number of classes agrees.

    Raises:
        ValueError: If the detector lacks classes; lists them and those that it has.
    """
    known, wanted = detector.configuration.class_names, tuple(class_names)
    if has_classes(detector.configuration, wanted):
        detector.configuration = replace(detector.configuration, class_names=wanted)
        return detector
    if not known:
        raise ValueError(f"has {detector.configuration.num_classes} classes without names, not {len(wanted)}")
    missing = [name for name in wanted if name not in known]
    if missing:
        raise ValueError(f"has no class {list_names(missing)}; it has {list_names(known)}")
    rows = torch.tensor([known.index(name) for name in wanted])
    state = detector.state_dict()
    state |= {name: state[name][rows] for name in CLASSIFIER}
    configuration = replace(detector.configuration, num_classes=len(wanted), class_names=wanted)
    reordered = build(configuration)
    reordered.load_state_dict(state)
    return reordered.to(memory_format=torch.channels_last).eval().requires_grad_(False)


def has_classes(configuration: Configuration, class_names: Sequence[str]) -> bool:
    """Return whether a detector's labels are these classes, in this order; true if only their number is known."""
    names = configuration.class_names
    return names == tuple(class_names) if names else configuration.num_classes == len(class_names)


def load_matching(detector: Detector, source: Detector) -> list[str]:
    """Load all weights of `source` that fit, in place; the others keep their initialization.

    The classifier fits if `source` has all classes of the detector, in any order; see `with_classes`.

    Returns:
        Names of the weights, of either network, that do not fit.
    """
    try:
        source = with_classes(source, detector.configuration.class_names)
        weights = source.state_dict()
    except ValueError:  # another classifier
        weights = {name: value for name, value in source.state_dict().items() if name not in CLASSIFIER}
    own = detector.state_dict()
    fitting: dict[str, Tensor] = {
        name: value for name, value in weights.items() if name in own and own[name].shape == value.shape
    }
    detector.load_state_dict({**own, **fitting})
    return sorted((own.keys() | weights.keys()) - fitting.keys())


def list_names(names: Sequence[str], at_most: int = 12) -> str:
    """Return names as text, shortened after `at_most` of them."""
    rest = len(names) - at_most
    return ", ".join(names[:at_most]) + (f" and {rest} more" if rest > 0 else "")
