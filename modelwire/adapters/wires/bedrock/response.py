"""Reads an unstreamed answer of Bedrock's Converse; the stream decoder uses its functions too. No I/O here.

Wire format: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html, read 2026-11.

`content` is a string if the answer is one text, else a list of blocks in LangChain's form: `text` (with `citations`),
`tool_use`, `reasoning_content`, `image`, and standard blocks for tools that the service ran. An answer has no id and
does not name its model: the message gets the id of the request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from modelwire.adapters.wires.block_answers import usage_beside_cache
from modelwire.adapters.wires.empty_answers import check_empty
from modelwire.adapters.wires.json import (
    MESSAGE_CHARS,
    UNDOCUMENTED,
    count_or_none,
    dict_or_empty,
    dicts_in,
    error_as,
    no_answer,
    read_reply,
    request_id_of,
    snippet,
)
from modelwire.aliases import JSON, Fields
from modelwire.errors import (
    AuthenticationError,
    BadRequest,
    ContextTooLong,
    PermissionDenied,
    ProviderError,
    QuotaExhausted,
    RateLimited,
)
from modelwire.messages import AIMessage
from modelwire.messages.block_translators.standard import Block, without
from modelwire.messages.tool_calls import invalid_tool_call, tool_call
from modelwire.transport.classify import provider_error

if TYPE_CHECKING:
    from modelwire.messages import InvalidToolCall, ToolCall, UsageMetadata
    from modelwire.transport.wire import Reply

# `model_provider` of all answers over this wire: it tells the form of their blocks.
MODEL_PROVIDER = "bedrock_converse"


# By the name of an exception that was sent with status 200, the status that it otherwise has. Others count as 500.
_STATUSES = {
    "ValidationException": 400,
    "AccessDeniedException": 403,
    "ExpiredTokenException": 403,
    "ResourceNotFoundException": 404,
    "ModelTimeoutException": 408,
    "ModelErrorException": 424,
    "ModelStreamErrorException": 424,
    "ThrottlingException": 429,
    "ModelNotReadyException": 429,
    "ServiceUnavailableException": 503,
}


def read_answer(reply: Reply, provider: str, model: str | None) -> AIMessage:
    """Return the message of an unstreamed answer.

    Raises `MalformedResponse` for a body that is not an answer, or the provider's error if the body contains one.
    """
    data = read_reply(reply, provider)
    request_id = request_id_of(reply.headers)
    message = dict_or_empty(dict_or_empty(data).get("output")).get("message")
    wired = message.get("content") if isinstance(message, Mapping) else None
    if isinstance(data, dict) and wired is None and isinstance(name := data.get("__type"), str):
        raise named_error(name, data, provider=provider, request_id=request_id)
    if not isinstance(wired, list):
        raise no_answer(
            reply, provider, "has no `output.message` with a list of blocks as its `content`"
        )
    try:
        found = (block_from_wire(wired_block, at) for at, wired_block in enumerate(wired))
        blocks: list[Block] = [block for block in found if block is not None]
        calls, invalid_calls = _calls_of_blocks(blocks)
        usage = usage_metadata_of(data.get("usage"))
    except UNDOCUMENTED as exc:
        raise no_answer(reply, provider, f"is not as documented ({exc!r})") from exc
    content: Any = blocks
    if not blocks:
        check_empty("bedrock", data.get("stopReason"), provider=provider, request_id=request_id)
    if not blocks or (len(blocks) == 1 and blocks[0].keys() == {"type", "text"}):
        content = blocks[0]["text"] if blocks else ""
    return AIMessage.from_wire(
        content,
        id=request_id,
        tool_calls=calls,
        invalid_tool_calls=invalid_calls,
        usage_metadata=usage,
        response_metadata=metadata_of(data, request_id, model),
    )


def _calls_of_blocks(blocks: Sequence[Block]) -> tuple[list[ToolCall], list[InvalidToolCall]]:
    """Return the valid tool calls of an answer, and the invalid ones, whose arguments are not a JSON object."""
    calls = []
    invalid_calls = []
    for block in blocks:
        if block["type"] == "tool_use":
            id = block["id"]
            name = block["name"]
            args = block["input"]
            if isinstance(args, dict):
                calls.append(tool_call(name=name, args=args, id=id))
            else:
                error = "The arguments are not a JSON object."
                invalid_calls.append(
                    invalid_tool_call(name=name, args=str(args), id=id, error=error)
                )
    return calls, invalid_calls


def block_from_wire(block: Fields, index: int) -> Block | None:
    """Return the content block for a block of an answer; an unknown one as `non_standard`; None for an empty text."""
    if isinstance(text := block.get("text"), str):
        if text:
            return {"type": "text", "text": text}
        return None
    if (use := block.get("toolUse")) is not None:
        return _tool_use(use, index)
    if (reasoning := block.get("reasoningContent")) is not None:
        redacted = reasoning.get("redactedContent")
        if redacted is None:
            text = dict_or_empty(reasoning.get("reasoningText"))
        else:
            text = {"redacted_content": redacted}
        return {"type": "reasoning_content", "reasoning_content": text}
    if (cited := block.get("citationsContent")) is not None:
        text = "".join(str(part.get("text") or "") for part in dicts_in(cited.get("content")))
        return {"type": "text", "text": text, "citations": dicts_in(cited.get("citations"))}
    if (result := block.get("toolResult")) is not None:
        return server_result(result, result.get("content"))
    if isinstance(image := block.get("image"), dict) and "bytes" in (
        source := dict_or_empty(image.get("source"))
    ):
        media_type = f"image/{image.get('format')}"
        return {
            "type": "image",
            "source": {"type": "base64", "media_type": media_type, "data": source["bytes"]},
        }
    return {"type": "non_standard", "value": dict(block)}


def _tool_use(use: Fields, index: int) -> Block:
    """Return the block for a call of the caller's tool, or of a tool that the service runs."""
    id = str(use.get("toolUseId") or f"tooluse_{index}")
    name = str(use.get("name") or "")
    args = use.get("input")
    if use.get("type") == "server_tool_use":
        return {"type": "server_tool_call", "id": id, "name": name, "args": args or {}}
    return {"type": "tool_use", "id": id, "name": name, "input": {} if args is None else args}


