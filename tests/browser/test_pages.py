"""The pages of the examples in a real browser: pieces come one by one, stop ends the call, a reload keeps all.

`make test-browser` runs them: headless Chromium, driven by selenium. Without either they are skipped.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from modelwire.testing import Answer, ProviderServer

ROOT = Path(__file__).parents[2]
WAIT_S = 60.0  # until something is taken for missing

pytestmark = pytest.mark.browser

# Writes down every text of the element that matches, as often as it changes.
WATCH = """
window.seen = []
const note = () => {
  const all = document.querySelectorAll(arguments[0])
  const text = all.length ? all[arguments[1] < 0 ? all.length - 1 : 0].textContent : ""
  if (text && text !== seen.at(-1)) seen.push(text)
}
new MutationObserver(note).observe(document.body, {subtree: true, childList: true, characterData: true})
"""


def until(what: str, is_so: Callable[[], Any]) -> Any:
    """Wait until it is so, and return what it is."""
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        if found := is_so():
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {WAIT_S:.0f} s in vain for: {what}")


@pytest.fixture
def provider() -> Iterator[ProviderServer]:
    with ProviderServer() as server:
        yield server


@pytest.fixture
def page(browser: Any, provider: ProviderServer, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Start a program that serves a page, its model at the provider, and open the page."""
    started: list[subprocess.Popen[bytes]] = []
    log = (tmp_path / "log").open("wb")

    def open_page(*command: str) -> Any:
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "MODEL": "openai:m",
            "OPENAI_API_KEY": "k",
            "OPENAI_BASE_URL": provider.base_url_for("openai"),
            "HOME": str(tmp_path),
        }
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", *(part.format(port=port) for part in command)],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        )
        until(f"the server\n{(tmp_path / 'log').read_text()}", lambda: _listens(port))
        browser.get(f"http://127.0.0.1:{port}/")
        return browser

    yield open_page
    browser.get("about:blank")  # lets go of the server
    for one in started:
        one.terminate()
        one.wait(WAIT_S)
    log.close()


def _listens(port: int) -> bool:
    with closing(socket.socket()) as trial:
        return trial.connect_ex(("127.0.0.1", port)) == 0


def texts(browser: Any, selector: str) -> list[str]:
    """Return the texts of the elements now; in one step, as pages renew them."""
    script = (
        "return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent.trim())"
    )
    found: list[str] = browser.execute_script(script, selector)
    return found


def grew_one_by_one(browser: Any, answer: str) -> None:
    seen = [text.strip() for text in browser.execute_script("return window.seen")]
    steps = [text for at, text in enumerate(seen) if text and text not in seen[:at]]
    assert len(steps) >= len(answer.split()) / 2, steps  # a browser may draw two pieces at once
    assert all(answer.startswith(text.rstrip("▏▌█ ")) for text in steps), steps
    assert all(len(one) < len(two) for one, two in pairwise(steps))


def keep_picture(browser: Any, name: str) -> None:
    if folder := os.environ.get("SCREENSHOTS"):  # to be looked at
        browser.save_screenshot(f"{folder}/{name}.png")


ANSWER = "A violin is a small wooden thing with four strings and a bow."
LONG = "begun " + "and on " * 2000


def test_a_page_of_server_sent_events(page: Callable[..., Any], provider: ProviderServer) -> None:
    provider.say(Answer(ANSWER, chunk_gap_s=0.1), Answer(LONG, chunk_gap_s=0.05), "<b>bold</b>")
    browser = page(
        "uvicorn",
        "--app-dir",
        "examples",
        "--port",
        "{port}",
        "--log-level",
        "warning",
        "server_sent_events:app",
    )

    def ask(question: str) -> None:
        browser.find_element("id", "question").send_keys(question + "\n")

    browser.execute_script(WATCH, ".answer", 0)
    ask("What is a violin?")
    until(
        "the answer",
        lambda: (
            texts(browser, ".answer") == [ANSWER]
            and not browser.find_element("id", "stop").is_enabled()
        ),
    )
    grew_one_by_one(browser, ANSWER)

    ask("And a long one?")
    until("its beginning", lambda: texts(browser, ".answer")[0].startswith("begun and on"))
    keep_picture(browser, "server_sent_events")
    assert provider.counts.abandoned == 0
    browser.find_element("id", "stop").click()
    until("the end of the call at the provider", lambda: provider.counts.abandoned == 1)
    stopped_at = texts(browser, ".answer")[0]
    assert len(stopped_at) < len(LONG) / 2
    assert texts(browser, ".note")[0] == "stopped"

    ask("Tags?")
    until("an answer that is text", lambda: texts(browser, ".answer")[0] == "<b>bold</b>")
    until("its end", lambda: browser.find_element("id", "ask").is_enabled())
    before = [texts(browser, selector) for selector in (".question", ".answer", ".note")]
    browser.refresh()
    assert [texts(browser, selector) for selector in (".question", ".answer", ".note")] == before
    assert before[0] == ["Tags?", "And a long one?", "What is a violin?"]
    assert before[1] == ["<b>bold</b>", stopped_at, ANSWER]


def test_a_chat_page_of_streamlit(page: Callable[..., Any], provider: ProviderServer) -> None:
    provider.say(Answer(ANSWER, chunk_gap_s=0.2), Answer(LONG, chunk_gap_s=0.05), "last")
    browser = page(
        "streamlit",
        "run",
        "examples/streamlit_page.py",
        "--server.port",
        "{port}",
        "--server.address",
        "127.0.0.1",
        "--server.headless",
        "true",
        "--browser.gatherUsageStats",
        "false",
        "--server.fileWatcherType",
        "none",
    )
    said = "[data-testid=stChatMessage] [data-testid=stMarkdownContainer]"

    def ask(question: str) -> None:
        until(
            "the line to type in",
            lambda: browser.find_elements("css selector", "textarea:not([disabled])"),
        )
        browser.find_element("css selector", "textarea").send_keys(question + "\n")

    def stop() -> Any:
        return browser.find_elements("css selector", "[data-testid=stButton] button")

    until("the page", lambda: texts(browser, "h1") == ["modelwire"])
    browser.execute_script(WATCH, "[data-testid=stChatMessage]:nth-of-type(2), " + said, -1)
    ask("What is a violin?")
    until("the answer", lambda: texts(browser, said) == ["What is a violin?", ANSWER])
    until("the button's going", lambda: not stop())

    ask("And a long one?")
    until("its beginning", lambda: texts(browser, said)[-1].startswith("begun and on"))
    keep_picture(browser, "streamlit_page")
    assert provider.counts.abandoned == 0
    stop()[0].click()
    until("the end of the call at the provider", lambda: provider.counts.abandoned == 1)
    until("the button's going", lambda: not stop())
    until("what had come", lambda: texts(browser, said)[-1].startswith("begun and on"))

    ask("Go on.")
    until("the last answer", lambda: texts(browser, said)[-1] == "last")
    stopped_at = texts(browser, said)[3]
    assert stopped_at.startswith("begun and on")
    assert len(stopped_at) < len(LONG) / 2
    sent = provider.requests[-1].body["messages"]
    assert [message["role"] for message in sent] == [
        "user",
        "assistant",
        "user",
        "assistant",
        "user",
    ]
    before = texts(browser, said)
    assert before == ["What is a violin?", ANSWER, "And a long one?", stopped_at, "Go on.", "last"]
    browser.refresh()
    until("the conversation", lambda: texts(browser, said) == before)
