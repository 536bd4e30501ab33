"""The request around the messages, and errors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelwire.adapters.wires.anthropic.codec import MessagesCodec
from modelwire.adapters.wires.wire import ChatCall, Codec, Endpoint
from modelwire.errors import (
    BadRequest,
    ContextTooLong,
    InvalidArgument,
    InvalidType,
    Overloaded,
    QuotaExhausted,
    RateLimited,
)
from modelwire.messages import HumanMessage
from modelwire.transport.wire import Reply, WireRequest

CODEC: Codec = MessagesCodec()


def encoded(
    base_url: str = "https://api.anthropic.com", *, codec: Codec = CODEC, **fields: Any
) -> WireRequest:
    endpoint = Endpoint(base_url, fields.pop("headers", {}))
    return codec.encode(
        ChatCall([HumanMessage("hi")], fields.pop("model", "claude-haiku-4-5"), endpoint, **fields)
    )


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("https://api.anthropic.com", "https://api.anthropic.com/v1/messages"),
        ("http://127.0.0.1:8080/proxy", "http://127.0.0.1:8080/proxy/v1/messages"),
        ("http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1/messages"),
    ],
)
def test_the_endpoint_is_under_the_base_url(base_url: str, url: str) -> None:
    request = encoded(base_url)
    assert (request.method, request.url) == ("POST", url)


def test_the_version_is_pinned_and_may_be_said_otherwise() -> None:
    assert encoded(headers={"x-api-key": "k"}).headers == {
        "content-type": "application/json",
        "anthropic-version": "2023-06-01",
        "x-api-key": "k",
    }
    assert (
        encoded(extra_headers={"Anthropic-Version": "2026-10-21"}).headers["anthropic-version"]
        == "2026-10-21"
    )


def test_beta_features_of_all_places_add_up() -> None:
    request = encoded(
        headers={"anthropic-beta": "a"},
        extra_headers={"Anthropic-Beta": "b, a"},
        params={"betas": ["c", "b"]},
    )
    assert set(request.headers["anthropic-beta"].split(",")) == {"a", "b", "c"}
    assert "betas" not in request.body
    with pytest.raises(InvalidType, match="`betas`"):
        encoded(params={"betas": 5})


def test_the_body_has_the_stream_flag_only_for_streams_and_extra_body_wins() -> None:
    assert encoded().body == {
        "model": "claude-haiku-4-5",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 64_000,
    }
    request = encoded(
        stream=True, params={"temperature": 0}, extra_body={"temperature": 1, "new": True}
    )
    assert request.stream
    assert (request.body["stream"], request.body["temperature"], request.body["new"]) == (
        True,
        1,
        True,
    )


def test_an_error_names_the_service() -> None:
    assert MessagesCodec("local").error(Reply(500, {}, b"")).provider == "local"


@pytest.mark.parametrize(
    ("status", "said", "error"),
    [
        (529, {"type": "overloaded_error", "message": "busy"}, Overloaded),
        (429, {"type": "rate_limit_error", "message": "slow"}, RateLimited),
        (
            400,
            {
                "type": "invalid_request_error",
                "message": "prompt is too long: 205573 tokens > 200000 maximum",
            },
            ContextTooLong,
        ),
        (
            400,
            {"type": "invalid_request_error", "message": "max_tokens: must be positive"},
            BadRequest,
        ),
        (
            429,
            {
                "type": "rate_limit_error",
                "message": "paid",
                "details": {"error_code": "enforced_spend_limit_reached"},
            },
            QuotaExhausted,
        ),
    ],
)
def test_an_error_answer_is_the_error_of_its_codes(
    status: int, said: dict[str, Any], error: type[Exception]
) -> None:
    body = json.dumps({"type": "error", "error": said, "request_id": "req_2"}).encode()
    raised = CODEC.error(Reply(status, {"request-id": "req_1"}, body))
    assert type(raised) is error
    assert (raised.status, raised.type, raised.request_id) == (status, said["type"], "req_1")
    assert said["message"] in str(raised)


@pytest.mark.parametrize(
    "params",
    [
        {"betas": 5},
        {"betas": [5]},
        {"betas": ["a\r\nx-api-key: b"]},
        {"user_profile_id": "a\nb"},
        {"workspace_id": 5},
    ],
)
def test_what_no_header_can_say_is_refused(params: dict[str, Any]) -> None:
    with pytest.raises((InvalidArgument, InvalidType), match=next(iter(params))):
        encoded(params=params)


def test_a_feature_needed_is_named_once_and_another_date_of_it_will_do() -> None:
    def features(**params: Any) -> str | None:
        return encoded(params=params).headers.get("anthropic-beta")

    toolset = {"type": "mcp_toolset", "mcp_server_name": "s"}
    assert features() is None
    assert features(mcp_servers=[{}], tools=[toolset, toolset]) == "mcp-client-2025-11-20"
    assert features(mcp_servers=[{}], betas=["mcp-client-2025-04-04"]) == "mcp-client-2025-04-04"
    assert (
        features(mcp_servers=[{}], betas="compact-2026-01-12")
        == "compact-2026-01-12,mcp-client-2025-11-20"
    )
    assert (
        features(context_management={"edits": 5}, tools=[{"type": "custom", "name": "f"}]) is None
    )
