"""The explorer as a notebook's output: widgets where somebody watches, one static picture where nobody does."""

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

SHARPNESS = 2  # pixels of a sheet to one of the page
GAP = 24  # pixels between the pictures of a sheet


def explore(config: ExplorerConfig) -> "ExplorerApp":
    """The explorer at this config. As a notebook's output it is widgets where somebody watches, and a static picture
    where nobody does (papermill, nbconvert, a page on the web).

    Raises ValueError for a run, picture, object, epoch or assignment that is not there.
    """
    return ExplorerApp(config)


class ExplorerApp(Explorer):
    """An explorer that a notebook displays."""

    def _repr_mimebundle_(self, **_options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        bundle = Controls(self).page._repr_mimebundle_() if is_interactive() else {}
        bundle["text/plain"] = f"Explorer({self.session.name})"
        page, png = sheet(self.figures()), io.BytesIO()
        page.save(png, format="png")
        size = {"width": page.width // SHARPNESS, "height": page.height // SHARPNESS}
        return bundle | {"image/png": b64encode(png.getvalue()).decode()}, {"image/png": size}


def sheet(figures: Mapping[str, Figure]) -> Image.Image:
    """The figures on one page, in two columns: the first two on the left, the others on the right."""
    pictures = [to_image(figure, SHARPNESS * DPI) for figure in figures.values()]
    columns = [column for column in (pictures[:2], pictures[2:]) if column]
    widths = [max(one.width for one in column) for column in columns]
    height = max(sum(one.height + GAP for one in column) for column in columns)
    page = Image.new("RGB", (sum(widths) + GAP * (len(columns) - 1), height), "white")
    for place, column in enumerate(columns):
        top = 0
        for one in column:
            page.paste(one, (sum(widths[:place]) + GAP * place, top))
            top += one.height + GAP
    return page
