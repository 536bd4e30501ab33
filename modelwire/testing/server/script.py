"""The script of a server: its answers, one entry for each request. No I/O.

An entry is a text, an `Answer`, an `AIMessage`, a dict (a body, sent unchanged), a list (the events
of a stream, sent unchanged), bytes (sent over the connection), a `Fault`, an error of modelwire's,
or a function of the request that returns one of these.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from modelwire.errors import InvalidType, ProviderError
from modelwire.testing.server.answers import Answer
from modelwire.testing.server.faults import Fault, of_error

if TYPE_CHECKING:
    from modelwire.testing.server.requests import SeenRequest


def answer_of(entry: Any, request: SeenRequest) -> Any:
    """Convert an entry of the script to an `Answer`, a `Fault`, a dict, a list or bytes.

    A function is called with the request.
    """
    while callable(entry) and not isinstance(entry, type):
        entry = sayable(entry)(request)
    entry = sayable(entry)
    if isinstance(entry, str):
        return Answer(entry)
    if isinstance(entry, ProviderError):
        return of_error(entry)
    if _is_answer_message(entry):
        return _answer_of_message(entry)
    return entry


_KINDS = (str, Answer, Fault, dict, list, bytes, ProviderError)


def _is_answer_message(entry: Any) -> bool:
    return getattr(entry, "type", None) == "ai"


def sayable(entry: Any) -> Any:
    """Return a valid entry unchanged. Raises `InvalidType` for any other value."""
    if getattr(entry, "__module__", "") == Fault.__module__ and callable(entry):
        raise InvalidType(
            f"`faults.{entry.__name__}` makes a fault: call it, `faults.{entry.__name__}()`."
        )
    if isinstance(entry, _KINDS) or _is_answer_message(entry):
        return entry
    is_function = callable(entry) and not isinstance(entry, type)
    if is_function:
        return entry
    raise InvalidType(
        f"A provider server cannot say a `{type(entry).__name__}`: use a text, an `Answer`, an `AIMessage`, a dict,"
        " a list of events, bytes, a `Fault`, a `ProviderError`, or a function of the request."
    )


def _answer_of_message(message: Any) -> Answer:
    usage = dict(message.usage_metadata or {})
    if usage:
        usage["cached_tokens"] = usage.pop("input_token_details", {}).get("cache_read", 0)
        usage["reasoning_tokens"] = usage.pop("output_token_details", {}).get("reasoning", 0)
    return Answer(message.text, tool_calls=message.tool_calls, usage=usage)


class Script:
    """The remaining entries, one for each request.

    If a fault damages the answer to a request, the entry is put back for the next request.
    """

    def __init__(self, entries: Iterable[Any], default: Any) -> None:
        self.default = default
        if isinstance(entries, str):
            entries = [entries]
        self._entries: Iterator[Any] = iter(entries)
        self._back: list[Any] = []
        self._more: deque[Any] = deque()

    def extend(self, entries: Iterable[Any]) -> None:
        """Add entries after the existing ones."""
        self._more.extend(entries)

    def take(self) -> Any:
        """Return the next entry, or the default if there is none."""
        if self._back:
            return self._back.pop()
        for entry in self._entries:
            return entry
        if self._more:
            return self._more.popleft()
        return self.default

    def put_back(self, entry: Any) -> None:
        """Make `entry` the next one again."""
        if entry is not self.default:
            self._back.append(entry)
