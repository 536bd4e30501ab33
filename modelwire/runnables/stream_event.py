"""The dicts that `astream_events` yields."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypeAlias

from typing_extensions import TypedDict

__all__ = ["BaseStreamEvent", "CustomStreamEvent", "EventData", "StandardStreamEvent", "StreamEvent"]


class EventData(TypedDict, total=False):
    """What a run was given, and what came of it; which keys there are depends on the event."""

    input: Any
    output: Any
    chunk: Any
    error: BaseException
    tool_call_id: str | None


class BaseStreamEvent(TypedDict):
    """What every event says."""

    event: str  # such as `on_chat_model_stream`
    run_id: str
    tags: NotRequired[list[str]]
    metadata: NotRequired[dict[str, Any]]
    parent_ids: list[str]  # the runs around it, the root first


class StandardStreamEvent(BaseStreamEvent):
    """A start, a chunk or an end of a run."""

    name: str
    data: EventData


class CustomStreamEvent(BaseStreamEvent):
    """What a program dispatched itself."""

    event: Literal["on_custom_event"]  # type: ignore[misc]  # narrower than the base's
    name: str
    data: Any


StreamEvent: TypeAlias = StandardStreamEvent | CustomStreamEvent
