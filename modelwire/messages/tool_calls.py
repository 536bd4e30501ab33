"""Tool calls as values, and the parsing of their arguments. Pure."""

# This module does without `from __future__ import annotations`, so that the `__annotations__` of
# the dicts are types.
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NotRequired
from zlib import crc32

from pydantic_core import from_json
from typing_extensions import TypedDict

from modelwire.aliases import JSON, Values

__all__ = [
    "InvalidToolCall",
    "ToolCall",
    "ToolCallChunk",
    "invalid_tool_call",
    "tool_call",
    "tool_call_chunk",
]

# The `additional_kwargs` of an AIMessage have under this key a dict that maps the id of a tool call
# to its extra fields.
CALL_EXTRAS = "tool_call_extras"


# Every provider accepts tool names of this form: that of OpenAI, but with no digit first, as Google requires.
# https://platform.openai.com/docs/api-reference/chat/create, https://ai.google.dev/api/caching, read 2026-11
TOOL_NAME = r"[a-zA-Z_][a-zA-Z0-9_-]{0,63}"


def tool_name(title: str) -> str:
    """Return a tool name for a schema with this title, such as `Page_Item_` for `Page[Item]`.

    The name of a title that is too long or not ASCII ends in a checksum, so that two such titles get different names.
    """
    if re.fullmatch(TOOL_NAME, title):
        return title
    name = re.sub("^(?=[^a-zA-Z_])|[^a-zA-Z0-9_-]", "_", title)
    if re.fullmatch(TOOL_NAME, name) and title.isascii():
        return name
    return f"{name[:55]}_{crc32(title.encode('utf-8', 'surrogatepass')):08x}"


class ToolCall(TypedDict):
    """A request of the model to call a tool; the `ToolMessage` with the result has the same `id`."""

    name: str
    args: dict[str, Any]
    id: str | None
    type: NotRequired[Literal["tool_call"]]


class ToolCallChunk(TypedDict):
    """A streamed part of a tool call; parts with the same `index` are one call, `args` is JSON text."""

    name: str | None
    args: str | None
    id: str | None
    index: int | None
    type: NotRequired[Literal["tool_call_chunk"]]


class InvalidToolCall(TypedDict):
    """A tool call whose `args` are not a JSON object; `error` is the reason."""

    type: Literal["invalid_tool_call"]
    id: str | None
    name: str | None
    args: str | None
    error: str | None
    index: NotRequired[int | str]
    extras: NotRequired[dict[str, Any]]


def tool_call(*, name: str, args: JSON, id: str | None) -> ToolCall:
    """Return a tool call."""
    return {"name": name, "args": args, "id": id, "type": "tool_call"}


def tool_call_chunk(
    *,
    name: str | None = None,
    args: str | None = None,
    id: str | None = None,
    index: int | None = None,
) -> ToolCallChunk:
    """Return a part of a tool call."""
    return {"name": name, "args": args, "id": id, "index": index, "type": "tool_call_chunk"}


def invalid_tool_call(
    *,
    name: str | None = None,
    args: str | None = None,
    id: str | None = None,
    error: str | None = None,
) -> InvalidToolCall:
    """Return a tool call that cannot be executed."""
    return {"type": "invalid_tool_call", "id": id, "name": name, "args": args, "error": error}


def free_text_call(name: str | None, text: str | None, id: str | None) -> ToolCall:
    """Return a call of a custom tool, whose input is free text.

    The text is passed as `__arg1`, which LangChain's tools of one argument use.
    """
    return tool_call(name=name or "", args={"__arg1": text or ""}, id=id)


def read_tool_call(name: str | None, args: Any, id: str | None) -> ToolCall | InvalidToolCall:
    """Return a tool call with `args`, a dict or JSON text of an object; an invalid one if `args` are neither."""
    try:
        return tool_call(
            name=name or "", args=args if isinstance(args, dict) else parse_tool_args(args), id=id
        )
    except ValueError as exc:
        return invalid_tool_call(name=name, args=args, id=id, error=str(exc))


