"""The explorer as a notebook's output: widgets in an interactive notebook, one static image elsewhere."""

import io
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

from lad.explorer.config import ExplorerConfig
from lad.explorer.state import Explorer
from lad.explorer.widgets import Controls
from lad.figures.style import DPI, to_image
from lad.utils.progress import is_interactive

PIXEL_RATIO = 2  # image pixels per page pixel
GAP = 24  # pixels between the figures of a sheet


def explore(config: ExplorerConfig) -> "ExplorerApp":
    """Open the explorer.

    Returns:
        An explorer that displays itself as a notebook's output: as widgets in an interactive notebook, and as a static
        image elsewhere (papermill, nbconvert, a page on the web).

    Raises:
        ValueError: The run, image, object, epoch or assignment does not exist.
    """
    return ExplorerApp(config)


class ExplorerApp(Explorer):
    """An explorer that displays itself in a notebook."""

    def _repr_mimebundle_(self, **_options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        bundle = Controls(self).page._repr_mimebundle_() if is_interactive() else {}
        bundle["text/plain"] = f"Explorer({self.session.name})"
        sheet, png = compose_sheet(self.figures()), io.BytesIO()
        sheet.save(png, format="png")
        size = {"width": sheet.width // PIXEL_RATIO, "height": sheet.height // PIXEL_RATIO}
        return bundle | {"image/png": b64encode(png.getvalue()).decode()}, {"image/png": size}


def compose_sheet(figures: Mapping[str, Figure]) -> Image.Image:
    """Return one image of all figures in two columns: the first two figures on the left, the others on the right."""
    images = [to_image(figure, PIXEL_RATIO * DPI) for figure in figures.values()]
    columns = [column for column in (images[:2], images[2:]) if column]
    widths = [max(image.width for image in column) for column in columns]
    height = max(sum(image.height + GAP for image in column) for column in columns)
    sheet = Image.new("RGB", (sum(widths) + GAP * (len(columns) - 1), height), "white")
    left = 0
    for column, width in zip(columns, widths, strict=True):
        top = 0
        for image in column:
            sheet.paste(image, (left, top))
            top += image.height + GAP
        left += width + GAP
    return sheet
