"""Prepares messages and content blocks for a request: roles, ids of tool calls, checks of blocks. No I/O here."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from modelwire.aliases import JSON
from modelwire.errors import InvalidArgument, InvalidType
from modelwire.messages import BaseMessage
from modelwire.messages.block_translators.standard import AnyBlock, type_of
from modelwire.messages.tool_calls import CALL_EXTRAS

# The key of `additional_kwargs` under which LangChain stores Gemini's thought signatures by the id of the call.
CALL_SIGNATURES = "__gemini_function_call_thought_signatures__"
# The types of messages that a model has written.
_ANSWERS = frozenset(("ai", "AIMessageChunk"))
# For each type of block that is a tool call: the key of its id.
_CALL_BLOCKS = {
    "tool_call": "id",
    "tool_use": "id",
    "tool_call_chunk": "id",
    "invalid_tool_call": "id",
    "function_call": "call_id",
    "custom_tool_call": "call_id",
}
# For each type of block that is a tool's result: the key of the id of its call.
_RESULT_BLOCKS = {
    "tool_result": "tool_use_id",
    "function_call_output": "call_id",
    "custom_tool_call_output": "call_id",
}


def role_of(message: Any, roles: Mapping[str, str], api: str) -> str:
    """Return the wire's role for a message, found in `roles` by its type, or by the role of a `ChatMessage`.

    The type decides and not the class, so that no unused message class is imported. Raises `InvalidType` for a value
    that is not a message, `InvalidArgument` for a role that the API, which errors call `api`, does not have.
    """
    if not isinstance(message, BaseMessage):
        raise InvalidType(
            f"A message must be one of `modelwire.messages`, not `{type(message).__name__}`."
        )
    if (role := roles.get(kind := message.type)) is not None:
        return role
    kind = kind.removesuffix("MessageChunk").lower()
    if kind == "chat":
        kind = message.role.lower()  # type: ignore[attr-defined]  # a `ChatMessage`
    if (role := roles.get(kind)) is None:
        known = ", ".join(f"`{name}`" for name in roles)
        raise InvalidArgument(f"{api} takes no message of type or role `{kind}`. Known: {known}.")
    return role


def tool_call_id_of(message: BaseMessage) -> str:
    """Return the id of the call that a tool message answers. Raises `InvalidArgument` if it has none."""
    id = getattr(message, "tool_call_id", None)
    if not isinstance(id, str):
        raise InvalidArgument("A message of role `tool` needs a `tool_call_id`: use `ToolMessage`.")
    return id


def with_paired_calls(messages: Sequence[BaseMessage]) -> Sequence[BaseMessage]:
    """Return the messages with a unique id for each tool call and its result, and without unanswered cut calls.

    A cut call is one whose arguments could not be parsed. Some wires reject a call without a result, others an id that
    repeats or is missing. The messages themselves are never changed; the same sequence is returned if it has no fault.
    """
    seen: set[str] = set()
    for message in messages:
        if getattr(message, "type", None) in _ANSWERS:
            ids = _call_ids(message)
            seen_before = len(seen)
            seen.update(ids)
            is_unique = len(seen) == seen_before + len(ids)
            if not is_unique or "" in seen or message.invalid_tool_calls:  # type: ignore[attr-defined]
                return _Pairing(messages).messages()
    return messages


def _call_ids(message: Any) -> list[str]:
    """Return the ids of an answer's tool calls, "" for a missing one.

    They come from its lists of calls, else from `tool_use` blocks or raw `tool_calls`, which a caller may have written.
    """
    calls: Sequence[Any] = message.tool_calls + message.invalid_tool_calls
    if not calls and message.content.__class__ is list:
        calls = [it for it in message.content if type_of(it) == "tool_use"]
    if not calls:
        calls = _raw_calls(message)
    return [str(call.get("id") or "") for call in calls]


def _raw_calls(message: Any) -> list[Any]:
    """Return the tool calls that an answer has in Chat Completions' own form."""
    raw = message.additional_kwargs.get("tool_calls")
    if isinstance(raw, list):
        return [it for it in raw if isinstance(it, Mapping)]
    return []


def _result_ids(message: Any) -> list[str]:
    """Return the ids of the tool calls whose results a message has."""
    if message.type == "tool":
        return [str(message.tool_call_id or "")]
    if message.type != "human" or message.content.__class__ is str:
        return []
    ids = []
    for block in message.content:
        key = _RESULT_BLOCKS.get(type_of(block))
        if key is not None:
            ids.append(str(block.get(key) or ""))
    return ids


# By the old id, the new ids of the calls that had it, in their order. None: the call is left out.
_NewIds = Mapping[str, list[str | None]]


