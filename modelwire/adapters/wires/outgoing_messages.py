"""What the codecs do alike with messages and their blocks on the way out. No I/O here."""

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

# Where LangChain keeps Gemini's signatures of calls, by the id of the call.
CALL_SIGNATURES = "__gemini_function_call_thought_signatures__"
_ANSWERS = frozenset(("ai", "AIMessageChunk"))
# The key under which a block has the id of the call that it makes.
_CALL_BLOCKS = {
    "tool_call": "id",
    "tool_use": "id",
    "tool_call_chunk": "id",
    "invalid_tool_call": "id",
    "function_call": "call_id",
    "custom_tool_call": "call_id",
}
# The key under which a block has the id of the call that it answers.
_RESULT_BLOCKS = {
    "tool_result": "tool_use_id",
    "function_call_output": "call_id",
    "custom_tool_call_output": "call_id",
}


def role_of(message: Any, roles: Mapping[str, str], api: str) -> str:
    """Return what `roles` has for the message's type, or for the role of a `ChatMessage`.

    The type decides and not the class: a call loads only the classes it has messages of.
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
    """Return which call a tool's message answers."""
    id = getattr(message, "tool_call_id", None)
    if not isinstance(id, str):
        raise InvalidArgument("A message of role `tool` needs a `tool_call_id`: use `ToolMessage`.")
    return id


def with_paired_calls(messages: Sequence[BaseMessage]) -> Sequence[BaseMessage]:
    """Return the messages with a unique id for each tool call and its result, and without unanswered cut calls.

    A cut call is one whose arguments could not be parsed. Some wires refuse a call without a result, others an id that
    repeats or is missing. The messages that come in are not changed; without a fault they are returned as they are.
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
    """Return the ids of an answer's calls, "" for a missing one: of its lists of calls, else of what a caller wrote."""
    calls: Sequence[Any] = message.tool_calls + message.invalid_tool_calls
    if not calls and message.content.__class__ is list:
        calls = [it for it in message.content if type_of(it) == "tool_use"]
    if not calls:
        calls = _raw_calls(message)
    return [str(call.get("id") or "") for call in calls]


def _raw_calls(message: Any) -> list[Any]:
    raw = message.additional_kwargs.get("tool_calls")
    if isinstance(raw, list):
        return [it for it in raw if isinstance(it, Mapping)]
    return []


def _result_ids(message: Any) -> list[str]:
    """Return the ids of the calls that a message answers."""
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


# The new ids of the calls that had the same id, in their order; None: the call is left out.
_NewIds = Mapping[str, list[str | None]]


class _Pairing:
    """A history whose calls and results get ids that pair them."""

    def __init__(self, messages: Sequence[BaseMessage]) -> None:
        self._messages = messages
        answers = [it for it in messages if getattr(it, "type", None) in _ANSWERS]
        self._taken = {id for answer in answers for id in _call_ids(answer)}
        self._sent: set[str] = set()
        self._open: dict[str, list[str]] = {}  # the new ids of the calls that had this id last
        self._made = 0

    def messages(self) -> list[BaseMessage]:
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
        """Return the id if it is free, else one of nine letters and digits, the only form that Mistral takes."""
        new = id
        while not new or new in self._sent or (new != id and new in self._taken):
            self._made += 1
            new = f"call{self._made:05x}"
        self._sent.add(new)
        return new

    def _result(self, message: Any) -> Any:
        update: JSON = {}
        own: dict[str, str] = {}  # of a tool's message, which blocks in its content may repeat
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
        """Return the new id of the next call that has no result; further results get the id of the last call."""
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
    """Count the results for a call among the later messages, up to the next call of the same id."""
    count = 0
    for message in later:
        if getattr(message, "type", None) in _ANSWERS:
            if id in _call_ids(message):
                break
        else:
            count += _result_ids(message).count(id)
    return count


def _with_call_ids(message: Any, new_ids: _NewIds) -> Any:
    """Return the answer with the new ids of its calls, wherever it has them."""
    kwargs = dict(message.additional_kwargs)
    update: JSON = {"additional_kwargs": kwargs}
    raw = kwargs.pop("tool_calls", None)
    calls = [*message.tool_calls, *message.invalid_tool_calls]
    if calls:
        named = _with_ids(calls, new_ids, "id")
        whole_count = len(message.tool_calls)  # none of these is left out
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
    """Return the items with their new ids, under the keys of blocks of their types unless all have the same key.

    A call that is left out is missing.
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
    """Return the tool calls of an answer that are sent back, in a list of the caller's own.

    They are its `tool_calls`, else its `tool_use` blocks, which a caller may have written. A cut call that a result
    answers (`with_paired_calls` removes the others) is sent without arguments.
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
    """Return the messages with the `tool_result` blocks of users, Anthropic's, as tool messages before the rest."""
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
    """Remove the first call of that id and return it; None if there is none."""
    for at, call in enumerate(calls):
        if call["id"] == id:
            return calls.pop(at)
    return None


def safe_call_id(id: Any, most: int | None = None) -> str:
    """Return an id of letters, digits, `_` and `-`. Others' may have dots and colons (Kimi: `functions.f:0`).

    The checksum keeps two ids apart that differ only in what is replaced or cut.
    """
    text = str(id or "")
    if re.fullmatch(r"[a-zA-Z0-9_-]+", text) and (most is None or len(text) <= most):
        return text
    short = re.sub(r"[^a-zA-Z0-9_-]", "_", text)[: most and most - 9] or "tooluse"
    return f"{short}_{zlib.crc32(text.encode('utf-8', 'replace')):08x}"


def kind_of(item: Any) -> str:
    """Return the type of a content block. Raises `InvalidType` or `InvalidArgument` if it is not a block."""
    if not isinstance(item, Mapping):
        raise InvalidType(
            f"A content block must be a string or a dict, not `{type(item).__name__}`."
        )
    if not isinstance(kind := item.get("type"), str):
        raise InvalidArgument(f"A content block needs a `type`; it has {key_names(item)}.")
    return kind


def text_of(item: AnyBlock) -> str:
    if not isinstance(text := item.get("text"), str):
        raise InvalidArgument(
            f"A block of type `{item.get('type')}` needs its `text` as a string; it has {key_names(item)}."
        )
    return text


def value_of(item: AnyBlock) -> JSON:
    """Return what a `non_standard` block wraps."""
    if not isinstance(value := item.get("value"), Mapping):
        raise InvalidArgument("A block of type `non_standard` needs its `value` as a dict.")
    return dict(value)


def without_data(item: AnyBlock, kind: str) -> InvalidArgument:
    return InvalidArgument(
        f"A block of type `{kind}` needs `url`, `base64` with `mime_type`, or `file_id`; it has {key_names(item)}."
    )


def key_names(item: AnyBlock) -> str:
    return ", ".join(f"`{key}`" for key in list(item)[:8]) or "no keys"
