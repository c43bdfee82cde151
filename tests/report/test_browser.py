"""The report as a browser shows it."""

from pathlib import Path

import pytest

from pipeline.report import SECTIONS, Comparison, render_report
from tests.report.browser import CHROMIUM, Browser, browse
from tests.report.pages import MANIFEST, views

PLANTED = '<script>document.title="run"</script><img src="http://example.invalid/x.png" onerror="document.title=1">' + "wide" * 60
WIDER_THAN_WINDOW = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
HIDDEN_DETAILS = "[...document.querySelectorAll('details > :not(summary)')].filter(e => !e.checkVisibility()).length"


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_browser_shows_it_wide_narrow_dark_and_printed_without_a_request_or_a_complaint(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(render_report(MANIFEST, views(PLANTED), Comparison(MANIFEST, [])), encoding="utf-8")

    async def visit(browser: Browser) -> None:
        await browser.open(file)
        await browser.look(1280)
        assert browser.requests == [file.as_uri()]
        assert await browser.tell("document.title") == "demo v000002"
        assert await browser.tell("document.querySelectorAll('main > section').length") == len(SECTIONS)
        assert await browser.tell("document.querySelectorAll('script, img, iframe, link, object').length") == 0
        drawn = (
            "[...document.querySelectorAll('svg')].map(e => [e.getBoundingClientRect().width > 100, e.querySelectorAll('path').length > 0])"
        )
        assert await browser.tell(drawn) == [[True, True]] * 9

        for width in (1280, 360):
            await browser.look(width)
            assert not await browser.tell(WIDER_THAN_WINDOW), width
        assert await browser.tell("getComputedStyle(document.querySelector('.sides')).gridTemplateColumns.split(' ').length") == 1

        await browser.press("Tab")
        assert await browser.tell("document.activeElement.className") == "skip"
        assert await browser.tell("document.activeElement.getBoundingClientRect().width > 50")
        assert await browser.tell("getComputedStyle(document.activeElement).outlineStyle") == "solid"

        light = await browser.tell("getComputedStyle(document.body).backgroundColor")
        await browser.look(1280, scheme="dark")
        assert await browser.tell("getComputedStyle(document.body).backgroundColor") != light
        assert await browser.tell("getComputedStyle(document.querySelector('svg text')).fill") == "rgb(228, 233, 238)"

        assert await browser.tell(HIDDEN_DETAILS) > 0
        await browser.look(718, media="print")
        assert await browser.tell(HIDDEN_DETAILS) == 0
        assert not await browser.tell(WIDER_THAN_WINDOW)
        assert browser.requests == [file.as_uri()]
        assert browser.complaints == []

    browse(visit)
