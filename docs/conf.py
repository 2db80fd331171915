"""Configuration of the documentation site: `make docs`.

The root of the sources is the project's folder, so that every page keeps its place and its links work on a code host,
too: README.md, docs/*.md and the executed copies of the notebooks are pages as they are.
"""

import sys
from pathlib import Path

DOCS = Path(__file__).parent
PROJECT = DOCS.parent
sys.path[:0] = [str(PROJECT), str(DOCS / "_extensions")]

import lad  # noqa: E402  after the path

project = "LAD notebook suite"
author = "The LAD notebook suite authors"
copyright = f"2026, {author}"
version = release = lad.__version__

root_doc = "docs/index"
include_patterns = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/**",
    "params/README.md",
    "benchmarks/README.md",
    "tests/golden/README.md",
    "results/*/*.md",
]
exclude_patterns = [".*", "build", "data", "lad", "notebooks", "runs", "docs/_*", "docs/api/modules.rst"]

extensions = [
    "myst_nb",
    "sphinx.ext.apidoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "accessible",
    "figure_gallery",
    "mathml",
    "notebook_links",
    "plain_docstrings",
]
nb_execution_mode = "off"  # the notebooks are executed copies: make notebook-copies
nb_merge_streams = True
suppress_warnings = [
    "mystnb.unknown_mime_type",  # the versions, which no front end shows
    "ref.python",  # the name of a result, such as gt_index, that several classes have as a field
]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4  # as on code hosts

apidoc_modules = [
    {
        "path": "../lad",
        "destination": "docs/api",
        "separate_modules": False,  # a page per package
        "module_first": True,
        "max_depth": 1,
    }
]
autodoc_default_options = {
    "ignore-module-all": True,  # what a package offers of its modules is on their page
    "exclude-members": "model_config",  # pydantic's
}
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
default_role = "code"  # `name` in docstrings
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"LAD {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
templates_path = ["_templates"]
html_additional_pages = {"index": "redirect.html.j2"}  # from the root of the site to docs/index.html
html_show_sourcelink = False
pygments_style = "github-light-colorblind"
pygments_dark_style = "github-dark-colorblind"