class _Pairing:
    """Gives the tool calls of a history and their results unique ids."""

    def __init__(self, messages: Sequence[BaseMessage]) -> None:
        self._messages = messages
        answers = [it for it in messages if getattr(it, "type", None) in _ANSWERS]
        self._taken = {id for answer in answers for id in _call_ids(answer)}
        self._sent: set[str] = set()
        # By an old id, the new ids of the calls of the last answer that had it, as far as they wait for a result.
        self._open: dict[str, list[str]] = {}
        self._made = 0

    def messages(self) -> list[BaseMessage]:
        """Return the history with the new ids. Messages that need no new id are the same objects."""
        paired: list[BaseMessage] = []
        for position, message in enumerate(self._messages):
            kind = getattr(message, "type", None)
            if kind in _ANSWERS:
                message = self._answer(message, self._messages[position + 1 :])
            elif kind in ("tool", "human"):
                message = self._result(message)
            paired.append(message)
        return paired

    def _answer(self, message: Any, later: Sequence[BaseMessage]) -> Any:
        """Return an answer with new ids for its calls, without a cut call that no `later` message answers."""
        first_cut = len(message.tool_calls)
        has_cut_calls = bool(message.invalid_tool_calls)
        new_ids: dict[str, list[str | None]] = {}
        for place, id in enumerate(_call_ids(message)):
            of_this_id = new_ids.setdefault(id, [])
            is_cut = has_cut_calls and place >= first_cut
            if is_cut and _results_of(id, later) <= len(of_this_id):
                of_this_id.append(None)
            else:
                of_this_id.append(self._new_id(id))
        for id, ids in new_ids.items():
            self._open[id] = [it for it in ids if it is not None]
        if all(ids == [id] for id, ids in new_ids.items()):
            return message
        return _with_call_ids(message, new_ids)

    def _new_id(self, id: str) -> str:
        """Return the id if it is free, else a new one of nine letters and digits, the only form Mistral accepts."""
        new = id
        while not new or new in self._sent or (new != id and new in self._taken):
            self._made += 1
            new = f"call{self._made:05x}"
        self._sent.add(new)
        return new

    def _result(self, message: Any) -> Any:
        """Return a message with the new ids of the calls whose results it has."""
        update: JSON = {}
        # The new id of a tool message; blocks in its content may repeat the old one.
        own: dict[str, str] = {}
        if message.type == "tool":
            id = str(message.tool_call_id or "")
            update["tool_call_id"] = own[id] = self._answered(id)
        if message.content.__class__ is list:
            update["content"] = [self._result_block(it, own) for it in message.content]
        is_same = all(getattr(message, name) == value for name, value in update.items())
        if is_same:
            return message
        return message.model_copy(update=update)

    def _answered(self, id: str) -> str:
        """Return the new id for a result: of the next call with this id that waits for one, else of the last one."""
        waiting = self._open.get(id)
        if not waiting:
            return id
        if len(waiting) > 1:
            return waiting.pop(0)
        return waiting[0]

    def _result_block(self, block: Any, own: Mapping[str, str]) -> Any:
        key = _RESULT_BLOCKS.get(type_of(block))
        if key is None:
            return block
        id = str(block.get(key) or "")
        return {**block, key: own.get(id) or self._answered(id)}


def _results_of(id: str, later: Sequence[BaseMessage]) -> int:
    """Return how many results of a call the later messages have, before another call with the same id."""
    count = 0
    for message in later:
        if getattr(message, "type", None) in _ANSWERS:
            if id in _call_ids(message):
                break
        else:
            count += _result_ids(message).count(id)
    return count


def _with_call_ids(message: Any, new_ids: _NewIds) -> Any:
    """Return a copy of the answer with the new ids of its calls in its lists, its content and its extras."""
    kwargs = dict(message.additional_kwargs)
    update: JSON = {"additional_kwargs": kwargs}
    raw = kwargs.pop("tool_calls", None)
    calls = [*message.tool_calls, *message.invalid_tool_calls]
    if calls:
        named = _with_ids(calls, new_ids, "id")
        whole_count = len(message.tool_calls)  # Only invalid calls, which follow, can be left out.
        update["tool_calls"] = named[:whole_count]
        update["invalid_tool_calls"] = named[whole_count:]
    elif raw is not None:
        kwargs["tool_calls"] = _with_ids(_raw_calls(message), new_ids, "id")
    if message.content.__class__ is list:
        update["content"] = _with_ids(message.content, new_ids)
    for name in (CALL_EXTRAS, CALL_SIGNATURES):
        if isinstance(by_id := kwargs.get(name), Mapping):
            copies = {new: by_id[id] for id, ids in new_ids.items() if id in by_id for new in ids}
            kwargs[name] = {**by_id, **copies}
    return message.model_copy(update=update)


