"""What our models make of a recorded exchange, in the neutral words in which the recordings say the SDKs' outcome.

`answer` is what `check.py` of the recordings calls: one request over HTTP to the server that replays the record.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from modelwire.adapters import (
    ChatAnthropic,
    ChatBedrockConverse,
    ChatGoogleGenerativeAI,
    ChatOpenAI,
)
from modelwire.errors import ChatError
from modelwire.messages import AIMessage, merge_chunks
from modelwire.messages.tool_calls import CALL_EXTRAS

Block = Mapping[str, Any]

SAID = ("text", "output_text", "refusal")
THOUGHT = ("thinking", "redacted_thinking", "reasoning", "reasoning_content")
CALLED = (
    "tool_use",
    "function_call",
    "custom_tool_call",
    "tool_call",
    "tool_call_chunk",
    "input_json_delta",
)


async def answer(endpoint: str, base_url: str, request_body: dict[str, Any]) -> dict[str, Any]:
    """Ask the model of `endpoint` once, streamed where the record is; no error of a provider leaves this."""
    model: Any = _model(endpoint, base_url, is_on_vertex=bool(request_body.get("vertex")))
    try:
        if request_body.get("stream"):
            message = merge_chunks([chunk async for chunk in model.astream("hi")])
        else:
            message = await model.ainvoke("hi")
    except ChatError as error:
        about = {"class": type(error).__name__, "status": error.status, "message": str(error)}
        return {
            "error": about,
            "partial": None if error.partial is None else outcome(endpoint, error.partial),
        }
    return outcome(endpoint, message)


def _model(endpoint: str, base_url: str, *, is_on_vertex: bool = False) -> Any:
    # A recording has one request, so a suspended answer is read as the part that it is. The SDKs return refusals.
    same: dict[str, Any] = {
        "model": "m",
        "api_key": "none",
        "max_retries": 0,
        "max_continuations": 0,
        "on_refusal": "message",
    }
    if endpoint == "anthropic_messages":
        return ChatAnthropic(base_url=base_url.removesuffix("/v1"), **same)
    if endpoint == "bedrock_converse":
        return ChatBedrockConverse(base_url=base_url, **same)
    if endpoint == "gemini_generate":
        vertex = {"vertexai": True, "credentials": lambda: "none", "project": "p", "api_key": None}
        return ChatGoogleGenerativeAI(
            base_url=base_url, **(same | (vertex if is_on_vertex else {}))
        )
    if endpoint == "openai_responses":
        return ChatOpenAI(base_url=base_url, use_responses_api=True, **same)
    return ChatOpenAI(base_url=base_url, **same)


def outcome(endpoint: str, message: AIMessage) -> dict[str, Any]:
    """Say a message in the recordings' words."""
    blocks = blocks_of(message)
    kwargs, metadata = message.additional_kwargs, message.response_metadata
    calls: list[Any] = [*message.tool_calls, *message.invalid_tool_calls]
    free_text = _custom_calls(message, blocks)
    others = [block["type"] for block in blocks if block["type"] not in (*SAID, *THOUGHT, *CALLED)]
    said: dict[str, Any] = {
        "text": "".join(
            block.get("text") or "" for block in blocks if block["type"] in ("text", "output_text")
        ),
        "reasoning_text": kwargs.get("reasoning_content", "") + "".join(_thoughts(blocks)),
        "tool_calls": [
            {"id": call["id"], "name": call["name"], "arguments": _text(call, free_text)}
            for call in calls
        ],
        "server_tools": ["legacy_function_call"] if kwargs.get("function_call") else others,
        "usage": _usage(endpoint, message.usage_metadata),
        "model": metadata.get("model_name"),
        "id": metadata.get("id") or message.id,
        "refusal": kwargs.get("refusal") or "".join(block.get("refusal", "") for block in blocks),
        "citations": len(kwargs.get("annotations", ()))
        + sum(len(block.get("citations") or block.get("annotations") or ()) for block in blocks),
        "opaque": [_digest(text) for block in blocks for text in _opaque(block)],
    }
    words = (metadata.get("prompt_feedback") or {}).get("blockReasonMessage")
    if said["text"] in (said["refusal"], words, metadata.get("finish_message")):
        said["text"] = ""  # `on_refusal="message"` puts the provider's words there
    return said | SPECIFIC[endpoint](message)


def blocks_of(message: AIMessage) -> list[Block]:
    content = [message.content] if isinstance(message.content, str) else message.content
    return [
        {"type": "text", "text": block} if isinstance(block, str) else block for block in content
    ]


def _custom_calls(message: AIMessage, blocks: Iterable[Block]) -> set[Any]:
    """Return the ids of the calls of custom tools, whose input is free text: Responses', Chat Completions'."""
    ids = {block.get("call_id") for block in blocks if block["type"] == "custom_tool_call"}
    extras = message.additional_kwargs.get(CALL_EXTRAS) or {}
    return ids | {id for id, extra in extras.items() if extra.get("type") == "custom"}


def _text(call: Mapping[str, Any], free_text: Iterable[Any]) -> Any:
    """Return the free text of a custom tool as it was; other arguments as they are."""
    args = call["args"]
    is_free = call["id"] in free_text and isinstance(args, dict)
    return args.get("__arg1") if is_free else args


def _thoughts(blocks: Iterable[Block]) -> Iterable[str]:
    for block in blocks:
        yield block.get("thinking") or block.get("reasoning_content", {}).get("text") or ""
        for name in ("summary", "content") if block["type"] == "reasoning" else ():
            yield from (part.get("text") or "" for part in block.get(name) or ())


