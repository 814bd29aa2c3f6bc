"""The arena in a real browser: by keyboard alone, for several at once, in both languages, light and dark, any width."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from locum.adapters.judge import DIMENSIONS
from locum.adapters.registry import Registry
from locum.adapters.votes import ArenaQuestion, votes
from locum.evaluate.arena.app import make_app
from locum.evaluate.arena.serving import configuration, listen, open_desks, url_of
from locum.settings import Settings
from tests.arena import make_match, question
from tests.browser import TIMEOUT, browser, low_contrast, overflow
from tests.conftest import free_port

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

READY = "#ballot:not([hidden])"

__all__ = ["browser"]  # a fixture


class Running:
    """An arena that is served, with a link for ada and one for bob; it can be stopped and started again."""

    def __init__(self, registry: Registry, asked: Sequence[ArenaQuestion] = ()) -> None:
        self.registry = registry
        self.asked = asked
        self.port = free_port()
        self.links: list[str] = []
        self.start()

    def start(self) -> None:
        import uvicorn

        desks = open_desks(self.registry, make_match(self.registry, 4, asked=self.asked), ["ada", "bob"], pause_every=2)
        listener = listen("127.0.0.1", self.port)
        self.links = [f"{url_of(listener)}/r/{token}" for token in desks]
        self.server = uvicorn.Server(configuration(make_app(desks, domain="hearts")))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [listener]})
        self.thread.start()

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join()

    def preferred(self, reviewer: str) -> list[str]:
        """Which side this reviewer's votes were for, in turn."""
        kept = votes(self.registry, 1, reviewer)
        return ["tie" if each.preferred == "tie" else "ab"[each.preferred != each.left] for each in kept]