def parse_tool_args(text: str | None) -> JSON:
    """Return the arguments of a complete tool call; an empty text is no arguments.

    Raises: `ValueError` if the text is not a JSON object; its message becomes the invalid tool
    call's `error`.
    """
    if text is None or not text.strip():
        return {}
    try:
        args = from_json(text)
    except (ValueError, TypeError) as exc:  # A lone surrogate in the str raises TypeError.
        args = _lenient_json(text, exc)
    if args is None:
        return {}
    if not isinstance(args, dict):
        raise ValueError(f"The tool arguments are a JSON {type(args).__name__}, not an object.")
    return args


def _lenient_json(text: str, first: Exception) -> Any:
    """Return the value of JSON that has raw line breaks and tabs in its strings, which models write.

    Raises: `ValueError` with the text of `first`, the error of the strict parser.
    """
    import json

    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        raise ValueError(f"The tool arguments are not JSON: {first}.") from first


def read_tool_call_chunks(
    chunks: Iterable[ToolCallChunk], *, complete: bool
) -> tuple[list[ToolCall], list[InvalidToolCall]]:
    """Return the calls of the tool call chunks so far, and those whose arguments cannot be parsed.

    Until the stream is `complete`, partial arguments are parsed as far as possible; after that they
    are invalid, because a call that a token limit has truncated must not run.
    """
    calls: list[ToolCall] = []
    invalid: list[InvalidToolCall] = []
    for chunk in chunks:
        name = chunk["name"]
        args = chunk["args"]
        id = chunk["id"]
        try:
            call = read_tool_call(name, args if complete else _parse_so_far(args), id)
        except ValueError:
            call = invalid_tool_call(name=name, args=args, id=id)
        invalid.append(call) if "error" in call else calls.append(call)  # type: ignore[arg-type]
    return calls, invalid


def _parse_so_far(args: str | None) -> JSON:
    from modelwire.messages.partial_json import parse_partial_json

    if not args:
        return {}
    parsed = parse_partial_json(args)
    more_closed = args.count("}") > args.count("{") or args.count("]") > args.count("[")
    if not isinstance(parsed, dict) or (more_closed and _closes_too_often(args)):
        raise ValueError("not an object")
    return parsed


def _closes_too_often(text: str) -> bool:
    """Return whether a bracket that was never opened follows the whole JSON value, as in `{"a": 1}: 1}`.

    Any other text after the value is ignored until the stream is complete, as in LangChain.
    """
    import json

    begun = text.lstrip()
    try:
        _, end = json.JSONDecoder(strict=False).raw_decode(begun)
    except (ValueError, RecursionError):  # The value is not complete.
        return False
    rest = begun[end:]
    return rest.count("}") > rest.count("{") or rest.count("]") > rest.count("[")


def default_tool_parser(
    raw_tool_calls: list[JSON],
) -> tuple[list[ToolCall], list[InvalidToolCall]]:
    """Return the valid and the invalid calls in a list of tool calls in OpenAI's form.

    Calls of a tool that is neither a `function` nor a `custom` tool are omitted.
    """
    calls: list[ToolCall] = []
    invalid: list[InvalidToolCall] = []
    for raw in raw_tool_calls:
        function = raw.get("function")
        custom = raw.get("custom")
        if not isinstance(function, Mapping):
            if isinstance(custom, Mapping) and custom.get("name"):
                calls.append(free_text_call(custom.get("name"), custom.get("input"), raw.get("id")))
            continue
        call = read_tool_call(function.get("name"), function.get("arguments"), raw.get("id"))
        invalid.append(call) if "error" in call else calls.append(call)  # type: ignore[arg-type]
    return calls, invalid


def tool_call_extras(raw: Values) -> JSON:
    """Return the fields of a call in OpenAI's form that must be sent back with it, such as a service's own fields.

    Gemini's compatible endpoint signs the thought behind a call in its `extra_content` (2026-11).
    """
    extras = {key: value for key, value in raw.items() if value and key not in _READ_OF_CALL}
    if raw.get("type") == "custom":
        return {"type": "custom", **extras}
    return extras


_READ_OF_CALL = frozenset(("id", "type", "function", "custom", "index"))


def default_tool_chunk_parser(raw_tool_calls: list[JSON]) -> list[ToolCallChunk]:
    """Return tool call deltas in OpenAI's form as chunks."""
    chunks = []
    for raw in raw_tool_calls:
        function = raw.get("function") or {}
        name = function.get("name")
        args = function.get("arguments")
        chunks.append(
            tool_call_chunk(name=name, args=args, id=raw.get("id"), index=raw.get("index"))
        )
    return chunks
