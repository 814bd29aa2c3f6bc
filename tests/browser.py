"""A real browser for tests of pages: Chromium, headless, one for each module of tests.

Use it as `from tests.browser import browser`  (the fixture), `opened(browser, url, ...)`, and the checks below.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDTHS = (1280, 390)
TIMEOUT = 60_000  # milliseconds until what a test waits for on a page counts as missing

Scheme = Literal["light", "dark"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium from Debian; skips where none is installed."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=ARGUMENTS, timeout=3 * TIMEOUT)
        yield launched
        launched.close()


@dataclass
class Seen:
    """A page that is open, and what happened on it."""

    page: Page
    errors: list[str] = field(default_factory=list)  # exceptions, and what was written to the console as an error
    requests: list[str] = field(default_factory=list)  # URLs, but those of the page itself


@contextmanager
def opened(browser: Browser, url: str, *, width: int = 1280, scheme: Scheme = "light") -> Iterator[Seen]:
    """Open a page of its own, as somebody would who has never been there."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
    )
    seen = Seen(context.new_page())
    page = seen.page
    page.set_default_timeout(TIMEOUT)
    page.on("pageerror", lambda error: seen.errors.append(str(error)))
    page.on("console", lambda message: seen.errors.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: seen.requests.append(request.url) if request.url != url else None)
    page.goto(url)
    yield seen
    context.close()


def overflow(page: Page) -> int:
    """By how many pixels the page is wider than its window: anything above 0 makes it scroll sideways."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def open_all(page: Page) -> int:
    """Open every `details` by a click on its summary, the outer ones first; returns how many there are."""
    return int(
        page.evaluate(
            """() => {
              const all = [...document.querySelectorAll('details')];
              for (const each of all) if (!each.open) each.querySelector('summary').click();
              return all.filter(each => each.open).length;
            }"""
        )
    )


def low_contrast(page: Page, least: float = 4.5) -> list[str]:
    """The texts that are seen and whose contrast with what lies behind them is below `least`.

    The contrast ratio of WCAG 2.2, success criterion 1.4.3: (lighter + 0.05) / (darker + 0.05) of the relative
    luminances, from 1 to 21. Text of 24 px, or of 18.66 px in bold, needs 3.
    """
    found: list[str] = page.evaluate(_CONTRAST, least)
    return found


_CONTRAST = """(least) => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255];
  };
  const over = (top, under) => top.slice(0, 3).map((c, i) => c * top[3] + under[i] * (1 - top[3])).concat(1);
  const luminance = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) layers.push(rgba(getComputedStyle(e).backgroundColor));
    return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255, 1]);
  };
  const bad = new Set(), known = new Map();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), element = walker.currentNode.parentElement;
    if (!text || !element.checkVisibility() || element.closest('.unseen, style, script')) continue;
    const style = getComputedStyle(element), size = parseFloat(style.fontSize);
    const key = [element.className, element.tagName, style.color, element.parentElement.className].join('|');
    if (known.has(key)) continue;
    const background = behind(element), colour = over(rgba(style.color), background);
    const [a, b] = [luminance(colour), luminance(background)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    known.set(key, ratio);
    if (ratio < (large ? 3 : least)) bad.add(`${ratio.toFixed(2)}: ${text.slice(0, 60)}`);
  }
  return [...bad];
}"""
