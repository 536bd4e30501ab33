"""The types in `support/wire_types` have the keys that the official SDK's types have."""

from __future__ import annotations

from typing import Any, get_args, get_type_hints

import anthropic.types as messages
import openai.types.chat as chat
import openai.types.responses as responses
import pytest
from openai.types import CompletionUsage
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming
from support.wire_types import anthropic as anthropic_types
from support.wire_types import bedrock as bedrock_types
from support.wire_types import gemini as gemini_types
from support.wire_types import openai_chat as chat_types
from support.wire_types import openai_responses as responses_types

# What compatible services have beside OpenAI.
SERVICES = {"reasoning_content", "reasoning", "reasoning_details", "error"}
STREAMS = {"stream"}


def keys_of(kind: Any) -> set[str]:
    """Return the keys of a model, a TypedDict, or of all that a union may be."""
    parts = [part for part in get_args(kind) if not isinstance(part, str)]
    if parts and not hasattr(kind, "model_fields") and not hasattr(kind, "__required_keys__"):
        return set().union(*(keys_of(part) for part in parts))
    return {*getattr(kind, "model_fields", ()), *getattr(kind, "__annotations__", ())} | (
        {
            name
            for base in getattr(kind, "__orig_bases__", ())
            for name in getattr(base, "__annotations__", ())
        }
    )


def botos(*shapes: str) -> set[str]:
    """Return the keys of shapes of Bedrock's, as botocore's own description has them."""
    loaders = pytest.importorskip("botocore.loaders")
    known = loaders.Loader().load_service_model("bedrock-runtime", "service-2")["shapes"]
    return {key for shape in shapes for key in known[shape]["members"]}


@pytest.mark.parametrize(
    ("ours", "shapes"),
    [
        (bedrock_types.RequestBody, ["ConverseRequest"]),
        (bedrock_types.Turn, ["Message"]),
        (bedrock_types.Block, ["ContentBlock"]),
        (bedrock_types.ToolUse, ["ToolUseBlock"]),
        (bedrock_types.ToolResult, ["ToolResultBlock"]),
        (bedrock_types.ReasoningContent, ["ReasoningContentBlock"]),
        (bedrock_types.Response, ["ConverseResponse"]),
        (bedrock_types.Usage, ["TokenUsage"]),
        (bedrock_types.Delta, ["ContentBlockDelta"]),
        (
            bedrock_types.Event,
            [
                "MessageStartEvent",
                "ContentBlockStartEvent",
                "ContentBlockDeltaEvent",
                "MessageStopEvent",
                "ConverseStreamMetadataEvent",
            ],
        ),
    ],
)
def test_every_key_of_bedrocks_is_one_of_botocores(ours: Any, shapes: list[str]) -> None:
    assert set(get_type_hints(ours)) <= botos(*shapes)


@pytest.mark.parametrize(
    ("ours", "sdks"),
    [
        (gemini_types.Part, "Part"),
        (gemini_types.Candidate, "Candidate"),
        (gemini_types.Content, "Content"),
        (gemini_types.FunctionCall, "FunctionCall"),
        (gemini_types.FunctionResponse, "FunctionResponse"),
        (gemini_types.Response, "GenerateContentResponse"),
        (gemini_types.Blob, "Blob"),
        (gemini_types.FileData, "FileData"),
        (gemini_types.Usage, "GenerateContentResponseUsageMetadata"),
    ],
)
def test_every_key_of_geminis_is_one_of_google_genais(ours: Any, sdks: str) -> None:
    fields = getattr(pytest.importorskip("google.genai.types"), sdks).model_fields
    assert set(get_type_hints(ours)) <= {field.alias or name for name, field in fields.items()}


@pytest.mark.parametrize(
    ("ours", "sdks", "besides"),
    [
        (chat_types.RequestBody, [CompletionCreateParamsNonStreaming], STREAMS),
        (chat_types.Completion, [chat.ChatCompletion, chat.ChatCompletionChunk], SERVICES),
        (
            chat_types.Choice,
            [chat.chat_completion.Choice, chat.chat_completion_chunk.Choice],
            set(),
        ),
        (
            chat_types.Message,
            [chat.ChatCompletionMessage, chat.chat_completion_chunk.ChoiceDelta],
            SERVICES,
        ),
        (chat_types.ToolCall, [chat.chat_completion_chunk.ChoiceDeltaToolCall], {"custom"}),
        (chat_types.Usage, [CompletionUsage], set()),
        (responses_types.RequestBody, [ResponseCreateParamsNonStreaming], STREAMS),
        (responses_types.Response, [responses.Response], set()),
        (responses_types.Usage, [responses.ResponseUsage], set()),
        (responses_types.Event, [responses.ResponseStreamEvent], set()),
        (responses_types.Item, [responses.ResponseOutputItem], set()),
        (
            anthropic_types.RequestBody,
            [messages.message_create_params.MessageCreateParamsBase],
            STREAMS,
        ),
        (anthropic_types.Message, [messages.Message], set()),
        (anthropic_types.Usage, [messages.Usage], set()),
        (
            anthropic_types.Delta,
            [messages.RawContentBlockDelta, messages.raw_message_delta_event.Delta],
            set(),
        ),
        (anthropic_types.Event, [messages.RawMessageStreamEvent], {"error"}),
        (anthropic_types.Tool, [messages.ToolParam], set()),
        (anthropic_types.ToolChoice, [messages.ToolChoiceToolParam], set()),
    ],
)
def test_every_key_is_one_of_the_sdks(ours: Any, sdks: list[Any], besides: set[str]) -> None:
    known = set().union(*(keys_of(kind) for kind in sdks))
    assert known
    assert set(get_type_hints(ours)) - besides <= known
