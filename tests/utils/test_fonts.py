"""Fonts for text in any script, checked with a font made for the test."""

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager

from lad.utils import fonts
from lad.utils.fonts import DEFAULT_FAMILY, font_families, font_files, missing_characters

LETTER = "\U000f0041"  # of a private area, which no installed font has


@pytest.fixture
def made_font(tmp_path, monkeypatch):
    """A font with one letter that is installed after matplotlib listed the fonts."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 700), (500, 700), (500, 0)):
        pen.lineTo(corner)
    pen.closePath()
    box = pen.glyph()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "box"])
    builder.setupCharacterMap({ord(LETTER): "box"})
    builder.setupGlyf({".notdef": box, "box": box})
    builder.setupHorizontalMetrics({".notdef": (600, 50), "box": (600, 50)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Made Sans", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=800, sTypoDescender=-200)
    builder.setupPost()
    path = tmp_path / "made.ttf"
    builder.save(path)
    monkeypatch.setattr(fonts, "_font_of", {})
    monkeypatch.setattr(fonts, "findSystemFonts", lambda: [str(path)])
    monkeypatch.setattr(font_manager.fontManager, "ttflist", list(font_manager.fontManager.ttflist))
    fonts._installed_files.cache_clear()
    yield path
    fonts._installed_files.cache_clear()
    font_manager.fontManager._findfont_cached.cache_clear()


def test_latin_greek_and_arabic_need_no_other_font():
    assert font_families("a car, β, سيارة\n") == [DEFAULT_FAMILY] and missing_characters("a β سيارة") == ""


def test_a_newly_installed_font_is_used_for_the_letters_that_it_has(made_font):
    assert missing_characters(f"a {LETTER}") == ""
    assert font_families(f"a {LETTER}") == [DEFAULT_FAMILY, "Made Sans"]
    assert font_files(LETTER)[1:] == [str(made_font)]


def test_characters_that_no_font_has_are_listed_once():
    missing = "\U000f0042\U000f0043"
    assert missing_characters(f"a{missing}b{missing}") == missing
    assert font_families(missing) == [DEFAULT_FAMILY]


def test_a_damaged_font_is_left_out(made_font):
    made_font.write_bytes(b"no font")
    assert missing_characters(LETTER) == LETTER
