"""The fields of requests that the providers' SDKs describe, for `modelwire/testing/server/request_fields.json`.

.venv/bin/python -m tests.support.request_fields    # writes that file
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

PLACE = Path(__file__).parents[2] / "modelwire/testing/server/request_fields.json"

Fields = dict[str, Any]

# `_GenerateContentConfig_to_mldev` and `_to_vertex` of google-genai 3.4 (`models.py`) write these; the SDK has no class
# of the request.
GEMINI_BODY = [
    "cachedContent",
    "contents",
    "continuationToken",
    "generationConfig",
    "labels",
    "model",
    "modelArmorConfig",
    "outputConfig",
    "safetySettings",
    "serviceTier",
    "store",
    "systemInstruction",
    "toolConfig",
    "tools",
]
GEMINI_MORE = ("imageConfig", "modelConfig")


def members(kind: Any) -> Iterator[Any]:
    """Yield the TypedDicts among the kinds of a union, at any depth."""
    origin = get_origin(kind)
    if origin is Union or str(origin) == "<class 'types.UnionType'>":
        for one in get_args(kind):
            yield from members(one)
    elif origin is Annotated:
        yield from members(get_args(kind)[0])
    elif hasattr(kind, "__required_keys__"):
        yield kind


def keys_of(kind: Any) -> set[str]:
    return set(get_type_hints(kind))


def by_word(kinds: Any, key: str, *, least: str = "") -> dict[str, list[str]]:
    """Return the keys of each kind under the words of its field `key`; `least` names a kind without one."""
    found: dict[str, set[str]] = {}
    for kind in members(kinds):
        hint = get_type_hints(kind).get(key)
        for word in list(_words(hint)) or [least]:
            found.setdefault(word, set()).update(keys_of(kind))
    return {word: sorted(keys) for word, keys in sorted(found.items())}


def _words(hint: Any) -> Iterator[str]:
    if get_origin(hint) is Literal:
        yield from (word for word in get_args(hint) if isinstance(word, str))
    else:
        for one in get_args(hint):
            yield from _words(one)


def fields_of_sdks() -> Fields:
    """Return the table: of each wire the fields of a body, of its messages, parts and tools."""
    import anthropic.types as messages
    import anthropic.types.beta as beta
    import openai.types.chat as chat
    import openai.types.responses as responses
    from anthropic.types.beta.message_create_params import (
        MessageCreateParamsNonStreaming as BetaMessageCreateParams,
    )
    from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
    from google.genai import types as genai
    from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
    from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming

    def aliases(kind: Any) -> list[str]:
        return sorted(field.alias or name for name, field in kind.model_fields.items())

    streams = {"stream", "stream_options"}
    # The classes leave out what the newest models do not take; older ones still do:
    # https://platform.claude.com/docs/en/api/messages/create, read 2026-11.
    anthropics = {"stream", "temperature", "top_k", "top_p"}
    return {
        "openai": {
            "body": sorted(keys_of(CompletionCreateParamsNonStreaming) | streams),
            "messages": by_word(chat.ChatCompletionMessageParam, "role"),
            "tools": by_word(chat.ChatCompletionToolUnionParam, "type"),
        },
        "responses": {
            "body": sorted(keys_of(ResponseCreateParamsNonStreaming) | streams),
            "input": by_word(responses.ResponseInputItemParam, "type"),
            "tools": by_word(responses.ToolParam, "type"),
        },
        "anthropic": {
            "body": sorted(keys_of(MessageCreateParamsNonStreaming) | anthropics),
            "body with betas": sorted(keys_of(BetaMessageCreateParams) - {"betas"} | anthropics),
            "content": _both(
                by_word(messages.ContentBlockParam, "type"),
                by_word(beta.BetaContentBlockParam, "type"),
            ),
            "tools": _both(
                by_word(messages.ToolUnionParam, "type", least="custom"),
                by_word(beta.BetaToolUnionParam, "type", least="custom"),
            ),
        },
        "gemini": {
            "body": GEMINI_BODY,
            "content": aliases(genai.Content),
            "part": aliases(genai.Part),
            "generationConfig": sorted({*aliases(genai.GenerationConfig), *GEMINI_MORE}),
        },
    }


def _both(one: dict[str, list[str]], other: dict[str, list[str]]) -> dict[str, list[str]]:
    words = sorted({*one, *other})
    return {word: sorted({*one.get(word, ()), *other.get(word, ())}) for word in words}


if __name__ == "__main__":
    PLACE.write_text(json.dumps(fields_of_sdks(), indent=1) + "\n")
