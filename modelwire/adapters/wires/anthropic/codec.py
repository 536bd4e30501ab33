"""The codec of Anthropic's Messages API: `POST {base_url}/v1/messages`. No I/O here.

Wire format: https://docs.anthropic.com/en/api/messages, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from modelwire.adapters.wires.anthropic.messages import turns_from_messages
from modelwire.adapters.wires.anthropic.parameters import (
    encode_parameters,
    features_needed,
    max_tokens_of,
    takes_system_turns,
)
from modelwire.adapters.wires.anthropic.response import read_message
from modelwire.adapters.wires.anthropic.stream import MessagesStreamDecoder
from modelwire.adapters.wires.dropped_content import foreign_work
from modelwire.adapters.wires.json import error_as, error_from_reply
from modelwire.aliases import JSON, Fields, HeaderFields
from modelwire.errors import BadRequest, ContextTooLong, InvalidArgument, InvalidType
from modelwire.transport.wire import WireRequest

if TYPE_CHECKING:
    from modelwire.adapters.wires.wire import ChatCall
    from modelwire.errors import ChatError
    from modelwire.messages import AIMessage
    from modelwire.transport.wire import Reply

# The version of the API, which decides the form of answers. `response.py` and `stream.py` read the form of this one.
# `extra_headers` may set another. https://docs.anthropic.com/en/api/versioning, read 2026-11.
ANTHROPIC_VERSION = "2023-06-01"

# These texts distinguish a too long prompt from other errors with status 400, as all have the type
# `invalid_request_error` and no code. "prompt is too long: 205573 tokens > 200000 maximum", "input length and
# `max_tokens` exceed context limit": seen in public issues, 2026-11.
_TOO_LONG = ("prompt is too long", "exceed context limit")

# The parameters that are sent as headers, as Anthropic's SDK does (anthropic 2.11, `Messages.create`).
_HEADERS = {
    "user_profile_id": "anthropic-user-profile-id",
    "workspace_id": "anthropic-workspace-id",
}


class MessagesCodec(NamedTuple):
    """The codec of Anthropic's Messages API, and of services that have it."""

    provider: str = "anthropic"
    # The name of the wire in the registry.
    wire: str = "anthropic"
    # There is no `reserves`: Anthropic counts the tokens of an answer against the rate limit, and not `max_tokens`.
    # https://docs.anthropic.com/en/api/rate-limits, read 2026-11

    def encode(self, call: ChatCall) -> WireRequest:
        """Return the request of a call. Raises `InvalidArgument` for content that the API does not accept."""
        params = dict(call.params)
        betas = params.pop("betas", None)
        system, turns = turns_from_messages(
            call.messages, system_turns=takes_system_turns(call.model)
        )
        body: JSON = {"model": call.model, "messages": turns}
        if system:
            body["system"] = system
        headers = {
            _HEADERS[name]: _one_line(name, params.pop(name)) for name in _HEADERS if name in params
        }
        if system and "system" in params:
            raise InvalidArgument(
                "There are two system prompts: one in the messages and one in `system`. Remove one of them."
            )
        body |= encode_parameters(params, max_tokens=max_tokens_of(call.model))
        if call.stream:
            body["stream"] = True
        request = WireRequest(
            url=_url(call.endpoint.base_url),
            headers=_headers(call, headers, betas, body),
            body=body | dict(call.extra_body),
            stream=call.stream,
        )
        request.left_out = foreign_work(call.messages, (None, "anthropic"))
        return request

    def decode(self, reply: Reply) -> AIMessage:
        """Return the message of an unstreamed answer. Raises `MalformedResponse`, or the error that the body has."""
        return read_message(reply, self.provider)

    def stream_decoder(self, headers: HeaderFields | None = None) -> MessagesStreamDecoder:
        """Return the decoder for one streamed answer; `headers` are the response's."""
        return MessagesStreamDecoder(
            provider=self.provider, request_id=(headers or {}).get("request-id")
        )

    def continued(self, body: Fields, answer: AIMessage) -> JSON | None:
        """Return the body that continues an answer with stop reason `pause_turn`; None if it has no content.

        The content so far is added as a turn of the assistant. A container in which the provider has run code is named
        again, so that its files are available.
        Source: https://docs.anthropic.com/en/api/handling-stop-reasons, read 2026-11.
        """
        if not answer.content:
            return None
        _, turn = turns_from_messages([answer])
        following = {**body, "messages": [*body["messages"], *turn]}
        container = answer.response_metadata.get("container")
        if isinstance(container, Mapping) and (id := container.get("id")):
            named = body.get("container")
            following["container"] = {**named, "id": id} if isinstance(named, Mapping) else id
        return following

    def error(self, reply: Reply) -> ChatError:
        """Return the error of a response with a status >= 300 and any body; never raises."""
        error = error_from_reply(reply, self.provider)
        if type(error) is BadRequest and any(words in error.message.lower() for words in _TOO_LONG):
            return error_as(ContextTooLong, error)
        return error


def _url(base_url: str) -> str:
    """Return the address of the endpoint. The base URL may end with the version, as OpenAI's does."""
    base, question_mark, query = base_url.partition("?")
    path = "/messages" if base.endswith("/v1") else "/v1/messages"
    return f"{base.rstrip('/')}{path}{question_mark}{query}"


def _headers(call: ChatCall, own: Mapping[str, str], betas: Any, body: Fields) -> dict[str, str]:
    """Return the headers of a request.

    Headers of the call replace others, except that `anthropic-beta` gets the features of `betas`, of all headers, and
    those that the body needs.
    """
    headers = {"content-type": "application/json", "anthropic-version": ANTHROPIC_VERSION, **own}
    features = [] if betas is None else _features(betas)
    for headers_of_call in (call.endpoint.headers, call.extra_headers):
        for name, value in headers_of_call.items():
            if name.lower() == "anthropic-beta":
                features += _features(value)
            else:
                headers[name.lower()] = value
    if features := [
        *dict.fromkeys(features),
        *features_needed({**body, **own} if own else body, features),
    ]:
        headers["anthropic-beta"] = _one_line("betas", ",".join(features))
    return headers


def _one_line(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        raise InvalidArgument(
            f"`{name}` is sent as a header, so it must be a string of one line of printable ASCII."
        )
    return value


def _features(betas: Any) -> list[str]:
    """Return the names in a string separated by commas, or in a list of such strings."""
    if isinstance(betas, str):
        return [name for part in betas.split(",") if (name := part.strip())]
    if not isinstance(betas, list | tuple) or not all(isinstance(name, str) for name in betas):
        raise InvalidType(f"`betas` must be a list of strings, not `{type(betas).__name__}`.")
    return [name for names in betas for name in _features(names)]
