"""How Chat Completions says a chat call: `POST {base_url}/chat/completions`. No I/O here.

Spoken by OpenAI and by every service that calls itself compatible; what one of those renames or lacks is data of the
codec. Wire format: https://platform.openai.com/docs/api-reference/chat, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from modelwire.adapters.openai.answer import (
    content_and_thinking,
    error_within,
    message_extras,
    reasoning_text,
    response_extras,
    response_metadata,
    tool_calls_of,
    usage_of,
)
from modelwire.adapters.openai.turns import OPENAI, Dialect, turns_from_messages
from modelwire.adapters.wire_json import (
    error_from_json,
    error_from_reply,
    malformed,
    read_json,
    request_id_of,
    text_or_none,
)
from modelwire.errors import InvalidArgument
from modelwire.messages import AIMessage
from modelwire.transport.wire import WireRequest

if TYPE_CHECKING:
    from modelwire.adapters.codec import ChatCall, StreamDecoder
    from modelwire.errors import ProviderError
    from modelwire.transport.wire import Reply

__all__ = ["ChatCompletionsCodec"]


class ChatCompletionsCodec(NamedTuple):  # a frozen dataclass would cost a cold start ten times as much
    """The codec of OpenAI's Chat Completions and its clones; the fields are what they differ in."""

    provider: str = "openai"
    path: str = "/chat/completions"
    max_tokens_name: str = "max_completion_tokens"  # OpenAI's own since 2024-09; most clones know `max_tokens` only
    takes_stream_options: bool = True  # else usage in streams is not asked for
    dialect: Dialect = OPENAI

    # ------------------------------------------------------------ out

    def encode(self, call: ChatCall) -> WireRequest:
        """Say the call: n >= 1 messages, the parameters that were set, `extra_body` over all of it."""
        if not call.messages:
            raise InvalidArgument("`messages` is empty: a chat call needs at least one message.")
        body: dict[str, Any] = {
            "messages": turns_from_messages(call.messages, self.dialect),
            "model": call.model,
            **self._params(call.params),
        }
        if call.stream:
            body["stream"] = True
            if self.takes_stream_options and "stream_options" not in body:
                body["stream_options"] = {"include_usage": True}
        body.update(call.extra_body)
        base, question_mark, query = call.endpoint.base_url.partition("?")
        return WireRequest(
            url=f"{base}{self.path}{question_mark}{query}",
            headers=_merged_headers(JSON_HEADERS, call.endpoint.headers, call.extra_headers),
            body=body,
            stream=call.stream,
        )

    def _params(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters in the service's words; one the caller already named so is left alone."""
        said = dict(params)
        if "max_tokens" in said and self.max_tokens_name != "max_tokens":
            max_tokens = said.pop("max_tokens")
            said.setdefault(self.max_tokens_name, max_tokens)
        if "tools" in said or "tool_choice" in said:
            from modelwire.adapters.openai.tool_params import tool_params

            said.update(tool_params(said))
        return said

    # ------------------------------------------------------------ in

    def decode(self, reply: Reply) -> AIMessage:
        """Read a whole answer; of several choices the first."""
        request_id = request_id_of(reply.headers)
        response = read_json(reply.body, provider=self.provider, request_id=request_id, status=reply.status)
        if failed := error_within(response):
            raise error_from_json(failed, provider=self.provider, status=reply.status, headers=reply.headers)
        choice = _first_choice(response)
        if choice is None:
            raise malformed(
                f"The answer of `{self.provider}` has no `choices` with a `message`.",
                reply.body,
                provider=self.provider,
                request_id=request_id,
                status=reply.status,
            )
        return self._message(response, choice, request_id)

    def _message(self, response: dict[str, Any], choice: dict[str, Any], request_id: str | None) -> AIMessage:
        message = _message_of(choice)
        content, thought = content_and_thinking(message.get("content"))
        thought += reasoning_text(message)
        kwargs = message_extras(message)
        if thought:
            kwargs["reasoning_content"] = thought
        if details := message.get("reasoning_details"):
            kwargs["reasoning_details"] = details
        calls, invalid = tool_calls_of(message.get("tool_calls"), response)
        usage = response.get("usage")
        return AIMessage.from_wire(
            content,
            id=text_or_none(response.get("id")),
            tool_calls=calls,
            invalid_tool_calls=invalid,
            usage_metadata=usage_of(usage),
            response_metadata=response_metadata(
                response,
                provider=self.provider,
                finish_reason=text_or_none(choice.get("finish_reason")),
                logprobs=choice.get("logprobs"),
                usage=usage,
                extras=response_extras(response, choice),
                request_id=request_id,
            ),
            additional_kwargs=kwargs,
        )

    def stream_decoder(self, headers: Mapping[str, str] | None = None) -> StreamDecoder:
        """Make the decoder of one streamed answer."""
        from modelwire.adapters.openai.stream import ChatCompletionsDecoder

        return ChatCompletionsDecoder(self.provider, request_id_of(headers or {}))

    def error(self, reply: Reply) -> ProviderError:
        """Read an error answer of whatever shape; never raises."""
        return error_from_reply(reply, self.provider)


JSON_HEADERS = {"Accept": "application/json", "Content-Type": "application/json"}


def _merged_headers(*groups: Mapping[str, str]) -> dict[str, str]:
    """Join headers; of one name in any case the last one wins."""
    merged = {name.lower(): (name, value) for group in groups for name, value in group.items()}
    return dict(merged.values())


def _first_choice(response: Any) -> dict[str, Any] | None:
    """Return choice 0, or the first there is, if it has a message."""
    choices = response.get("choices") if isinstance(response, dict) else None
    if not isinstance(choices, list):
        return None
    readable = [choice for choice in choices if isinstance(choice, dict) and isinstance(_message_of(choice), dict)]
    return min(readable, key=lambda choice: bool(choice.get("index")), default=None)


def _message_of(choice: dict[str, Any]) -> Any:
    """Return the message of a choice. Azure leaves it away where its filter left nothing of the answer (2024-04)."""
    if "message" not in choice and choice.get("finish_reason") == "content_filter":
        return {}
    return choice.get("message")
