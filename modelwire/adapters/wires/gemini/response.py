"""Reads an unstreamed answer of generateContent; the stream decoder uses its functions too. No I/O here.

Wire format: https://ai.google.dev/api/generate-content, read 2026-11.

`content` is a string if the answer is only plain text, else a list of standard blocks, one for each part. The `extras`
of a block have the fields that standard blocks lack: the `signature` of a thought, or the whole `part` of a tool that
the service ran. Successive plain texts are joined into one block. A part with a signature is never joined, because the
next request must contain it unchanged.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from pydantic_core import to_json

from modelwire.adapters.wires.empty_answers import check_empty
from modelwire.adapters.wires.json import (
    UNDOCUMENTED,
    count_or_none,
    counts_of,
    dict_or_empty,
    dicts_in,
    error_from_json,
    in_snake_case,
    no_answer,
    read_reply,
    text_or_none,
)
from modelwire.aliases import JSON, Fields
from modelwire.messages import AIMessage
from modelwire.messages.block_translators.standard import Block, without
from modelwire.messages.tool_calls import invalid_tool_call, tool_call

if TYPE_CHECKING:
    from modelwire.messages import UsageMetadata
    from modelwire.transport.wire import Reply

# `model_provider` of all answers over this wire, whichever service sent them: it tells the form of their blocks.
MODEL_PROVIDER = "google_genai"

# The fields of parts that are calls of tools which the service runs, and the tool's name ("": the call has the name).
SERVER_CALLS = {"executableCode": "code_interpreter", "toolCall": ""}
# The fields of parts that are results of such tools.
SERVER_RESULTS = ("codeExecutionResult", "toolResponse", "functionResponse")
MEDIA = ("image", "audio", "video")
# The fields of a part beside its data, and their names in the `extras` of a block (google-genai 3.4, `types.Part`).
PART_FIELDS = {
    "videoMetadata": "video_metadata",
    "mediaResolution": "media_resolution",
    "mediaProcessing": "media_processing",
    "documentMetadata": "document_metadata",
    "spreadsheetMetadata": "spreadsheet_metadata",
    "speechMetadata": "speech_metadata",
    "audioTranscription": "audio_transcription",
    "partMetadata": "part_metadata",
}


def read_answer(reply: Reply, provider: str) -> AIMessage:
    """Return the message of an unstreamed answer: its first candidate. The others are in its `response_metadata`.

    Raises `MalformedResponse` for a body that is not an answer, or the provider's error if the body contains one.
    """
    data = read_reply(reply, provider)
    if not isinstance(data, dict) or _ANSWERED.isdisjoint(data):
        if isinstance(data, dict) and isinstance(data.get("error"), Mapping):
            raise error_from_json(
                data, provider=provider, status=reply.status, headers=reply.headers
            )
        raise no_answer(reply, provider, "has no `candidates`")
    try:
        candidate, *others = data.get("candidates") or ({},)
        id = data.get("responseId")
        fields = _fields(candidate, id)
        metadata = metadata_of(data, candidate)
        check_answered(metadata, provider=provider, has_content=bool(fields["content"]))
        blocked = dict_or_empty(metadata.get("prompt_feedback")).get("blockReason")
        if not candidate and blocked is None:
            raise no_answer(reply, provider, "has no candidate and no reason for that")
        if others:
            metadata["other_choices"] = choices_of(others, id)
        usage = usage_metadata_of(data.get("usageMetadata"))
        return AIMessage.from_wire(
            **fields, id=text_or_none(id), usage_metadata=usage, response_metadata=metadata
        )
    except UNDOCUMENTED as exc:
        raise no_answer(reply, provider, f"is not as documented ({exc!r})") from exc


# A body with none of these fields is not an answer.
_ANSWERED = frozenset(("candidates", "promptFeedback", "usageMetadata"))


def choices_of(candidates: Iterable[JSON], response_id: Any) -> list[JSON]:
    """Return the entries of `response_metadata["other_choices"]` for the candidates after the first."""
    return [
        {
            "index": it.get("index"),
            "additional_kwargs": {},
            **_fields(it, response_id),
            **metadata_of({}, it),
        }
        for it in candidates
    ]


def in_order(content: Sequence[Any]) -> Sequence[Any]:
    """Return the blocks in the order of their `index`, because a stream returns tool calls at its end.

    Content with a block without an `index` is returned unchanged.
    """
    if any(not isinstance(block, dict) or type(block.get("index")) is not int for block in content):
        return content
    return sorted(content, key=lambda block: block["index"])


def parts_of(candidate: Fields) -> list[Any]:
    """Return the parts of a candidate, or an empty list if it has no content."""
    content = candidate.get("content")
    if isinstance(content, dict):
        return content.get("parts") or []
    return []


def _fields(candidate: Fields, response_id: Any) -> JSON:
    """Return `content`, `tool_calls` and `invalid_tool_calls` of a candidate."""
    parts = parts_of(candidate)
    error = not_to_run(candidate)
    answered = answered_names(parts)
    blocks: list[Block] = []
    calls: list[Any] = []
    invalid: list[Any] = []
    for part in parts:
        if "functionCall" in part and part["functionCall"].get("name") not in answered:
            block = call_of(part, response_id, len(calls) + len(invalid), error=error)
            made = invalid if block["type"] == "invalid_tool_call" else calls
            made.append(without(block, "extras"))
        else:
            block = block_from_part(part)
        if blocks and _is_run(blocks[-1], block):
            blocks[-1][block["type"]] += block[block["type"]]
        elif block["type"] != "text" or block["text"] or "extras" in block:
            blocks.append(block)
    content: Any = blocks
    if not blocks or (len(blocks) == 1 and blocks[0].keys() == {"type", "text"}):
        content = blocks[0]["text"] if blocks else ""
    return {"content": content, "tool_calls": calls, "invalid_tool_calls": invalid}


def not_to_run(candidate: Fields) -> str | None:
    """Return why the calls of a candidate must not run (the model called undeclared tools), or None if they may."""
    reason = candidate.get("finishReason")
    if reason == "UNEXPECTED_TOOL_CALL":
        return str(candidate.get("finishMessage") or reason)
    return None


def _is_run(before: Block, block: Block) -> bool:
    """Return whether a block continues the text of the block before it."""
    kind = block["type"]
    return (
        kind == before["type"] and kind in ("text", "reasoning") and "extras" not in before | block
    )


def answered_names(parts: Iterable[Fields]) -> set[str]:
    """Return the names of the functions whose results are in the answer, as the service ran them (MCP tools)."""
    return {
        str(part["functionResponse"].get("name")) for part in parts if "functionResponse" in part
    }


def block_from_part(part: JSON) -> Block:
    """Return the standard block for a part. A `functionCall` becomes a call that the service has run."""
    text = part.get("text")
    block: Block
    if isinstance(text, str):
        if part.get("thought"):
            block = {"type": "reasoning", "reasoning": text}
        else:
            block = {"type": "text", "text": text}
    elif isinstance(data := part.get("inlineData"), dict):
        mime_type = str(data.get("mimeType") or "")
        kind = mime_type.partition("/")[0]
        block = {
            "type": kind if kind in MEDIA else "file",
            "base64": data.get("data") or "",
            "mime_type": mime_type,
        }
    else:
        return _server_block(part)
    if signature := part.get("thoughtSignature"):
        block["extras"] = {"signature": signature}
    if len(part) > 1:
        fields = {ours: part[key] for key, ours in PART_FIELDS.items() if part.get(key)}
        if fields:
            block["extras"] = {**block.get("extras", {}), **fields}
    return block


def _server_block(part: JSON) -> Block:
    """Return the block for the call or the result of a tool that the service ran, with the unchanged part as extra."""
    extras = {"part": part}
    for key in (*SERVER_CALLS, "functionCall"):
        if isinstance(call := part.get(key), dict):
            name = SERVER_CALLS.get(key) or str(call.get("name") or call.get("toolType") or "")
            args = call if key == "executableCode" else call.get("args") or {}
            return {
                "type": "server_tool_call",
                "name": name,
                "id": call.get("id") or "",
                "args": args,
                "extras": extras,
            }
    for key in SERVER_RESULTS:
        if isinstance(result := part.get(key), dict):
            failed = result.get("outcome") not in (None, "OUTCOME_OK")
            output = result.get("output", result.get("response"))
            return {
                "type": "server_tool_result",
                "tool_call_id": result.get("id") or "",
                "status": "error" if failed else "success",
                "output": output,
                "extras": extras,
            }
    return {"type": "non_standard", "value": part}


def call_of(part: Fields, response_id: Any, position: int, *, error: str | None = None) -> Block:
    """Return the block for a call of the caller's tool; an `invalid_tool_call` if `error` is why it must not run."""
    call = part["functionCall"]
    name = str(call.get("name") or "")
    args = call.get("args") or {}
    if (id := text_or_none(call.get("id"))) is None:
        seed = response_id or to_json([name, args], fallback=str).decode()
        id = f"gemini_{zlib.crc32(str(seed).encode('utf-8', 'replace')):08x}_{position}"
    block: Any
    if error is None and isinstance(args, dict):
        block = tool_call(name=name, args=args, id=id)
    else:
        block = invalid_tool_call(
            name=name, args=to_json(args).decode(), id=id, error=error or "not an object"
        )
    if signature := part.get("thoughtSignature"):
        block["extras"] = {"signature": signature}
    return cast("Block", block)


