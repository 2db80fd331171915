"""Conversion of an executed notebook to one self-contained HTML page: it loads no other file and no other host.

nbconvert renders the cells through `template/`. Outputs that are not for readers are removed before; afterwards the
page gets a table of contents, and everything that it would load from elsewhere is removed.
"""

import copy
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from bs4 import BeautifulSoup, Tag
from nbconvert import HTMLExporter
from nbformat import NotebookNode
from traitlets.config import Config

from lad.report.provenance import (
    INJECTED_TAG,
    PARAMETERS_TAG,
    VERSIONS_TYPE,
    execution_summary,
    parameters_of,
    tags_of,
    versions_of,
)
from lad.utils.paths import project_folder

WIDGET_TYPE = "application/vnd.jupyter.widget-view+json"
# In order of preference. A widget does not work in a page, so its static alternative is shown.
SHOWN_TYPES = (
    "image/png", "image/jpeg", "image/svg+xml", "text/html", "text/markdown", "text/latex", "text/plain",
)  # fmt: skip
HEADINGS = ("h1", "h2", "h3")
PROGRESS_BAR = "%|"  # part of every tqdm bar
DEFAULT_ALT = ("", "No description has been provided for this image")  # the template's and nbconvert's
LOADING_TAGS = "main script, main link, main meta, main base, main iframe, main object, main embed"
LINK_SCHEMES = ("", "http", "https", "mailto")
LOADING_ATTRIBUTES = ("src", "srcset", "poster", "background", "xlink:href")


def notebook_html(notebook: NotebookNode, path: Path, page: Path) -> str:
    """Render an executed notebook as a self-contained HTML page.

    Args:
        notebook: The notebook; it is not changed.
        path: File of the notebook, for its name and the images beside it.
        page: File that the page will be written to, for the links in it.

    Returns:
        The HTML text.
    """
    provenance = {
        "file": path.name,
        "parameters": parameters_of(notebook.cells),
        "versions": versions_of(notebook),
        "execution": execution_summary(notebook),
    }
    notebook = copy.deepcopy(notebook)
    notebook.cells = [cell for cell in notebook.cells if not {PARAMETERS_TAG, INJECTED_TAG} & set(tags_of(cell))]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = list(_readable_outputs(cell.outputs))
    exporter = HTMLExporter(
        Config(
            NbConvertBase={"display_data_priority": list(SHOWN_TYPES)}, CoalesceStreamsPreprocessor={"enabled": True}
        ),
        template_name="template",
        extra_template_basedirs=[str(Path(__file__).parent)],
        exclude_anchor_links=True,
        embed_images=True,
    )
    resources = {"metadata": {"name": path.stem, "path": str(path.parent)}, "provenance": provenance}
    html, _ = exporter.from_notebook_node(notebook, resources)
    soup = BeautifulSoup(_shorten_paths(html), "html.parser")
    _remove_loading(soup, page.parent)
    _add_contents(soup, path.stem)
    _describe_figures(soup)
    _make_scrollable(soup)
    return str(soup)


def _readable_outputs(outputs: list[NotebookNode]) -> Iterator[NotebookNode]:
    """Leave out progress bars and recorded versions; replace a widget without a static alternative by a note."""
    for output in outputs:
        if output.output_type == "stream":
            output.text = "".join(line for line in output.text.splitlines(keepends=True) if PROGRESS_BAR not in line)
            if not output.text.strip():
                continue
        elif output.output_type in ("display_data", "execute_result"):
            if VERSIONS_TYPE in output.data:
                continue
            if output.data.pop(WIDGET_TYPE, None) and set(output.data) <= {"text/plain"}:
                if PROGRESS_BAR in output.data.get("text/plain", ""):
                    continue
                output.data = {"text/markdown": "*Interactive: open the notebook to use it.*"}
            if not set(SHOWN_TYPES) & set(output.data):
                continue
        yield output