def _with_ids(items: Sequence[Any], new_ids: _NewIds, key_of_all: str | None = None) -> list[Any]:
    """Return calls or blocks with their new ids, without the calls that are left out.

    The key of the id depends on the type of the block, unless `key_of_all` names it.
    """
    left = {id: list(ids) for id, ids in new_ids.items()}
    named: list[Any] = []
    for item in items:
        key = key_of_all or _CALL_BLOCKS.get(type_of(item))
        ids = left.get(str(item.get(key) or "")) if key else None
        if not ids:
            named.append(item)
            continue
        new = ids.pop(0) if len(ids) > 1 else ids[0]
        if new is not None:
            named.append({**item, key: new})
    return named


def calls_of(message: Any) -> list[Any]:
    """Return a new list of the tool calls of an answer that a request must contain.

    They are its `tool_calls`, else its `tool_use` blocks, which a caller may have written. A cut call that has a result
    (`with_paired_calls` removes the others) is sent without arguments.
    """
    calls = list(message.tool_calls)
    if invalid := message.invalid_tool_calls:
        calls += [{**bad, "args": {}} for bad in invalid if bad["name"]]
    elif not calls and message.content.__class__ is list:
        written = [it for it in message.content if type_of(it) == "tool_use"]
        calls = [
            {"id": it.get("id"), "name": it["name"], "args": it.get("input")}
            for it in written
            if it.get("name")
        ]
    return calls


def with_results_apart(messages: Sequence[BaseMessage]) -> Sequence[BaseMessage]:
    """Return the messages with each `tool_result` block of a user message moved into a tool message before it.

    Such blocks are Anthropic's form of a tool's result.
    """
    apart: list[BaseMessage] = []
    for message in messages:
        content: Any = getattr(message, "content", "")
        if content.__class__ is list and message.type == "human":
            results = [it for it in content if type_of(it) == "tool_result"]
            for it in results:
                from modelwire.messages import ToolMessage

                status: Any = "error" if it.get("is_error") else "success"
                id = str(it.get("tool_use_id"))
                result = it.get("content") or ""
                apart.append(ToolMessage(result, tool_call_id=id, status=status))
            if results:
                message = message.model_copy(
                    update={"content": [it for it in content if it not in results]}
                )
        apart.append(message)
    return apart


def take_call(calls: list[Any], id: Any) -> Any:
    """Remove the first call with this id from `calls` and return it; None if there is no such call."""
    for at, call in enumerate(calls):
        if call["id"] == id:
            return calls.pop(at)
    return None


def safe_call_id(id: Any, most: int | None = None) -> str:
    """Return the id if it has only letters, digits, `_` and `-` and at most `most` characters, else a safe form of it.

    Other providers' ids may have dots and colons (Kimi: `functions.f:0`). A checksum keeps the safe forms of two
    different ids different.
    """
    text = str(id or "")
    if re.fullmatch(r"[a-zA-Z0-9_-]+", text) and (most is None or len(text) <= most):
        return text
    short = re.sub(r"[^a-zA-Z0-9_-]", "_", text)[: most and most - 9] or "tooluse"
    return f"{short}_{zlib.crc32(text.encode('utf-8', 'replace')):08x}"


def kind_of(item: Any) -> str:
    """Return the type of a content block. Raises `InvalidType` for no dict, `InvalidArgument` for a missing type."""
    if not isinstance(item, Mapping):
        raise InvalidType(
            f"A content block must be a string or a dict, not `{type(item).__name__}`."
        )
    if not isinstance(kind := item.get("type"), str):
        raise InvalidArgument(f"A content block needs a `type`; it has {key_names(item)}.")
    return kind


def text_of(item: AnyBlock) -> str:
    """Return the text of a text block. Raises `InvalidArgument` if it has none."""
    if not isinstance(text := item.get("text"), str):
        raise InvalidArgument(
            f"A block of type `{item.get('type')}` needs its `text` as a string; it has {key_names(item)}."
        )
    return text


def value_of(item: AnyBlock) -> JSON:
    """Return a copy of the provider's own block in a `non_standard` one. Raises `InvalidArgument` if it has none."""
    if not isinstance(value := item.get("value"), Mapping):
        raise InvalidArgument("A block of type `non_standard` needs its `value` as a dict.")
    return dict(value)


def without_data(item: AnyBlock, kind: str) -> InvalidArgument:
    """Return the error for an image, audio or file block that has no data."""
    return InvalidArgument(
        f"A block of type `{kind}` needs `url`, `base64` with `mime_type`, or `file_id`; it has {key_names(item)}."
    )


def key_names(item: AnyBlock) -> str:
    """Return the first keys of a block in backticks, for an error."""
    return ", ".join(f"`{key}`" for key in list(item)[:8]) or "no keys"
