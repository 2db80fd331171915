"""What axe-core misses in Sphinx's pages: levels of the navigation's captions, keyboard focus of what scrolls."""

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

NAVIGATION = "furo_navigation_tree"
SCROLLED = ("<pre", '<div class="table-wrapper', '<div class="cell_output')  # if they are wider than the page


def make_accessible(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Add the attributes to the HTML of a page, after the theme made its navigation."""
    if NAVIGATION in context:
        context[NAVIGATION] = context[NAVIGATION].replace('role="heading"', 'role="heading" aria-level="2"')
    for start in SCROLLED:
        element, _, rest = start.partition(" ")
        focusable = f'{element} tabindex="0" {rest}'.rstrip()
        context["body"] = context.get("body", "").replace(start, focusable)


def setup(app: Sphinx) -> dict[str, Any]:
    """Run behind the theme."""
    app.connect("html-page-context", make_accessible, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
