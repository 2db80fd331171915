"""The explorer in JupyterLab, as a person uses it: every choice changes what is drawn, and nothing goes wrong."""

import re

import pytest
from PIL import Image, ImageDraw

sync_api = pytest.importorskip("playwright.sync_api")

KERNEL = 120_000  # milliseconds until a kernel has started and drawn, on a busy machine
ANSWER = 30_000
ERRORS = '.jp-RenderedText[data-mime-type="application/vnd.jupyter.error"]'


@pytest.fixture
def explorer(tab, lab, shoot):
    """The notebook with all cells run."""
    page = tab.page
    dialog = page.locator("dialog.jp-Dialog")  # of a slow machine, about the kernel; it would hide the menu
    page.add_locator_handler(dialog, lambda: dialog.locator(".jp-mod-accept").first.click())
    page.goto(lab.url("explore_assignments.ipynb"))
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for(timeout=KERNEL)
    page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for(timeout=KERNEL)
    for _ in range(4):  # a kernel that is still connecting drops what it is told
        page.locator(".lm-MenuBar-itemLabel", has_text=re.compile("^Run$")).click()
        page.locator(".lm-Menu-itemLabel").get_by_text("Run All Cells", exact=True).click()
        try:
            page.locator(".lad-explorer").first.wait_for(state="attached", timeout=KERNEL / 4)
            break
        except sync_api.TimeoutError:
            continue
    page.evaluate("document.querySelector('.lad-explorer').scrollIntoView()")
    page.locator(".lad-picture svg").wait_for(timeout=ANSWER)
    yield tab
    shoot(page, "explorer-at-the-end")
    assert not tab.strangers
    assert page.locator(ERRORS).count() == 0
    assert "Traceback" not in page.locator(".jp-Notebook").inner_text()


def test_every_choice_changes_what_is_drawn(explorer, shoot):
    page = explorer.page
    shoot(page, "explorer-1280")
    objects = explorer.choice("object")
    other = next(i for i in range(objects.locator("option").count()) if i != objects.evaluate("e => e.selectedIndex"))
    explorer.changes(lambda: objects.select_option(index=other), "picture", "costs", "student-mixture", "table")
    explorer.changes(lambda: explorer.choice("assignment").select_option(label="ATSS, no network asked"), "picture")
    explorer.changes(lambda: explorer.choice("assignment").select_option(label="the teacher's (LAD)"), "picture")
    page.locator(
        ".lad-explorer .widget-hslider .noUi-handle, .lad-explorer .widget-hslider .ui-slider-handle"
    ).first.focus()
    explorer.changes(lambda: page.keyboard.press("ArrowLeft"), "costs", "student-mixture")
    for _ in ("off", "on"):
        explorer.changes(lambda: page.get_by_role("button", name="P3", exact=True).click(), "costs")
    explorer.changes(lambda: page.get_by_label("anchor boxes").check(), "picture")
    explorer.changes(lambda: page.get_by_label("predicted boxes").check(), "picture")
    explorer.changes(lambda: page.locator(".lad-thumbnail-2").click(), "picture", "costs", "table")
    explorer.changes(lambda: explorer.choice("run").select_option(label="untrained"), "picture", "student-mixture")
    assert page.locator(".lad-explorer svg style").count() == 0  # which would hold for the whole page
    assert not page.locator(".lad-teacher-mixture").is_visible()


def test_a_picture_of_ones_own_has_a_box_to_move(explorer, shoot, tmp_path):
    picture = Image.new("RGB", (300, 200), "lightblue")
    ImageDraw.SampleKey(picture).ellipse((60, 40, 180, 160), fill="red")
    picture.save(tmp_path / "own.png")
    page = explorer.page

    def take() -> None:
        with page.expect_file_chooser() as chooser:
            page.locator(".lad-explorer .widget-upload").click()
        chooser.value.set_files(tmp_path / "own.png")

    explorer.changes(take, "picture", "costs", "table")
    slider = page.locator(".lad-explorer .widget-slider", has_text="box x").locator(".noUi-handle").first
    slider.focus()
    explorer.changes(lambda: page.keyboard.press("ArrowLeft"), "picture", "costs")
    shoot(page, "explorer-own-picture")


def test_it_fits_a_narrow_page_and_a_dark_one(explorer, shoot):
    page = explorer.page
    page.set_viewport_size({"width": 800, "height": 1600})
    shoot(page, "explorer-800")
    assert page.locator(".lad-picture svg").bounding_box()["width"] > 250
    table = page.locator(".lad-table").bounding_box()
    for column in ("level", "cost", "positive", "claimed by"):  # can be read without scrolling sideways
        head = page.locator(".lad-table th").get_by_text(column, exact=True).bounding_box()
        assert head["x"] >= table["x"] and head["x"] + head["width"] <= table["x"] + table["width"]
    page.keyboard.press("Control+b")  # without the list of files, all of it
    page.wait_for_timeout(500)
    shoot(page, "explorer-800-alone")
    assert page.locator(".lad-table").evaluate("e => e.scrollWidth <= e.clientWidth")
    page.keyboard.press("Control+b")
    page.locator(".lm-MenuBar-itemLabel", has_text=re.compile("^Settings$")).click()
    page.locator(".lm-Menu-itemLabel").get_by_text("Theme", exact=True).hover()
    page.locator(".lm-Menu-itemLabel").get_by_text("JupyterLab Dark", exact=True).click()
    page.locator("body[data-jp-theme-light=false]").wait_for(state="attached", timeout=ANSWER)
    page.set_viewport_size({"width": 1280, "height": 1600})
    page.wait_for_timeout(500)
    shoot(page, "explorer-dark")
    shade = "e => getComputedStyle(e).fill.match(/[\\d.]+/g).slice(0, 3).map(Number)"
    text = page.locator(".lad-student-mixture svg text").first.evaluate(shade)
    assert min(text) > 150, "the figures' text is not light on a dark page"
