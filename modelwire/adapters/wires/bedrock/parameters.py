"""Encodes the parameters of a call for Converse: tools, limits, the format of the answer. No I/O here.

Wire format: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html, read 2026-11. A
parameter without a field in Converse is the model's own; it goes into `additionalModelRequestFields` unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import to_json

from modelwire.adapters.wires.bedrock.blocks_to_wire import cache_point
from modelwire.adapters.wires.outgoing_messages import key_names
from modelwire.adapters.wires.tool_params import read_choice, read_form, read_function
from modelwire.aliases import JSON
from modelwire.errors import InvalidArgument, InvalidType
from modelwire.messages.block_translators.standard import some_of

_INFERENCE = {
    "max_tokens": "maxTokens",
    "max_completion_tokens": "maxTokens",
    "max_output_tokens": "maxTokens",
    "max_tokens_to_sample": "maxTokens",
    "temperature": "temperature",
    "top_p": "topP",
    "stop": "stopSequences",
    "stop_sequences": "stopSequences",
}
# LangChain's names, and the wire's.
_FIELDS = {
    "guardrail_config": "guardrailConfig",
    "performance_config": "performanceConfig",
    "request_metadata": "requestMetadata",
    "prompt_variables": "promptVariables",
    "additional_model_response_field_paths": "additionalModelResponseFieldPaths",
}
_WIRE_NAMES = (*_FIELDS.values(), "inferenceConfig", "toolConfig", "outputConfig", "serviceTier")
_FIELDS |= {name: name for name in _WIRE_NAMES}
# These hold fields of one model family, as the user wrote them; the first one counts.
_OWN_FIELDS = ("additional_model_request_fields", "additionalModelRequestFields")
_OWN_TOOLS = frozenset({"toolSpec", "cachePoint", "systemTool"})


def fields_from_parameters(params: JSON, turns: Sequence[JSON]) -> JSON:
    """Return the body's fields beside `messages` and `system`. Raises `InvalidArgument` for what it cannot express."""
    inference: JSON = {}
    body: JSON = {}
    more: JSON = {}
    last_turn_only = params.pop("guard_last_turn_only", False)
    tool_config = _tool_config(params.pop("tools", None), params.pop("tool_choice", None), turns)
    for name, value in params.items():
        if name in _INFERENCE:
            is_one_stop = _INFERENCE[name] == "stopSequences" and isinstance(value, str)
            inference[_INFERENCE[name]] = [value] if is_one_stop else value
        elif name in _FIELDS:
            body[_FIELDS[name]] = value
        elif name == "service_tier":
            body["serviceTier"] = {"type": value} if isinstance(value, str) else value
        elif name == "response_format":
            body |= _output_config(value)
        elif name == "output_config" and isinstance(value, Mapping) and "textFormat" in value:
            body["outputConfig"] = value
        elif name == "effort":
            more["output_config"] = {**(params.get("output_config") or {}), "effort": value}
        elif name not in _OWN_FIELDS:
            more.setdefault(name, value)
    if inference:
        body["inferenceConfig"] = {**inference, **(body.get("inferenceConfig") or {})}
    if tool_config:
        body["toolConfig"] = {**tool_config, **(body.get("toolConfig") or {})}
    for own_name in _OWN_FIELDS:
        if own_fields := params.get(own_name):
            more |= own_fields
            break
    if more:
        body["additionalModelRequestFields"] = more
    if last_turn_only:
        _guard_last_turn(turns)
    return body


def _guard_last_turn(turns: Sequence[JSON]) -> None:
    """Mark the texts and images of the last user turn, so that the guardrail examines only these."""
    turn = next((turn for turn in reversed(turns) if turn["role"] == "user"), None)
    if turn is not None:
        turn["content"] = [
            {"guardContent": {"text": {"text": block["text"]}} if "text" in block else block}
            if block.keys() & {"text", "image"}
            else block
            for block in turn["content"]
        ]


def _tool_config(tools: Any, choice: Any, turns: Sequence[JSON]) -> JSON:
    """Return the tools and the choice among them. A history with calls needs tools, even where none is to be called."""
    if tools is not None and (isinstance(tools, str | Mapping) or not isinstance(tools, Sequence)):
        raise InvalidType(f"`tools` must be a list, not `{type(tools).__name__}`.")
    uses = [block["toolUse"] for turn in turns for block in turn["content"] if block.get("toolUse")]
    called = dict.fromkeys(use["name"] for use in uses if use.get("type") != "server_tool_use")
    said = None if choice is None else _choice(choice)
    if said == {"none": {}}:
        if called:
            raise InvalidArgument(
                'Converse has no `tool_choice="none"`, and a history with tool calls needs its tools: leave the '
                "choice out, and say in the system message that no tool is to be called."
            )
        return {}
    specs = [spec for tool in tools or () for spec in _tool(tool)]
    if not specs:
        specs = [
            {"toolSpec": {"name": name, "inputSchema": {"json": {"type": "object"}}}}
            for name in called
        ]
    if not specs:
        return {}
    if said:
        return {"tools": specs, "toolChoice": said}
    return {"tools": specs}


def _tool(tool: Any) -> list[JSON]:
    """Return one tool in Converse's shape; OpenAI's and Anthropic's are converted, its own are unchanged."""
    if isinstance(tool, Mapping) and tool.keys() & _OWN_TOOLS:
        return [dict(tool)]
    if (function := read_function(tool)) is None:
        raise InvalidArgument(
            "A tool needs a `name` and its `parameters`, or the shape of Converse's own: `toolSpec`, `systemTool`, "
            f"`cachePoint`. This one has {key_names(tool)}."
        )
    spec: JSON = {"name": function.name}
    if function.description:
        spec["description"] = function.description
    spec["inputSchema"] = {"json": function.schema or {"type": "object", "properties": {}}}
    if function.strict:
        spec["strict"] = True
    cache_control = tool.get("cache_control")
    if cache_control is None:
        return [{"toolSpec": spec}]
    return [{"toolSpec": spec}, cache_point(cache_control)]


def _choice(choice: Any) -> JSON:
    """Return Converse's form of a tool choice of any wire."""
    if isinstance(choice, Mapping) and "type" not in choice:
        return dict(choice)
    word, name = read_choice(choice)
    return {word: {"name": name} if name else {}}


def _output_config(form: Any) -> JSON:
    """Return the output configuration for OpenAI's `response_format`: the JSON schema as a text."""
    if (inner := read_form(form, "Converse")) is None:
        return {}
    schema: JSON = {"schema": to_json(inner["schema"]).decode()}
    schema |= some_of(inner, "name", "description")
    return {
        "outputConfig": {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": schema}}}
    }