# The forms of ids that modelwire makes: the first for calls without an id, the second for missing or repeated ids in a
# history (`with_paired_calls`).
_MADE_UP_ID = re.compile(r"gemini_[0-9a-f]{8}_\d+|call[0-9a-f]{5}")


def is_made_up(id: str | None) -> bool:
    """Return whether modelwire made the id of a call, because the model sent none. Such an id is never sent."""
    return id is None or _MADE_UP_ID.fullmatch(id) is not None


def metadata_of(data: Fields, candidate: Fields) -> JSON:
    """Return the `response_metadata` of an answer: its fields without the content, under LangChain's names."""
    metadata: JSON = {"model_provider": MODEL_PROVIDER} if data else {}
    for source in (data, candidate):
        for key, value in source.items():
            if key not in _PLACED and value is not None:
                metadata[_NAMES.get(key) or in_snake_case(key)] = value
    return metadata


# The fields that are not copied to `response_metadata`.
_PLACED = frozenset(("candidates", "content", "index"))
# LangChain's names of fields, if they are not the names in snake_case.
_NAMES = {"modelVersion": "model_name", "responseId": "id", "usageMetadata": "usage"}


def check_answered(metadata: Fields, *, provider: str, has_content: bool) -> None:
    """Raise `MalformedResponse` for an answer without content, unless its finish reason explains that.

    A blocked answer, or a blocked prompt, is no error here: `messages.refusals` recognises such messages.
    """
    feedback = dict_or_empty(metadata.get("prompt_feedback"))
    if not has_content and feedback.get("blockReason") is None:
        reason = metadata.get("finish_reason")
        words = metadata.get("finish_message")
        check_empty("gemini", reason, provider=provider, words=words)


