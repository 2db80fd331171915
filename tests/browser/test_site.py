"""The documentation site: built without a warning, complete, without requests, readable on a phone and in the dark."""

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

PROJECT = Path(__file__).parents[2]
PACKAGES = sorted(path.parent for path in (PROJECT / "lad").rglob("__init__.py"))
VIEWED = (
    "README",
    "docs/index",
    "docs/architecture",
    "docs/tables",
    "docs/formulas",
    "docs/gallery",
    "docs/notebooks/run_lad",
    "docs/notebooks/paper_tables",
    "docs/api/lad.assigners",
)
AUDITED = ("docs/tables", "docs/formulas", "docs/notebooks/run_lad", "docs/api/lad.assigners")

pytestmark = pytest.mark.slow
pytest.importorskip("furo", reason="the extra docs is not installed")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The folder of the built site."""
    folder = tmp_path_factory.mktemp("site") / "html"
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-c", "docs"]
    built = subprocess.run([*command, ".", str(folder)], cwd=PROJECT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return folder


class References(HTMLParser):
    """The ids of a page, its links, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids.update(values[name] for name in ("id", "name") if name in values)
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif tag == "link" and values.get("rel") in ("stylesheet", "icon", "preload"):
            self.loaded.append(values["href"])
        elif "src" in values:
            self.loaded.append(values["src"])


def test_every_page_notebook_and_package_has_its_page(site):
    sources = [*(PROJECT / "docs").glob("*.md"), *(PROJECT / "docs" / "notebooks").glob("*.ipynb")]
    expected = {path.relative_to(PROJECT).with_suffix(".html") for path in sources}
    expected |= {Path("docs/api") / f"{'.'.join(path.relative_to(PROJECT).parts)}.html" for path in PACKAGES}
    expected |= {Path(f"{name}.html") for name in ("README", "CONTRIBUTING", "CHANGELOG")}
    assert {str(path) for path in expected if not (site / path).is_file()} == set()


def test_internal_links_lead_to_pages_and_headings_and_nothing_is_loaded_from_elsewhere(site):
    pages = {path.resolve(): References(path.read_text()) for path in site.rglob("*.html")}
    broken = []
    for page, references in pages.items():
        for target in [*references.links, *references.loaded]:
            url = urlsplit(target)
            if url.scheme in ("http", "https", "mailto", "data") or url.netloc:
                assert target in references.links or url.scheme == "data", f"{page.name} loads {target}"
                continue
            path = (page.parent / unquote(url.path)).resolve() if url.path else page
            if not path.exists() or (url.fragment and path in pages and unquote(url.fragment) not in pages[path].ids):
                broken.append(f"{page.relative_to(site.resolve())}: {target}")
    assert sorted(set(broken)) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 1100, 400])
def test_pages_fit_their_width_in_both_themes_without_requests_or_errors(site, browser, new_tab, shoot, width, theme):
    tab = new_tab(viewport={"width": width, "height": 900}, color_scheme=theme)
    for name in VIEWED:
        tab.page.goto((site / f"{name}.html").as_uri())
        shoot(tab.page, f"site-{name.replace('/', '-')}-{width}-{theme}")
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= width, name
        images = "all => all.every(image => image.complete && image.naturalWidth > 0)"
        assert tab.page.locator("article img").evaluate_all(images), name
        background = tab.page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
        assert (max(background[:3]) < 128) == (theme == "dark"), name
    assert not tab.external_requests and not tab.errors


def test_the_root_of_the_site_leads_to_its_first_page(site, tab):
    tab.page.goto((site / "index.html").as_uri())
    tab.page.wait_for_url((site / "docs" / "index.html").as_uri())


def test_a_formula_is_drawn_without_scripts(site, tab):
    tab.page.goto((site / "docs" / "formulas.html").as_uri())
    assert tab.page.locator("math[display=block]").count() >= 10
    assert tab.page.locator("math mfrac").first.bounding_box()["height"] > 20


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(site, new_tab, theme):
    tab = new_tab(viewport={"width": 1280, "height": 900}, color_scheme=theme)
    for name in AUDITED:
        tab.page.goto((site / f"{name}.html").as_uri())
        assert tab.barriers() == [], name
