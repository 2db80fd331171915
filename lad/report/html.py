"""An executed notebook becomes one HTML page that needs nothing beside it: no other file, no other host.

nbconvert renders the cells through `template/`. Before, what no reader has use for is taken out of the outputs;
afterwards the page gets its table of contents, and what it would still fetch from elsewhere is cut off.
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
    execution_of,
    parameters_of,
    tags_of,
    versions_of,
)
from lad.utils.paths import project_folder

WIDGET_TYPE = "application/vnd.jupyter.widget-view+json"
# In this order. A widget is dead in a page, so that it is none of them and what stands in for it is shown.
SHOWN_TYPES = (
    "image/png", "image/jpeg", "image/svg+xml", "text/html", "text/markdown", "text/latex", "text/plain",
)  # fmt: skip
HEADINGS = ("h1", "h2", "h3")
PROGRESS = "%|"  # tqdm's
NO_ALT = ("", "No description has been provided for this image")  # the template's, and nbconvert's
FOREIGN = "main script, main link, main meta, main base, main iframe, main object, main embed"
LINKED = ("", "http", "https", "mailto")  # kinds of addresses that a link may have
FETCHED = ("src", "srcset", "poster", "background", "xlink:href")


def to_html(notebook: NotebookNode, path: Path, page: Path) -> str:
    """The page of an executed notebook. path: where the notebook is, for its name and the pictures beside it; page:
    where the page will be, for the links in it."""
    origin = {
        "file": path.name,
        "parameters": parameters_of(notebook.cells),
        "versions": versions_of(notebook),
        "execution": execution_of(notebook),
    }
    notebook = copy.deepcopy(notebook)
    notebook.cells = [cell for cell in notebook.cells if not {PARAMETERS_TAG, INJECTED_TAG} & set(tags_of(cell))]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = list(_for_readers(cell.outputs))
    exporter = HTMLExporter(
        Config(
            NbConvertBase={"display_data_priority": list(SHOWN_TYPES)}, CoalesceStreamsPreprocessor={"enabled": True}
        ),
        template_name="template",
        extra_template_basedirs=[str(Path(__file__).parent)],
        exclude_anchor_links=True,
        embed_images=True,
    )
    resources = {"metadata": {"name": path.stem, "path": str(path.parent)}, "origin": origin}
    html, _ = exporter.from_notebook_node(notebook, resources)
    soup = BeautifulSoup(_without_machine(html), "html.parser")
    _cut_off(soup, page.parent)
    _add_contents(soup, path.stem)
    _describe_figures(soup)
    _box_tables(soup)
    return str(soup)


def _for_readers(outputs: list[NotebookNode]) -> Iterator[NotebookNode]:
    """Without progress bars and what is for machines; a few words for a widget that nothing stands in for."""
    for output in outputs:
        if output.output_type == "stream":
            output.text = "".join(line for line in output.text.splitlines(keepends=True) if PROGRESS not in line)
            if not output.text.strip():
                continue
        elif output.output_type in ("display_data", "execute_result"):
            if VERSIONS_TYPE in output.data:
                continue
            if output.data.pop(WIDGET_TYPE, None) and set(output.data) <= {"text/plain"}:
                if PROGRESS in output.data.get("text/plain", ""):
                    continue
                output.data = {"text/markdown": "*Interactive: open the notebook to use what is here.*"}
            if not set(SHOWN_TYPES) & set(output.data):
                continue
        yield output


def _without_machine(html: str) -> str:
    """Paths in the project from there, those in the home folder from ~."""
    for folder, alone, before_name in ((project_folder(), ".", ""), (Path.home(), "~", "~/")):
        if folder == Path(folder.anchor):  # a container's home may be /
            continue
        # Not within a longer path, nor within a figure's base64, which has + before a / but never = or a quote.
        place = rf"(?<![\w./~+-]){re.escape(escape(str(folder)))}(?![\w-]|\.\w)"
        html = re.sub(rf"{place}/(?=[\w.])", before_name, html)
        html = re.sub(place, alone, html)
    return html


def _cut_off(soup: BeautifulSoup, folder: Path) -> None:
    """Take out what would be fetched when the page opens, scripts of outputs, and links to files that are not there."""
    for foreign in soup.select(FOREIGN):
        foreign.decompose()
    for tag in soup.select("main *"):
        for name in FETCHED:
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
    for picture in soup.select("main img:not([src])"):
        picture.replace_with(f"[a picture that is not in this page: {picture.get('alt')}]")
    for link in soup.select("main a[href]"):
        target = urlsplit(str(link["href"]).strip())
        is_lost = not target.scheme and target.path and not (folder / unquote(target.path)).exists()
        if is_lost or target.scheme not in LINKED:
            link.unwrap()


def _without_urls(css: str) -> str:
    return re.sub(r"""@import[^;]*;?|url\((?!\s*["']?\s*(?:data:|#))[^)]*\)""", "", css)


def _add_contents(soup: BeautifulSoup, title: str) -> None:
    """A list of the headings, with anchors as Jupyter makes them, and the first h1 as the page's title."""
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
    """The heading above is a figure's alternative text; from the second on with its number."""
    above: dict[str, int] = {}
    for picture in soup.select("main img"):
        heading = picture.find_previous(HEADINGS)
        if isinstance(heading, Tag) and picture.get("alt", "") in NO_ALT:
            text = heading.get_text().strip()
            above[str(heading.get("id"))] = number = above.get(str(heading.get("id")), 0) + 1
            picture["alt"] = f"{text}, figure {number}" if number > 1 else text


def _box_tables(soup: BeautifulSoup) -> None:
    """A table that is wider than the page scrolls within its own box."""
    for table in soup.select("main table, footer table"):
        if table.find_parent("table") is None:
            heading = table.find_previous(HEADINGS)
            label = heading.get_text().strip() if isinstance(heading, Tag) else "table"
            attributes = {"class": "scroll", "tabindex": "0", "role": "region", "aria-label": label}
            table.wrap(soup.new_tag("div", attrs=attributes))
