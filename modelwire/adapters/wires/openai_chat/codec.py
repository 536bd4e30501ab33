"""Encodes and decodes calls of Chat Completions, `POST {base_url}/chat/completions`. No I/O here.

OpenAI and every compatible service have this API. The fields of the codec describe what a service renames or lacks.
Wire format: https://platform.openai.com/docs/api-reference/chat, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modelwire.adapters.wires.dropped_content import foreign_work
from modelwire.adapters.wires.empty_answers import check_empty, is_empty
from modelwire.adapters.wires.json import (
    error_from_json,
    error_from_reply,
    no_answer,
    read_reply,
    request_id_of,
)
from modelwire.adapters.wires.openai_chat.messages import (
    OPENAI,
    Dialect,
    turns_from_messages,
    without_foreign_media,
)
from modelwire.adapters.wires.openai_chat.response import (
    error_within,
    message_fields,
    number_of,
    other_choice,
    response_extras,
    response_metadata,
    usage_of,
)
from modelwire.aliases import JSON, HeaderFields, Values
from modelwire.errors import InvalidArgument
from modelwire.messages import AIMessage
from modelwire.records import NamedTuple
from modelwire.transport.wire import WireRequest

if TYPE_CHECKING:
    from modelwire.adapters.wires.wire import ChatCall, StreamDecoder
    from modelwire.errors import ProviderError
    from modelwire.transport.wire import Reply


# A frozen dataclass would take ten times as long to import as a named tuple.
class ChatCompletionsCodec(NamedTuple):
    """The codec of OpenAI's Chat Completions and of compatible services. The fields describe their differences."""

    provider: str = "openai"
    # OpenAI's own name since 2024-09. Most compatible services have only `max_tokens`.
    max_tokens_name: str = "max_completion_tokens"
    # The service accepts `stream_options`, which requests the usage of a stream.
    takes_stream_options: bool = True
    # Pairs of a parameter's common name and the service's name.
    renames: tuple[tuple[str, str], ...] = ()
    dialect: Dialect = OPENAI

    # The name of the wire in the registry.
    wire: str = "openai"
    # The fields that the provider counts against the rate limit before it answers:
    # https://platform.openai.com/docs/guides/rate-limits, read 2026-11.
    reserves: tuple[str, ...] = ("max_completion_tokens", "max_tokens")

    def encode(self, call: ChatCall) -> WireRequest:
        """Return the request of a call. The fields of `extra_body` replace all others of the body.

        Raises `InvalidArgument` for content that the service does not accept.
        """
        if not call.messages:
            raise InvalidArgument("`messages` is empty: a chat call needs at least one message.")
        left_out: list[str] = []
        try:
            turns = turns_from_messages(call.messages, self.dialect, provider=self.provider)
        except InvalidArgument:
            messages = without_foreign_media(call.messages, self.provider, left_out)
            if not left_out:
                raise
            turns = turns_from_messages(messages, self.dialect, provider=self.provider)
        body: JSON = {
            "messages": turns,
            "model": call.model,
            **self._params(call.params),
        }
        # A model may have `stream_options` set, which only a streamed call accepts.
        options = body.pop("stream_options", None)
        if call.stream:
            body["stream"] = True
            if self.takes_stream_options and isinstance(options, Mapping | None):
                options = {"include_usage": True, **(options or {})}
            if options is not None:
                body["stream_options"] = options
        request = request_for(call, "/chat/completions", body)
        sends_thought = bool(self.dialect.replayed) or self.dialect.thinking_parts
        left_out += foreign_work(
            call.messages, (None, self.provider), is_chat=True, sends_thought=sends_thought
        )
        request.left_out = left_out
        return request

    def _params(self, params: Values) -> JSON:
        """Return the parameters under the service's names. A parameter that the caller set under that name wins."""
        body = dict(params)
        for name in ("max_tokens", "max_output_tokens"):
            if name in body and self.max_tokens_name != name:
                max_tokens = body.pop(name)
                body.setdefault(self.max_tokens_name, max_tokens)
        for ours, theirs in self.renames:
            if ours in body:
                value = body.pop(ours)
                body.setdefault(theirs, value)
        if "tools" in body or "tool_choice" in body:
            from modelwire.adapters.wires.openai_chat.tools import tool_params

            body.update(tool_params(body))
        return body

    def decode(self, reply: Reply) -> AIMessage:
        """Return the message of an unstreamed answer: its first choice. The others are in its `response_metadata`.

        Raises `MalformedResponse` for an answer without choices, or the error that the answer contains.
        """
        response = read_reply(reply, self.provider)
        if failed := error_within(response):
            raise error_from_json(
                failed, provider=self.provider, status=reply.status, headers=reply.headers
            )
        choices = _choices(response)
        if not choices:
            raise no_answer(reply, self.provider, "has no `choices` with a `message`")
        return self._message(response, choices, request_id_of(reply.headers))

    def _message(self, response: JSON, choices: list[JSON], request_id: str | None) -> AIMessage:
        choice = choices[0]
        extras = response_extras(response, choice)
        metadata = response_metadata(
            response, choice, extras, provider=self.provider, request_id=request_id
        )
        if len(choices) > 1:
            metadata["other_choices"] = [
                other_choice(
                    other, message_fields(_message_of(other), response), response_extras({}, other)
                )
                for other in choices[1:]
            ]
        message = AIMessage.from_wire(
            id=metadata["id"],
            usage_metadata=usage_of(response.get("usage")),
            response_metadata=metadata,
            **message_fields(choice.get("message") or _message_of(choice), response),
        )
        if not message.content and is_empty(message):
            reason = metadata["finish_reason"]
            check_empty("openai", reason, provider=self.provider, request_id=request_id)
        return message

    def stream_decoder(self, headers: HeaderFields | None = None) -> StreamDecoder:
        """Return the decoder for one streamed answer; `headers` are the response's."""
        from modelwire.adapters.wires.openai_chat.stream import ChatCompletionsDecoder

        return ChatCompletionsDecoder(self.provider, request_id_of(headers or {}))

    def error(self, reply: Reply) -> ProviderError:
        """Return the error of a response with a status >= 300 and any body; never raises."""
        return error_from_reply(reply, self.provider)


