"""Embedded data sets: COCO-format images of colored shapes, drawn on first use, identical on every machine.

`toy` is for a first lesson and for tests; `mini` resembles COCO more: textures, clutter, occlusion, many scales.
An image depends only on its difficulty, split and index: random numbers are PCG64's doubles, and drawing is exact.
"""

import functools
import json
import multiprocessing
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np
from PIL import Image

from lad.data.synthetic.drawing import blend, clutter_outline, fill, outlines, texture
from lad.utils.paths import cache_folder

VERSION = 1  # of the images; a new number makes every cache draw them again


@dataclass(frozen=True)
class Difficulty:
    """The content of the images of one data set; ranges are inclusive, lengths in pixels.

    Attributes:
        seed: Seed of the data set.
        side: Height and width of an image.
        classes: Names of the classes.
        images: Number of images by split.
        objects: Range of the number of objects drawn per image, before hidden ones are removed.
        sizes: Range of the diameter of an object, log-uniform.
        max_rotation: Maximal rotation of an object to either side, degrees.
        textures: Textures of objects.
        background_colors: RGB hex codes.
        background_textures: Textures of the background.
        clutter: Range of the number of unlabeled strokes and blobs per image.
        min_visible: Fraction of an object below which it counts as hidden.
    """

    seed: int
    side: int
    classes: tuple[str, ...]
    images: Mapping[str, int]
    objects: tuple[int, int]
    sizes: tuple[float, float]
    max_rotation: float
    textures: tuple[str, ...]
    background_colors: str
    background_textures: tuple[str, ...]
    clutter: tuple[int, int]
    min_visible: float


EASY_CLASSES = ("circle", "square", "triangle", "star", "cross", "ring")
DIFFICULTIES: Mapping[str, Difficulty] = {
    "toy": Difficulty(
        seed=1,
        side=128,
        classes=EASY_CLASSES,
        images={"train": 800, "val": 200},
        objects=(1, 5),
        sizes=(24, 120),
        max_rotation=20,
        textures=("flat",),
        background_colors="f7f2e9 e4edf3 eaf1e5 f2e9f0 f0f0f0",
        background_textures=("gradient",),
        clutter=(0, 0),
        min_visible=0.6,
    ),
    "mini": Difficulty(
        seed=2,
        side=256,
        classes=(*EASY_CLASSES, "crescent", "heart", "arrow", "ell", "hourglass", "leaf"),
        images={"train": 4000, "val": 1000},
        objects=(1, 12),
        sizes=(8, 160),
        max_rotation=180,
        textures=("flat", "gradient", "stripes", "checker", "dots", "noise"),
        background_colors="e8e0d0 cedce4 d0dec8 e0d0dc 968c80 546458 343846",
        background_textures=("gradient", "stripes", "checker", "dots", "noise"),
        clutter=(2, 10),
        min_visible=0.3,
    ),
}
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
    settings = _difficulty(difficulty)
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


def write_shapes(folder: Path, difficulty: str, sizes: dict[str, int] | None = None, processes: int = 1) -> None:
    """Write a data set folder with `instances_<split>.json` and `<split>/<index>.png` for both splits.

    The folder appears in one step when it is complete; an existing one is kept unchanged.

    Args:
        folder: Data set folder.
        difficulty: Name of a data set, a key of `DIFFICULTIES`.
        sizes: Numbers of images by split, instead of the default ones.
        processes: Number of processes that draw; the images do not depend on it.

    Raises:
        ValueError: The difficulty is unknown, or `sizes` not of both splits and positive.
    """
    images = {**_difficulty(difficulty).images, **(sizes or {})}
    if images.keys() != _difficulty(difficulty).images.keys() or min(images.values()) < 1:
        raise ValueError(f"sizes={sizes} must give 'train' and 'val' a positive number of images")
    if folder.is_dir():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as unfinished:
        draft = Path(unfinished) / folder.name
        for split, count in images.items():
            (draft / split).mkdir(parents=True)
            instances = _write_split(draft / split, difficulty, split, count, processes)
            (draft / f"instances_{split}.json").write_text(json.dumps(instances))
        try:
            draft.rename(folder)
        except OSError:  # another process was faster, and its images are the same
            if not folder.is_dir():
                raise


def data_folder(data: str) -> Path:
    """Return the folder of an embedded data set by its name, drawn on first use, or of any other by its path."""
    return shapes_folder(data) if data in DIFFICULTIES else Path(data)


def shapes_folder(difficulty: str, cache: str | Path | None = None, processes: int = 1) -> Path:
    """Return an embedded data set's folder, written on first use by so many processes.

    It is under `cache`, by default `cache_folder()`.
    """
    _difficulty(difficulty)
    folder = Path(cache or cache_folder()).expanduser() / f"{difficulty}-v{VERSION}"
    if not folder.is_dir():
        write_shapes(folder, difficulty, processes=processes)
    return folder


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


def _difficulty(name: str) -> Difficulty:
    if name not in DIFFICULTIES:
        nearest = get_close_matches(name, DIFFICULTIES) or list(DIFFICULTIES)
        raise ValueError(f"difficulty={name!r} is unknown: did you mean {' or '.join(map(repr, nearest))}?")
    return DIFFICULTIES[name]


def _write_image(folder: Path, difficulty: str, split: str, index: int) -> tuple[str, tuple[int, int], list[Shape]]:
    """Write an image of a split; return its file's name, its (height, width) and its objects."""
    image, shapes = render_shapes(difficulty, split, index)
    name = f"{index:06d}.png"
    Image.fromarray(image).save(folder / name, compress_level=1)
    return name, (image.shape[0], image.shape[1]), shapes


def _write_split(folder: Path, difficulty: str, split: str, count: int, processes: int) -> dict[str, object]:
    """Write the first `count` images of a split and return their COCO annotations."""
    write = functools.partial(_write_image, folder, difficulty, split)
    if processes == 1:
        written = list(map(write, range(count)))
    else:
        with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
            written = list(pool.map(write, range(count), chunksize=16))
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for index, (name, (height, width), shapes) in enumerate(written):
        images.append({"id": index + 1, "file_name": name, "width": width, "height": height})
        for shape in shapes:
            x0, y0, x1, y1 = shape.box
            annotation: dict[str, object] = {
                "id": len(annotations) + 1,
                "image_id": index + 1,
                "category_id": shape.category + 1,
            }
            annotation |= {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": shape.area, "iscrowd": 0}
            annotations.append(annotation)
    classes = enumerate(DIFFICULTIES[difficulty].classes, start=1)
    return {
        "info": {"description": f"Colored shapes, {difficulty}, {split}", "version": str(VERSION)},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": i, "name": name, "supercategory": "shape"} for i, name in classes],
    }
