"""Converts a recorded request of any wire back to messages and common parameters. No I/O.

An assistant's message is decoded like an answer of its wire. Any other field of a request is
reported, not sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic_core import from_json, to_json

from modelwire.ext import Reply, wire_named
from modelwire.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    convert_to_messages,
)
from modelwire.messages.block_readers import block_from_wire

__all__ = ["Request", "read_request"]

JSON = dict[str, Any]


class Request(NamedTuple):
    """A recorded request.

    `params` have the common names; `left_out` are fields without a common name.
    """

    messages: list[BaseMessage]
    params: JSON
    left_out: list[str]


def read_request(wire: str, body: Mapping[str, Any]) -> Request:
    """Return the request in the body of a call over `wire`.

    Raises: `KeyError`, `TypeError`, `ValueError` for an invalid body.
    """
    fields = {name: value for name, value in body.items() if value is not None}
    messages, params = _READERS[wire](fields)
    return Request(
        messages,
        {name: value for name, value in params.items() if value not in (None, [])},
        sorted(fields),
    )


def _chat(fields: JSON) -> tuple[list[BaseMessage], JSON]:
    _drop(fields, "model", "stream", "stream_options")
    if fields.get("n") == 1:
        _drop(fields, "n")
    messages = convert_to_messages(fields.pop("messages"))
    params = _taken(fields, "max_tokens", "temperature", "top_p", "stop", *_SAME)
    params["max_tokens"] = fields.pop("max_completion_tokens", params["max_tokens"])
    if effort := fields.pop("reasoning_effort", None):
        params["reasoning"] = {"effort": effort}
    else:
        params["reasoning"] = None
    form = fields.pop("response_format", None)
    params |= {
        "response_format": form,
        "tools": fields.pop("tools", None),
        "tool_choice": _choice(fields),
    }
    return messages, params


def _responses(fields: JSON) -> tuple[list[BaseMessage], JSON]:
    _drop(fields, "model", "stream", "store", "include", "stream_options")
    items = fields.pop("input")
    messages: list[BaseMessage] = (
        [SystemMessage(text)] if (text := fields.pop("instructions", None)) else []
    )
    turn: list[JSON] = []

    def end_turn() -> None:
        if turn:
            messages.append(_decoded("responses", {"status": "completed", "output": [*turn]}))
            turn.clear()

    for item in [{"role": "user", "content": items}] if isinstance(items, str) else items:
        if str(item.get("type")).endswith("call_output"):
            end_turn()
            messages.append(ToolMessage(_content(item["output"]), tool_call_id=item["call_id"]))
        elif item.get("role") not in (None, "assistant"):
            end_turn()
            kind = HumanMessage if item["role"] == "user" else SystemMessage
            messages.append(kind(_content(item["content"])))
        else:
            turn.append(_said_by_assistant(item))
    end_turn()
    params = _taken(fields, "temperature", "top_p", "reasoning", max_output_tokens="max_tokens")
    text_form = fields.pop("text", None) or {}
    if (form := text_form.get("format") or {}).get("type") == "json_schema":
        params["response_format"] = {"type": "json_schema", "json_schema": {**form, "type": None}}
        del params["response_format"]["json_schema"]["type"]
    tools = fields.get("tools") or ()
    params["tools"] = [
        {"type": "function", "function": _without_type(it)}
        for it in tools
        if it["type"] == "function"
    ]
    if all(it["type"] == "function" for it in tools):
        _drop(fields, "tools")
    params["tool_choice"] = _choice(fields)
    return messages, params


def _said_by_assistant(item: JSON) -> JSON:
    if item.get("role") != "assistant" or not isinstance(item["content"], str):
        if "type" in item:
            return item
        return {"type": "message", **item}
    return {
        **item,
        "type": "message",
        "content": [{"type": "output_text", "text": item["content"]}],
    }


def _anthropic(fields: JSON) -> tuple[list[BaseMessage], JSON]:
    _drop(fields, "model", "stream", "anthropic_version", "metadata")
    messages: list[BaseMessage] = (
        [SystemMessage(_content(system))] if (system := fields.pop("system", None)) else []
    )
    for turn in fields.pop("messages"):
        content = turn["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if turn["role"] == "assistant":
            usage = {"input_tokens": 0, "output_tokens": 0}
            messages.append(
                _decoded(
                    "anthropic", {"type": "message", "content": blocks, "usage": usage, "model": ""}
                )
            )
            continue
        for block in blocks:
            if block["type"] == "tool_result":
                status: Any = "error" if block.get("is_error") else "success"
                answer = _content(block.get("content") or "")
                messages.append(
                    ToolMessage(answer, tool_call_id=block["tool_use_id"], status=status)
                )
        messages += _human(_content([block for block in blocks if block["type"] != "tool_result"]))
    params = _taken(fields, "max_tokens", "temperature", "top_p", "top_k", stop_sequences="stop")
    form = (fields.get("output_config") or {}).get("format") or {}
    if form.get("type") == "json_schema":
        params["response_format"] = _schema_form(form["schema"])
        _drop(fields, "output_config")
    own = [it for it in fields.get("tools") or () if "input_schema" in it]
    params["tools"] = [_tool(it["name"], it.get("description"), it["input_schema"]) for it in own]
    if len(own) == len(fields.get("tools") or ()):
        _drop(fields, "tools")
    params["tool_choice"] = _choice(fields)
    return messages, params


def _gemini(fields: JSON) -> tuple[list[BaseMessage], JSON]:
    messages: list[BaseMessage] = []
    if system := fields.pop("systemInstruction", None):
        messages.append(SystemMessage("\n\n".join(part["text"] for part in system["parts"])))
    # These are the calls of the model's latest message that have no result yet.
    calls: list[Any] = []
    for turn in fields.pop("contents"):
        if turn.get("role") == "model":
            answer = _decoded("gemini", {"candidates": [{"content": turn, "finishReason": "STOP"}]})
            messages, calls = [*messages, answer], list(answer.tool_calls)
            continue
        for part in turn["parts"]:
            if (result := part.get("functionResponse")) is not None:
                call = next((it for it in calls if it["id"] == result.get("id")), None)
                call = call or next(it for it in calls if it["name"] == result["name"])
                calls.remove(call)
                response = result["response"]
                status: Any = "error" if set(response) == {"error"} else "success"
                if set(response) in ({"output"}, {"error"}):
                    text = next(iter(response.values()))
                else:
                    text = response
                text = text if isinstance(text, str) else to_json(text).decode()
                messages.append(ToolMessage(text, tool_call_id=call["id"], status=status))
        messages += _human(
            _joined([_part(part) for part in turn["parts"] if "functionResponse" not in part])
        )
    config = fields.pop("generationConfig", None) or {}
    params = _taken(
        config,
        "temperature",
        "seed",
        topP="top_p",
        topK="top_k",
        maxOutputTokens="max_tokens",
        stopSequences="stop",
        presencePenalty="presence_penalty",
        frequencyPenalty="frequency_penalty",
    )
    if (schema := config.pop("responseJsonSchema", None)) is not None:
        params["response_format"] = _schema_form(schema)
        _drop(config, "responseMimeType")
    fields |= {f"generationConfig.{name}": value for name, value in config.items()}
    declared = [
        it for tool in fields.get("tools") or () for it in tool.get("functionDeclarations") or ()
    ]
    params["tools"] = [
        _tool(
            it["name"],
            it.get("description"),
            it.get("parametersJsonSchema") or it.get("parameters") or {},
        )
        for it in declared
    ]
    if all(set(tool) == {"functionDeclarations"} for tool in fields.get("tools") or ()):
        _drop(fields, "tools")
    calling = (fields.pop("toolConfig", None) or {}).get("functionCallingConfig") or {}
    names, mode = list(calling.get("allowedFunctionNames") or []), calling.get("mode")
    if len(names) == 1:
        params["tool_choice"] = names[0]
    else:
        params["tool_choice"] = {"ANY": "any", "NONE": "none"}.get(str(mode))
    return messages, params


def _part(part: JSON) -> JSON:
    data, file = part.get("inlineData"), part.get("fileData")
    if data is None and file is None:
        return {"type": "text", "text": part.get("text", "")}
    inner = data or file or {}
    kind = str(inner.get("mimeType")).partition("/")[0]
    block = {
        "type": kind if kind in ("image", "audio", "video") else "file",
        "mime_type": inner.get("mimeType"),
    }
    return {**block, **({"base64": inner["data"]} if data else {"url": inner["fileUri"]})}


def _bedrock(fields: JSON) -> tuple[list[BaseMessage], JSON]:
    messages: list[BaseMessage] = []
    if system := fields.pop("system", None):
        messages.append(
            SystemMessage("\n\n".join(block["text"] for block in system if "text" in block))
        )
    for turn in fields.pop("messages"):
        if turn["role"] == "assistant":
            usage = dict.fromkeys(("inputTokens", "outputTokens", "totalTokens"), 0)
            answer = {"output": {"message": turn}, "stopReason": "end_turn", "usage": usage}
            messages.append(_decoded("bedrock", answer))
            continue
        others = []
        for block in turn["content"]:
            if (result := block.get("toolResult")) is not None:
                status: Any = "error" if result.get("status") == "error" else "success"
                texts = [
                    to_json(it["json"]).decode() if "json" in it else it.get("text", "")
                    for it in result["content"]
                ]
                messages.append(
                    ToolMessage("\n".join(texts), tool_call_id=result["toolUseId"], status=status)
                )
            elif "text" in block:
                others.append({"type": "text", "text": block["text"]})
            elif "cachePoint" not in block:
                others.append({"type": next(iter(block)), **block})
        messages += _human(_content(others))
    params = _taken(
        fields.pop("inferenceConfig", None) or {},
        "temperature",
        maxTokens="max_tokens",
        topP="top_p",
        stopSequences="stop",
    )
    config = fields.pop("toolConfig", None) or {}
    specs = [it["toolSpec"] for it in config.get("tools") or () if "toolSpec" in it]
    params["tools"] = [
        _tool(it["name"], it.get("description"), it["inputSchema"]["json"]) for it in specs
    ]
    structure = ((fields.get("outputConfig") or {}).get("textFormat") or {}).get("structure") or {}
    if "jsonSchema" in structure:
        params["response_format"] = _schema_form(from_json(structure["jsonSchema"]["schema"]))
        _drop(fields, "outputConfig")
    choice = config.get("toolChoice") or {}
    params["tool_choice"] = (choice.get("tool") or {}).get("name") or next(iter(choice), None)
    return messages, params


_SAME = ("seed", "presence_penalty", "frequency_penalty", "parallel_tool_calls")
_READERS: dict[str, Callable[[JSON], tuple[list[BaseMessage], JSON]]] = {
    "openai": _chat,
    "responses": _responses,
    "anthropic": _anthropic,
    "gemini": _gemini,
    "bedrock": _bedrock,
}


def _decoded(wire: str, answer: JSON) -> AIMessage:
    known = wire_named(wire)
    return known.codec(known.owner).decode(Reply(200, {}, to_json(answer)))


def _content(content: Any) -> Any:
    """Return a text, or a list of standard blocks. A single text block becomes a text."""
    if isinstance(content, str):
        return content
    return _joined([block_from_wire(dict(block)) or block for block in content])


def _joined(blocks: Sequence[JSON]) -> Any:
    if len(blocks) == 1 and blocks[0].get("type") == "text":
        return blocks[0]["text"]
    return list(blocks)


def _human(content: Any) -> Iterator[BaseMessage]:
    if content:
        yield HumanMessage(content)


def _taken(fields: JSON, *names: str, **renamed: str) -> JSON:
    return {
        ours: fields.pop(name, None)
        for name, ours in {**{it: it for it in names}, **renamed}.items()
    }


def _drop(fields: JSON, *names: str) -> None:
    for name in names:
        fields.pop(name, None)


def _tool(name: str, description: str | None, schema: Any) -> JSON:
    about = {"name": name, "description": description, "parameters": schema}
    return {
        "type": "function",
        "function": {key: value for key, value in about.items() if value is not None},
    }


def _schema_form(schema: JSON) -> JSON:
    return {
        "type": "json_schema",
        "json_schema": {"name": str(schema.get("title") or "answer"), "schema": schema},
    }


def _without_type(item: JSON) -> JSON:
    return {name: value for name, value in item.items() if name != "type" and value is not None}


def _choice(fields: JSON) -> str | None:
    """Return a choice of tools as `bind_tools` takes it: auto, any, none or a name."""
    choice = fields.pop("tool_choice", None)
    if isinstance(choice, Mapping):
        named = choice.get("name") or (choice.get("function") or {}).get("name")
        choice = named or choice.get("type")
    if isinstance(choice, str):
        return {"required": "any"}.get(choice, choice)
    return None