@pytest.fixture
def running(settings: Settings) -> Iterator[Running]:
    started = Running(Registry.open(settings))
    yield started
    started.stop()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens a link in a browser of its own; fails the test when the page complains of anything."""
    opened, complaints = [], []

    def call(link: str, *, ready: str = READY, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, "locale": "en-GB", **options})
        opened.append(context)
        page = context.new_page()
        page.set_default_timeout(TIMEOUT)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.goto(link)
        page.wait_for_selector(ready)
        # a key that is pressed before the browser has drawn anything is lost
        page.evaluate("new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
        return page

    yield call
    for context in opened:
        context.close()
    assert [each for each in complaints if not each.startswith("Failed to load resource")] == []


def focused(page: Page) -> str:
    """The name, or else the id, of what has the focus."""
    return str(page.evaluate("document.activeElement.name || document.activeElement.id"))


def count(page: Page, text: str) -> None:
    page.wait_for_function("text => document.getElementById('count').textContent === text", arg=text)


def test_three_questions_by_keyboard_alone(running: Running, open_page: Callable[..., Page]) -> None:
    began = time.monotonic()
    page = open_page(running.links[0])
    assert focused(page) == "question"
    page.keyboard.press("Enter")  # nothing is chosen yet
    assert "Choose first" in page.inner_text("#status")
    page.keyboard.press("a")
    assert focused(page) == "accuracy-a"
    page.keyboard.press("4")
    assert focused(page) == "accuracy-b"
    page.keyboard.press("2")
    page.keyboard.press("Backspace")
    assert "A serious error" in page.inner_text("#anchor-accuracy")
    page.keyboard.press("3")
    for _ in DIMENSIONS[1:]:
        page.keyboard.press("5")
        page.keyboard.press("1")
    assert focused(page) == "next"
    page.keyboard.press("c")
    page.keyboard.type("abt: dose missing 5")  # letters and digits in a comment are no votes
    page.keyboard.press("Control+Enter")
    count(page, "1 of 4")

    page.keyboard.press("t")
    page.keyboard.press("Enter")
    count(page, "2 of 4")
    assert page.evaluate("document.getElementById('pause').open")  # a break after two
    page.keyboard.press("b")  # says nothing while it is open
    page.keyboard.press("Enter")
    page.wait_for_selector("#pause", state="hidden")

    page.keyboard.press("b")
    page.keyboard.press("Enter")
    count(page, "3 of 4")
    assert running.preferred("ada") == ["a", "tie", "b"]
    first = votes(running.registry, 1, "ada")[0]
    graded, other = first.model_rating, first.against_rating
    if first.left == "against":
        graded, other = other, graded
    assert graded == {"accuracy": 4, **dict.fromkeys(DIMENSIONS[1:], 5)}
    assert other == {"accuracy": 3, **dict.fromkeys(DIMENSIONS[1:], 1)}
    assert first.comment == "abt: dose missing 5"
    assert first.seconds is not None
    assert 0 < first.seconds < time.monotonic() - began


def test_undo_brings_back_what_was_chosen_and_leaving_loses_nothing(
    running: Running, open_page: Callable[..., Page]
) -> None:
    page = open_page(running.links[0])
    asked = page.inner_text("#turns")
    for key in ("b", "2", "4", "Enter"):
        page.keyboard.press(key)
    count(page, "1 of 4")
    page.keyboard.press("u")
    count(page, "0 of 4")
    assert page.inner_text("#turns") == asked
    chosen = "[...document.querySelectorAll('input[type=radio]:checked')].map(each => each.name + '=' + each.value)"
    assert page.evaluate(chosen) == ["preferred=b", "accuracy-a=2", "accuracy-b=4"]
    page.keyboard.press("a")
    page.keyboard.press("Enter")
    count(page, "1 of 4")
    assert running.preferred("ada") == ["a"]
    page.reload()
    count(page, "1 of 4")
    assert page.inner_text("#turns") != asked


def test_what_both_were_told_is_shown_and_stays_folded_once_it_is(
    running: Running, open_page: Callable[..., Page]
) -> None:
    page = open_page(running.links[0])
    assert page.inner_text("#task-text") == "Answer as a physician."
    page.click("#task summary")
    for key in ("t", "Enter"):
        page.keyboard.press(key)
    count(page, "1 of 4")
    assert not page.is_visible("#task-text")


def test_two_reviewers_at_once_do_not_meet(running: Running, open_page: Callable[..., Page]) -> None:
    ada, bob = (open_page(link) for link in running.links)
    for done in (1, 2):
        for page, key in ((ada, "a"), (bob, "b")):
            page.keyboard.press(key)
            page.keyboard.press("Enter")
            count(page, f"{done} of 4")
    ada.wait_for_selector("#pause[open]")
    assert (running.preferred("ada"), running.preferred("bob")) == (["a", "a"], ["b", "b"])


def test_the_last_vote_ends_it_with_thanks_and_can_still_be_taken_back(
    running: Running, open_page: Callable[..., Page]
) -> None:
    page = open_page(running.links[1])
    for done in range(1, 5):
        page.click(f".choice.{'ab'[done % 2]} input")
        page.click("#next")
        count(page, f"{done} of 4")
        if page.evaluate("document.getElementById('pause').open"):
            page.click("#pause button")
    assert "Thank you" in page.inner_text("#done")
    page.keyboard.press("u")
    page.wait_for_selector(READY)
    count(page, "3 of 4")
    assert page.inner_text("#next-word") == "Finish"


def test_a_vote_that_cannot_be_saved_stays_on_the_page(running: Running, open_page: Callable[..., Page]) -> None:
    page = open_page(running.links[0])
    page.route("**/votes", lambda route: route.fulfill(status=503, json={"error": "unavailable"}))
    page.keyboard.press("a")
    page.keyboard.press("Enter")
    page.wait_for_selector("#status.wrong")
    assert page.inner_text("#status").startswith("That was not saved")
    assert page.evaluate("document.querySelector('.answer.preferred h2').textContent") == "AAnswer A"
    page.unroute("**/votes")
    page.keyboard.press("Enter")
    count(page, "1 of 4")


def test_a_vote_whose_answer_never_comes_is_told_after_a_while_and_counts_once(
    running: Running, open_page: Callable[..., Page]
) -> None:
    page = open_page(running.links[0])
    page.evaluate("""AbortSignal.timeout = () => {
        const waiting = new AbortController();
        window.lose = () => waiting.abort();
        return waiting.signal;
    }""")
    page.route("**/votes", lambda route: route.fetch() and None)  # it arrives, and nobody hears of it
    page.keyboard.press("a")
    page.focus("#next")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")  # again, out of impatience
    page.wait_for_function("() => document.getElementById('status').textContent === 'Saving…'")
    page.evaluate("lose()")
    page.wait_for_selector("#status.wrong")
    assert focused(page) == "next"  # who listens is where they were
    page.unroute("**/votes")
    page.keyboard.press("Enter")
    count(page, "1 of 4")
    assert "has your vote already" in page.inner_text("#status")
    assert running.preferred("ada") == ["a"]


def test_taking_back_again_because_the_answer_was_lost_takes_nothing_more_back(
    running: Running, open_page: Callable[..., Page]
) -> None:
    page = open_page(running.links[0])
    for done in (1, 2):
        page.keyboard.press("a")
        page.keyboard.press("Enter")
        count(page, f"{done} of 4")
    page.click("#pause button")

    def lose(route: Route) -> None:
        route.fetch()
        route.abort()

    page.route("**/undo", lose)
    page.keyboard.press("u")
    page.wait_for_selector("#status.wrong")
    page.unroute("**/undo")
    page.keyboard.press("u")
    count(page, "1 of 4")
    assert "changed meanwhile" in page.inner_text("#status")
    assert running.preferred("ada") == ["a"]


def test_at_the_end_it_is_told_too_when_a_vote_cannot_be_taken_back(
    running: Running, open_page: Callable[..., Page]
) -> None:
    for desk_vote in range(4):
        httpx.post(
            f"{running.links[0]}/votes", json={"place": desk_vote, "preferred": "tie"}, timeout=60
        ).raise_for_status()
    page = open_page(running.links[0], ready="#done:not([hidden])")
    page.route("**/undo", lambda route: route.abort())
    page.keyboard.press("u")
    page.wait_for_selector("#status-done.wrong", state="visible")


def test_a_reviewer_goes_on_through_a_restart_and_with_a_closed_browser(
    running: Running, open_page: Callable[..., Page]
) -> None:
    page = open_page(running.links[0])
    page.keyboard.press("b")
    running.stop()
    page.keyboard.press("Enter")
    page.wait_for_selector("#status.wrong")
    running.start()
    page.keyboard.press("Enter")
    count(page, "1 of 4")
    page.context.close()
    count(open_page(running.links[0]), "1 of 4")
    assert running.preferred("ada") == ["b"]


def test_a_client_that_leaves_or_sends_an_endless_head_is_sent_away_quietly(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    uvicorns = logging.getLogger("uvicorn.error")
    uvicorns.addHandler(caplog.handler)
    address = ("127.0.0.1", running.port)
    path = running.links[0].partition(str(running.port))[2]
    with socket.create_connection(address) as leaver:
        leaver.sendall(f"POST {path}/votes HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{{".encode())
        time.sleep(0.2)
    with socket.create_connection(address, timeout=60) as sender:
        with contextlib.suppress(ConnectionError):  # it may be sent away before it has said all
            sender.sendall(b"GET / HTTP/1.1\r\nX: " + b"a" * 200_000)
        assert sender.recv(100).startswith(b"HTTP/1.1 400 ")
    assert httpx.get(running.links[0], timeout=60).status_code == 200
    uvicorns.removeHandler(caplog.handler)
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


def test_what_models_and_users_say_is_text_and_never_runs(settings: Settings, open_page: Callable[..., Page]) -> None:
    evil = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    asked = [question(0, ours=f"one {evil}", theirs=f"other {evil}")]
    served = Running(Registry.open(settings), asked)
    try:
        page = open_page(served.links[0])
        assert {page.inner_text("#text-a"), page.inner_text("#text-b")} == {f"one {evil}", f"other {evil}"}
        page.keyboard.press("c")
        page.keyboard.insert_text(evil)
        page.keyboard.press("Escape")
        page.keyboard.press("a")
        page.keyboard.press("Enter")
        page.wait_for_selector("#done:not([hidden])")
        page.keyboard.press("u")
        page.wait_for_selector(READY)
        assert page.input_value("#comment") == evil
        assert "owned" not in page.title()
    finally:
        served.stop()


def test_single_keys_can_be_turned_off(running: Running, open_page: Callable[..., Page]) -> None:
    page = open_page(running.links[0])
    page.keyboard.press("?")
    page.click("#shortcuts")
    page.keyboard.press("Escape")
    page.keyboard.press("a")
    assert not page.evaluate("document.querySelector('[name=preferred]:checked')")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "locale"), [(320, "en-GB"), (390, "zh-CN"), (1280, "en-GB")])
def test_the_page_fits_any_width_and_can_be_read_in_light_and_dark(
    running: Running, open_page: Callable[..., Page], scheme: str, width: int, locale: str
) -> None:
    page = open_page(
        running.links[0],
        viewport={"width": width, "height": 844},
        color_scheme=scheme,
        locale=locale,
        reduced_motion="reduce",
    )
    page.keyboard.press("t")
    page.keyboard.press("Enter")
    page.wait_for_selector("#undo", state="visible")
    page.keyboard.press("a")
    page.keyboard.press("4")
    page.click("details summary")
    assert overflow(page) <= 0
    assert page.evaluate("document.documentElement.lang") == locale[:2]
    assert ("哪个回答更好" in page.inner_text("main")) == (locale == "zh-CN")
    left, right = (page.locator(f".answer.side-{side}").bounding_box() for side in "ab")
    assert left is not None
    assert right is not None
    assert (left["y"] == right["y"]) == (width > 640)  # side by side, or one below the other
    assert low_contrast(page) == []


def test_what_is_chosen_is_seen_where_the_system_decides_all_colours(
    running: Running, open_page: Callable[..., Page]
) -> None:
    page = open_page(running.links[0], forced_colors="active", reduced_motion="reduce")
    page.keyboard.press("a")
    page.keyboard.press("4")
    colour = "chosen => getComputedStyle(document.querySelector(chosen)).backgroundColor"
    for scope in (".choice", ".scale"):
        chosen = page.evaluate(colour, f"{scope} input:checked + span")
        assert chosen != page.evaluate(colour, f"{scope} input:not(:checked) + span")


def test_every_control_has_a_name_for_those_who_listen(running: Running, open_page: Callable[..., Page]) -> None:
    page = open_page(running.links[0])
    for side in ("A", "B"):
        scale = page.get_by_role("group", name=f"Safety, Answer {side}")
        names = [each.get_attribute("aria-label") for each in scale.get_by_role("radio").all()]
        assert [str(name)[:2] for name in names] == ["1:", "2:", "3:", "4:", "5:"]
    assert page.get_by_role("radio", name="B is better").count() == 1
    assert page.get_by_role("progressbar", name="Progress").count() == 1
    assert page.get_by_role("textbox", name="Comment").count() == 1
    assert page.get_by_role("article", name="Answer A").count() == 1
    nameless = "[...document.querySelectorAll('button')].filter(each => !each.textContent.trim()).length"
    assert page.evaluate(nameless) == 0
