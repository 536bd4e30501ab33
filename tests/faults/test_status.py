"""The catalogue's S lines: answers that say no, over a real socket, in the words of each provider."""

from __future__ import annotations

import contextlib
import importlib
from typing import Any

import pytest
from support.raw_server import answer
from support.thinned import thinned

from modelwire.adapters import ChatOpenAI
from modelwire.errors import ChatError, QuotaExhausted, RateLimited, RetryClass, ServerError
from modelwire.testing import ProviderServer, faults

R = RetryClass
# R1: what each status means, whoever says it. `None` for the rest of its hundred.
CLASSES: dict[int, RetryClass] = {
    **dict.fromkeys((408, 409, 425, 500, 502, 504, 520, 521, 522, 523, 524, 530, 599), R.TRANSIENT),
    **dict.fromkeys((429,), R.THROTTLE),
    **dict.fromkeys((503, 529), R.OVERLOAD),
    **dict.fromkeys(
        (
            300,
            301,
            302,
            303,
            304,
            307,
            308,
            400,
            401,
            402,
            403,
            404,
            405,
            406,
            410,
            411,
            412,
            413,
            414,
            415,
            416,
            417,
            418,
            421,
            422,
            423,
            424,
            426,
            428,
            431,
            451,
            499,
            501,
            505,
        ),
        R.FATAL,
    ),
}
WIRES = ("openai", "anthropic", "gemini", "bedrock")


def failed(colour: Any, model: Any, way: str = "invoke") -> ChatError:
    with pytest.raises(ChatError) as caught:
        getattr(colour, way)(model, "hi")
    return caught.value


@thinned(
    one_in=2, wire=WIRES, status={f"S1-{status}": status for status in CLASSES if status >= 400}
)
def test_every_status_is_of_the_class_it_stands_for(
    server: ProviderServer, wire: Any, status: int
) -> None:
    server.default = faults.status(status)
    with pytest.raises(ChatError) as caught:
        server.model(wire, max_retries=0).invoke("hi")
    expected = (
        R.TRANSIENT if (wire, status) == ("bedrock", 424) else CLASSES[status]
    )  # `ModelErrorException`
    assert (caught.value.status, caught.value.retry_class) == (status, expected)
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [status for status in CLASSES if status < 400])
def test_s1_a_redirect_of_any_kind_is_an_error(server: ProviderServer, status: int) -> None:
    server.default = faults.redirect(code=status)
    assert failed_once(server, server.model()).status == status


def failed_once(server: ProviderServer, model: Any) -> ChatError:
    with pytest.raises(ChatError) as caught:
        model.invoke("hi")
    assert len(server.requests) == 1
    return caught.value


@pytest.mark.parametrize("way", ["invoke", "stream"])
@pytest.mark.parametrize(
    "status", [pytest.param(status, id=f"S3-{status}") for status in (400, 403, 404, 413, 422)]
)
def test_what_will_fail_again_is_sent_once(
    colour: Any, wire: Any, server: ProviderServer, status: int, way: str
) -> None:
    server.default = faults.status(status)
    error = failed(colour, server.model(wire), way)
    assert len(server.requests) == len(error.attempts) == 1
    assert not error.retryable


@pytest.mark.parametrize(
    ("status", "said", "requests"),
    [
        pytest.param(500, "false", 1, id="S4-no"),
        pytest.param(400, "true", 2, id="S4-yes"),
    ],
)
def test_the_provider_may_say_whether_to_send_again(
    colour: Any, wire: Any, server: ProviderServer, status: int, said: str, requests: int
) -> None:
    server.default = faults.status(status, headers={"x-should-retry": said})
    failed(colour, server.model(wire, max_retries=1))
    assert len(server.requests) == requests


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="S5-empty"),
        pytest.param(b"<html>upstream connect error</html>", id="S5-html"),
        pytest.param(b"[1, 2", id="S5-cut"),
        pytest.param(b"\xff\xfe", id="S5-bytes"),
        pytest.param(b"null", id="S5-null"),
    ],
)
@pytest.mark.parametrize("status", [500, 502])
def test_a_failure_without_words_is_a_failure_of_the_server(
    colour: Any, wire: Any, server: ProviderServer, status: int, body: bytes
) -> None:
    server.say(faults.status(status, body=body), "good")
    assert colour.invoke(server.model(wire), "hi").text == "good"
    server.default = faults.status(status, body=body)
    error = failed(colour, server.model(wire, max_retries=1, rate_limit=None))
    assert isinstance(error, ServerError)
    assert error.status == status


@pytest.mark.parametrize("status", [503, 529])
@pytest.mark.parametrize("retry_after", [None, 0.05], ids=["S6", "S6-retry-after"])
def test_an_overload_is_waited_out(
    colour: Any, wire: Any, server: ProviderServer, status: int, retry_after: float | None
) -> None:
    server.say(faults.status(status, retry_after=retry_after), "good")
    assert colour.invoke(server.model(wire), "hi").text == "good"
    assert server.counts.by_status == {status: 1, 200: 1}


