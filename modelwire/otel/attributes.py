"""The attributes of spans for a request, an answer and a tool, with the names of the GenAI conventions.

Names: https://github.com/open-telemetry/semantic-conventions-genai, read 2026-11: docs/gen-ai/client-inference.md at
024a4f94; tools, embeddings, OpenAI and Bedrock: model/gen-ai/spans.yaml at 002c8a6e; MCP: model/mcp/common.yaml at
0e5e6a8d.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from modelwire.aliases import Fields
from modelwire.ext import names_of

# The attributes of a span.
Facts = dict[str, Any]
_Reader = Callable[[Any], Any]
# The attribute of each parameter, and the function that reads its value.
_Readers = dict[str, tuple[str, _Reader]]


def _double(value: Any) -> float | None:
    if isinstance(value, (int, float)):
        return float(value)
    return None


def _int(value: Any) -> int | None:
    if isinstance(value, (int, float)):
        return int(value)
    return None


def _word(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    return None


def _only_true(value: Any) -> bool | None:
    return True if value is True else None


def _choices(value: Any) -> int | None:
    is_usual = value == 1 or not isinstance(value, int)
    return None if is_usual else value


def _field(name: str) -> _Reader:
    """Return a function that reads a parameter: a text, or an object whose field `name` has the text."""

    def read(value: Any) -> str | None:
        if isinstance(value, Mapping):
            value = value.get(name)
        return _word(value)

    return read


def _output_type(form: Any) -> str:
    if isinstance(form, Mapping) and form.get("type") == "text":
        return "text"
    return "json"


def _output_of_modalities(modalities: Any) -> str | None:
    wanted = {str(one).lower() for one in modalities or ()}
    kinds = {"image": "image", "audio": "speech"}
    for name, kind in kinds.items():
        if name in wanted:
            return kind
    return None


def _output_of_mime_type(value: Any) -> str | None:
    return "json" if value == "application/json" else None


def _chosen_tier(value: Any) -> str | None:
    """Return the service tier of a request; None for `auto`, with which the provider chooses it."""
    return None if value == "auto" else value


LEVEL = "gen_ai.request.reasoning.level"
# The parameters of a call, by all their names at modelwire and the providers: the attribute, and its reader.
_PARAMETERS: _Readers = {
    "temperature": ("gen_ai.request.temperature", _double),
    "top_p": ("gen_ai.request.top_p", _double),
    "top_k": ("gen_ai.request.top_k", _int),
    "max_tokens": ("gen_ai.request.max_tokens", _int),
    "max_completion_tokens": ("gen_ai.request.max_tokens", _int),
    "max_output_tokens": ("gen_ai.request.max_tokens", _int),
    "seed": ("gen_ai.request.seed", _int),
    "frequency_penalty": ("gen_ai.request.frequency_penalty", _double),
    "presence_penalty": ("gen_ai.request.presence_penalty", _double),
    "n": ("gen_ai.request.choice.count", _choices),
    "reasoning_effort": (LEVEL, _word),
    "effort": (LEVEL, _word),
    "thinking_level": (LEVEL, _word),
    "reasoning": (LEVEL, _field("effort")),
    "response_format": ("gen_ai.output.type", _output_type),
    "response_mime_type": ("gen_ai.output.type", _output_of_mime_type),
    "modalities": ("gen_ai.output.type", _output_of_modalities),
    "response_modalities": ("gen_ai.output.type", _output_of_modalities),
    "previous_response_id": ("gen_ai.request.previous_response.id", _word),
    "conversation": ("gen_ai.conversation.id", _field("id")),
    "guardrail_config": ("aws.bedrock.guardrail.id", _field("guardrailIdentifier")),
}
# The parameters that are attributes of a single provider.
_OWN_PARAMETERS: dict[str, _Readers] = {
    "openai": {"service_tier": ("openai.request.service_tier", _chosen_tier)}
}
# Matches the format of vectors in a request, in the fields of OpenAI (and services like it) and of Cohere.
_ENCODING = re.compile(rb'"(?:encoding_format|embedding_types)":\[?"(\w+)"')
# Attributes that only the program knows, and that it sets in the metadata of a run, under these names.
_OF_PROGRAM: dict[str, _Reader] = {
    "gen_ai.prompt.name": _word,
    "gen_ai.prompt.version": _word,
    "gen_ai.conversation.compacted": _only_true,
}
# Programs, LangGraph and LangChain's histories set the id of a conversation under these names in a run's metadata.
_CONVERSATIONS = ("gen_ai.conversation.id", "conversation_id", "thread_id", "session_id")
_USAGE = {
    "input_tokens": "gen_ai.usage.input_tokens",
    "output_tokens": "gen_ai.usage.output_tokens",
}
# The attributes for the details of a usage, for the input and the output.
_DETAILS = {
    "input_token_details": {
        "cache_read": "gen_ai.usage.cache_read.input_tokens",
        "cache_creation": "gen_ai.usage.cache_write.input_tokens",
        "text": "gen_ai.usage.text.input_tokens",
        "audio": "gen_ai.usage.audio.input_tokens",
        "image": "gen_ai.usage.image.input_tokens",
    },
    "output_token_details": {
        "reasoning": "gen_ai.usage.reasoning.output_tokens",
        "text": "gen_ai.usage.text.output_tokens",
        "audio": "gen_ai.usage.audio.output_tokens",
        "image": "gen_ai.usage.image.output_tokens",
    },
}
# The attributes for the metadata of an answer.
_ANSWERS = {"model_name": "gen_ai.response.model", "id": "gen_ai.response.id"}
# The attributes of a single provider for the metadata of an answer.
_OWN_ANSWERS = {
    "openai": {
        "service_tier": "openai.response.service_tier",
        "system_fingerprint": "openai.response.system_fingerprint",
    }
}
# Attributes with their earlier names, up to version 1.41 of the conventions.
_EARLIER = {"gen_ai.usage.cache_write.input_tokens": "gen_ai.usage.cache_creation.input_tokens"}
# A tool of an MCP server may have these in the metadata of its run; its span gets them unchanged.
_OF_MCP = (
    "mcp.method.name",
    "mcp.protocol.version",
    "mcp.session.id",
    "jsonrpc.request.id",
    "network.transport",
    "network.protocol.name",
    "network.protocol.version",
    "server.address",
    "server.port",
)


def known(facts: Fields) -> Facts:
    """Return the facts that are not None."""
    return {name: value for name, value in facts.items() if value is not None}


@lru_cache(maxsize=256)
def provider_name(provider: str) -> str:
    """Return the conventions' name of a provider, or modelwire's if they have none."""
    return names_of(provider).traces or provider


@lru_cache(maxsize=256)
def _parameters_of(provider: str) -> _Readers:
    return _PARAMETERS | _OWN_PARAMETERS.get(provider, {})


def request_attributes(params: Fields, stop: Any, provider: str) -> Facts:
    """Return the attributes for the parameters and the stop sequences of a call."""
    facts: Facts = {}
    if isinstance(stop, str):
        stop = [stop]
    if stop:
        facts["gen_ai.request.stop_sequences"] = list(stop)
    table = _parameters_of(provider)
    for name, value in params.items():
        if name in table and value is not None:
            attribute, read = table[name]
            fact = read(value)
            if fact is not None:
                facts[attribute] = fact
    return facts


def embedding_attributes(messages: Sequence[Any]) -> Facts:
    """Return the attributes of a request for embeddings, whose options are in its first message."""
    pack = None
    if messages:
        pack = messages[0].additional_kwargs.get("pack")
    options = getattr(pack, "options", {})
    return known({"gen_ai.embeddings.dimension.count": options.get("dimensions")})


def encoding_formats(content: bytes) -> list[str]:
    """Return the formats of vectors in the body of a request. Texts cannot match, because their quotes are escaped."""
    return [name.decode() for name in _ENCODING.findall(content)]


def metadata_attributes(metadata: Fields) -> Facts:
    """Return the attributes that the program has set in the metadata: conversation id, prompt name and version."""
    facts: Facts = {name: read(metadata.get(name)) for name, read in _OF_PROGRAM.items()}
    ids = (str(metadata[name]) for name in _CONVERSATIONS if metadata.get(name))
    facts["gen_ai.conversation.id"] = next(ids, None)
    return known(facts)


def answer_attributes(message: Any, provider: str) -> Facts:
    """Return the attributes of an answer, except its tokens and the reason why it ended."""
    about = message.response_metadata
    facts: Facts = {}
    for name, attribute in _answers_of(provider).items():
        value = about.get(name)
        if value is not None:
            facts[attribute] = value
    return facts


@lru_cache(maxsize=256)
def _answers_of(provider: str) -> dict[str, str]:
    return _ANSWERS | _OWN_ANSWERS.get(provider, {})


def usage_attributes(usage: Fields, *, with_earlier: bool) -> Facts:
    """Return the attributes for the tokens of an answer; `with_earlier` adds the earlier names of the conventions."""
    facts: Facts = {}
    for name, attribute in _USAGE.items():
        count = usage.get(name)
        if count is not None:
            facts[attribute] = count
    for side, table in _DETAILS.items():
        for name, count in (usage.get(side) or {}).items():
            if name in table and count is not None:
                facts[table[name]] = count
    if with_earlier:
        for today, before in _EARLIER.items():
            if today in facts:
                facts[before] = facts[today]
    return facts


def tool_attributes(
    name: str, description: str | None, call_id: str | None, metadata: Fields
) -> Facts:
    """Return the attributes for the execution of a tool. A tool of an MCP server also has those of its request."""
    return {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": name,
        "gen_ai.tool.type": "function",
        **known(dict(_optional(description, call_id, metadata))),
    }


def _optional(
    description: str | None, call_id: str | None, metadata: Fields
) -> Iterator[tuple[str, Any]]:
    yield "gen_ai.tool.description", description or None
    yield "gen_ai.tool.call.id", call_id
    if "mcp.method.name" in metadata:
        for name in _OF_MCP:
            yield (name, metadata.get(name))