_JSON_HEADERS = {"Accept": "application/json", "Content-Type": "application/json"}


def request_for(call: ChatCall, path: str, body: JSON, *, cut_at: str | None = None) -> WireRequest:
    """Return the request that sends `body` to `path` under the base URL.

    If the base URL contains `cut_at`, only its part before that is used. The fields of `extra_body` replace those of
    the body. Headers whose names differ only in case are one header, and the last value wins.
    """
    body.update(call.extra_body)
    base, question_mark, query = call.endpoint.base_url.partition("?")
    if cut_at is not None:
        base = base.partition(cut_at)[0]
    groups = (_JSON_HEADERS, call.endpoint.headers, call.extra_headers)
    headers: dict[str, tuple[str, str]] = {}
    for group in groups:
        for name, value in group.items():
            headers[name.lower()] = name, value
    return WireRequest(
        url=f"{base}{path}{question_mark}{query}",
        headers=dict(headers.values()),
        body=body,
        stream=call.stream,
    )


def _choices(response: Any) -> list[JSON]:
    """Return the choices that have a message; the one with `index` 0, or without an `index`, comes first."""
    choices = response.get("choices") if isinstance(response, dict) else None
    if not isinstance(choices, list):
        return []
    readable = []
    # This runs for every answer, and a comprehension would cost another call.
    for choice in choices:
        if isinstance(choice, dict) and isinstance(
            choice.get("message") or _message_of(choice), dict
        ):
            readable.append(choice)  # noqa: PERF401
    if len(readable) > 1:
        return sorted(readable, key=number_of)
    return readable


def _message_of(choice: JSON) -> Any:
    """Return the message of a choice. Azure omits it if its filter removed the whole answer (2024-04)."""
    message = choice.get("message")
    if message is None and choice.get("finish_reason") == "content_filter":
        return {}
    return message