@pytest.mark.usefixtures("not_over_aiohttp")
@pytest.mark.parametrize("library", [None, "httpx2", "httpx"], ids=["own", "httpx2", "httpx"])
@pytest.mark.parametrize("body", [b"{}", b""], ids=["words", "none"])
def test_s7_too_early_is_sent_again_on_another_connection(
    colour: Any, raw_server: Any, library: str | None, body: bytes
) -> None:
    said = b'{"choices":[{"index":0,"message":{"role":"assistant","content":"good"},"finish_reason":"stop"}]}'
    server = raw_server([[answer(body, status=425)], [answer(said)]])
    given = {}
    if library is not None:
        kind = getattr(
            importlib.import_module(library), "Client" if colour.name == "sync" else "AsyncClient"
        )
        given = {
            "http_client" if colour.name == "sync" else "http_async_client": kind(trust_env=False)
        }
    model = ChatOpenAI(model="m", base_url=server.url, api_key="k", **given)

    def ask() -> str:
        with contextlib.closing(given["http_client"]) if given else contextlib.nullcontext():
            return str(model.invoke("hi").text)

    async def aask() -> str:
        async with (
            contextlib.aclosing(given["http_async_client"]) if given else contextlib.nullcontext()
        ):
            return str((await model.ainvoke("hi")).text)

    assert colour.run(ask, aask) == "good"
    assert (server.connections, len(server.requests)) == (2, 2)


@pytest.mark.parametrize(
    ("wire", "status", "code"),
    [
        *[
            ("openai", 429, code)
            for code in (
                "insufficient_quota",
                "credit_balance_exhausted",
                "organization_spend_limit_exceeded",
                "project_spend_limit_exceeded",
                "organization_usage_limit_exceeded",
                "billing_hard_limit_reached",
            )
        ],
        *[
            ("anthropic", 429, code)
            for code in ("enforced_spend_limit_reached", "contract_spend_limit_reached")
        ],
        ("openai", 402, None),
        ("anthropic", 402, None),
    ],
)
@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_s8_want_of_money_is_one_request(
    colour: Any, server: ProviderServer, wire: Any, status: int, code: str | None, way: str
) -> None:
    server.default = faults.billing(code) if status == 429 else faults.status(status)
    error = failed(colour, server.model(wire), way)
    assert isinstance(error, QuotaExhausted)
    assert len(server.requests) == 1


def test_s8_a_ramp_that_is_too_steep_is_not_want_of_money(server: ProviderServer) -> None:
    server.say(faults.billing("ramp_limit_exceeded"), "good")
    assert server.model("anthropic").invoke("hi").text == "good"


@pytest.mark.parametrize(
    ("value", "form"),
    [
        pytest.param(0.05, "seconds", id="S9-seconds"),
        pytest.param(0.05, "ms", id="S9-ms"),
        pytest.param(1, "date", id="S9-date"),
        *[
            pytest.param(text, "seconds", id=f"S9-{text!r}")
            for text in ("-5", "nan", "inf", "soon", "", "0")
        ],
    ],
)
def test_every_form_of_retry_after_is_read_or_ignored(
    server: ProviderServer, value: Any, form: Any
) -> None:
    server.say(faults.status(500, retry_after=value, retry_after_form=form), "good")
    assert server.model().invoke("hi").text == "good"


def test_s9_longer_than_we_wait_is_said_at_once(
    colour: Any, wire: Any, server: ProviderServer
) -> None:
    server.default = faults.status(429, retry_after=86_400)
    error = failed(colour, server.model(wire))
    assert isinstance(error, RateLimited)
    assert error.retry_after == 86_400
    assert len(server.requests) == 1


def test_s9_how_long_we_wait_may_be_said(colour: Any, server: ProviderServer) -> None:
    server.default = faults.status(500, retry_after=2)
    error = failed(colour, server.model(max_retry_after=1.0))
    assert "longer than `max_retry_after` (1 s)" in str(error)
    assert len(server.requests) == 1


HEADERS = {
    "openai": {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-limit-tokens": "100000",
    },
    "anthropic": {
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "49",
        "anthropic-ratelimit-requests-reset": "2026-11-21T12:00:00Z",
    },
    "garbage": {
        "x-ratelimit-limit-requests": "many",
        "x-ratelimit-remaining-requests": "-1",
        "x-ratelimit-reset-requests": "yesterday",
        "x-ratelimit-limit-tokens": "1e999",
        "anthropic-ratelimit-requests-limit": "\xa7",
        "anthropic-ratelimit-requests-reset": "2026-99-99",
        "anthropic-ratelimit-unified-reset": "nan",
        "retry-after": "never",
    },
}


@pytest.mark.parametrize("dialect", [pytest.param(name, id=f"S10-{name}") for name in HEADERS])
def test_headers_about_limits_never_spoil_an_answer(
    colour: Any, wire: Any, server: ProviderServer, dialect: str
) -> None:
    from modelwire.testing import Answer

    server.default = Answer("good", headers=HEADERS[dialect])
    model = server.model(wire)
    assert [message.text for message in colour.batch(model, ["a", "b", "c"])] == ["good"] * 3
    assert "".join(chunk.text for chunk in colour.stream(model, "hi")) == "good"
