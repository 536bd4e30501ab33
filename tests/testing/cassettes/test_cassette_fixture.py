"""The fixture `cassette`: the first run of a test records, the others replay, and in CI nothing is recorded."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import httpcore2  # noqa: F401 - before `pytester`, which forgets what its tests import: no class is to be there twice
import httpx2  # noqa: F401
import pytest

import modelwire.messages  # noqa: F401 - before `pytester`, too
from modelwire.adapters import ChatOpenAI  # noqa: F401
from modelwire.testing import ProviderServer
from modelwire.transport.connections import closed_network

PLUGIN = "pytest_plugins = ['modelwire.testing.pytest_plugin']\n"
TEST = """
import pytest
from modelwire.adapters import ChatOpenAI

def ask(text, url={url!r}):
    return ChatOpenAI(model="m", api_key="test-key", base_url=url, max_retries=0).invoke(text).content

@pytest.fixture
def model_is_used():
    return ask
"""


@pytest.fixture
def suite(
    pytester: pytest.Pytester, provider_server: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """Give a function that runs tests which may `ask(text)` a server; it takes pytest's arguments."""
    monkeypatch.delenv("CI", raising=False)
    installed = any(entry.name == "modelwire" for entry in entry_points(group="pytest11"))
    pytester.makeconftest("" if installed else PLUGIN)

    def run(source: str, *arguments: str) -> Any:
        pytester.makepyfile(
            test_it=TEST.format(url=provider_server.base_url_for("openai")) + source
        )
        return pytester.runpytest_inprocess(
            "-q", "-p", "no:cacheprovider", "--strict-markers", *arguments
        )

    return run


def files(pytester: pytest.Pytester) -> list[str]:
    return sorted(
        str(file.relative_to(pytester.path)) for file in Path(pytester.path).rglob("*.jsonl*")
    )


ONE = "def test_one(cassette):\n    assert ask('hi') == 'hi'\n"


def test_the_first_run_records_beside_the_test_and_the_next_one_replays(
    suite: Any, pytester: pytest.Pytester, provider_server: ProviderServer
) -> None:
    for _ in range(3):
        suite(ONE).assert_outcomes(passed=1)
    assert files(pytester) == ["cassettes/test_it/test_one.jsonl"]
    assert provider_server.counts.requests == 1


def test_each_test_has_a_file_of_its_own(suite: Any, pytester: pytest.Pytester) -> None:
    source = """
@pytest.mark.parametrize("text", ["a", "b/c", "b c", "x" * 300])
def test_many(cassette, text):
    assert ask(text) == text

class TestGroup:
    def test_many(self, cassette):
        assert ask("d") == "d"
"""
    for _ in range(2):
        suite(source).assert_outcomes(passed=5)
    found = files(pytester)
    assert len(found) == 5
    assert {
        "cassettes/test_it/TestGroup.test_many.jsonl",
        "cassettes/test_it/test_many[a].jsonl",
    } < {*found}


@pytest.mark.parametrize("how", ["CI", "option"])
def test_nothing_is_recorded_in_ci(
    how: str,
    suite: Any,
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    provider_server: ProviderServer,
) -> None:
    if how == "CI":
        monkeypatch.setenv("CI", "true")
    arguments = ["--modelwire-record=none"] if how == "option" else []
    result = suite(ONE + "def test_without_calls(cassette):\n    pass\n", *arguments)
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        ["*test_one.jsonl* has no answer to this request*the cassette is empty*"]
    )
    assert files(pytester) == []
    assert provider_server.counts.requests == 0
    suite(ONE, "--modelwire-record=once").assert_outcomes(passed=1)
    suite(ONE, *arguments).assert_outcomes(passed=1)
    assert provider_server.counts.requests == 1


def test_all_records_anew(
    suite: Any, pytester: pytest.Pytester, provider_server: ProviderServer
) -> None:
    suite(ONE).assert_outcomes(passed=1)
    suite(ONE.replace("hi", "ho")).assert_outcomes(failed=1)
    suite(ONE.replace("hi", "ho"), "--modelwire-record=all").assert_outcomes(passed=1)
    suite(ONE.replace("hi", "ho")).assert_outcomes(passed=1)
    assert provider_server.counts.requests == 2


