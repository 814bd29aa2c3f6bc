"""The pages in a real browser: light and dark, wide and narrow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from locum.evaluate.page import Asked, html_report, summary_report, trend_page
from locum.evaluate.trend import trend_of
from tests.browser import WIDTHS, Scheme, browser, low_contrast, open_all, opened, overflow
from tests.evaluate.examples import example_result

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["browser"]
SECTIONS = ("gate", "scores", "slices", "samples", "calibration", "hard", "answers", "service", "reproduce")
EVIL = "<script>console.error('run')</script><img src=x onerror=console.error(1)> " + "a" * 900


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """URLs of a report with something of everything, answers that attack among it, of a summary and of a trend."""
    folder = tmp_path_factory.mktemp("pages")
    result, answers = example_result(folder, says=EVIL)
    asked = [Asked("medical", "medical@3", "How long?", EVIL, "For ten minutes.", ["No medical device."])]
    texts = {
        "report": html_report(result, answers),
        "summary": summary_report([result, result], asked),
        "trend": trend_page([trend_of("medical", "bedside", [result.record(), result.record()])]),
    }
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: (folder / f"{name}.html").as_uri() for name in texts}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["report", "summary", "trend"])
def test_a_page_fits_its_window_is_legible_and_loads_nothing(
    browser: Browser, pages: dict[str, str], name: str, width: int, scheme: Scheme
) -> None:
    with opened(browser, pages[name], width=width, scheme=scheme) as seen:
        for details in ("closed", "open"):
            assert overflow(seen.page) <= 0, details
            assert low_contrast(seen.page) == [], details
            assert open_all(seen.page) == seen.page.locator("details").count()
        assert seen.errors == []
        assert [url for url in seen.requests if not url.startswith("data:")] == []


def test_every_section_is_seen_and_reached_from_the_contents(browser: Browser, pages: dict[str, str]) -> None:
    with opened(browser, pages["report"], width=390) as seen:
        for name in SECTIONS:
            section = seen.page.locator(f"#{name}")
            assert section.is_visible()
            seen.page.locator(f'.contents a[href="#{name}"]').click()
            assert section.bounding_box()["y"] < 900  # type: ignore[index]


def test_a_long_answer_opens_by_keyboard_and_closes_again(browser: Browser, pages: dict[str, str]) -> None:
    with opened(browser, pages["report"]) as seen:
        long = seen.page.locator("#answers details.long").first
        summary, whole = long.locator("summary"), long.locator("> .text")
        assert not whole.is_visible()
        summary.focus()
        seen.page.keyboard.press("Enter")
        assert whole.is_visible()
        assert not long.locator(".preview").is_visible()
        seen.page.keyboard.press("Enter")
        assert not whole.is_visible()


def test_differing_words_are_told_by_more_than_colour(browser: Browser, pages: dict[str, str]) -> None:
    with opened(browser, pages["report"]) as seen:
        lines = [
            seen.page.locator(f"#answers {tag}").first.evaluate("e => getComputedStyle(e).textDecorationStyle")
            for tag in ("ins", "del")
        ]
        assert lines == ["solid", "dotted"]


def test_the_check_of_contrast_finds_a_text_that_is_too_faint(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "faint.html"
    page.write_text("<body style='background:#fff'><p style='color:#999'>faint</p><p style='color:#666'>fine</p>")
    with opened(browser, page.as_uri()) as seen:
        assert low_contrast(seen.page) == ["2.85: faint"]
