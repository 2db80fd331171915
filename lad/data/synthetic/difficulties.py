"""The content of the embedded data sets.

`toy` is for a first lesson and for tests; `mini` resembles COCO more: textures, clutter, occlusion, many scales.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches


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


def find_difficulty(name: str) -> Difficulty:
    """Return the content of a data set.

    Raises:
        ValueError: The name is unknown; the message has the nearest one.
    """
    if name not in DIFFICULTIES:
        nearest = get_close_matches(name, DIFFICULTIES) or list(DIFFICULTIES)
        raise ValueError(f"difficulty={name!r} is unknown: did you mean {' or '.join(map(repr, nearest))}?")
    return DIFFICULTIES[name]
