"""Draw docs/figures/augmentation.png: each augmentation of three training images of a data set, with its boxes.

python scripts/make_augmentation_figure.py FOLDER [--images 55 12 184]

The committed figure shows Roboflow's chess pieces (public domain), at 320 pixels.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lad.data.annotations import read_annotations
from lad.data.augmentation import augmented_transform, resolve_augment
from lad.data.coco import CocoDataset, find_split
from lad.data.samplers import SampleKey
from lad.figures.style import PAGE, STUDENT, TITLE, denormalize, draw_box, to_image
from lad.structures import Sample

FIGURE = Path(__file__).parents[1] / "docs" / "figures" / "augmentation.png"
ROWS = {  # title: augmentation with a probability of 1
    "original": {},
    "photometric: other colors": {"photometric": {"p": 1}},
    "scale_jitter: larger and cropped, or smaller": {"scale_jitter": {}},
    "zoom_out: smaller, on an even background": {"zoom_out": {"p": 1}},
    "iou_crop: a part, resized": {"iou_crop": {"min_scale": 0.3}},
    "vertical_flip: upside down": {"vertical_flip": {"p": 1}},
}
SHORT_SIDE, LONG_SIDE = 240, 320  # pixels
SEEDS = (3, 4, 5)  # one for each image
RESOLUTION, COLORS = 120, 128  # dots per inch, and colors of the file


def main() -> None:
    """Draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="data set in COCO format")
    parser.add_argument("--images", type=int, nargs=3, default=(55, 12, 184), help="indices of training images")
    given = parser.parse_args()
    figure = draw(given.folder, given.images)
    to_image(figure, RESOLUTION).quantize(COLORS, kmeans=2).save(FIGURE, optimize=True)
    print(f"{FIGURE}: {FIGURE.stat().st_size / 1000:.0f} kB")


def draw(folder: Path, images: Sequence[int]) -> Figure:
    """Draw a row for each augmentation and a column for each image."""
    image_folder, path = find_split(folder, "train")
    annotations = read_annotations(path)
    height, width = annotations.records[images[0]].hw
    panel = PAGE / len(images)
    size = (PAGE, len(ROWS) * (panel * height / width + 0.28))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(ROWS), len(images), squeeze=False)
    for row, (title, augment) in zip(axes, ROWS.items(), strict=True):
        transform = augmented_transform(resolve_augment(augment), [SHORT_SIDE], LONG_SIDE, flip_probability=0)
        dataset = CocoDataset(image_folder, annotations, transform)
        row[0].set_title(title, loc="left", fontsize=TITLE, fontweight="bold")
        for ax, index, seed in zip(row, images, SEEDS, strict=True):
            show_sample(ax, dataset[SampleKey(index, seed)], height / width)
    return figure


def show_sample(ax: Axes, sample: Sample, ratio: float) -> None:
    """Show a training image and its boxes on the area that it has without augmentation."""
    high, wide = sample.image.shape[-2:]
    ax.imshow(denormalize(sample.image), extent=(0, wide, high, 0))
    ax.set(xlim=(0, LONG_SIDE), ylim=(LONG_SIDE * ratio, 0), xticks=[], yticks=[], facecolor="#E8E8E8")
    ax.spines[:].set_visible(False)
    for box in sample.boxes.tolist():
        draw_box(ax, box, "white", width=2.4)
        draw_box(ax, box, STUDENT, width=1.2)


if __name__ == "__main__":
    main()
