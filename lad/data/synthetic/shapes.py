"""The embedded data set: COCO-format images of colored shapes, drawn on first use and the same on every machine.

`toy` is for a first lesson and for tests; `mini` resembles COCO more: textures, clutter, occlusion, many scales.
An image depends on its difficulty, split and index only: randomness is PCG64's doubles, and drawing is exact.
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np
from PIL import Image

from lad.data.synthetic.drawing import fill, mix, outlines, scribble, texture
from lad.utils.paths import cache_folder

VERSION = 1  # of the pictures: a new number makes every cache draw them again


@dataclass(frozen=True)
class Difficulty:
    """What the pictures of one set contain; ranges are inclusive, lengths in pixels."""

    seed: int
    side: int  # height and width of an image
    classes: tuple[str, ...]
    images: Mapping[str, int]  # split → number of images
    objects: tuple[int, int]  # drawn per image, before hidden ones are left out
    sizes: tuple[float, float]  # diameter of an object, log-uniform
    rotation: float  # largest turn to either side, degrees
    textures: tuple[str, ...]  # of objects
    papers: str  # colors of the background, RGB hex
    backdrops: tuple[str, ...]  # textures of the background
    clutter: tuple[int, int]  # unlabeled strokes and blobs per image
    least_visible: float  # fraction of an object below which it counts as hidden


EASY_CLASSES = ("circle", "square", "triangle", "star", "cross", "ring")
DIFFICULTIES: Mapping[str, Difficulty] = {
    "toy": Difficulty(
        seed=1,
        side=128,
        classes=EASY_CLASSES,
        images={"train": 800, "val": 200},
        objects=(1, 5),
        sizes=(24, 120),
        rotation=20,
        textures=("flat",),
        papers="f7f2e9 e4edf3 eaf1e5 f2e9f0 f0f0f0",
        backdrops=("gradient",),
        clutter=(0, 0),
        least_visible=0.6,
    ),
    "mini": Difficulty(
        seed=2,
        side=256,
        classes=(*EASY_CLASSES, "crescent", "heart", "arrow", "ell", "hourglass", "leaf"),
        images={"train": 4000, "val": 1000},
        objects=(1, 12),
        sizes=(8, 160),
        rotation=180,
        textures=("flat", "gradient", "stripes", "checker", "dots", "noise"),
        papers="e8e0d0 cedce4 d0dec8 e0d0dc 968c80 546458 343846",
        backdrops=("gradient", "stripes", "checker", "dots", "noise"),
        clutter=(2, 10),
        least_visible=0.3,
    ),
}
MIN_PIXELS = 12  # an object with fewer visible pixels counts as hidden

INKS = "de3c4b f08030 ecb226 74ac42 1e8e70 26a0be 306ac4 7054bc ba4ea4 ec7496 845c42 363e58"


@dataclass(frozen=True)
class Shape:
    """One annotated object, as far as it can be seen."""

    category: int  # index into Difficulty.classes
    box: tuple[int, int, int, int]  # x0, y0, x1, y1 in pixels; right and bottom exclusive
    area: int  # visible pixels


def render_shapes(difficulty: str, split: str, index: int) -> tuple[np.ndarray, list[Shape]]:
    """Image `index` of a split, [H, W, 3] uint8 RGB, and its visible objects, at least one, from back to front."""
    recipe = _difficulty(difficulty)
    if split not in recipe.images:
        raise ValueError(f"split={split!r} is unknown: choose one of {', '.join(recipe.images)}")
    if index < 0:
        raise ValueError(f"index={index} must not be negative")
    seed = np.random.SeedSequence([recipe.seed, list(recipe.images).index(split), index])
    rng = np.random.Generator(np.random.PCG64(seed))  # only its doubles are drawn: NumPy may change the other draws
    papers = _colors(recipe.papers)
    paper = papers[_below(rng, len(papers))]
    backdrop = texture(rng, _choice(rng, recipe.backdrops), (recipe.side, recipe.side), pitch=_between(rng, 6, 24))
    image = mix(paper, paper + _between(rng, 10, 24) * (1 if paper.sum() < 300 else -1), backdrop)
    return compose(image, _layers(rng, recipe, paper), recipe.least_visible)


def write_shapes(folder: Path, difficulty: str, sizes: dict[str, int] | None = None) -> None:
    """Write `instances_<split>.json` and `<split>/<index>.png` for both splits; `sizes` overrides numbers of images.

    The folder appears in one step when all is written. One that is there already, or by then, is kept as it is.
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
            instances = _write_split(draft / split, difficulty, split, count)
            (draft / f"instances_{split}.json").write_text(json.dumps(instances))
        try:
            draft.rename(folder)
        except OSError:  # somebody else was faster, and their pictures are the same
            if not folder.is_dir():
                raise


def data_folder(data: str) -> Path:
    """Where a data set lies: of an embedded one's name, else the path it is."""
    return shapes_folder(data) if data in DIFFICULTIES else Path(data)


def shapes_folder(difficulty: str, cache: str | Path | None = None) -> Path:
    """The set's folder, written on first use under `cache`, else under `cache_folder()`."""
    _difficulty(difficulty)
    folder = Path(cache or cache_folder()).expanduser() / f"{difficulty}-v{VERSION}"
    if not folder.is_dir():
        write_shapes(folder, difficulty)
    return folder


