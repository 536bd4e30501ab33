"""Converts messages to Gemini's `systemInstruction` and `contents`. No I/O here.

A history for any other wire is converted by these rules:

- All system messages become one `systemInstruction`. A history of system messages alone becomes a user's turn.
- The results of one turn's tool calls are one content, in the order of the calls. Each result names its function.
- A message without any part is left out, because the API rejects empty content.
- The reasoning of another provider's model, and the tools that its provider ran, are left out.
- Models of Gemini 3 require a signature on the first call of a turn. A call of another provider's model has none, and
  gets the placeholder that the documentation names for this case.
  https://ai.google.dev/gemini-api/docs/thought-signatures, read 2026-11
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from modelwire.adapters.wires.gemini.blocks_to_wire import (
    Part,
    answer_part,
    media_parts,
    user_parts,
)
from modelwire.adapters.wires.gemini.response import MODEL_PROVIDER, in_order, is_made_up
from modelwire.adapters.wires.outgoing_messages import (
    CALL_SIGNATURES,
    calls_of,
    role_of,
    take_call,
    with_paired_calls,
    with_results_apart,
)
from modelwire.aliases import Fields
from modelwire.errors import InvalidArgument
from modelwire.messages import AIMessage, BaseMessage
from modelwire.messages.block_translators.standard import extras_of, type_of

Content = dict[str, Any]

# The wire's role for each type of message and each role of a `ChatMessage`.
_ROLES = {
    "human": "user",
    "user": "user",
    "ai": "model",
    "assistant": "model",
    "model": "model",
    "tool": "tool",
    "function": "tool",
    "system": "system",
    "developer": "system",
}
# The providers whose answers are sent unchanged.
OWN = (None, MODEL_PROVIDER, "google_vertexai")
# The documented placeholder for a missing signature.
_NO_SIGNATURE = "skip_thought_signature_validator"


class _Sent(NamedTuple):
    """A tool call in the request: what the conversion of its result needs to know."""

    place: int  # its index among the parts of its turn
    name: str | None
    wire_id: str | None  # the id that is sent; None if the model sent none


def contents_from_messages(
    messages: Sequence[BaseMessage], model: str
) -> tuple[list[Part], list[Content]]:
    """Return the parts of `systemInstruction`, which may be empty, and `contents`.

    Raises `InvalidArgument` for a history without content, and for content that the API does not accept.
    """
    is_gemini_3 = _is_gemini_3(model)
    system: list[Part] = []
    contents: list[Content] = []
    sent: dict[Any, _Sent] = {}  # by the id of the call
    # The results of the latest calls: the index of the call, and the parts.
    results: list[tuple[int, list[Part]]] = []
    for message in with_results_apart(with_paired_calls(messages)):
        role = role_of(message, _ROLES, "The Gemini API")
        if role == "system":
            system += _system_parts(message.content)
            continue
        if role == "tool":
            results.append(_result(message, sent, is_gemini_3=is_gemini_3))
            continue
        if isinstance(message, AIMessage):
            parts = _answer(message, sent, is_gemini_3=is_gemini_3)
        else:
            parts = user_parts(message.content)
        if results and parts:
            contents.append(_in_order_of_calls(results))
            results = []
        if parts:
            contents.append({"role": role, "parts": parts})
    if results:
        contents.append(_in_order_of_calls(results))
    if not contents and system:
        contents = [{"role": "user", "parts": system}]
        system = []
    if not contents:
        raise InvalidArgument(
            "The messages are empty: at least one must have text or another content block."
        )
    return system, contents


@lru_cache(maxsize=64)
def _is_gemini_3(model: str) -> bool:
    return re.search(r"gemini-[3-9]", model) is not None


def _in_order_of_calls(results: list[tuple[int, list[Part]]]) -> Content:
    """Return the content with all results, in the order of their calls."""
    results.sort(key=lambda result: result[0])
    return {"role": "user", "parts": [part for _, parts in results for part in parts]}


def _system_parts(content: str | Sequence[Any]) -> list[Part]:
    parts = user_parts(content)
    if any("text" not in part for part in parts):
        raise InvalidArgument("On the Gemini API a system message can have text blocks only.")
    return parts


def _result(
    message: BaseMessage, sent: Mapping[Any, _Sent], *, is_gemini_3: bool
) -> tuple[int, list[Part]]:
    """Return the index of the call and the parts for a tool message.

    Images are inside the result for Gemini 3, and parts behind it for older models. Raises `InvalidArgument` if the
    name of the function is not known.
    """
    id = getattr(message, "tool_call_id", None)
    place, name, wire_id = sent.get(id) or _Sent(
        len(sent), message.name, None if is_made_up(id) else id
    )
    if not name:
        raise InvalidArgument(
            f"The tool message for `{id}` names no function, and no call before it has that id: set its `tool_call_id` "
            "to the id of a call, or set its `name`."
        )
    texts: list[Any] = []
    media: list[Part] = []
    content: Any = message.content
    items: list[Any] = [content] if isinstance(content, str) else content
    for item in items:
        if type_of(item) == "text":
            texts.append(item.get("text"))
        elif (parts := media_parts(item)) is not None:
            media += parts
        else:
            texts.append(item)
    if len(texts) == 1:
        output = texts[0]
    elif all(isinstance(it, str) for it in texts):
        output = "\n".join(texts)
    else:
        output = texts
    key = "error" if getattr(message, "status", None) == "error" else "output"
    response: Part = {"name": name, "response": {key: output}}
    if wire_id is not None:
        response["id"] = wire_id
    if media and is_gemini_3:
        response["parts"] = media
        media = []
    return place, [{"functionResponse": response}, *media]


def _answer(
    message: AIMessage,
    sent: dict[Any, _Sent],
    *,
    is_gemini_3: bool,
) -> list[Part]:
    """Return the parts for an answer's blocks, in order, then the calls that no block has. Adds the calls to `sent`.

    The arguments of a call are those of `tool_calls`, which the caller may have changed.
    """
    content: Any = message.content
    calls = calls_of(message)
    own = message.response_metadata.get("model_provider") in OWN
    signatures = message.additional_kwargs.get(CALL_SIGNATURES) or {}
    parts: list[Part] = []

    def add_call(call: Fields, block: Fields) -> None:
        id = call["id"]
        wire_id = None if not own or is_made_up(id) else id
        sent[id] = _Sent(len(parts), call["name"], wire_id)
        signature = extras_of(block).get("signature") if own else None
        parts.append(_call_part(call, wire_id, signature or signatures.get(id)))

    if isinstance(content, str):
        content = [content] if content else []
    for item in in_order(content):
        if type_of(item) in _CALLS:
            if (call := take_call(calls, item.get("id"))) is not None:
                add_call(call, item)
        elif (part := answer_part(item, own=own)) is not None:
            parts.append(part)
    for call in calls:
        add_call(call, {})
    if is_gemini_3 and sent:
        _sign_first_call(parts)
    return parts


def _call_part(call: Fields, wire_id: Any, signature: Any) -> Part:
    """Return the part for a tool call."""
    function: Part = {"name": call["name"], "args": call.get("args") or {}}
    if wire_id is not None:
        function["id"] = wire_id
    part: Part = {"functionCall": function}
    if signature:
        part["thoughtSignature"] = signature
    return part


def _sign_first_call(parts: list[Part]) -> None:
    """Add a placeholder to an answer's first call if no part has a signature, because Gemini 3 requires one."""
    if any("thoughtSignature" in part for part in parts):
        return
    for part in parts:
        if "functionCall" in part:
            part["thoughtSignature"] = _NO_SIGNATURE
            return


# The types of blocks that are tool calls.
_CALLS = frozenset(
    ("tool_call", "tool_use", "function_call", "tool_call_chunk", "invalid_tool_call")
)
