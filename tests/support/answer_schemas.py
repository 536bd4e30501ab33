"""Compare a provider's JSON with the classes and shapes of its own SDK: nothing may be missing, nothing unknown.

`problems` walks pydantic models, `bedrocks` the shapes of botocore. Pydantic's own validation is not enough: the SDKs
let unknown fields pass and fill missing ones.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from datetime import datetime
from enum import Enum
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, RootModel
from typing_extensions import TypeAliasType

JSON = dict[str, Any]

# The Python SDKs give each field that may be null the default None, so that they cannot say which of them an answer
# always has. The TypeScript SDKs can: `field: X | null` against `field?: X | null`. Read in openai 6.49.0 and
# @anthropic-ai/sdk 1.12.0 (npm), 2026-11.
ALWAYS_THERE: dict[tuple[str, str], tuple[str, ...]] = {
    ("openai.types.chat.chat_completion", "Choice"): ("logprobs",),
    ("openai.types.chat.chat_completion_message", "ChatCompletionMessage"): ("content", "refusal"),
    ("openai.types.chat.chat_completion_chunk", "Choice"): ("finish_reason",),
    ("openai.types.responses.response", "Response"): (
        "error",
        "incomplete_details",
        "instructions",
        "metadata",
        "temperature",
        "top_p",
    ),
    ("openai.types.responses.response_error_event", "ResponseErrorEvent"): ("code", "param"),
    ("anthropic.types.message", "Message"): (
        "container",
        "diagnostics",
        "stop_details",
        "stop_reason",
        "stop_sequence",
    ),
    ("anthropic.types.usage", "Usage"): (
        "cache_creation",
        "cache_creation_input_tokens",
        "cache_read_input_tokens",
        "inference_geo",
        "output_tokens_details",
        "server_tool_use",
        "service_tier",
        "speed",
    ),
    ("anthropic.types.text_block", "TextBlock"): ("citations",),
    ("anthropic.types.tool_use_block", "ToolUseBlock"): ("caller",),
    ("anthropic.types.refusal_stop_details", "RefusalStopDetails"): ("category", "explanation"),
    ("anthropic.types.raw_message_delta_event", "Delta"): (
        "container",
        "stop_details",
        "stop_reason",
        "stop_sequence",
    ),
    ("anthropic.types.message_delta_usage", "MessageDeltaUsage"): (
        "cache_creation_input_tokens",
        "cache_read_input_tokens",
        "input_tokens",
        "output_tokens_details",
        "server_tool_use",
    ),
    ("anthropic.types.error_response", "ErrorResponse"): ("request_id",),
}
_PLAIN: dict[Any, tuple[type, ...]] = {
    str: (str,),
    int: (int,),
    float: (int, float),
    bool: (bool,),
    bytes: (str,),  # base64
    datetime: (str,),  # ISO 8601
    type(None): (type(None),),
    dict: (dict,),
    list: (list,),
}


def problems(kind: Any, value: Any, where: str = "$") -> Iterator[str]:
    """Yield a sentence for each part of `value` that is missing, unknown or of another type than `kind`."""
    if isinstance(kind, TypeAliasType):
        yield from problems(kind.__value__, value, where)
        return
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any or kind is object:
        return
    if origin is Annotated:
        yield from problems(arguments[0], value, where)
    elif origin in (Union, types.UnionType):
        yield from _problems_of_union(arguments, value, where)
    elif origin is Literal:
        if value not in arguments:
            yield f"{where}: {value!r} is none of {arguments}"
    elif origin is list:
        if not isinstance(value, list):
            yield f"{where}: {value!r:.60} is not a list"
            return
        for index, one in enumerate(value):
            yield from problems(arguments[0], one, f"{where}[{index}]")
    elif origin is dict:
        if not isinstance(value, dict):
            yield f"{where}: {value!r:.60} is not an object"
            return
        for name, one in value.items():
            yield from problems(arguments[1], one, f"{where}.{name}")
    elif isinstance(kind, type) and issubclass(kind, RootModel):
        yield from problems(kind.model_fields["root"].annotation, value, where)
    elif isinstance(kind, type) and issubclass(kind, BaseModel):
        yield from _problems_of_model(kind, value, where)
    elif isinstance(kind, type) and issubclass(kind, Enum):
        if value not in [one.value for one in kind]:
            yield f"{where}: {value!r} is no {kind.__name__}"
    else:
        wanted = _PLAIN[kind]
        if not isinstance(value, wanted) or (isinstance(value, bool) and kind is not bool):
            yield f"{where}: {value!r:.60} is no {kind.__name__}"


def _problems_of_union(kinds: tuple[Any, ...], value: Any, where: str) -> Iterator[str]:
    """Yield the problems with the kind that fits best."""
    if value is not None:
        kinds = tuple(kind for kind in kinds if kind is not type(None))
    found = [list(problems(kind, value, where)) for kind in kinds]
    yield from min(
        found, key=lambda each: (any(where + ".type:" in one for one in each), len(each))
    )


def _problems_of_model(kind: type[BaseModel], value: Any, where: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where}: {value!r:.60} is no {kind.__name__}"
        return
    always = ALWAYS_THERE.get((kind.__module__, kind.__name__), ())
    assert set(always) <= set(kind.model_fields), f"{kind} has lost a field of {always}"
    fields = {field.alias or name: (name, field) for name, field in kind.model_fields.items()}
    for name in value.keys() - fields.keys():
        yield f"{where}.{name}: {kind.__name__} has no such field"
    for spelled, (name, field) in fields.items():
        if spelled in value:
            yield from problems(field.annotation, value[spelled], f"{where}.{spelled}")
        elif field.is_required() or name in always:
            yield f"{where}.{spelled}: {kind.__name__} always has it"


@cache
def bedrock_shapes() -> JSON:
    """Return botocore's own description of Bedrock's answers."""
    import botocore.loaders

    described: JSON = botocore.loaders.Loader().load_service_model("bedrock-runtime", "service-2")
    shapes: JSON = described["shapes"]
    return shapes


def bedrocks(name: str, value: Any, where: str = "$") -> Iterator[str]:
    """Yield a sentence for each part of `value` that the shape `name` of Bedrock's does not allow."""
    shape = bedrock_shapes()[name]
    match shape["type"]:
        case "structure" if shape.get("document"):
            return
        case "structure":
            yield from _problems_of_structure(name, shape, value, where)
        case "list":
            if not isinstance(value, list):
                yield f"{where}: {value!r:.60} is not a list"
                return
            for index, one in enumerate(value):
                yield from bedrocks(shape["member"]["shape"], one, f"{where}[{index}]")
        case "map":
            for key, one in value.items():
                yield from bedrocks(shape["value"]["shape"], one, f"{where}.{key}")
        case "string":
            if not isinstance(value, str):
                yield f"{where}: {value!r:.60} is not a string"
            elif "enum" in shape and value not in shape["enum"]:
                yield f"{where}: {value!r} is none of {shape['enum']}"
        case "integer" | "long":
            if not isinstance(value, int) or isinstance(value, bool):
                yield f"{where}: {value!r:.60} is not an integer"
        case "blob":
            if not isinstance(value, str):
                yield f"{where}: {value!r:.60} is not base64"
        case other:
            raise NotImplementedError(other)


def _problems_of_structure(name: str, shape: JSON, value: Any, where: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where}: {value!r:.60} is not an object"
        return
    members = shape["members"]
    for key in value.keys() - members.keys():
        yield f"{where}.{key}: {name} has no such member"
    for key in set(shape.get("required", ())) - value.keys():
        yield f"{where}.{key}: {name} always has it"
    if shape.get("union") and len(value) != 1:
        yield f"{where}: {name} has exactly one member, not {sorted(value)}"
    for key in value.keys() & members.keys():
        yield from bedrocks(members[key]["shape"], value[key], f"{where}.{key}")
