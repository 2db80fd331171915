"""Links to other notebooks in the HTML that a cell printed lead to their pages."""

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx


def link_pages(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Replace the names of notebooks by those of their pages; files to download are in other folders."""
    context["body"] = re.sub(r'href="(\w+)\.ipynb"', r'href="\1.html"', context.get("body", ""))


def setup(app: Sphinx) -> dict[str, Any]:
    """Run on every page."""
    app.connect("html-page-context", link_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
