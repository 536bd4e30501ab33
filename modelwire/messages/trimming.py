"""Trims a history to a number of tokens.

Pure except for the caller's counter; input messages are never changed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, Protocol, cast, runtime_checkable

from modelwire.aliases import Function
from modelwire.errors import InvalidArgument, InvalidType
from modelwire.messages.base import BaseMessage
from modelwire.messages.filtering import Kinds, check_kinds, history_tool, is_of_type

__all__ = ["trim_messages"]

Count = Callable[[list[BaseMessage]], int]
Split = Callable[[str], list[str]]


@runtime_checkable
class CountsTokens(Protocol):
    """A model that counts the tokens of messages."""

    def get_num_tokens_from_messages(self, messages: list[BaseMessage]) -> int: ...


class SplitsText(Protocol):
    """A splitter of a text into pieces, such as one of `langchain_text_splitters`."""

    def split_text(self, text: str) -> list[str]: ...


@history_tool
def trim_messages(
    messages: list[BaseMessage],
    *,
    max_tokens: int,
    token_counter: Count | Callable[[BaseMessage], int] | CountsTokens | Literal["approximate"],
    strategy: Literal["first", "last"] = "last",
    allow_partial: bool = False,
    end_on: Kinds | None = None,
    start_on: Kinds | None = None,
    include_system: bool = False,
    text_splitter: Split | SplitsText | None = None,
) -> list[BaseMessage]:
    """Return as many of the first or last messages as fit in `max_tokens`.

    `token_counter` counts a list of messages, or one message if its parameter is annotated with a
    message class; a model counts by its own method; "approximate" counts characters.
    `allow_partial` keeps a part of the message at the edge: whole blocks, else pieces of its text
    from `text_splitter` (by default lines). `end_on` and `start_on` drop messages until one of
    these types ends or starts the rest. `include_system` keeps a system message at the beginning
    whatever its size; it and `start_on` require `strategy="last"`.

    Raises: `InvalidArgument` for options that cannot be combined.
    """
    if strategy not in ("first", "last"):
        raise InvalidArgument(
            f"Unrecognized strategy='{strategy}'. Supported strategies are 'last' and 'first'."
        )
    if strategy == "first" and start_on:
        raise InvalidArgument("start_on parameter is only valid with strategy='last'")
    if strategy == "first" and include_system:
        raise InvalidArgument("include_system parameter is only valid with strategy='last'")
    check_kinds(start_on, "start_on")
    check_kinds(end_on, "end_on")
    count = _counter(token_counter)
    splitter = _splitter(text_splitter)
    split = splitter if allow_partial else None
    if not messages:
        return []
    if strategy == "first":
        return _ended(_fitting([], messages, max_tokens, count, split, from_end=False), end_on)
    if include_system and messages[0].type.startswith(("system", "System")):
        head = messages[:1]
    else:
        head = []
    body = _ended(messages[len(head) :], end_on)
    chosen = _fitting(head, body, max_tokens, count, split, from_end=True)
    while start_on and chosen and not is_of_type(chosen[0], start_on):
        chosen = chosen[1:]
    return head + chosen


def _ended(messages: list[BaseMessage], end_on: Kinds | None) -> list[BaseMessage]:
    end = len(messages)
    while end_on and end and not is_of_type(messages[end - 1], end_on):
        end -= 1
    return messages[:end]


def _fitting(
    head: list[BaseMessage],
    body: list[BaseMessage],
    limit: int,
    count: Count,
    split: Split | None,
    *,
    from_end: bool,
) -> list[BaseMessage]:
    """Return the messages of `body` that fit in `limit` tokens together with `head`.

    They are taken from the start of the body, or from its end. With `split` they include a part of
    the next message.
    """

    def whole(n: int) -> list[BaseMessage]:
        if from_end:
            return body[len(body) - n :]
        return body[:n]

    n = _largest(len(body), lambda n: count([*head, *whole(n)]), limit)
    if n == len(body) or split is None:
        return whole(n)

    def with_part(part: BaseMessage) -> list[BaseMessage]:
        if from_end:
            return [part, *whole(n)]
        return [*whole(n), part]

    edge = body[len(body) - n - 1] if from_end else body[n]
    part = _part(
        edge, lambda part: count([*head, *with_part(part)]) <= limit, split, from_end=from_end
    )
    return whole(n) if part is None else with_part(part)


def _largest(size: int, tokens: Callable[[int], int], limit: int) -> int:
    """Return the largest n <= size whose tokens are within the limit, or 0.

    More messages must not have fewer tokens.
    """
    if not size:
        return 0
    if tokens(size) <= limit:
        return size
    return bisect_right(range(1, size), limit, key=tokens)


def _part(
    message: BaseMessage, fits: Callable[[BaseMessage], bool], split: Split, *, from_end: bool
) -> BaseMessage | None:
    """Return the longest part of the message that fits: of its blocks, else of its text; None if nothing does."""
    content = message.content
    if not isinstance(content, str):
        part = _longest(message, content, fits, list, from_end=from_end)
        if part is not None:
            return part
        texts = [block if isinstance(block, str) else block.get("text") for block in content]
        nonempty = [text for text in texts if isinstance(text, str) and text]
        if nonempty:
            content = nonempty[-1 if from_end else 0]
        else:
            content = ""
    if content:
        return _longest(message, split(content), fits, "".join, from_end=from_end)
    return None


def _longest(
    message: BaseMessage,
    pieces: Sequence[Any],
    fits: Callable[[BaseMessage], bool],
    join: Callable[[Iterable[Any]], Any],
    *,
    from_end: bool,
) -> BaseMessage | None:
    """Return the message with as many of the pieces as fit, or None if not even one does.

    The caller knows that all pieces together do not fit.
    """

    def part(n: int) -> BaseMessage:
        content = join(pieces[len(pieces) - n :] if from_end else pieces[:n])
        return message.model_copy(update={"content": content})

    n = bisect_right(range(1, len(pieces)), False, key=lambda n: not fits(part(n)))
    return part(n) if n else None


def _counter(counter: Any) -> Count:
    if isinstance(counter, str):
        if counter != "approximate":
            raise InvalidArgument(
                f"Invalid token_counter shortcut '{counter[:40]}'. The only shortcut is 'approximate'."
            )
        from modelwire.messages.counting import count_tokens_approximately

        return count_tokens_approximately
    if isinstance(counter, CountsTokens):
        return counter.get_num_tokens_from_messages
    if not callable(counter):
        raise InvalidArgument(  # Scripts know this text.
            "'token_counter' expected to be a model that implements 'get_num_tokens_from_messages()' or a function. "
            f"Received object of type {type(counter)}."
        )
    function: Any = counter
    if _takes_one(function):
        return lambda messages: sum(map(function, messages))
    return cast("Callable[[list[BaseMessage]], int]", function)


def _takes_one(counter: Function) -> bool:
    """Return whether a counter takes one message, by the annotation of its first parameter."""
    import inspect

    try:
        signature = inspect.signature(counter, eval_str=True)
    except NameError:  # Only a type checker can read the annotation.
        signature = inspect.signature(counter)
    except (ValueError, TypeError):  # Some built-ins have no signature.
        return False
    first = next(iter(signature.parameters.values()), None)
    annotation = None if first is None else first.annotation
    if isinstance(annotation, str):
        return annotation.rpartition(".")[2] in ("BaseMessage", "AnyMessage")
    return isinstance(annotation, type) and issubclass(annotation, BaseMessage)


def _splitter(splitter: Any) -> Split:
    if splitter is None:
        return lambda text: text.splitlines(keepends=True)
    split: Any = getattr(splitter, "split_text", splitter)
    if not callable(split):
        raise InvalidType(
            f"`text_splitter` must be a function of a text or have `split_text`, not a `{type(splitter).__name__}`."
        )
    return split  # type: ignore[no-any-return]  # checked
