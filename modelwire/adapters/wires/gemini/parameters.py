"""Encodes the parameters of a call for generateContent: `generationConfig`, tools, the answer's schema. No I/O here.

Wire format: https://ai.google.dev/api/generate-content#generationconfig, read 2026-11. Names may be in camelCase or in
snake_case, as the API accepts both. Unknown parameters are sent unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from modelwire.adapters.wires.tool_params import Function, read_choice, read_form, read_function
from modelwire.aliases import JSON, Fields
from modelwire.errors import InvalidArgument, InvalidType
from modelwire.messages.block_translators.standard import type_of, without

# By a parameter's name, the field of `generationConfig`. The names of the fields are added below.
_GENERATION = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "seed": "seed",
    "max_tokens": "maxOutputTokens",
    "max_completion_tokens": "maxOutputTokens",
    "max_output_tokens": "maxOutputTokens",
    "stop": "stopSequences",
    "stop_sequences": "stopSequences",
    "n": "candidateCount",
    "candidate_count": "candidateCount",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "response_logprobs": "responseLogprobs",
    "response_modalities": "responseModalities",
    "modalities": "responseModalities",
    "speech_config": "speechConfig",
    "media_resolution": "mediaResolution",
    "image_config": "imageConfig",
    "response_mime_type": "responseMimeType",
    "response_schema": "responseSchema",
    "response_json_schema": "responseJsonSchema",
    "audio_timestamp": "audioTimestamp",
    "thinking_config": "thinkingConfig",
    "audio_transcription_config": "audioTranscriptionConfig",
}
_GENERATION |= {theirs: theirs for theirs in _GENERATION.values()}
# By a parameter's name, the field of `thinkingConfig`.
_THINKING = {
    "thinking_budget": "thinkingBudget",
    "thinking_level": "thinkingLevel",
    "include_thoughts": "includeThoughts",
}
# By a parameter's name, the field of the body.
_BODY = {
    "safety_settings": "safetySettings",
    "cached_content": "cachedContent",
    "labels": "labels",
    "service_tier": "serviceTier",
    "tool_config": "toolConfig",
    "continuation_token": "continuationToken",
    "generation_output_config": "outputConfig",
}
# The tools that Google runs: https://ai.google.dev/gemini-api/docs/tools, read 2026-11
_OWN_TOOLS = (
    "google_search",
    "url_context",
    "code_execution",
    "google_maps",
    "file_search",
    "computer_use",
    "mcp_servers",
    "retrieval",
    "enterprise_web_search",
    "google_search_retrieval",
    "function_declarations",
)


def body_of_params(params: Fields, model: str) -> JSON:
    """Return the fields of the body beside the contents.

    Raises `InvalidType` or `InvalidArgument` for a parameter that the API cannot express.
    """
    body: JSON = {}
    config: JSON = {}
    for name, value in params.items():
        if (theirs := _GENERATION.get(name)) is not None:
            config[theirs] = value
        elif name in _THINKING:
            config.setdefault("thinkingConfig", {})[_THINKING[name]] = value
        elif name not in _READ_BELOW:
            body[_BODY.get(name, name)] = value
    _read_lists(config)
    if "logprobs" in params or "top_logprobs" in params:
        config |= _logprobs(params.get("logprobs"), params.get("top_logprobs"))
    if (form := params.get("response_format")) is not None:
        config |= _form(form, model)
    for name in ("generation_config", "generationConfig"):
        if not isinstance(own := params.get(name) or {}, Mapping):
            raise InvalidType(f"`{name}` must be a dict, not `{type(own).__name__}`.")
        config |= own
    if isinstance(settings := body.get("safetySettings"), Mapping):  # LangChain's form
        body["safetySettings"] = [
            {"category": _word(category), "threshold": _word(limit)}
            for category, limit in settings.items()
        ]
    if "tools" in params or "tool_choice" in params:
        _add_tools(body, params)
    if config:
        body["generationConfig"] = config
    return body


def _read_lists(config: JSON) -> None:
    """Convert single texts to lists and modalities to upper case, in place, as the API requires."""
    for name in ("stopSequences", "responseModalities"):
        if isinstance(config.get(name), str):
            config[name] = [config[name]]
    if "responseModalities" in config:
        config["responseModalities"] = [str(kind).upper() for kind in config["responseModalities"]]


# The parameters that are not copied to the body, because other code encodes them.
_READ_BELOW = frozenset(
    (
        "logprobs",
        "top_logprobs",
        "response_format",
        "generation_config",
        "generationConfig",
        "automatic_continuation",  # a setting of the call, which is not sent
        "tools",
        "tool_choice",
    )
)


def _word(value: Any) -> str:
    """Return a text, or the value of a member of one of the SDK's enums."""
    return str(getattr(value, "value", value))


