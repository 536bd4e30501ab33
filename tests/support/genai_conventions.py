"""What the GenAI conventions of OpenTelemetry allow in our spans and metrics: names, types, members, requirements.

Facts read in https://github.com/open-telemetry/semantic-conventions-genai, 2026-11:
inference spans: docs/gen-ai/client-inference.md at 024a4f944a1291fcb627c9c47da69e79868dd15e
metrics of tokens: docs/gen-ai/gen-ai-token-metrics.md at 066d4a7f356f8600de6f10c42874626ab88692fb
embeddings, execute_tool, OpenAI: model/gen-ai/spans.yaml at 002c8a6ea1c8a42b14a4527db83b3cabcded610a
MCP: model/mcp/spans.yaml at 5c50d346f1c9e8f745889f7777a412991564b334,
common.yaml at 0e5e6a8d59d38c9c19556a5164a83cc11a7d53ff
schemas: model/gen-ai/gen-ai-input-messages.json at 2b902ce14e7fa9d3d97cac49de02bae6917c02ae,
gen-ai-system-instructions.json at 16c5f010149520768f4fefdfc4273f9bb07e1448,
gen-ai-tool-definitions.json at d357ce213b466276774e18fb7f598bef06d003d0
earlier names: docs/gen-ai/non-normative/migration.md at 32c328e85013588c6fe32ebc30934ab5b1752b6a
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

REQUIRED, CONDITIONAL, RECOMMENDED, OPT_IN = "required", "conditional", "recommended", "opt-in"

OPERATIONS = frozenset(
    [
        "chat",
        "create_agent",
        "create_memory",
        "create_memory_store",
        "delete_memory",
        "delete_memory_store",
        "embeddings",
        "execute_tool",
        "fetch_response",
        "generate_content",
        "invoke_agent",
        "invoke_workflow",
        "plan",
        "retrieval",
        "search_memory",
        "text_completion",
        "update_memory",
        "upsert_memory",
    ]
)
PROVIDERS = frozenset(
    [
        "anthropic",
        "aws.bedrock",
        "azure.ai.inference",
        "azure.ai.openai",
        "cohere",
        "deepseek",
        "gcp.gemini",
        "gcp.gen_ai",
        "gcp.vertex_ai",
        "groq",
        "ibm.watsonx.ai",
        "mistral_ai",
        "moonshot_ai",
        "openai",
        "perplexity",
        "x_ai",
    ]
)
OUTPUT_TYPES = frozenset(["image", "json", "speech", "text"])


class Attribute(NamedTuple):
    """The type of an attribute, when it has to be there, and its well-known values."""

    kind: type
    level: str = RECOMMENDED
    members: frozenset[str] = frozenset()


_COMMON = {
    "gen_ai.operation.name": Attribute(str, REQUIRED, OPERATIONS),
    "gen_ai.provider.name": Attribute(str, REQUIRED),
    "gen_ai.request.model": Attribute(str, CONDITIONAL),
    "error.type": Attribute(str, CONDITIONAL),
    "server.address": Attribute(str),
    "server.port": Attribute(int, CONDITIONAL),
    "gen_ai.response.model": Attribute(str),
}
_TOKENS = [
    "input_tokens",
    "output_tokens",
    "cache_read.input_tokens",
    "cache_write.input_tokens",
    "text.cache_read.input_tokens",
    "image.cache_read.input_tokens",
    "audio.cache_read.input_tokens",
    "text.input_tokens",
    "image.input_tokens",
    "audio.input_tokens",
    "text.output_tokens",
    "image.output_tokens",
    "audio.output_tokens",
    "reasoning.output_tokens",
]
INFERENCE = {
    **_COMMON,
    "gen_ai.conversation.id": Attribute(str, CONDITIONAL),
    "gen_ai.conversation.compacted": Attribute(bool),
    "gen_ai.output.type": Attribute(str, CONDITIONAL, OUTPUT_TYPES),
    "gen_ai.prompt.name": Attribute(str, CONDITIONAL),
    "gen_ai.prompt.version": Attribute(str, CONDITIONAL),
    "gen_ai.request.choice.count": Attribute(int, CONDITIONAL),
    "gen_ai.request.seed": Attribute(int, CONDITIONAL),
    "gen_ai.request.stream": Attribute(bool, CONDITIONAL),
    "gen_ai.request.top_k": Attribute(int, CONDITIONAL),
    "gen_ai.request.frequency_penalty": Attribute(float),
    "gen_ai.request.max_tokens": Attribute(int),
    "gen_ai.request.presence_penalty": Attribute(float),
    "gen_ai.request.previous_response.id": Attribute(str),
    "gen_ai.request.reasoning.level": Attribute(str),
    "gen_ai.request.stop_sequences": Attribute(tuple),
    "gen_ai.request.temperature": Attribute(float),
    "gen_ai.request.top_p": Attribute(float),
    "gen_ai.response.finish_reasons": Attribute(tuple),
    "gen_ai.response.id": Attribute(str),
    "gen_ai.response.time_to_first_chunk": Attribute(float),
    **{f"gen_ai.usage.{name}": Attribute(int) for name in _TOKENS},
    "gen_ai.input.messages": Attribute(str, OPT_IN),
    "gen_ai.output.messages": Attribute(str, OPT_IN),
    # A template: the name of a variable follows.
    "gen_ai.prompt.variable": Attribute(str, OPT_IN),
    "gen_ai.system_instructions": Attribute(str, OPT_IN),
    "gen_ai.tool.definitions": Attribute(str, OPT_IN),
}
# Of one provider alone.
OWN = {
    "openai": {
        "openai.request.service_tier": Attribute(str, CONDITIONAL),
        "openai.response.service_tier": Attribute(str, CONDITIONAL),
        "openai.response.system_fingerprint": Attribute(str),
        "openai.api.type": Attribute(
            str, RECOMMENDED, frozenset(["chat_completions", "responses"])
        ),
    },
    "aws.bedrock": {"aws.bedrock.guardrail.id": Attribute(str, CONDITIONAL)},
}
EARLIER_ATTRIBUTES = {"gen_ai.usage.cache_creation.input_tokens": Attribute(int)}
EMBEDDINGS = {
    **_COMMON,
    "gen_ai.request.encoding_formats": Attribute(tuple),
    "gen_ai.usage.input_tokens": Attribute(int),
    "gen_ai.embeddings.dimension.count": Attribute(int),
}
EXECUTE_TOOL = {
    "gen_ai.operation.name": Attribute(str, REQUIRED, frozenset(["execute_tool"])),
    "gen_ai.tool.name": Attribute(str, REQUIRED),
    "error.type": Attribute(str, CONDITIONAL),
    "gen_ai.tool.call.id": Attribute(str),
    "gen_ai.tool.description": Attribute(str),
    "gen_ai.tool.type": Attribute(str),
    "gen_ai.tool.call.arguments": Attribute(str, OPT_IN),
    "gen_ai.tool.call.result": Attribute(str, OPT_IN),
}
MCP = {
    "mcp.method.name": Attribute(str, REQUIRED),
    "mcp.protocol.version": Attribute(str),
    "mcp.session.id": Attribute(str),
    "mcp.resource.uri": Attribute(str, CONDITIONAL),
    "jsonrpc.request.id": Attribute(str, CONDITIONAL),
    "jsonrpc.protocol.version": Attribute(str),
    "rpc.response.status_code": Attribute(str, CONDITIONAL),
    "network.transport": Attribute(
        str, RECOMMENDED, frozenset(["pipe", "quic", "tcp", "udp", "unix"])
    ),
    "network.protocol.name": Attribute(str),
    "network.protocol.version": Attribute(str),
    "server.address": Attribute(str),
    "server.port": Attribute(int),
}
EVENTS = {"attempt failed", "waited", "first chunk"}  # our own: the conventions have none for them

_OF_CALLS = {name: _COMMON[name] for name in _COMMON}
_WITHOUT_ERROR = {name: _COMMON[name] for name in _COMMON if name != "error.type"}
_MODALITY = Attribute(str, REQUIRED, frozenset(["audio", "image", "text", "unknown"]))
_USAGE = {**_WITHOUT_ERROR, "gen_ai.token.modality": _MODALITY}
METRICS: dict[str, tuple[str, dict[str, Attribute]]] = {
    "gen_ai.client.inference.duration": ("s", _OF_CALLS),
    "gen_ai.client.inference.time_to_first_chunk": ("s", _WITHOUT_ERROR),
    "gen_ai.client.inference.time_per_output_chunk": ("s", _WITHOUT_ERROR),
    **{
        f"gen_ai.client.inference.usage.{name}": ("{token}", _USAGE)
        for name in (
            "input_tokens",
            "output_tokens",
            "cache_read.input_tokens",
            "cache_write.input_tokens",
            "reasoning.output_tokens",
        )
    },
    "gen_ai.client.inference.operation.input_tokens": ("{token}", _OF_CALLS),
    "gen_ai.client.inference.operation.output_tokens": ("{token}", _OF_CALLS),
    "gen_ai.client.operation.duration": ("s", _OF_CALLS),
    "gen_ai.execute_tool.duration": (
        "s",
        {"gen_ai.tool.name": Attribute(str, REQUIRED), "error.type": Attribute(str, CONDITIONAL)},
    ),
}
_TYPE = Attribute(str, REQUIRED, frozenset(["input", "output"]))
EARLIER_METRICS: dict[str, tuple[str, dict[str, Attribute]]] = {
    "gen_ai.client.operation.time_to_first_chunk": ("s", _WITHOUT_ERROR),
    "gen_ai.client.operation.time_per_output_chunk": ("s", _WITHOUT_ERROR),
    "gen_ai.client.token.usage": ("{token}", {**_OF_CALLS, "gen_ai.token.type": _TYPE}),
}

# The parts of messages with the fields each must have; another type needs nothing but its type.
PARTS: dict[str, dict[str, type]] = {
    "text": {"content": str},
    "tool_call": {"name": str},
    "tool_call_response": {"response": object},
    "server_tool_call": {"name": str, "server_tool_call": dict},
    "server_tool_call_response": {"server_tool_call_response": dict},
    "blob": {"modality": str, "content": str},
    "file": {"modality": str, "file_id": str},
    "uri": {"modality": str, "uri": str},
    "reasoning": {"content": str},
}
ROLES = {"system", "user", "assistant", "tool"}


def violations(span: Any, *, with_earlier: bool) -> Iterator[str]:
    """Yield a sentence for each way in which a span is not what the conventions say."""
    facts = dict(span.attributes)
    operation = facts.get("gen_ai.operation.name")
    if operation is None:  # a chain: the conventions know nothing of it
        yield from (
            f"{name} on a span without an operation" for name in facts if name != "error.type"
        )
        return
    known, kind, subject = _expected(operation, facts)
    if with_earlier and operation == "chat":
        known = known | EARLIER_ATTRIBUTES
    if span.kind.name != kind:
        yield f"the kind is {span.kind.name}, not {kind}"
    title = f"{operation} {facts.get(subject, '')}".strip()
    if span.name != title:
        yield f"the name is {span.name!r}, not {title!r}"
    yield from of_attributes(facts, known)
    if span.status.is_ok == ("error.type" in facts):
        yield f"status {span.status.status_code} with error.type {facts.get('error.type')}"
    if "server.address" in facts and "server.port" not in facts:
        yield "server.address without server.port"
    for event in span.events:
        if event.name not in EVENTS:
            yield f"event {event.name}"
    yield from _of_content(facts)


def _expected(operation: str, facts: Mapping[str, Any]) -> tuple[dict[str, Attribute], str, str]:
    if operation == "execute_tool":
        more = MCP if any(name.startswith("mcp.") for name in facts) else {}
        return EXECUTE_TOOL | more, "INTERNAL", "gen_ai.tool.name"
    if operation == "embeddings":
        return EMBEDDINGS, "CLIENT", "gen_ai.request.model"
    own = OWN.get(str(facts.get("gen_ai.provider.name")), {})
    return INFERENCE | own, "CLIENT", "gen_ai.request.model"


def of_attributes(facts: Mapping[str, Any], known: Mapping[str, Attribute]) -> Iterator[str]:
    for name, value in facts.items():
        if name not in known:
            yield f"{name} is unknown"
            continue
        attribute = known[name]
        if type(value) is not attribute.kind:
            yield f"{name} is a {type(value).__name__}, not a {attribute.kind.__name__}"
        if attribute.members and value not in attribute.members:
            yield f"{name} is {value!r}"
    for name, attribute in known.items():
        if attribute.level == REQUIRED and name not in facts:
            yield f"{name} is missing"


def _of_content(facts: Mapping[str, Any]) -> Iterator[str]:
    for name in ("gen_ai.input.messages", "gen_ai.output.messages"):
        for message in json.loads(facts.get(name, "[]")):
            if message.get("role") not in ROLES:
                yield f"{name}: role {message.get('role')}"
            for part in message["parts"]:
                yield from _of_part(name, part)
    for part in json.loads(facts.get("gen_ai.system_instructions", "[]")):
        yield from _of_part("gen_ai.system_instructions", part)
        if part["type"] != "text":
            yield f"gen_ai.system_instructions: a part {part['type']}"
    for tool in json.loads(facts.get("gen_ai.tool.definitions", "[]")):
        if not (isinstance(tool.get("type"), str) and isinstance(tool.get("name"), str)):
            yield f"gen_ai.tool.definitions: {tool}"


def _of_part(name: str, part: Any) -> Iterator[str]:
    if not isinstance(part.get("type"), str):
        yield f"{name}: a part without type: {part}"
        return
    for field, kind in PARTS.get(part["type"], {}).items():
        if not isinstance(part.get(field), kind):
            yield f"{name}: `{field}` of {part['type']} is {part.get(field)!r}"
