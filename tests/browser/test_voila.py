"""The explorer as a page of its own through Voilà: without code, fully interactive."""

from lad.analysis.positives import ASSIGNMENTS


def test_a_choice_changes_the_image(tab, voila, shoot):
    page = tab.page
    page.goto(voila, timeout=120_000)
    page.locator(".lad-picture svg").wait_for(timeout=120_000)
    tab.assert_changes(lambda: tab.dropdown("assignment").select_option(label=ASSIGNMENTS["atss"]), "picture")
    shoot(page, "voila", full_page=True)
    assert not tab.barriers(".lad-explorer")
    assert "Traceback" not in page.locator("body").inner_text()
    assert "from lad" not in page.locator("body").inner_text()
