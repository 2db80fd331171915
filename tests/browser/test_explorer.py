"""The explorer in JupyterLab, as a user operates it: every choice changes its panels, without any error."""

import re

import pytest
from PIL import Image, ImageDraw

from lad.analysis.positives import ASSIGNMENTS

sync_api = pytest.importorskip("playwright.sync_api")

KERNEL_TIMEOUT = 120_000  # milliseconds until a kernel has started and drawn, on a busy machine
UPDATE_TIMEOUT = 30_000


@pytest.fixture
def explorer(tab, lab, shoot):
    """The notebook with all cells run."""
    page = tab.page
    dialog = page.locator("dialog.jp-Dialog")  # about the kernel on a slow machine; it would cover the menu
    accept = dialog.locator(".jp-mod-accept").first
    page.add_locator_handler(dialog, lambda: accept.click(), no_wait_after=True)  # another may follow at once
    page.goto(lab.url("explore_assignments.ipynb"))
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for(timeout=KERNEL_TIMEOUT)
    page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for(timeout=KERNEL_TIMEOUT)
    for _ in range(4):  # a kernel that is still connecting drops requests
        page.locator(".lm-MenuBar-itemLabel", has_text=re.compile("^Run$")).click()
        page.locator(".lm-Menu-itemLabel").get_by_text("Run All Cells", exact=True).click()
        try:
            page.locator(".lad-explorer").first.wait_for(state="attached", timeout=KERNEL_TIMEOUT / 4)
            break
        except sync_api.TimeoutError:
            continue
    page.evaluate("document.querySelector('.lad-explorer').scrollIntoView()")
    page.locator(".lad-picture svg").wait_for(timeout=UPDATE_TIMEOUT)
    yield tab
    shoot(page, "explorer-after-the-test")
    assert not tab.external_requests
    assert page.locator(".jp-OutputArea pre", has_text="Error: ").count() == 0


def test_every_choice_changes_its_panels(explorer, shoot):
    page = explorer.page
    shoot(page, "explorer-1280")
    assert not explorer.barriers(".lad-explorer")
    assert_focus_is_visible(page)
    level = page.get_by_role("button", name="P3", pressed=True)
    level.wait_for()
    objects = explorer.dropdown("object")
    other = next(i for i in range(objects.locator("option").count()) if i != objects.evaluate("e => e.selectedIndex"))
    explorer.assert_changes(lambda: objects.select_option(index=other), "picture", "costs", "student-mixture", "table")
    assignments, runs = explorer.dropdown("assignment"), explorer.dropdown("run")
    explorer.assert_changes(lambda: assignments.select_option(label=ASSIGNMENTS["atss"]), "picture")
    explorer.assert_changes(lambda: assignments.select_option(label=ASSIGNMENTS["teacher"]), "picture")
    page.locator(
        ".lad-explorer .widget-hslider .noUi-handle, .lad-explorer .widget-hslider .ui-slider-handle"
    ).first.focus()
    explorer.assert_changes(lambda: page.keyboard.press("ArrowLeft"), "costs", "student-mixture")
    for _ in ("off", "on"):
        explorer.assert_changes(lambda: page.get_by_role("button", name="P3", exact=True).click(), "costs")
    explorer.assert_changes(lambda: page.get_by_label("anchor boxes").check(), "picture")
    explorer.assert_changes(lambda: page.get_by_label("predicted boxes").check(), "picture")
    explorer.assert_changes(lambda: page.locator(".lad-thumbnail-2").click(), "picture", "costs", "table")
    explorer.assert_changes(lambda: runs.select_option(label="untrained"), "picture", "student-mixture")
    assert page.locator(".lad-explorer svg style").count() == 0  # it would apply to the whole page
    assert not page.locator(".lad-teacher-mixture").is_visible()


def assert_focus_is_visible(page) -> None:
    """Assert that the Tab key reaches every control of the explorer, and outlines it."""
    page.locator(".lad-explorer select").first.focus()
    outline = "e => [getComputedStyle(e).outlineStyle, parseFloat(getComputedStyle(e).outlineWidth)]"
    reached = set()
    for _ in range(50):
        page.keyboard.press("Tab")
        focused = page.locator(".lad-explorer :focus")
        if not focused.count():
            break
        style, width = focused.evaluate(outline)
        assert style != "none" and width >= 2, focused.evaluate("e => e.outerHTML")
        reached.add(focused.evaluate("e => e.className"))
    assert any("lad-table" in name for name in reached)  # the last one


def test_an_uploaded_photo_has_a_movable_box(explorer, shoot, tmp_path):
    image = Image.new("RGB", (300, 200), "lightblue")
    ImageDraw.Draw(image).ellipse((60, 40, 180, 160), fill="red")
    image.save(tmp_path / "own.png")
    page = explorer.page

    def upload() -> None:
        with page.expect_file_chooser() as chooser:
            page.locator(".lad-explorer .widget-upload").click()
        chooser.value.set_files(tmp_path / "own.png")

    explorer.assert_changes(upload, "picture", "costs", "table")
    slider = page.locator(".lad-explorer .widget-slider", has_text="box x").locator(".noUi-handle").first
    slider.focus()
    explorer.assert_changes(lambda: page.keyboard.press("ArrowLeft"), "picture", "costs")
    shoot(page, "explorer-own-picture")
    assert page.get_by_role("slider", name="box x from").count() == 1
    assert not explorer.barriers(".lad-explorer")


def test_it_fits_a_narrow_page_and_a_dark_theme(explorer, shoot):
    page = explorer.page
    page.set_viewport_size({"width": 800, "height": 1600})
    shoot(page, "explorer-800")
    assert page.locator(".lad-picture svg").bounding_box()["width"] > 250
    table = page.locator(".lad-table").bounding_box()
    for column in ("level", "cost", "positive", "source"):  # visible without horizontal scrolling
        head = page.locator(".lad-table th").get_by_text(column, exact=True).bounding_box()
        assert head["x"] >= table["x"] and head["x"] + head["width"] <= table["x"] + table["width"]
    page.keyboard.press("Control+b")  # hide the file browser: the whole table is visible
    page.wait_for_function("(e => e.scrollWidth <= e.clientWidth)(document.querySelector('.lad-table'))")
    shoot(page, "explorer-800-alone")
    page.keyboard.press("Control+b")
    page.locator(".lm-MenuBar-itemLabel", has_text=re.compile("^Settings$")).click()
    page.locator(".lm-Menu-itemLabel").get_by_text("Theme", exact=True).hover()
    page.locator(".lm-Menu-itemLabel").get_by_text("JupyterLab Dark", exact=True).click()
    page.locator("body[data-jp-theme-light=false]").wait_for(state="attached", timeout=UPDATE_TIMEOUT)
    page.set_viewport_size({"width": 1280, "height": 1600})
    # The figures' text is light on a dark page.
    text = "getComputedStyle(document.querySelector('.lad-student-mixture svg text')).fill"
    page.wait_for_function(f"Math.min(...{text}.match(/[\\d.]+/g).slice(0, 3).map(Number)) > 150")
    shoot(page, "explorer-dark")
    assert not explorer.barriers(".lad-explorer")
