"""The table of the wires, which are the HTTP formats of chat APIs that the server answers in, and the replies
made with it. No I/O.

Each wire has a module that writes an `Answer`, whole and streamed, and errors. To add a wire, write a
module and add a row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from modelwire.aliases import JSON, HeaderFields
from modelwire.testing.server import (
    bedrock_wire,
    chat_wire,
    gemini_wire,
    messages_wire,
    responses_wire,
)
from modelwire.testing.server.answers import Answer, Call, calls_of
from modelwire.testing.server.bedrock_rules import converse_problems
from modelwire.testing.server.chat_rules import chat_problems, responses_problems
from modelwire.testing.server.gemini_rules import gemini_problems
from modelwire.testing.server.messages_rules import messages_problems
from modelwire.testing.server.replies import Headers, Reply, StreamParts, json_reply, sse
from modelwire.testing.server.request_rules import Problems
from modelwire.testing.server.requests import SeenRequest

__all__ = [
    "WIRES",
    "Call",
    "ServerWire",
    "answer_reply",
    "body_of",
    "calls_of",
    "error_body",
    "error_reply",
    "raw_reply",
    "server_wire",
]


def body_of(answer: Answer, call: Call) -> JSON:
    """Return the body of a whole answer, in the format of the call's wire."""
    return server_wire(call.wire).body(answer, call)


def answer_reply(answer: Answer, call: Call) -> Reply:
    """Return the reply with `answer` to `call`."""
    headers = {**_request_id(call.wire, call.number), **answer.headers}
    if not call.stream:
        return json_reply(200, body_of(answer, call), headers)
    opening, content, closing = server_wire(call.wire).events(answer, call)
    parts = [*opening, *content, *closing]
    stream = {"content-type": server_wire(call.wire).stream_type, "cache-control": "no-store"}
    return Reply(200, {**stream, **headers}, parts, True, len(opening), len(closing))


def raw_reply(body: JSON | list[Any], call: Call) -> Reply:
    """Return a reply that sends `body` unchanged: a dict as JSON, or a list as the events of a stream.

    An event that is a text becomes the data of a server-sent event.
    """
    headers = _request_id(call.wire, call.number)
    if isinstance(body, dict):
        return json_reply(200, body, headers)
    row = server_wire(call.wire)
    events = [row.raw_event(one) for one in body]
    return Reply(
        200, {"content-type": row.stream_type, "cache-control": "no-store", **headers}, events, True
    )


def _request_id(wire: str, number: int) -> Headers:
    return {server_wire(wire).request_id: f"req_{number}"}


# The type and code of OpenAI's errors by status. Its guide lists no types; its API sends these.
_OPENAI: dict[int, tuple[str, str | None]] = {
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "unsupported_country_region_territory"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
    503: ("server_error", "server_overloaded"),
}


def error_body(
    wire: str,
    status: int,
    *,
    message: str = "",
    type: str | None = None,
    code: str | int | None = None,
    param: str | None = None,
    number: int = 0,
) -> JSON:
    """Return the body of the error that a provider sends with `status`, in the format of its wire."""
    message = message or f"The provider server answers {status}."
    body = server_wire(wire).error(status, message, type, code, number)
    if param is not None:  # Only OpenAI's errors name a parameter.
        body["error"]["param"] = param
    return body


def _openai_error(
    status: int, message: str, type: str | None, code: str | int | None, number: int
) -> JSON:
    general = "server_error" if status >= 500 else "invalid_request_error"
    usual_type, usual_code = _OPENAI.get(status, (general, None))
    error = {"type": type or usual_type, "param": None, "code": code or usual_code}
    return {"error": {"message": message, **error}}


