"""Reads an unstreamed answer of Anthropic's Messages API; the stream decoder uses its functions too. No I/O here.

Wire format: https://docs.anthropic.com/en/api/messages, read 2026-11, with `anthropic-version: 2023-06-01`.

`content` is a string if the answer is only plain text, else the list of its blocks, unchanged, because the next request
must contain them so (thinking with its signature, tool calls with their caller). Several plain texts at the beginning
are joined into one block, because a stream returns them as strings before the first other block.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from modelwire.adapters.wires.block_answers import usage_beside_cache
from modelwire.adapters.wires.empty_answers import check_empty
from modelwire.adapters.wires.json import (
    count_or_none,
    dict_or_empty,
    error_from_json,
    no_answer,
    read_reply,
    text_or_none,
)
from modelwire.aliases import JSON, Fields, HeaderFields
from modelwire.errors import ProviderError
from modelwire.messages import AIMessage
from modelwire.messages.block_translators.standard import type_of
from modelwire.messages.tool_calls import read_tool_call

if TYPE_CHECKING:
    from modelwire.messages import UsageMetadata
    from modelwire.transport.wire import Reply

# `model_provider` of all answers over this wire, whichever service sent them: it tells the form of their blocks.
MODEL_PROVIDER = "anthropic"

# The fields of an answer that are not copied to `response_metadata`.
_PLACED = frozenset({"type", "role", "content"})

# By the type of an error that was sent with status 200, the status that such an error otherwise has.
# https://docs.anthropic.com/en/api/errors, read 2026-11.
_STATUS_OF_ERROR = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
    # Bedrock's types, in a stream of `ChatAnthropic(client=AnthropicBedrock(...))`. Others count as 400, such as
    # `validationException`.
    # https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ResponseStream.html, read 2026-11
    "internalServerException": 500,
    "modelStreamErrorException": 500,  # The page has 424, but also "Retry your request".
    "modelTimeoutException": 408,
    "serviceUnavailableException": 503,
    "throttlingException": 429,
}


def read_message(reply: Reply, provider: str) -> AIMessage:
    """Return the message of an unstreamed answer.

    Raises `MalformedResponse` for a body that is not an answer, or the provider's error if the body contains one.
    """
    data = read_reply(reply, provider)
    request_id = reply.headers.get("request-id")
    if isinstance(data, dict) and "content" not in data and data.get("error"):
        raise event_error(data, provider=provider, headers=reply.headers)
    content = data.get("content") if isinstance(data, dict) else None
    if isinstance(content, str):  # Some compatible servers send a string.
        content = [{"type": "text", "text": content}]
    if content is None:
        raise no_answer(reply, provider, "has no `content`")
    blocks: list[JSON] = []
    for block in content if isinstance(content, list) else (None,):
        if not isinstance(block, dict) or not isinstance(block.get("type"), str):
            raise no_answer(reply, provider, "has a `content` that is not a list of blocks")
        blocks.append(with_id(block, data.get("id"), len(blocks)))
    calls, invalid_calls = _tool_calls(blocks)
    metadata = metadata_of(data)
    if request_id is not None:
        metadata["request_id"] = request_id
    if not blocks:
        reason = metadata.get("stop_reason")
        check_empty("anthropic", reason, provider=provider, request_id=request_id)
    return AIMessage.from_wire(
        _content(blocks),
        id=text_or_none(data.get("id")),
        tool_calls=calls,
        invalid_tool_calls=invalid_calls,
        usage_metadata=usage_metadata_of(data.get("usage")),
        response_metadata=metadata,
    )


def is_plain_text(block: Fields) -> bool:
    """Return whether a block is a text without citations."""
    return block["type"] == "text" and block.get("citations") is None


def with_id(block: JSON, message_id: str | None, index: int) -> JSON:
    """Return the block; a tool call without an id gets one, made of the answer's id and the block's index."""
    if block["type"] != "tool_use" or text_or_none(block.get("id")):
        return block
    return {
        **block,
        "id": f"toolu_{zlib.crc32((message_id or '').encode('utf-8', 'replace')):08x}_{index}",
    }


def _content(blocks: list[JSON]) -> str | list[str | JSON]:
    """Return the content of an answer, with the plain texts at the beginning joined."""
    plain = 0
    while plain < len(blocks) and is_plain_text(blocks[plain]):
        plain += 1
    head = ""
    for block in blocks[:plain]:
        head += text_or_none(block.get("text")) or ""
    if plain == len(blocks):
        return head
    rest: list[str | JSON] = [*blocks[plain:]]
    if plain:
        return [{"type": "text", "text": head}, *rest]
    return rest


def _tool_calls(blocks: list[JSON]) -> tuple[list[Any], list[Any]]:
    """Return the valid calls of the caller's tools, and the invalid ones, whose input is not an object."""
    calls: list[Any] = []
    invalid: list[Any] = []
    for block in blocks:
        if block["type"] == "tool_use":
            args = block.get("input")
            args = args if isinstance(args, dict | str | None) else str(args)
            call = read_tool_call(
                text_or_none(block.get("name")) or "", args, text_or_none(block.get("id"))
            )
            (invalid if "error" in call else calls).append(call)
    return calls, invalid


def metadata_of(data: Fields) -> JSON:
    """Return the `response_metadata` of an answer: its fields without the content, and two under LangChain's names."""
    metadata = dict(data)
    for name in _PLACED:
        metadata.pop(name, None)
    if (model := text_or_none(data.get("model"))) is not None:
        metadata["model_name"] = model
    metadata["model_provider"] = MODEL_PROVIDER
    return metadata


def usage_metadata_of(usage: Any) -> UsageMetadata | None:
    """Return the usage metadata of an answer, or None if it has no counts.

    Source: https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching, read 2026-11.
    """
    if not isinstance(usage, Mapping):
        return None
    written: JSON = {}
    if by_lifetime := dict_or_empty(usage.get("cache_creation")):
        written = {name: count_or_none(by_lifetime.get(name)) or None for name in _LIFETIMES}
    metadata = usage_beside_cache(usage, _COUNTS, written)
    more = dict_or_empty(usage.get("output_tokens_details"))
    if (
        metadata is not None
        and more
        and (thinking := count_or_none(more.get("thinking_tokens"))) is not None
    ):
        metadata["output_token_details"] = {"reasoning": thinking}
    return cast("UsageMetadata | None", metadata)


_COUNTS = (
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
)
_LIFETIMES = ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")


def event_error(
    data: Fields, *, provider: str, headers: HeaderFields | None = None
) -> ProviderError:
    """Return the error for `{"type": "error", "error": {...}}`, an event of a stream or a body with status 200."""
    status = _STATUS_OF_ERROR.get(type_of(data.get("error")), 400)
    return error_from_json(data, provider=provider, status=status, headers=headers)
