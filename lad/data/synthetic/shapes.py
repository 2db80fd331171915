"""Images of colored shapes, drawn the same on every machine.

An image depends only on its difficulty, split and index: random numbers are PCG64's doubles, and drawing is exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lad.data.synthetic.difficulties import Difficulty, find_difficulty
from lad.data.synthetic.drawing import blend, clutter_outline, fill, outlines, texture

MIN_PIXELS = 12  # an object with fewer visible pixels counts as hidden

OBJECT_COLORS = "de3c4b f08030 ecb226 74ac42 1e8e70 26a0be 306ac4 7054bc ba4ea4 ec7496 845c42 363e58"


@dataclass(frozen=True)
class Shape:
    """The visible part of one annotated object.

    Attributes:
        category: Index into `Difficulty.classes`.
        box: (x0, y0, x1, y1) in pixels; right and bottom exclusive.
        area: Number of visible pixels.
    """

    category: int
    box: tuple[int, int, int, int]
    area: int


def render_shapes(difficulty: str, split: str, index: int) -> tuple[np.ndarray, list[Shape]]:
    """Draw an image and return its pixels and visible objects.

    Args:
        difficulty: Name of a data set, a key of `DIFFICULTIES`.
        split: "train" or "val".
        index: Index of the image in the split, ≥ 0.

    Returns:
        Image [H, W, 3] uint8 RGB, and its visible objects, at least one, from back to front.

    Raises:
        ValueError: A name is unknown or the index negative.
    """
    settings = find_difficulty(difficulty)
    if split not in settings.images:
        raise ValueError(f"split={split!r} is unknown: choose one of {', '.join(settings.images)}")
    if index < 0:
        raise ValueError(f"index={index} must not be negative")
    seed = np.random.SeedSequence([settings.seed, list(settings.images).index(split), index])
    rng = np.random.Generator(np.random.PCG64(seed))  # only doubles: NumPy may change its other distributions
    colors = _colors(settings.background_colors)
    background = colors[_below(rng, len(colors))]
    kind, shape = _choice(rng, settings.background_textures), (settings.side, settings.side)
    tone = texture(rng, kind, shape, pitch=_between(rng, 6, 24))
    image = blend(background, background + _between(rng, 10, 24) * (1 if background.sum() < 300 else -1), tone)
    return compose(image, _layers(rng, settings, background), settings.min_visible)


@dataclass(frozen=True)
class Layer:
    """An object to draw, or clutter.

    Attributes:
        category: Index into `Difficulty.classes`, None for clutter.
        window: Rows and columns of the image that it touches.
        coverage: [h, w] sixteenths of each pixel, 0 … 16.
        colors: [h, w, 3] uint8.
    """

    category: int | None
    window: tuple[slice, slice]
    coverage: np.ndarray
    colors: np.ndarray


def compose(image: np.ndarray, layers: Sequence[Layer], min_visible: float) -> tuple[np.ndarray, list[Shape]]:
    """Draw layers over an image, without those that the layers in front of them hide.

    The visible part of a layer depends only on the layers in front of it, so one pass from the front decides which
    layers are kept.

    Args:
        image: Background [H, W, 3] uint8.
        layers: From back to front.
        min_visible: Fraction of a layer below which it counts as hidden.

    Returns:
        Image [H, W, 3] uint8, and its visible objects from back to front.
    """
    occupied = np.zeros(image.shape[:2], dtype=bool)
    kept, shapes = [], []
    for layer in reversed(layers):
        solid = layer.coverage >= 8  # a pixel belongs to a layer that covers half of it
        visible = solid & ~occupied[layer.window]
        area = int(visible.sum())
        if area < max(MIN_PIXELS, min_visible * solid.sum()):
            continue
        occupied[layer.window] |= solid
        kept.append(layer)
        if layer.category is not None:
            shapes.append(Shape(layer.category, _tight_box(visible, layer.window), area))
    image = image.copy()
    for layer in reversed(kept):
        alpha = layer.coverage[..., None].astype(np.int32)
        image[layer.window] = (image[layer.window] * (16 - alpha) + layer.colors * alpha + 8) // 16
    return image, shapes[::-1]


def _tight_box(visible: np.ndarray, window: tuple[slice, slice]) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(visible.any(1)) + window[0].start, np.flatnonzero(visible.any(0)) + window[1].start
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _layers(rng: np.random.Generator, settings: Difficulty, background: np.ndarray) -> list[Layer]:
    """Draw the objects and clutter of an image from back to front: large ones rather behind, an object in front."""
    colors = _colors(OBJECT_COLORS)
    colors = colors[np.abs(colors - background).sum(1) > 130]  # contrast with the background
    colors = colors[np.argsort(rng.random(len(colors)))]  # objects differ in color while there are enough
    outline_of, (smallest, largest) = outlines(), settings.sizes
    layers, depths = [], []
    for i in range(_between(rng, *settings.objects)):
        category = _below(rng, len(settings.classes))
        size = smallest * (largest / smallest) ** rng.random()
        rotation = np.deg2rad(settings.max_rotation) * (2 * rng.random() - 1)
        outline = outline_of[settings.classes[category]] * np.exp(1j * rotation)
        kind = _choice(rng, settings.textures)
        layers.append(_layer(rng, category, outline, size, kind, colors[i % len(colors)], settings.side))
        depths.append(size * rng.random() if i else 0.0)
    for _ in range(_between(rng, *settings.clutter)):
        faint = (colors[_below(rng, len(colors))] + background) // 2
        layers.append(_layer(rng, None, clutter_outline(rng), 8 + 32 * rng.random(), "flat", faint, settings.side))
        depths.append(largest * rng.random())
    return [layers[i] for i in np.argsort(depths)[::-1]]


def _layer(
    rng: np.random.Generator,
    category: int | None,
    outline: np.ndarray,
    size: float,
    kind: str,
    color: np.ndarray,
    side: int,
) -> Layer:
    """Place an outline mostly inside the image and fill it with a texture of two tones of its color."""
    margin = 0.35 * size
    center = complex(*(margin + (side - 2 * margin) * rng.random(2)))
    window, coverage = fill(center + size / 2 * outline, side)
    tone = texture(rng, kind, coverage.shape, pitch=max(3, int(size * (0.08 + 0.1 * rng.random()))))
    second = (color * 9 + 255 * 11) // 20 if _below(rng, 2) else color * 11 // 20  # a lighter or a darker tone
    return Layer(category, window, coverage, blend(color, second, tone))


def _below(rng: np.random.Generator, count: int) -> int:
    """Draw an integer 0 … count − 1."""
    return int(rng.random() * count)


def _between(rng: np.random.Generator, low: int, high: int) -> int:
    """Draw an integer low … high."""
    return low + _below(rng, high - low + 1)


def _colors(codes: str) -> np.ndarray:
    """Convert RGB hex codes to [K, 3] integers."""
    return np.frombuffer(bytes.fromhex(codes), dtype=np.uint8).reshape(-1, 3).astype(int)


def _choice(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[_below(rng, len(options))]
