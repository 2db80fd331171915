"""An executed notebook as one self-contained HTML page."""

import base64
import importlib.metadata
import io
from pathlib import Path
from urllib.parse import unquote

import nbformat
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from lad.report.cli import write_report
from lad.report.provenance import VERSIONS_TYPE
from lad.utils.paths import project_folder

WIDGET = "application/vnd.jupyter.widget-view+json"


def picture(color: str = "red") -> str:
    """Return a PNG as a notebook holds it."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8), color).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def code(source: str, *outputs, tag: str | None = None):
    return new_code_cell(
        source, execution_count=1, outputs=list(outputs), metadata={"tags": [tag]} if tag is not None else {}
    )


def shows(**data) -> nbformat.NotebookNode:
    """Return an output; its MIME types are given with _ for /."""
    return new_output("display_data", {name.replace("_", "/", 1): value for name, value in data.items()})


def prints(text: str, name: str = "stdout") -> nbformat.NotebookNode:
    return new_output("stream", name=name, text=text)


def page_of(tmp_path: Path, *cells, **metadata) -> BeautifulSoup:
    notebook = tmp_path / "executed.ipynb"
    nbformat.write(new_notebook(cells=list(cells), metadata=metadata), notebook)
    return BeautifulSoup(write_report(notebook, tmp_path / "page.html").read_text(), "html.parser")


def footer_rows(page: BeautifulSoup) -> dict[str, list[str]]:
    rows = [[cell.get_text() for cell in row.select("td")] for row in page.select("footer tbody tr")]
    return {name: rest for name, *rest in rows}


def test_code_is_folded_and_one_button_shows_all_of_it(tmp_path):
    page = page_of(tmp_path, code("x = 1"), code("print(x)", prints("1")))
    assert [tag.get_text().strip() for tag in page.select("main details.code pre")] == ["x = 1", "print(x)"]
    assert not page.select("details[open]") and page.select_one("button#show-code").get_text() == "show all code"
    assert "x = 1" not in "".join(tag.get_text() for tag in page.select("main > :not(details)"))


def test_the_contents_list_every_heading_and_link_to_it(tmp_path):
    text = "# A *question*?\n\n## 100 % <sure>\n\n### Twice\n\n### Twice\n\n#### Too small"
    output = shows(text_markdown="## From an output")
    page = page_of(tmp_path, new_markdown_cell(text), code("show()", output))
    headings = ["A question?", "100 %", "Twice", "Twice", "From an output", "Versions"]
    assert len(page.select(".contents")) == 2
    for contents in page.select(".contents"):
        links = contents.select("a")
        assert [link.get_text().strip() for link in links] == headings
        targets = [page.find(id=unquote(link["href"].removeprefix("#"))) for link in links]
        assert [target.get_text().strip() for target in targets] == headings
    identities = [tag["id"] for tag in page.select("[id]")]
    assert len(identities) == len(set(identities))
    assert page.title.get_text() == "A question?"


def test_a_page_without_a_heading_has_its_notebooks_name_as_title(tmp_path):
    assert page_of(tmp_path, code("1", prints("1"))).title.get_text() == "executed"


def test_a_page_loads_nothing(tmp_path):
    """Whatever a notebook's outputs and text would load."""
    foreign = """
        <script src="https://cdn.example/plot.js"></script><script>require(["x"])</script>
        <link rel="stylesheet" href="https://cdn.example/a.css"><iframe src="https://example.org"></iframe>
        <style>@import url("https://cdn.example/b.css"); p { background: url(https://example.org/c.png) }</style>
        <p style="background: url('http://example.org/d.png')">kept</p>
        <svg><image href="https://example.org/e.png" xlink:href="https://example.org/e.png"/></svg>"""
    text = '# Title\n![chart](https://example.org/f.png) ![gone](no/such.png)\n\n<img src="//example.org/g.png">'
    page = page_of(
        tmp_path,
        new_markdown_cell(text + "\n\n[a site](https://example.org) and [a neighbor](neighbor.ipynb)"),
        code("show()", shows(text_html=foreign), shows(**{"application_javascript": "alert(1)"})),
        widgets={"application/vnd.jupyter.widget-state+json": {"state": {}, "version_major": 2, "version_minor": 0}},
    )
    for tag in page.find_all(True):
        for name in ("src", "srcset", "xlink:href", "poster"):
            assert str(tag.get(name, "data:")).startswith("data:"), tag
        if tag.name != "a":
            assert str(tag.get("href", "data:")).startswith("data:"), tag
    for css in [*(tag.get_text() for tag in page.select("style")), *(tag["style"] for tag in page.select("[style]"))]:
        assert "@import" not in css and "url(" not in css
    assert not page.select("main script, iframe, link[rel=stylesheet]") and len(page.select("script")) == 1
    assert "default-src 'none'" in page.select_one("meta[http-equiv=Content-Security-Policy]")["content"]
    assert "kept" in page.main.get_text() and "[image not available: chart]" in page.main.get_text()
    links = [link["href"] for link in page.select("main a")]  # a link to a missing file becomes text
    assert links == ["https://example.org"] and "a neighbor" in page.main.get_text()


def test_figures_are_embedded_and_described_by_the_heading_above(tmp_path):
    (tmp_path / "beside.png").write_bytes(base64.b64decode(picture("blue")))
    figure = shows(image_png=picture(), text_plain="<Figure size 1x1>")
    page = page_of(
        tmp_path,
        new_markdown_cell("# Title\n\n![of my own](beside.png)\n\n## The *curves*"),
        code("draw()", figure, figure),
    )
    pictures = page.select("main img")
    assert [image["alt"] for image in pictures] == ["of my own", "The curves", "The curves, figure 2"]
    assert all(image["src"].startswith("data:image/png;base64,") for image in pictures)
    Image.open(io.BytesIO(base64.b64decode(pictures[1]["src"].partition(",")[2]))).verify()
    assert "<Figure" not in page.get_text()