def server_result(result: Fields, output: Any) -> Block:
    """Return the standard block for the result of a tool that the service ran."""
    block: Block = {
        "type": "server_tool_result",
        "tool_call_id": str(result.get("toolUseId") or ""),
    }
    block["status"] = "error" if result.get("status") == "error" else "success"
    if output is not None:
        block["output"] = output
    if result.get("type"):
        return {**block, "extras": {"block_type": result["type"]}}
    return block


def metadata_of(data: Fields, request_id: str | None, model: str | None) -> JSON:
    """Return the `response_metadata` of an answer: `stopReason`, `metrics`, the `trace` of a guardrail ..."""
    metadata = without(data, "output", "p")
    if model is not None:
        metadata["model_name"] = model
    if request_id is not None:
        metadata["request_id"] = request_id
    metadata["model_provider"] = MODEL_PROVIDER
    return metadata


def usage_metadata_of(usage: Any) -> UsageMetadata | None:
    """Return the usage metadata of an answer, or None if it has no counts. The output tokens include reasoning."""
    if not isinstance(usage, Mapping):
        return None
    written: JSON = {}
    for part in dicts_in(usage.get("cacheDetails")):
        written[f"ephemeral_{part.get('ttl')}_input_tokens"] = (
            count_or_none(part.get("inputTokens")) or None
        )
    return cast("UsageMetadata | None", usage_beside_cache(usage, _COUNTS, written))


_COUNTS = ("inputTokens", "outputTokens", "cacheReadInputTokens", "cacheWriteInputTokens")


def named_error(name: str, data: Fields, *, provider: str, request_id: str | None) -> ProviderError:
    """Return the error for an exception that Bedrock sent with status 200: in a stream, or in place of an answer."""
    name = name.rpartition("#")[2]
    name = name[:1].upper() + name[1:]
    message = str(data.get("message") or data.get("Message") or f"`{name}`")
    if original := data.get("originalMessage"):
        message = f"{message} The model says: {original}"
    return classed_by_words(
        provider_error(
            snippet(message, MESSAGE_CHARS),
            provider=provider,
            status=_STATUSES.get(name, 500),
            type=name,
            code=name,
            request_id=request_id,
            body=data,
        )
    )


# By the class of an error: the more specific class, and the texts that show it. Seen in public recordings and issues,
# 2026-11.
_WORDS: dict[type[ProviderError], tuple[type[ProviderError], tuple[str, ...]]] = {
    BadRequest: (
        ContextTooLong,
        ("input tokens exceeded", "too long", "exceeds the maximum length", "context limit"),
    ),
    RateLimited: (QuotaExhausted, ("tokens per day",)),
    PermissionDenied: (AuthenticationError, ("security token", "bearer token", "api key is valid")),
}


def classed_by_words(error: ProviderError) -> ProviderError:
    """Return the error, as a copy of a more specific class if only its message shows the cause."""
    kind, parts = _WORDS.get(type(error), (None, ()))
    words = error.message.lower()
    if kind is not None and any(part in words for part in parts):
        return error_as(kind, error)
    return error