def test_a_test_that_fails_leaves_no_recording_and_harms_none(
    suite: Any, pytester: pytest.Pytester
) -> None:
    failing = "def test_one(cassette):\n    ask('hi')\n    assert cassette.recording is False\n"
    suite(failing).assert_outcomes(failed=1)
    assert not (pytester.path / "cassettes").exists()
    suite(ONE).assert_outcomes(passed=1)
    before = (pytester.path / files(pytester)[0]).read_bytes()
    suite(failing, "--modelwire-record=all").assert_outcomes(failed=1)
    assert (pytester.path / files(pytester)[0]).read_bytes() == before
    assert len(files(pytester)) == 1


def test_a_missing_answer_that_was_swallowed_fails_the_test(suite: Any) -> None:
    suite(ONE).assert_outcomes(passed=1)
    swallowing = """
def test_one(cassette):
    try:
        ask("another thing")
    except Exception:
        pass
"""
    result = suite(swallowing)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*test_one.jsonl* lacks POST http*something swallowed the `CassetteError`*"]
    )


def test_the_network_stays_closed_while_recording_but_for_live_tests(
    suite: Any, pytester: pytest.Pytester
) -> None:
    """A test that would leave the machine needs the mark to be recorded, and no mark to be replayed."""
    away = "def test_away(cassette):\n    ask('hi', 'http://192.0.2.1:9/v1')\n"
    result = suite(away)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*A call would have gone to 192.0.2.1*@pytest.mark.live*"])
    assert files(pytester) == []
    suite(ONE).assert_outcomes(passed=1)
    (pytester.path / "cassettes/test_it/test_away.jsonl").write_text(
        (pytester.path / "cassettes/test_it/test_one.jsonl").read_text()
    )
    result = suite(away)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*`url`: recorded 'http://127.0.0.1/*', now 'http://192.0.2.1:9*"])


@pytest.mark.parametrize("how", ["option", "variable"])
def test_recording_that_is_asked_for_opens_the_network(
    how: str,
    suite: Any,
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    provider_server: ProviderServer,
) -> None:
    """To the closed network, this machine is not this machine here."""
    monkeypatch.setattr(closed_network, "is_loopback", lambda host: False)
    result = suite(ONE)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*pytest --modelwire-record=once*"])
    if how == "variable":
        monkeypatch.setenv("MODELWIRE_RECORD", "1")
    suite(ONE, *(["--modelwire-record=once"] if how == "option" else [])).assert_outcomes(passed=1)
    assert files(pytester) == ["cassettes/test_it/test_one.jsonl"]
    monkeypatch.delenv("MODELWIRE_RECORD", raising=False)
    suite(ONE).assert_outcomes(passed=1)
    assert provider_server.counts.requests == 1


def test_a_variable_that_names_no_mode_is_refused(
    suite: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELWIRE_RECORD", "always")
    result = suite(ONE)
    result.stdout.fnmatch_lines(
        ["*MODELWIRE_RECORD must be 1 or one of once, none, all, not 'always'*"]
    )


def test_async_tests_and_batches_are_replayed_too(
    suite: Any, provider_server: ProviderServer
) -> None:
    source = """
import asyncio

def test_many(cassette, model_is_used):
    model = ChatOpenAI(model="m", api_key="test-key", base_url=%r)
    assert [m.content for m in model.batch(["a", "b"])] == ["a", "b"]
    assert [m.content for m in asyncio.run(model.abatch(["c", "d"]))] == ["c", "d"]
"""
    for _ in range(2):
        suite(source % provider_server.base_url_for("openai")).assert_outcomes(passed=1)
    assert provider_server.counts.requests == 4


def test_a_server_of_the_tests_own_may_have_another_port_each_time(suite: Any) -> None:
    source = """
def test_one(cassette, provider_server):
    assert provider_server.model().invoke("hi").content == "hi"
    assert provider_server.counts.requests == cassette.recording
"""
    for _ in range(2):
        suite(source).assert_outcomes(passed=1)
