"""The directive `figure-gallery`: every reference image with the code that draws it, from scripts/make_figures.py."""

import ast
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

PROJECT = Path(__file__).parents[2]
SCRIPT = PROJECT / "scripts" / "make_figures.py"
FIGURES = PROJECT / "docs" / "figures"


def drawing_code(script: str) -> dict[str, str]:
    """Return the code of each figure by the name of its image, in the order of the script's `DRAWN`."""
    module = ast.parse(script)
    functions = {node.name: node for node in module.body if isinstance(node, ast.FunctionDef)}
    (drawn,) = (
        node.value
        for node in module.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "DRAWN"
    )
    assert isinstance(drawn, ast.Dict)
    code = {}
    for key, value in zip(drawn.keys, drawn.values, strict=True):
        assert isinstance(key, ast.Constant)
        drawer = functions[value.id] if isinstance(value, ast.Name) else value
        text = ast.get_source_segment(script, drawer) or ""
        code[str(key.value).removeprefix("draw_")] = text.removeprefix("lambda: ")
    return code


def descriptions(readme: str) -> dict[str, tuple[str, str]]:
    """Return the alternative text and the description of each image from the table in docs/figures/README.md."""
    found = {}
    for line in readme.splitlines():
        if line.startswith("| !["):
            image, description = line.strip("| ").split(" | ")[:2]
            alternative, _, file = image.removeprefix("![").rstrip(")").partition("](")
            found.setdefault(Path(file).stem, (alternative, description))  # the animation of a figure is behind it
    return found


class FigureGallery(SphinxDirective):
    """A section per figure: its image, what it shows, and its code."""

    def run(self) -> list[nodes.Node]:
        """Build the sections."""
        self.env.note_dependency(str(SCRIPT))
        self.env.note_dependency(str(FIGURES / "README.md"))
        texts = descriptions((FIGURES / "README.md").read_text(encoding="utf-8"))
        sections: list[nodes.Node] = []
        for name, code in drawing_code(SCRIPT.read_text(encoding="utf-8")).items():
            alternative, description = texts[name]
            section = nodes.section(ids=[name.replace("_", "-")], names=[name])
            section += nodes.title(text=alternative.capitalize())
            section += nodes.image(uri=f"figures/{name}.png", alt=description, candidates={"?": ""})
            section += nodes.paragraph(text=description.replace("`", ""))
            section += nodes.literal_block(code, code, language="python")
            sections.append(section)
        return sections


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("figure-gallery", FigureGallery)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