def error_reply(
    wire: str,
    status: int,
    *,
    number: int = 0,
    headers: HeaderFields | None = None,
    message: str = "",
    type: str | None = None,
    code: str | int | None = None,
    param: str | None = None,
) -> Reply:
    """Return the reply with an error. `number` is that of the request, from which its id is made."""
    body = error_body(
        wire, status, message=message, type=type, code=code, param=param, number=number
    )
    named = {
        **_request_id(wire, number),
        **server_wire(wire).error_headers(body),
        **(headers or {}),
    }
    return json_reply(status, body, named)


def _named_event(event: Any) -> bytes:
    if isinstance(event, dict):
        return sse(event, event.get("type"))
    return sse(event)


class ServerWire(NamedTuple):
    """How the server writes one wire: answers, streams and errors."""

    path: str  # The URL of a call ends with this.
    model: str  # `ProviderServer.model` requests this model.
    body: Callable[[Answer, Call], JSON]
    # It returns the events of a stream in three lists: opening, content and closing.
    events: Callable[[Answer, Call], StreamParts]
    # It yields the reasons for which the provider would reject a request.
    problems: Callable[[JSON, SeenRequest], Problems]
    error: Callable[..., JSON] = _openai_error
    # It returns an error as an event; `position` is the event's place in the stream.
    error_event: Callable[[JSON, int], bytes] = lambda body, position: sse(body)
    raw_event: Callable[[Any], bytes] = _named_event
    # The URL of a stream ends with this, if it differs.
    stream_path: str = ""
    stream_type: str = "text/event-stream; charset=utf-8"
    error_headers: Callable[[JSON], Headers] = lambda body: {}
    request_id: str = "x-request-id"
    limit_headers: str = "openai"
    # The type and code of the 429 for an empty account.
    no_money: tuple[str | None, str] = (
        "insufficient_quota",
        "insufficient_quota",
    )


def _flat_error_event(body: JSON, position: int) -> bytes:
    """Return the event of `openai.types.responses.ResponseErrorEvent`."""
    error = body["error"]
    event = {"type": "error", "sequence_number": position, "param": None}
    return sse(
        event | {"code": error["code"] or error["type"], "message": error["message"]}, "error"
    )


WIRES = {
    "openai": ServerWire(
        "/chat/completions",
        "gpt-test",
        chat_wire.body,
        chat_wire.events,
        chat_problems,
        raw_event=sse,
    ),
    "responses": ServerWire(
        "/responses",
        "gpt-test",
        responses_wire.body,
        responses_wire.events,
        responses_problems,
        error_event=_flat_error_event,
    ),
    "anthropic": ServerWire(
        "/messages",
        "claude-test",
        messages_wire.body,
        messages_wire.events,
        messages_problems,
        messages_wire.error,
        error_event=lambda body, position: sse(body, "error"),
        request_id="request-id",
        limit_headers="anthropic",
        no_money=(None, "enforced_spend_limit_reached"),
    ),
    "bedrock": ServerWire(
        "/converse",
        "test.model-v1:0",
        bedrock_wire.body,
        bedrock_wire.events,
        converse_problems,
        bedrock_wire.error,
        error_event=bedrock_wire.error_event,
        raw_event=bedrock_wire.raw_event,
        stream_path="/converse-stream",
        stream_type="application/vnd.amazon.eventstream",
        error_headers=bedrock_wire.error_headers,
        request_id="x-amzn-requestid",
        limit_headers="none",
        no_money=("ServiceQuotaExceededException", "ServiceQuotaExceededException"),
    ),
    "gemini": ServerWire(
        ":generateContent",
        "gemini-test",
        gemini_wire.body,
        gemini_wire.events,
        gemini_problems,
        gemini_wire.error,
        raw_event=sse,
        stream_path=":streamGenerateContent",
        limit_headers="none",  # The wait is in the body, if at all.
        no_money=(None, "GenerateRequestsPerDayPerProjectPerModel"),
    ),
}


def server_wire(name: str) -> ServerWire:
    """Return the row of a wire; OpenAI's row if the name is unknown."""
    return WIRES.get(name) or WIRES["openai"]
