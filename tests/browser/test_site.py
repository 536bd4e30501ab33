"""The documentation's site in a real browser: search, copy buttons, a narrow screen."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
WAIT_S = 60.0  # until something is taken for missing

pytestmark = pytest.mark.browser

# What a reader searches for, and the first page that the search must offer.
SEARCHES = [
    ("api key", "providers.html#api-keys"),
    ("deadline", "plan.html"),
    ("batch", "jobs.html"),
    ("budget", "budgets.html"),
    ("token count", "tokens.html"),
    ("streaming", "learn/chains-and-streaming.html"),
    ("tracing", "observing.html"),
    ("caching", "caching.html"),
    ("langchain", "langchain.html"),
    ("testing", "testing.html"),
    ("cost", "learn/watching.html"),
    ("rate limit", "explanation/limits-and-retries.html"),
    ("install", "learn/first-answer.html"),
    ("json schema", "learn/structured-output.html"),
    ("langgraph", "langchain.html"),
    ("mcp", "mcp.html"),
]


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def site(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Build the site, serve it, and return its address."""
    pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")
    folder = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        check=True,
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    browser.get("about:blank")
    server.shutdown()
    server.server_close()
    thread.join()


def _found(look: Callable[[], Any]) -> Any:
    end = time.monotonic() + WAIT_S
    while not (found := look()):
        assert time.monotonic() < end, "nothing was found"
        time.sleep(0.05)
    return found


@pytest.mark.parametrize(("words", "page"), SEARCHES)
def test_the_search_offers_the_right_page_first(
    browser: Any, site: str, words: str, page: str
) -> None:
    browser.get(f"{site}/index.html?q={words.replace(' ', '+')}")
    links = """
        const first = document.querySelector(".md-search-result__item");
        return first && [...first.querySelectorAll("a")].map(a => [a.pathname, a.hash]);
    """
    found = _found(lambda: browser.execute_script(links))
    path, _, anchor = page.partition("#")
    assert found[0][0] == f"/{path}"
    assert not anchor or [f"/{path}", f"#{anchor}"] in found


def test_a_copy_button_copies_the_command_alone(browser: Any, site: str) -> None:
    browser.get(f"{site}/plan.html")
    browser.execute_script(
        "addEventListener('copy', () => { window.copied = document.activeElement.value; });"
    )
    shown = "return document.querySelector('.language-console [data-clipboard-target]')"
    button = _found(lambda: browser.execute_script(shown))
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
    button.click()
    copied = _found(lambda: browser.execute_script("return window.copied"))
    assert copied.startswith("modelwire batch reviews.csv")
    assert copied.endswith("--finish-by 10h --max-cost 4 --plan")
    assert "$ " not in copied


@pytest.mark.parametrize("page", ["index.html", "learn/tools.html", "plan.html", "providers.html"])
def test_a_page_fits_on_a_telephone(browser: Any, site: str, page: str) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True},
    )
    try:
        browser.get(f"{site}/{page}")
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
