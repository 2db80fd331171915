"""Fonts for text in any script: which installed font has a character that the figures' own font lacks."""

import os
from collections.abc import Iterable
from functools import cache

from matplotlib.font_manager import FontEntry, FontProperties, findfont, findSystemFonts, fontManager
from matplotlib.ft2font import FT2Font

UNKNOWN = "?"
DEFAULT_FAMILY = "sans-serif"  # DejaVu Sans, unless matplotlib is configured otherwise
# Fonts without letters: placeholders for every character, and the symbols of matplotlib's formulas.
NOT_FOR_TEXT = ("lastresort", "last resort", "adobe blank", "cmb", "cmex", "cmmi", "cmr", "cmss", "cmsy", "cmt", "stix")

_font_of: dict[str, str | None] = {}  # file of the font that has a character, None if no installed font has it


def missing_characters(text: str) -> str:
    """Return the characters of a text that no installed font has, each once, in the order of the text."""
    _find_fonts(text)
    return "".join(dict.fromkeys(character for character in text if _font_of[character] is None))


def drawable(text: str) -> str:
    """Return a text with `UNKNOWN` in place of each character that no installed font has."""
    for character in "" if text.isascii() else missing_characters(text):
        text = text.replace(character, UNKNOWN)
    return text


def font_families(text: str) -> list[str]:
    """Return matplotlib's font families for a text: the default, then those of the characters that it lacks."""
    names = [FontProperties(fname=file).get_name() for file in font_files(text)[1:]]
    return [DEFAULT_FAMILY, *dict.fromkeys(names)]


def font_files(text: str) -> list[str]:
    """Return the files of the fonts for a text: the default font, then those of the characters that it lacks."""
    _find_fonts(text)
    files = dict.fromkeys(file for character in text if (file := _font_of[character]) is not None)
    return list(dict.fromkeys([_default_file(), *files]))


def _find_fonts(characters: Iterable[str]) -> None:
    """Find the fonts of characters that were not looked for before."""
    unknown = set(characters) - _font_of.keys()
    if unknown:
        _search([_default_file()], unknown)
    if unknown:
        _search(_installed_files(), unknown)
    _font_of.update(dict.fromkeys(unknown))


def _search(files: Iterable[str], unknown: set[str]) -> None:
    """Note the first font that has each unknown character, and remove the character from the set."""
    for file in files:
        if not unknown:
            return
        try:
            font = FT2Font(file)
        except (OSError, RuntimeError):  # removed or damaged since matplotlib listed it
            continue
        if not font.scalable:  # colored emoji are bitmaps, which matplotlib cannot draw
            continue
        found = {character for character in unknown if character.isspace() or font.get_char_index(ord(character))}
        _font_of.update(dict.fromkeys(found, file))
        unknown -= found


def _default_file() -> str:
    return str(findfont(FontProperties(family=[DEFAULT_FAMILY])))


@cache
def _installed_files() -> list[str]:
    """Return the files of the installed fonts, upright sans-serif ones of normal weight first."""
    known = {os.path.realpath(entry.fname) for entry in fontManager.ttflist}
    for file in findSystemFonts():  # matplotlib's list is as old as its cache
        if os.path.realpath(file) not in known:
            try:
                fontManager.addfont(file)
            except Exception:  # noqa: S112  matplotlib raises many types for fonts that it cannot read
                continue

    def order(entry: FontEntry) -> tuple[bool, bool, bool, bool, str]:
        name = entry.name.lower()
        is_normal = str(entry.weight) in ("400", "normal", "regular", "book")
        return entry.style != "normal", not is_normal, "sans" not in name, "mono" in name, name

    entries = [entry for entry in fontManager.ttflist if not entry.name.lower().startswith(NOT_FOR_TEXT)]
    return [entry.fname for entry in sorted(entries, key=order)]