def _logprobs(logprobs: Any, top: Any) -> JSON:
    """Return Gemini's fields for OpenAI's `logprobs` and `top_logprobs`; Gemini's own `logprobs` is a number."""
    if top is not None:
        number = top
    elif type(logprobs) is int:
        number = logprobs
    else:
        number = None
    wanted = {"responseLogprobs": bool(logprobs) or top is not None}
    if number is None:
        return wanted
    return {**wanted, "logprobs": number}


def _form(form: Any, model: str) -> JSON:
    """Return the fields of `generationConfig` for OpenAI's `response_format`."""
    config: JSON = {"responseMimeType": "application/json"}
    if type_of(form) == "json_object":
        return config
    if (inner := read_form(form, "The Gemini API")) is None:
        return {}
    schema = inner["schema"]
    # Only 2.5 and later accept JSON schemas: https://ai.google.dev/gemini-api/docs/structured-output
    if re.search(r"gemini-(1|2\.0)", model):
        return {**config, "responseSchema": _openapi(schema)}
    return {**config, "responseJsonSchema": dict(schema)}


def _openapi(schema: Fields) -> JSON:
    """Return a JSON schema in the form of OpenAPI 3.0 that older models accept: no `$ref`, types in upper case.

    Source: https://ai.google.dev/api/caching#Schema, read 2026-11.
    """
    from modelwire.tools import json_schema

    def change(node: JSON) -> JSON:  # The schemas inside a node have been changed before it.
        open_node = {key: value for key, value in node.items() if key in _OPENAPI}
        if "const" in node:
            open_node |= {"type": "string", "enum": [str(node["const"])]}
        alternatives = node.get("anyOf") or node.get("oneOf") or ()
        others = [it for it in alternatives if it.get("type") != "NULL"]
        if len(others) < len(alternatives):
            open_node["nullable"] = True
        if len(others) == 1:
            open_node = others[0] | without(open_node, "anyOf")
        elif others:
            open_node["anyOf"] = others
        kind = open_node.get("type")
        if isinstance(kind, list):
            kinds = [it for it in kind if it != "null"]
            open_node |= {"type": kinds[0]} | ({"nullable": True} if len(kinds) < len(kind) else {})
        if isinstance(open_node.get("type"), str):
            open_node["type"] = open_node["type"].upper()
        if "properties" in open_node:
            open_node["propertyOrdering"] = list(open_node["properties"])
        return open_node

    return json_schema.rebuilt(json_schema.inlined(schema), change)


# The keywords of schemas that older models accept.
_OPENAPI = frozenset(
    (
        "type",
        "format",
        "title",
        "description",
        "nullable",
        "enum",
        "maxItems",
        "minItems",
        "properties",
        "required",
        "minProperties",
        "maxProperties",
        "minLength",
        "maxLength",
        "pattern",
        "anyOf",
        "items",
        "minimum",
        "maximum",
    )
)


def _add_tools(body: JSON, params: Fields) -> None:
    """Add the tools and the tool choice to the body. Raises `InvalidArgument` for another provider's own tool."""
    declarations: list[JSON] = []
    tools: list[JSON] = []
    is_strict = False
    for tool in params.get("tools") or ():
        if (function := read_function(tool)) is not None:
            declarations.append(_declaration(function))
            is_strict = is_strict or function.strict
        elif "type" in tool:
            raise InvalidArgument(
                f"The Gemini API has no tool of the type `{tool['type']}`. Its own are dicts such as "
                f'{{"google_search": {{}}}}: {", ".join(f"`{name}`" for name in _OWN_TOOLS)}.'
            )
        else:
            tools.append(dict(tool))
    if declarations:
        tools.insert(0, {"functionDeclarations": declarations})
    if tools:
        body["tools"] = tools
    choice = params.get("tool_choice")
    config = _choice(choice) if choice is not None else {}
    if is_strict and config.get("mode", "AUTO") == "AUTO":
        config = {"mode": "VALIDATED"}  # The arguments of calls then follow the schema.
    if config:
        body["toolConfig"] = {**(body.get("toolConfig") or {}), "functionCallingConfig": config}


def _declaration(function: Function) -> JSON:
    made: JSON = {"name": function.name}
    if function.description:
        made["description"] = function.description
    # A function without parameters must not have a schema.
    if function.schema and function.schema.get("properties") != {}:
        made["parametersJsonSchema"] = function.schema
    return made


def _choice(choice: Any) -> JSON:
    """Return the `functionCallingConfig` for a tool choice in any wire's form."""
    if isinstance(choice, Mapping):
        own = choice.get("functionCallingConfig") or choice.get("function_calling_config")
        if own is not None or "mode" in choice:
            return dict(own or choice)
    if isinstance(choice, str) and choice.lower() in ("auto", "none", "any", "validated"):
        return {"mode": choice.upper()}
    word, name = read_choice(choice)
    if name:
        return {"mode": "ANY", "allowedFunctionNames": [name]}
    return {"mode": word.upper()}