def test_tables_scroll_in_a_box_of_their_own(tmp_path):
    page = page_of(tmp_path, new_markdown_cell("## Numbers"), code("t", shows(text_html="<table><td>1</table>")))
    assert all(table.parent["class"] == ["scroll"] for table in page.select("table"))
    assert page.main.table.parent["aria-label"] == "Numbers"


def test_the_footer_lists_parameters_with_values_and_explanations(tmp_path):
    page = page_of(
        tmp_path,
        code('teacher: str = "r50"  # the teacher\nlr: float = None  # highest', tag="parameters"),
        code('# Parameters\nteacher = "r101"\nextra = [1, "#2"]\n', tag="injected-parameters"),
        code("work()", prints("done")),
    )
    rows = footer_rows(page)
    assert rows["teacher"] == ['"r101"', "the teacher"] and rows["lr"] == ["None", "highest"]
    assert rows["extra"] == ['[1, "#2"]', ""]
    assert [row.td.get_text() for row in page.select("footer .given")] == ["teacher", "extra"]
    assert "the teacher" not in page.main.get_text() and "r101" not in page.main.get_text()


def test_markup_in_parameters_is_shown_as_text(tmp_path):
    evil = "<script>alert(1)</script>"
    page = page_of(
        tmp_path,
        code(f'name: str = "x"  # <b>{evil}', tag="parameters"),
        code(f'name = "{evil}"', tag="injected-parameters"),
        code("print(name)", prints(evil)),
    )
    assert footer_rows(page)["name"] == [f'"{evil}"', f"<b>{evil}"]
    assert evil in page.main.get_text() and len(page.select("script")) == 1


def test_paths_of_project_and_home_are_shortened(tmp_path):
    project, home = str(project_folder()), str(Path.home())
    printed = f"{project}/runs/a, {project}, {home}/b, {project}-other and /elsewhere{project}"
    page = page_of(
        tmp_path,
        code("out: str = None  # folder", tag="parameters"),
        code(f"out = '{project}/runs'", tag="injected-parameters"),
        code("1", prints(printed)),
    )
    assert footer_rows(page)["out"][0] == "'runs'"
    other = "~" + f"{project}-other".removeprefix(home) if project.startswith(home) else f"{project}-other"
    assert page.main.pre.find_next("pre").get_text() == f"runs/a, ., ~/b, {other} and /elsewhere{project}"


def test_versions_are_those_of_the_execution_or_marked_as_installed_now(tmp_path):
    recorded = new_output("display_data", {"text/plain": "lad 0.0.7", VERSIONS_TYPE: {"lad": "0.0.7"}})
    page = page_of(
        tmp_path,
        code("record_versions()", recorded),
        language_info={"name": "python", "version": "3.9.1"},
        papermill={"version": "1.2.3", "start_time": "2030-01-02T03:04:05+00:00", "duration": 492.3},
    )
    rows = footer_rows(page)
    assert (rows["python"], rows["lad"], rows["papermill"]) == (["3.9.1"], ["0.0.7"], ["1.2.3"])
    assert rows["nbconvert"] == [f"{importlib.metadata.version('nbconvert')} *"]
    assert "* installed when this page was made" in page.footer.get_text()
    assert "executed.ipynb, executed 2030-01-02 03:04 UTC, finished in 8.2 min" in page.footer.get_text()
    assert "0.0.7" not in page.main.get_text()


def test_a_widget_is_replaced_by_its_static_alternative(tmp_path):
    view = {WIDGET: {"model_id": "1", "version_major": 2, "version_minor": 0}}
    page = page_of(
        tmp_path,
        new_markdown_cell("## Explore"),
        code("a", new_output("display_data", {**view, "image/png": picture(), "text/plain": "Box()"})),
        code("b", new_output("display_data", {**view, "text/html": "<i>static</i>", "text/plain": "Box()"})),
        code("c", new_output("display_data", {**view, "text/plain": "Box()"})),
        code("d", new_output("display_data", {**view, "text/plain": "  0%|          | 0/7"})),
        widgets={
            "application/vnd.jupyter.widget-state+json": {"state": {"1": {}}, "version_major": 2, "version_minor": 0}
        },
    )
    assert len(page.select("main img[alt=Explore]")) == 1 and page.select_one("main i").get_text() == "static"
    text = page.main.get_text()
    assert text.count("Interactive: open the notebook") == 1 and "Box()" not in text and "0%|" not in text
    assert "widget" not in str(page.main)


def test_progress_bars_are_left_out_and_messages_folded(tmp_path):
    bar = "\r 10%|#         | 1/10\r100%|##########| 10/10\n"
    page = page_of(
        tmp_path,
        code("a", prints(bar, "stderr"), prints("one\n"), prints("two\n")),
        code("b", prints(bar + "UserWarning: careful\n", "stderr")),
    )
    assert "%|" not in page.main.get_text()
    assert page.select_one("main > pre.output").get_text() == "one\ntwo\n"
    assert [tag.pre.get_text() for tag in page.select("main details.messages")] == ["UserWarning: careful\n"]


def test_an_error_is_shown(tmp_path):
    trace = ["\x1b[0;31mValueError\x1b[0m Traceback", "---> 1 work(<b>)"]
    page = page_of(tmp_path, code("work()", new_output("error", ename="ValueError", evalue="no <b>", traceback=trace)))
    error = page.select_one("main .error[role=alert]")
    assert error.p.get_text() == "ValueError: no <b>" and "work(<b>)" in error.pre.get_text()
    assert "\x1b" not in str(page) and error.find_parent("details") is None
