"""The explorer as a page of its own, through Voilà: without code, and as lively."""


def test_a_choice_changes_the_picture(tab, voila, shoot):
    page = tab.page
    page.goto(voila, timeout=120_000)
    page.locator(".lad-picture svg").wait_for(timeout=120_000)
    tab.changes(lambda: tab.choice("assignment").select_option(label="ATSS, no network asked"), "picture")
    shoot(page, "voila", full_page=True)
    assert "Traceback" not in page.locator("body").inner_text()
    assert "from lad" not in page.locator("body").inner_text()
