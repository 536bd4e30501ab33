"""The test of docs/observing.md passes, and so do the claims behind its programs (tests/docs runs these)."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import modelwire
import modelwire.otel
from modelwire.errors import StreamInterrupted
from modelwire.ext import CallObserver
from modelwire.jobs import track
from modelwire.testing import CassetteError, ProviderServer, faults, recorded, replayed
from modelwire.transport import logs

PAGE = (Path(__file__).parents[2] / "docs" / "observing.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def quiet_afterwards(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    logger = logging.getLogger("modelwire")
    monkeypatch.delenv("CI", raising=False)  # there the fixture `cassette` records nothing
    yield
    if logs._handler is not None:
        logger.removeHandler(logs._handler)
    logs._handler = None
    logger.setLevel(logging.NOTSET)


@pytest.mark.long
def test_the_test_of_the_page_passes(pytester: pytest.Pytester) -> None:
    shown = re.search(r'```py title="test_translation.py"\n(.*?)```', PAGE, re.DOTALL)
    assert shown is not None
    pytester.makepyfile(shown[1])
    pytester.runpytest_subprocess("-p", "no:cacheprovider", "-q").assert_outcomes(passed=1)


def test_one_run_seen_from_all_sides(tmp_path: Path) -> None:
    log, spans, tracing = io.StringIO(), InMemorySpanExporter(), TracerProvider()
    tracing.add_span_processor(SimpleSpanProcessor(spans))
    modelwire.otel.instrument(tracer_provider=tracing)
    modelwire.enable_logging(stream=log)
    with ProviderServer([faults.status(500), "Paris."]) as server:
        model = server.model(model="gpt-4o-mini")
        with recorded(tmp_path / "run.jsonl"), track() as spent:
            model.invoke("The capital of France?")
    with replayed(tmp_path / "run.jsonl"):  # the server is gone
        assert model.invoke("The capital of France?").text == "Paris."
    modelwire.otel.uninstrument()

    retry, call, *_ = log.getvalue().splitlines()
    assert "WARNING modelwire: gpt-4o-mini: attempt 1 failed with ServerError (500" in retry
    assert "INFO modelwire: gpt-4o-mini answered in" in call
    assert "2 attempts, request req_2" in call

    live, again = spans.get_finished_spans()
    assert live.name == again.name == "chat gpt-4o-mini"
    assert [event.name for event in live.events] == ["attempt failed", "waited"]

    assert spent.total.calls == 1
    assert spent.cost > 0

    _head, first, second, call = map(json.loads, (tmp_path / "run.jsonl").read_text().splitlines())
    assert [first["answer"]["status"], second["answer"]["status"]] == [500, 200]
    assert first["request"] == second["request"]
    assert first["request"]["headers"]["authorization"] == "**********"
    assert call["call"]["answer"]["data"]["usage_metadata"]["total_tokens"] > 0


def test_a_script_sees_its_calls() -> None:
    log = io.StringIO()
    modelwire.enable_logging(stream=log)  # without `stream`: stderr
    with ProviderServer(["Hello!", faults.status(500), "Hello again!"]) as server:
        server.model().invoke("hi")
        server.model().invoke("hi")
    first, retry, second = log.getvalue().splitlines()
    assert "INFO modelwire: gpt-test answered in" in first
    assert "1 attempt, request req_1" in first
    assert "WARNING modelwire: gpt-test: attempt 1 failed with ServerError (500" in retry
    assert "2 attempts, request req_3" in second


class Keep(logging.Handler):
    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append(record)


def test_a_program_finds_the_facts() -> None:
    keep, logger = Keep(), logging.getLogger("modelwire")
    logger.addHandler(keep)
    logger.setLevel(logging.INFO)
    with ProviderServer(["Hello!"]) as server:
        answer = server.model().invoke("hi")
    logger.removeHandler(keep)
    (line,) = keep.records
    assert line.event == "call"
    assert line.provider == "openai"
    assert line.output_tokens == answer.usage_metadata["output_tokens"]
    assert (line.attempts, line.error) == (1, None)
    assert line.seconds > 0


def test_a_block_knows_what_it_cost() -> None:
    with ProviderServer() as server, track() as spent:
        server.model(model="gpt-4o-mini").batch(["one", "two", "three"])
    assert spent.total.calls == 3
    assert spent.cost > 0
    assert spent.usage_metadata
    assert "3 calls, 0 errors" in str(spent)


def test_a_run_is_repeated_without_its_provider(tmp_path: Path) -> None:
    broken = faults.reset("body", after_events=2).on("one two three")
    with ProviderServer(["Hello!", broken]) as server:
        model = server.model()
        with recorded(tmp_path / "run.jsonl"):
            model.invoke("hi")
            with pytest.raises(StreamInterrupted):
                list(model.stream("count"))
    with replayed(tmp_path / "run.jsonl"):
        assert model.invoke("hi").text == "Hello!"
        # Cut where it was cut, with the same error.
        with pytest.raises(StreamInterrupted) as broken_again:
            list(model.stream("count"))
        assert broken_again.value.partial.text == "one two"
        with pytest.raises(
            CassetteError, match=r"`messages\[0\].content`: recorded 'hi', now 'hello'"
        ):
            model.invoke("hello")


class Counter(CallObserver):
    def __init__(self):
        self.heard = []

    def sent(self, exchange):
        self.heard.append("sent")

    def failed(self, error, attempt, partial=None):
        self.heard.append("failed" if attempt is None else f"attempt failed: {attempt.status}")

    def waiting(self, step):
        self.heard.append("goes on" if step is None else "waits")

    def answered(self, result):
        self.heard.append("answered")


def test_an_observer_hears_what_becomes_of_a_call() -> None:
    counter = Counter()
    with ProviderServer([faults.status(500), "Hello!"]) as server:
        server.model().invoke("hi", {"observers": (counter,)})
    assert counter.heard == ["sent", "attempt failed: 500", "waits", "goes on", "sent", "answered"]