def _shorten_paths(html: str) -> str:
    """Make paths in the project relative to it, and paths in the home folder relative to ~."""
    for folder, itself, prefix in ((project_folder(), ".", ""), (Path.home(), "~", "~/")):
        if folder == Path(folder.anchor):  # a container's home may be /
            continue
        # Not within a longer path, nor within a figure's base64, where + may precede a / but never = or a quote.
        pattern = rf"(?<![\w./~+-]){re.escape(escape(str(folder)))}(?![\w-]|\.\w)"
        html = re.sub(rf"{pattern}/(?=[\w.])", prefix, html)
        html = re.sub(pattern, itself, html)
    return html


def _remove_loading(soup: BeautifulSoup, folder: Path) -> None:
    """Remove everything that the page would load, the scripts of outputs, and links to files that do not exist."""
    for tag in soup.select(LOADING_TAGS):
        tag.decompose()
    for tag in soup.select("main *"):
        for name in LOADING_ATTRIBUTES:
            if name in tag.attrs and not str(tag[name]).startswith(("data:", "#")):
                del tag[name]
        for name in [name for name in tag.attrs if name.lower().startswith("on")]:  # onclick, onload
            del tag[name]
        if "style" in tag.attrs:
            tag["style"] = _without_urls(str(tag["style"]))
        if tag.name == "style":
            tag.string = _without_urls(tag.get_text())
        if tag.name == "image" and not str(tag.get("href", "#")).startswith(("data:", "#")):
            del tag["href"]
    for image in soup.select("main img:not([src])"):
        image.replace_with(f"[image not available: {image.get('alt')}]")
    for link in soup.select("main a[href]"):
        target = urlsplit(str(link["href"]).strip())
        is_missing = not target.scheme and target.path and not (folder / unquote(target.path)).exists()
        if is_missing or target.scheme not in LINK_SCHEMES:
            link.unwrap()


def _without_urls(css: str) -> str:
    return re.sub(r"""@import[^;]*;?|url\((?!\s*["']?\s*(?:data:|#))[^)]*\)""", "", css)


def _add_contents(soup: BeautifulSoup, title: str) -> None:
    """Add a list of the headings with Jupyter's anchors, and make the first h1 the page's title."""
    ids = {str(tag["id"]) for tag in soup.select("[id]")}
    entries = soup.new_tag("ul")
    for heading in soup.select(", ".join(f".prose {name}" for name in HEADINGS) + ", footer h2"):
        text = heading.get_text().strip()
        if "id" not in heading.attrs:
            anchor = base = text.replace(" ", "-")
            number = 1
            while anchor in ids:
                number += 1
                anchor = f"{base}-{number}"
            ids.add(anchor)
            heading["id"] = anchor
        link = soup.new_tag("a", href=f"#{quote(str(heading['id']))}", string=text)
        entry = soup.new_tag("li", attrs={"class": heading.name})
        entry.append(link)
        entries.append(entry)
    for place in soup.select(".contents"):
        place.append(copy.copy(entries))
    first = soup.select_one(".prose h1")
    assert soup.title is not None
    soup.title.string = first.get_text().strip() if first else title


def _describe_figures(soup: BeautifulSoup) -> None:
    """Make the heading above a figure its alternative text, with a number from the second figure on."""
    counts: dict[str, int] = {}
    for image in soup.select("main img"):
        heading = image.find_previous(HEADINGS)
        if isinstance(heading, Tag) and image.get("alt", "") in DEFAULT_ALT:
            text = heading.get_text().strip()
            counts[str(heading.get("id"))] = number = counts.get(str(heading.get("id")), 0) + 1
            image["alt"] = f"{text}, figure {number}" if number > 1 else text


def _make_scrollable(soup: BeautifulSoup) -> None:
    """Make text outputs scroll by keyboard, and wrap each table in a box that scrolls if it is wider than the page."""
    for text in soup.select("main pre"):
        text["tabindex"] = "0"
    for table in soup.select("main table, footer table"):
        if table.find_parent("table") is None:
            heading = table.find_previous(HEADINGS)
            label = heading.get_text().strip() if isinstance(heading, Tag) else "table"
            attributes = {"class": "scroll", "tabindex": "0", "role": "region", "aria-label": label}
            table.wrap(soup.new_tag("div", attrs=attributes))
