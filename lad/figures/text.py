"""Text of figures: names are no formulas, and characters that the default font lacks come from another font."""

import functools
from collections.abc import Callable
from typing import ParamSpec

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.text import Text

from lad.utils.fonts import drawable, font_families

Arguments = ParamSpec("Arguments")


def plain_text(draw: Callable[Arguments, Figure]) -> Callable[Arguments, Figure]:
    """Decorate a function that draws names of classes, runs or files.

    A $ in a name does not start a formula. Text in any script is drawn in an installed font that has its characters.
    """

    @functools.wraps(draw)
    def draw_plain(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Figure:
        with rc_context({"text.parse_math": False}):
            figure = draw(*args, **kwargs)
        for text in figure.findobj(Text):
            _use_installed_fonts(text)
        return figure

    return draw_plain


def _use_installed_fonts(text: Text) -> None:
    """Choose fonts for the characters of a text, and replace characters that no font has."""
    content = text.get_text()
    if content.isascii():
        return
    text.set_text(drawable(content))
    families = font_families(text.get_text())
    if len(families) > 1:
        text.set_fontfamily(families)
