"""The tool calls of a conversation: which are open, which are answered. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from modelwire.aliases import JSON, Values
from modelwire.errors import InvalidArgument
from modelwire.messages import AIMessage, BaseMessage, ToolMessage

_NOT_RUN = "This call was not run: the conversation continued without it."


def with_call_ids(answer: BaseMessage) -> BaseMessage:
    """Return the answer with a unique id for each tool call, including calls that cannot be read.

    Some services leave ids out, and some repeat one within an answer.
    """
    seen = set[str]()
    changed: dict[str, list[Any]] = {}
    for field in ("tool_calls", "invalid_tool_calls"):
        calls: list[Any] = getattr(answer, field, [])
        named = []
        for call in calls:
            id_ = call.get("id")
            if not id_ or id_ in seen:
                id_ = f"call_{uuid4().hex}"
            seen.add(id_)
            named.append({**call, "id": id_})
        if named != calls:
            changed[field] = named
    if changed:
        return answer.model_copy(update=changed)
    return answer


def error_message(call: Values, text: str) -> ToolMessage:
    """Return the `ToolMessage` that tells the model the error of a call."""
    return ToolMessage(text, tool_call_id=call["id"], name=call.get("name"), status="error")


def open_calls(messages: Sequence[BaseMessage]) -> list[JSON]:
    """Return the calls of the last answer that have no `ToolMessage`, if only such messages follow that answer."""
    done = Counter[str]()
    for message in reversed(messages):
        if isinstance(message, ToolMessage):
            done[message.tool_call_id] += 1
        elif isinstance(message, AIMessage):
            return [call for call in _calls_of(message) if not _counted_off(done, call["id"])]
        else:
            break
    return []


def _counted_off(done: Counter[str], id_: str) -> bool:
    """Return whether `done` counts an answer for this id, and count it off."""
    if done[id_] == 0:
        return False
    done[id_] -= 1
    return True


def _calls_of(message: BaseMessage) -> list[JSON]:
    """Return the calls of an answer; those whose arguments are not JSON have an `error`."""
    calls = [dict(call) for call in getattr(message, "tool_calls", ())]
    unread = [
        {**call, "error": True}
        for call in getattr(message, "invalid_tool_calls", ())
        if call.get("id")
    ]
    return [*calls, *unread]


def answered(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return the history with an error message for each call without an answer; calls at its end stay open.

    Raises `InvalidArgument` for a `ToolMessage` that answers no call; the error names its position.
    """
    whole: list[BaseMessage] = []
    waiting: list[JSON] = []
    for position, message in enumerate(messages):
        if isinstance(message, ToolMessage):
            call = next((one for one in waiting if one["id"] == message.tool_call_id), None)
            if call is None:
                raise InvalidArgument(
                    f"Message {position} answers the tool call `{message.tool_call_id}`, but the model's answer before "
                    "it has no such call, or the call is answered already. Remove the message, or put the answer with "
                    "the call before it."
                )
            waiting.remove(call)
        else:
            whole += [error_message(call, _NOT_RUN) for call in waiting]
            waiting = _calls_of(message)
        whole.append(message)
    return whole
