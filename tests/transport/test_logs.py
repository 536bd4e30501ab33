"""What a call says in the log: one line for each, no prompt, no key, and nothing where nobody has asked for it."""

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import modelwire
from modelwire.adapters import ChatOpenAI
from modelwire.caches import InMemoryCache
from modelwire.errors import InvalidArgument, ServerError
from modelwire.language_models import FakeListChatModel
from modelwire.testing import faults
from modelwire.testing.server import ProviderServer
from modelwire.transport import logs

PROMPT = "the canary sings at noon"
KEY = "sk-canary-key-1234"


@pytest.fixture(autouse=True)
def waits_of_the_product(real_waits: None) -> None:
    """Wait as the product does."""


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    with ProviderServer() as server:
        yield server


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    logger = logging.getLogger("modelwire")
    level = logger.level
    yield
    if logs._handler is not None:
        logger.removeHandler(logs._handler)
    logs._handler, logs._bodies = None, False
    logger.setLevel(level)


def model(server: ProviderServer, **settings: Any) -> ChatOpenAI:
    return server.model(api_key=KEY, **settings)


def lines(caplog: pytest.LogCaptureFixture, event: str) -> list[Any]:
    return [record for record in caplog.records if getattr(record, "event", None) == event]


def test_a_call_is_one_line_with_its_facts(
    colour: Any, server: ProviderServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.say("hi there")
    with caplog.at_level(logging.INFO, "modelwire"):
        answer = colour.invoke(model(server), PROMPT)
    (line,) = caplog.records
    usage = answer.usage_metadata
    assert (line.name, line.levelno, line.event, line.attempts) == (
        "modelwire",
        logging.INFO,
        "call",
        1,
    )
    assert (line.input_tokens, line.output_tokens) == (
        usage["input_tokens"],
        usage["output_tokens"],
    )
    assert line.provider == "openai"
    assert line.request_id == answer.response_metadata["request_id"]
    assert line.request_id in line.getMessage()
    assert line.seconds > 0
    assert line.error is None


def test_a_stream_is_one_line_and_so_is_one_that_is_left(
    colour: Any, server: ProviderServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.say("one two three", "one two three")
    with caplog.at_level(logging.INFO, "modelwire"):
        colour.stream(model(server), PROMPT)
        stream = model(server).stream(PROMPT)
        next(stream)
        stream.close()
    assert ["answered" in line.getMessage() for line in caplog.records] == [True, False]
    assert "was left" in caplog.records[1].getMessage()


def test_each_row_of_a_batch_is_a_line(
    colour: Any, server: ProviderServer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "modelwire"):
        colour.batch(model(server), [PROMPT] * 5)
    assert len(lines(caplog, "call")) == 5


def test_a_retry_is_a_warning_where_only_warnings_are_heard(
    colour: Any, server: ProviderServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.say(faults.status(500), "good")
    with caplog.at_level(logging.WARNING, "modelwire"):
        assert colour.invoke(model(server), PROMPT).text == "good"
    (line,) = caplog.records
    assert (line.levelno, line.event, line.attempt, line.status, line.error) == (
        logging.WARNING,
        "retry",
        1,
        500,
        "ServerError",
    )


def test_the_line_of_a_call_counts_its_attempts_and_says_how_it_failed(
    colour: Any, server: ProviderServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.say(faults.status(500), "good", faults.status(500), faults.status(500))
    with caplog.at_level(logging.INFO, "modelwire"):
        colour.invoke(model(server), PROMPT)
        with pytest.raises(ServerError):
            colour.invoke(model(server, max_retries=1), PROMPT)
    good, bad = lines(caplog, "call")
    assert (good.attempts, good.error) == (2, None)
    assert (bad.attempts, bad.error, bad.status) == (2, "ServerError", 500)
    assert len(lines(caplog, "retry")) == 2


def test_a_limit_that_was_hit_is_a_warning(
    colour: Any, server: ProviderServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.say(faults.status(429, retry_after=0.05))
    with caplog.at_level(logging.WARNING, "modelwire"):
        colour.invoke(model(server), PROMPT)
    assert [line.kind for line in lines(caplog, "limit")][:1] == ["half_open"]
    assert KEY not in caplog.text


def test_a_cached_answer_is_a_line_without_a_request(
    colour: Any, server: ProviderServer, caplog: pytest.LogCaptureFixture
) -> None:
    cached = model(server, cache=InMemoryCache())
    with caplog.at_level(logging.INFO, "modelwire"):
        colour.invoke(cached, PROMPT)
        colour.invoke(cached, PROMPT)
    assert [
        (line.attempts, "without a request" in line.getMessage()) for line in caplog.records
    ] == [
        (1, False),
        (0, True),
    ]
    assert caplog.records[1].cost_usd == 0


def test_a_model_of_ones_own_is_a_line_too(colour: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "modelwire"):
        colour.invoke(FakeListChatModel(responses=["x"]), PROMPT)
    assert [line.model for line in caplog.records] == ["FakeListChatModel"]


def test_debug_shows_the_request_without_key_or_prompt(
    colour: Any, server: ProviderServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.say("a fine day")
    with caplog.at_level(logging.DEBUG, "modelwire"):
        answer = colour.invoke(model(server), PROMPT, extra_headers={"X-Secret": "hush-hush"})
    (line,) = lines(caplog, "request")
    assert line.size_bytes == len(server.requests[-1].content)
    assert {name.lower(): value for name, value in line.headers.items()}[
        "content-type"
    ] == "application/json"
    everything = caplog.text + repr([vars(record) for record in caplog.records])
    for secret in (PROMPT, KEY, "hush-hush", answer.text):
        assert secret not in everything


def test_bodies_are_said_only_when_asked_for(colour: Any, server: ProviderServer) -> None:
    server.say("a fine day")
    out = io.StringIO()
    modelwire.enable_logging("bodies", stream=out)
    modelwire.enable_logging("bodies", stream=out)  # a second time: no line twice
    answer = colour.invoke(model(server), PROMPT)
    assert out.getvalue().count(PROMPT) == 1
    assert f"answer: {answer.text}" in out.getvalue()
    assert KEY not in out.getvalue()


def test_no_word_of_an_error_is_said_as_it_may_be_the_prompts(
    colour: Any, server: ProviderServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.say(faults.status(500, message=PROMPT), faults.status(500, message=PROMPT))
    with caplog.at_level(logging.DEBUG, "modelwire"), pytest.raises(ServerError, match=PROMPT):
        colour.invoke(model(server, max_retries=1), "hi")
    assert PROMPT not in caplog.text


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(
        InvalidArgument, match="must be one of 'info', 'debug', 'bodies', not 'loud'"
    ):
        modelwire.enable_logging("loud")  # type: ignore[arg-type]


SCRIPT = """
import os
from modelwire.adapters import ChatOpenAI
ChatOpenAI(model="m", api_key="k", base_url=os.environ["URL"]).invoke("the prompt")
"""


@pytest.mark.parametrize(
    ("level", "says", "silent_of"),
    [
        ("", [], ["m answered", "POST"]),
        ("info", ["m answered in", "1 attempt"], ["POST", "the prompt"]),
        pytest.param("debug", ["m answered in", "POST"], ["the prompt"], marks=pytest.mark.long),
        ("bodies", ["m answered in", "POST", "the prompt"], []),
        pytest.param(
            "lod",
            ["`MODELWIRE_LOG`: `level` must be one of"],
            ["m answered"],
            marks=pytest.mark.long,
        ),
    ],
)
def test_the_variable_switches_the_log_of_a_script_on(
    server: ProviderServer, level: str, says: list[str], silent_of: list[str]
) -> None:
    env = {**os.environ, "MODELWIRE_LOG": level, "URL": server.base_url_for("openai")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, check=True
    )
    assert all(words in done.stderr for words in says), done.stderr
    assert not any(words in done.stderr for words in silent_of), done.stderr


def test_a_program_that_sets_up_nothing_sees_nothing(server: ProviderServer) -> None:
    server.say(faults.status(500), "good")
    env = {**os.environ, "URL": server.base_url_for("openai")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""


def test_facts_fit_into_json(server: ProviderServer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "modelwire"):
        model(server).invoke(PROMPT)
    facts = {
        key: value
        for key, value in vars(caplog.records[0]).items()
        if key in ("model", "seconds", "attempts")
    }
    assert json.loads(json.dumps(facts)) == facts


# What is said of the outage depends on whether the second refusal comes before or after the silence is noticed.
OUTAGE = ("nothing has got through for ", "no request may go out for ")


def outage(server: ProviderServer, colour: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelwire.transport.ratelimit.outage._REPORT_AFTER_S", 0.1)
    server.say(faults.status(503), faults.status(503), "one", "two", "three")
    answers = colour.batch(model(server), ["a", "b", "c"])
    assert sorted(answer.text for answer in answers) == ["one", "three", "two"]


def test_a_batch_that_waits_for_an_outage_says_so_once(
    colour: Any,
    server: ProviderServer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outage(server, colour, monkeypatch)
    (line,) = lines(caplog, "outage")
    assert (line.levelno, line.error, line.status) == (logging.WARNING, "Overloaded", 503)
    assert line.message.startswith("127.0.0.1")
    assert any(text in line.wait for text in OUTAGE)
    assert "(Overloaded (503" in line.message


def test_without_logging_an_outage_is_on_stderr(
    colour: Any,
    server: ProviderServer,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])
    outage(server, colour, monkeypatch)
    # Other lines may come from threads that an earlier test has left.
    (line,) = [one for one in capsys.readouterr().err.splitlines() if "modelwire" in one]
    assert line.startswith("modelwire: 127.0.0.1")
    assert any(text in line for text in OUTAGE)


def test_a_batch_that_was_told_to_wait_for_long_says_so_once(
    colour: Any,
    server: ProviderServer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("modelwire.transport.ratelimit.outage._REPORT_AFTER_S", 0.5)
    server.say(faults.status(429, retry_after=1), "one", "two", "three")
    colour.batch(model(server), ["a", "b", "c"])
    (line,) = lines(caplog, "outage")
    assert (line.error, line.status) == ("RateLimited", 429)
    assert "no request may go out for" in line.wait


def test_a_program_may_silence_the_outage(
    server: ProviderServer,
    colour: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])
    logging.getLogger("modelwire").setLevel(logging.ERROR)
    outage(server, colour, monkeypatch)
    assert capsys.readouterr().err == ""