def _opaque(block: Block) -> Iterable[str]:
    if block["type"] in ("thinking", "redacted_thinking"):
        yield from (block[name] for name in ("signature", "data") if block.get(name))
    elif block["type"] == "reasoning_content":
        yield from (
            value for name, value in block["reasoning_content"].items() if name != "text" and value
        )
    elif block.get("encrypted_content") and "id" in block:  # Anthropic's `compaction` has none
        yield block["encrypted_content"]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _usage(endpoint: str, usage: Any) -> dict[str, Any] | None:
    """Give the tokens as the wire has them: Anthropic's input leaves out what the cache has to do with."""
    if usage is None:
        return None
    into, out = usage.get("input_token_details", {}), usage.get("output_token_details", {})
    read, created = into.get("cache_read"), into.get("cache_creation")
    cached = (
        (read or 0) + (created or 0)
        if endpoint in ("anthropic_messages", "bedrock_converse")
        else 0
    )
    if (
        endpoint == "gemini_generate"
    ):  # the wire has the tools' input and the thoughts beside the others
        tools, thoughts = into.get("tool_use"), out.get("reasoning")
        return {
            "input_tokens": usage["input_tokens"] - (tools or 0),
            "output_tokens": usage["output_tokens"] - (thoughts or 0),
            "total_tokens": usage["total_tokens"],
            "cached_tokens": read,
            "cache_creation_tokens": None,
            "reasoning_tokens": thoughts,
            "tool_input_tokens": tools,
        }
    return {
        "input_tokens": usage["input_tokens"] - cached,
        "output_tokens": usage["output_tokens"],
        "total_tokens": usage["total_tokens"],
        "cached_tokens": read,
        "cache_creation_tokens": created,
        "reasoning_tokens": out.get("reasoning"),
    }


def _chat(message: AIMessage) -> dict[str, Any]:
    about = message.response_metadata
    return {
        "finish_reason": about.get("finish_reason"),
        "finish_detail": about.get("native_finish_reason"),
        "logprobs": len((about.get("logprobs") or {}).get("content") or ()),
        "n_choices": 1 + len(about.get("other_choices", ())),
    }


def _anthropic(message: AIMessage) -> dict[str, Any]:
    about = message.response_metadata
    return {"finish_reason": about.get("stop_reason"), "finish_detail": about.get("stop_sequence")}


def _responses(message: AIMessage) -> dict[str, Any]:
    about = message.response_metadata
    return {
        "finish_reason": about.get("status"),
        "finish_detail": (about.get("incomplete_details") or {}).get("reason"),
        "logprobs": len((about.get("logprobs") or {}).get("content") or ()),
    }


def _bedrock(message: AIMessage) -> dict[str, Any]:
    about = message.response_metadata
    more = about.get("additionalModelResponseFields")  # any JSON
    own_words = {"server_tool_call": "server_tool_use", "server_tool_result": "toolResult"}
    return {
        "finish_reason": about.get("stopReason"),
        "finish_detail": more.get("stop_sequence") if isinstance(more, dict) else None,
        "model": None,  # the answer names none; ours is the one that was asked
        "id": about.get("request_id"),
        "guardrail": bool((about.get("trace") or {}).get("guardrail")),
        "server_tools": [
            own_words[b["type"]] for b in blocks_of(message) if b["type"] in own_words
        ],
    }


def _gemini(message: AIMessage) -> dict[str, Any]:
    about, blocks = message.response_metadata, blocks_of(message)
    grounding, prompt = about.get("grounding_metadata") or {}, about.get("prompt_feedback") or {}
    searched = grounding.get("webSearchQueries") or grounding.get("retrievalQueries") or []
    cited = about.get("citation_metadata") or {}
    counted = {"queries": len(searched)}
    counted |= {
        name: len(grounding.get(f"grounding{name.title()}") or ())
        for name in ("chunks", "supports")
    }
    raw = [part for block in blocks if (part := (block.get("extras") or {}).get("part"))]
    return {
        "finish_reason": about.get("finish_reason"),
        "finish_detail": about.get("finish_message") or prompt.get("blockReasonMessage"),
        "blocked": prompt.get("blockReason"),
        "logprobs": len((about.get("logprobs_result") or {}).get("chosenCandidates") or ()),
        # The SDK has no candidate where the prompt was blocked.
        "n_choices": int("blockReason" not in prompt) + len(about.get("other_choices", ())),
        "reasoning_text": "".join(block.get("reasoning") or "" for block in blocks),
        "server_tools": [
            next(key for key in part if key not in ("thoughtSignature", "thought"))
            for part in raw
            if part
        ],
        "media": [_medium(block) for block in blocks if "base64" in block],
        "grounding": counted if grounding else None,
        "citations": len(cited.get("citations") or cited.get("citationSources") or ()),
        "opaque": [
            _digest(it.replace("-", "+").replace("_", "/"))
            for block in blocks
            for it in _signature(block)
        ],
    }


def _signature(block: Block) -> Iterable[str]:
    extras = block.get("extras") or {}
    found = extras.get("signature") or (extras.get("part") or {}).get("thoughtSignature")
    return [found] if found else []


def _medium(block: Block) -> str:
    data = block["base64"].replace("-", "+").replace("_", "/")
    digest = hashlib.sha256(base64.b64decode(data + "=" * (-len(data) % 4))).hexdigest()[:12]
    return f"{block['mime_type']} {digest}"


SPECIFIC = {
    "bedrock_converse": _bedrock,
    "gemini_generate": _gemini,
    "openai_chat": _chat,
    "anthropic_messages": _anthropic,
    "openai_responses": _responses,
}
