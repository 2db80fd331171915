"""The extensions of the documentation site: docstrings in plain text, formulas as MathML, the gallery's code."""

import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
pytest.importorskip("sphinx", reason="the extra docs is not installed")
pytest.importorskip("latex2mathml", reason="the extra docs is not installed")


@pytest.fixture(autouse=True)
def extensions(monkeypatch):
    monkeypatch.syspath_prepend(PROJECT / "docs" / "_extensions")
    yield
    for name in ("figure_gallery", "mathml", "plain_docstrings"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("Compute |σ(q) − p| · BCE.", r"Compute \|σ(q) − p\| · BCE."),
        ("Files such as frames/**/*.png.", r"Files such as frames/\*\*/\*.png."),
        ("A prefix instances_ or `instances_*`.", r"A prefix instances\_ or `instances_*`."),
        ("Data sets of `Sample`s.", r"Data sets of `Sample`\ s."),
        ("The `a` of `b`, and `c`.", "The `a` of `b`, and `c`."),
        ("Run it:\n\n    lad run FILE", "Run it::\n\n    lad run FILE"),
        ("Args:\n    name: A name.", "Args:\n    name: A name."),
        ("Two files:\n\n* one\n* another", "Two files:\n\n* one\n* another"),
        ("Names like gt_boxes stay.", "Names like gt_boxes stay."),
    ],
)
def test_a_docstring_is_shown_as_it_is_written(written, expected):
    from plain_docstrings import escape

    assert escape(written) == expected


def test_a_parameter_model_is_shown_without_the_signature_of_its_fields():
    from plain_docstrings import shorten_signature

    from lad.config.experiment import Parameters

    assert shorten_signature(None, "class", "Parameters", Parameters, {}, "(*, epochs: …)", None) == ("", None)
    assert shorten_signature(None, "class", "Path", Path, {}, "(*args)", None) == ("(*args)", None)


def test_every_figure_of_the_gallery_has_its_code_its_image_and_a_description():
    from figure_gallery import FIGURES, SCRIPT, descriptions, drawing_code

    code = drawing_code(SCRIPT.read_text())
    texts = descriptions((FIGURES / "README.md").read_text())
    assert set(code) <= set(texts) and all((FIGURES / f"{name}.png").is_file() for name in code)
    assert texts["history"][0] == "history"  # not its animation
    assert code["levels"].startswith("def draw_levels() -> Figure:")
    assert code["mixtures"] == 'explorer().figures()["teacher mixture"]'


def test_every_formula_of_the_page_can_be_converted():
    import re

    from latex2mathml.converter import convert

    text = (PROJECT / "docs" / "formulas.md").read_text()
    formulas = re.findall(r"\$\$(.+?)\$\$", text, re.DOTALL) + re.findall(r"(?<!\$)\$([^$]+)\$(?!\$)", text)
    assert len(formulas) > 40
    for formula in formulas:
        assert "merror" not in convert(formula.strip()), formula
