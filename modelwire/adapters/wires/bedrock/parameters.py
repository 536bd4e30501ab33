"""Encodes the parameters of a call for Converse: tools, limits, the answer's schema. No I/O here.

Wire format: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html, read 2026-11. A
parameter that Converse does not have is taken for one of the model's own, and is sent in
`additionalModelRequestFields` unchanged.
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

# By a parameter's name, the field of `inferenceConfig`.
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
# By LangChain's name of a parameter, the field of the body. The names of the fields are added below.
_FIELDS = {
    "guardrail_config": "guardrailConfig",
    "performance_config": "performanceConfig",
    "request_metadata": "requestMetadata",
    "prompt_variables": "promptVariables",
    "additional_model_response_field_paths": "additionalModelResponseFieldPaths",
}
_WIRE_NAMES = (*_FIELDS.values(), "inferenceConfig", "toolConfig", "outputConfig", "serviceTier")
_FIELDS |= {name: name for name in _WIRE_NAMES}
# The parameters with which the caller sets fields of the model's own. The first that is set is used.
_OWN_FIELDS = ("additional_model_request_fields", "additionalModelRequestFields")
# A tool with one of these keys has Converse's own form.
_OWN_TOOLS = frozenset({"toolSpec", "cachePoint", "systemTool"})


def fields_from_parameters(params: JSON, turns: Sequence[JSON]) -> JSON:
    """Return the fields of the body beside `messages` and `system`; `turns` are the messages.

    Raises `InvalidType` or `InvalidArgument` for a parameter that Converse cannot express.
    """
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
    """Mark the texts and images of the last user turn, in place, so that the guardrail examines only these."""
    turn = next((turn for turn in reversed(turns) if turn["role"] == "user"), None)
    if turn is not None:
        turn["content"] = [
            {"guardContent": {"text": {"text": block["text"]}} if "text" in block else block}
            if block.keys() & {"text", "image"}
            else block
            for block in turn["content"]
        ]


def _tool_config(tools: Any, choice: Any, turns: Sequence[JSON]) -> JSON:
    """Return the `toolConfig`: the tools and the tool choice; empty without tools.

    Converse requires the tools of all calls in the history. If the caller sets no tools, empty ones are made.
    """
    if tools is not None and (isinstance(tools, str | Mapping) or not isinstance(tools, Sequence)):
        raise InvalidType(f"`tools` must be a list, not `{type(tools).__name__}`.")
    uses = [block["toolUse"] for turn in turns for block in turn["content"] if block.get("toolUse")]
    called = dict.fromkeys(use["name"] for use in uses if use.get("type") != "server_tool_use")
    tool_choice = None if choice is None else _choice(choice)
    if tool_choice == {"none": {}}:
        if called:
            raise InvalidArgument(
                'Converse has no `tool_choice="none"`, and a history with tool calls needs its tools: remove the '
                "choice, and forbid tool calls in the system message."
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
    if tool_choice:
        return {"tools": specs, "toolChoice": tool_choice}
    return {"tools": specs}


def _tool(tool: Any) -> list[JSON]:
    """Return a tool in Converse's form, and a cache point if it has a cache mark.

    OpenAI's and Anthropic's forms are converted. Raises `InvalidArgument` for another form.
    """
    if isinstance(tool, Mapping) and tool.keys() & _OWN_TOOLS:
        return [dict(tool)]
    if (function := read_function(tool)) is None:
        raise InvalidArgument(
            "A tool needs a `name` and its `parameters`, or one of Converse's own keys: `toolSpec`, `systemTool`, "
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
    """Return a tool choice in any wire's form in Converse's form."""
    if isinstance(choice, Mapping) and "type" not in choice:
        return dict(choice)
    word, name = read_choice(choice)
    return {word: {"name": name} if name else {}}


def _output_config(form: Any) -> JSON:
    """Return the `outputConfig` for OpenAI's `response_format`, with the JSON schema as a text; {} for plain text."""
    if (inner := read_form(form, "Converse")) is None:
        return {}
    schema: JSON = {"schema": to_json(inner["schema"]).decode()}
    schema |= some_of(inner, "name", "description")
    return {
        "outputConfig": {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": schema}}}
    }