def usage_metadata_of(usage: Any) -> UsageMetadata | None:
    """Return the usage metadata of an answer, or None, and no zeros, if it has no counts.

    The wire's `candidatesTokenCount` excludes thoughts, and no other count includes `toolUsePromptTokenCount`.
    """
    if not isinstance(usage, Mapping):
        return None
    prompt, answer, thoughts, tools, cached, total = counts_of(usage, _COUNTS)
    if prompt is None and answer is None and total is None:
        return None
    into = (prompt or 0) + (tools or 0)
    out = (answer or 0) + (thoughts or 0)
    metadata: Any = {
        "input_tokens": into,
        "output_tokens": out,
        "total_tokens": into + out if total is None else total,
    }
    if details := _details(usage.get("promptTokensDetails"), cache_read=cached, tool_use=tools):
        metadata["input_token_details"] = details
    if details := _details(usage.get("candidatesTokensDetails"), reasoning=thoughts):
        metadata["output_token_details"] = details
    return cast("UsageMetadata", metadata)


# Usage with none of these fields has no counts.
COUNTED = frozenset(("promptTokenCount", "candidatesTokenCount", "totalTokenCount"))
_COUNTS = (
    "promptTokenCount",
    "candidatesTokenCount",
    "thoughtsTokenCount",
    "toolUsePromptTokenCount",
    "cachedContentTokenCount",
    "totalTokenCount",
)


def _details(by_modality: Any, **counts: int | None) -> dict[str, int]:
    """Return the `counts` that are not None, and the counts of each modality except text."""
    known = {}
    for entry in dicts_in(by_modality):
        if (kind := str(entry.get("modality") or "TEXT").lower()) != "text":
            counts[kind] = count_or_none(entry.get("tokenCount"))
    for name, count in counts.items():
        if count is not None:
            known[name] = count  # noqa: PERF403 - A comprehension would cost another call.
    return known