@dataclass(frozen=True)
class Layer:
    """Something to paint: an object, or clutter if it has no category."""

    category: int | None
    window: tuple[slice, slice]  # rows and columns of the image that it touches
    coverage: np.ndarray  # [h, w] sixteenths of each pixel, 0 to 16
    paint: np.ndarray  # [h, w, 3] uint8


def compose(image: np.ndarray, layers: Sequence[Layer], least_visible: float) -> tuple[np.ndarray, list[Shape]]:
    """Paint layers from back to front over `image` [H, W, 3], leaving out those that the ones before them hide.

    What a layer shows depends only on the layers in front of it, so one pass from the front decides which are kept.
    """
    taken = np.zeros(image.shape[:2], dtype=bool)
    kept, shapes = [], []
    for layer in reversed(layers):
        solid = layer.coverage >= 8  # a pixel belongs to a layer that covers half of it
        visible = solid & ~taken[layer.window]
        area = int(visible.sum())
        if area < max(MIN_PIXELS, least_visible * solid.sum()):
            continue
        taken[layer.window] |= solid
        kept.append(layer)
        if layer.category is not None:
            shapes.append(Shape(layer.category, _tight_box(visible, layer.window), area))
    image = image.copy()
    for layer in reversed(kept):
        alpha = layer.coverage[..., None].astype(np.int32)
        image[layer.window] = (image[layer.window] * (16 - alpha) + layer.paint * alpha + 8) // 16
    return image, shapes[::-1]


def _tight_box(visible: np.ndarray, window: tuple[slice, slice]) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(visible.any(1)) + window[0].start, np.flatnonzero(visible.any(0)) + window[1].start
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _layers(rng: np.random.Generator, recipe: Difficulty, paper: np.ndarray) -> list[Layer]:
    """Objects and clutter from back to front; large ones tend to lie behind, and an object is always in front."""
    inks = _colors(INKS)
    inks = inks[np.abs(inks - paper).sum(1) > 130]  # contrast with the background
    inks = inks[np.argsort(rng.random(len(inks)))]  # objects differ in color while the inks last
    outline_of, (smallest, largest) = outlines(), recipe.sizes
    layers, depths = [], []
    for i in range(_between(rng, *recipe.objects)):
        category = _below(rng, len(recipe.classes))
        size = smallest * (largest / smallest) ** rng.random()
        turn = np.deg2rad(recipe.rotation) * (2 * rng.random() - 1)
        outline = outline_of[recipe.classes[category]] * np.exp(1j * turn)
        pattern = _choice(rng, recipe.textures)
        layers.append(_layer(rng, category, outline, size, pattern, inks[i % len(inks)], recipe.side))
        depths.append(size * rng.random() if i else 0.0)
    for _ in range(_between(rng, *recipe.clutter)):
        faint = (inks[_below(rng, len(inks))] + paper) // 2
        layers.append(_layer(rng, None, scribble(rng), 8 + 32 * rng.random(), "flat", faint, recipe.side))
        depths.append(largest * rng.random())
    return [layers[i] for i in np.argsort(depths)[::-1]]


def _layer(
    rng: np.random.Generator,
    category: int | None,
    outline: np.ndarray,
    size: float,
    pattern: str,
    ink: np.ndarray,
    side: int,
) -> Layer:
    """Progress an outline so that it lies mostly inside the image, and fill it with two tones of its ink."""
    margin = 0.35 * size
    center = complex(*(margin + (side - 2 * margin) * rng.random(2)))
    window, coverage = fill(center + size / 2 * outline, side)
    tone = texture(rng, pattern, coverage.shape, pitch=max(3, int(size * (0.08 + 0.1 * rng.random()))))
    second = (ink * 9 + 255 * 11) // 20 if _below(rng, 2) else ink * 11 // 20  # a lighter or a darker tone
    return Layer(category, window, coverage, mix(ink, second, tone))


def _below(rng: np.random.Generator, count: int) -> int:
    return int(rng.random() * count)


def _between(rng: np.random.Generator, low: int, high: int) -> int:
    return low + _below(rng, high - low + 1)


def _colors(codes: str) -> np.ndarray:
    return np.frombuffer(bytes.fromhex(codes), dtype=np.uint8).reshape(-1, 3).astype(int)


def _choice(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[_below(rng, len(options))]


def _difficulty(name: str) -> Difficulty:
    if name not in DIFFICULTIES:
        nearest = get_close_matches(name, DIFFICULTIES) or list(DIFFICULTIES)
        raise ValueError(f"difficulty={name!r} is unknown: did you mean {' or '.join(map(repr, nearest))}?")
    return DIFFICULTIES[name]


def _write_split(folder: Path, difficulty: str, split: str, count: int) -> dict[str, object]:
    """Write the first `count` images of a split and return their COCO annotations."""
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for index in range(count):
        image, shapes = render_shapes(difficulty, split, index)
        name = f"{index:06d}.png"
        Image.fromarray(image).save(folder / name, compress_level=1)
        images.append({"id": index + 1, "file_name": name, "width": image.shape[1], "height": image.shape[0]})
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
