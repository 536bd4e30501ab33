"""Reads the calls of a cassette: each with its messages, its parameters, and its answer or error.

The whole file is read before any request is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from modelwire.aliases import Kwargs, StrPath
from modelwire.errors import CassetteError, ModelwireError
from modelwire.messages import AIMessage, BaseMessage, messages_from_dict
from modelwire.testing.cassettes.records import LEFT_OUT, Call, from_lines


class RecordedCall(NamedTuple):
    """One call: its `line` in the file, its messages and parameters, and the answer or the error that ended it.

    `params` have the names that all models share; `left_out` lists parameters that cannot be passed to another model.
    """

    line: int
    model: str
    messages: list[BaseMessage]
    params: Kwargs
    left_out: list[str]
    answer: AIMessage | None
    error: str | None
    seconds: float


def read_recording(path: StrPath) -> list[RecordedCall]:
    """Return the calls of a cassette, in the order in which they ended.

    Raises: `CassetteError` for a file that is not a cassette, has no calls, or has a truncated
    request.
    """
    try:
        contents = from_lines(Path(path).read_bytes(), path)
    except OSError as exc:
        raise CassetteError(f"`{path}` cannot be read: {exc.strerror or exc}.") from exc
    if contents.exchanges and not contents.calls:
        raise CassetteError(
            f"`{path}` has requests and answers, but no calls to run again: it was recorded by an older modelwire, or "
            "the program ended within its first call. Record it again with `recorded(...)`."
        )
    if not contents.calls:
        raise CassetteError(
            f"`{path}` has no call of a chat model to compare: record some with `recorded(...)`."
        )
    return [_call(call, path) for call in contents.calls]


def _call(call: Call, path: object) -> RecordedCall:
    where = f"`{path}`, line {call.line}"
    text = _missing_text([call.messages, call.params])
    if text is not None:
        raise CassetteError(
            f"{where}: a text of the call is missing in the recording ({text[:24]}...), because an earlier line was "
            "deleted. Record the call again, or delete this line, too."
        )
    answer: Any = None
    try:
        messages = messages_from_dict(call.messages)
        if call.answer is not None:
            (answer,) = messages_from_dict([call.answer])
    except (KeyError, TypeError, ValueError, AttributeError, ModelwireError) as exc:
        raise CassetteError(
            f"{where}: the call cannot be read back ({type(exc).__name__}: {exc}). Delete the line."
        ) from exc
    if not isinstance(answer, AIMessage):
        answer = None
    return RecordedCall(
        call.line,
        call.model or call.provider,
        messages,
        call.params,
        call.left_out,
        answer,
        call.error,
        call.seconds,
    )


def _missing_text(value: Any) -> str | None:
    """Return the hash of a long text that is missing in the recording; None if all texts are there."""
    if isinstance(value, str):
        mark = LEFT_OUT.search(value)
        if mark is None:
            return None
        return mark[0]
    items: Iterable[Any] = ()
    if isinstance(value, Mapping):
        items = value.values()
    elif isinstance(value, list):
        items = value
    for item in items:
        if (found := _missing_text(item)) is not None:
            return found
    return None
