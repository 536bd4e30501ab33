"""Filters and joins the messages of a history. Pure: the input messages are never changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, Protocol, cast, overload

from modelwire.aliases import Kwargs
from modelwire.errors import InvalidArgument, InvalidType, did_you_mean
from modelwire.messages.ai import AIMessage, AIMessageChunk
from modelwire.messages.base import BaseMessage
from modelwire.messages.conversion import TYPES, convert_to_messages, message_chunk_to_message
from modelwire.messages.merge import Content, merge_dicts
from modelwire.messages.usage import add_usage

if TYPE_CHECKING:
    from modelwire.messages.any_message import MessageLikeRepresentation
    from modelwire.prompt_values import PromptValue
    from modelwire.runnables import Runnable

__all__ = ["filter_messages", "merge_message_runs"]

Kinds = str | type[BaseMessage] | Sequence[str | type[BaseMessage]]
_P = ParamSpec("_P")


class HistoryTool(Protocol[_P]):
    """A function that takes and returns messages; called without messages, it returns a runnable that does so."""

    @overload
    def __call__(
        self, messages: None = None, *args: _P.args, **kwargs: _P.kwargs
    ) -> Runnable[Any, list[BaseMessage]]: ...
    @overload
    def __call__(
        self,
        messages: Iterable[MessageLikeRepresentation] | PromptValue,
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> list[BaseMessage]: ...


def history_tool(
    function: Callable[Concatenate[list[BaseMessage], _P], list[BaseMessage]],
) -> HistoryTool[_P]:
    """Decorate a function of messages so that it also accepts message-like values.

    Called without messages, the decorated function returns a runnable, for use in a chain.
    """

    @wraps(function)
    def tool(messages: Any = None, *args: _P.args, **kwargs: _P.kwargs) -> Any:
        if messages is not None:
            return function(convert_to_messages(messages), *args, **kwargs)
        from modelwire.runnables import RunnableLambda

        def step(messages: Any) -> list[BaseMessage]:
            return function(convert_to_messages(messages), *args, **kwargs)

        return RunnableLambda(step, name=function.__name__)

    return cast("HistoryTool[_P]", tool)


def is_of_type(message: BaseMessage, kinds: Kinds) -> bool:
    """Return whether a message is of one of the kinds: classes, their names, or types (`human`,
    which includes its chunks).
    """
    for kind in _each(kinds):
        if isinstance(kind, str):
            type_ = message.type
            if (
                kind in (type_, type(message).__name__)
                or kind == type_.removesuffix("MessageChunk").lower()
            ):
                return True
        elif isinstance(kind, type) and isinstance(message, kind):
            return True
    return False


def check_kinds(kinds: Kinds | None, argument: str) -> None:
    """Raise `InvalidArgument` or `InvalidType` if a kind is neither a type nor a class of messages.

    A typo would silently drop the whole history. `argument` names the parameter in the error.
    """
    for kind in _each(kinds or ()):
        if isinstance(kind, type) and issubclass(kind, BaseMessage):
            continue
        if not isinstance(kind, str):
            raise InvalidType(
                f"`{argument}` must name message types or classes, not `{kind!r:.40}`."
            )
        if kind not in TYPES and kind not in TYPES.values() and kind not in _names(BaseMessage):
            raise InvalidArgument(
                f"`{argument}`: `{kind[:40]}` is not a type of message. {did_you_mean(kind, [*TYPES])}"
            )


def _names(cls: type[BaseMessage]) -> set[Any]:
    """Return the names of a message class and of its subclasses, and the value of `type` of each."""
    own = {cls.__name__, cls.__pydantic_fields__["type"].default}
    return own.union(*(_names(subclass) for subclass in cls.__subclasses__()))


def _each(kinds: str | type | Sequence[Any]) -> Sequence[Any]:
    if isinstance(kinds, str | type):
        return [kinds]
    return kinds


@history_tool
def filter_messages(
    messages: list[BaseMessage],
    *,
    include_names: Sequence[str] | None = None,
    exclude_names: Sequence[str] | None = None,
    include_types: Kinds | None = None,
    exclude_types: Kinds | None = None,
    include_ids: Sequence[str] | None = None,
    exclude_ids: Sequence[str] | None = None,
    exclude_tool_calls: Sequence[str] | bool | None = None,
) -> list[BaseMessage]:
    """Return the messages that match no `exclude_...` argument and, if an `include_...` is passed, match one of these.

    `exclude_tool_calls`: the ids of calls to remove with their results, or `True` for all. An
    answer whose calls are all removed is removed, too; others are copied without them.
    """
    check_kinds(include_types, "include_types")
    check_kinds(exclude_types, "exclude_types")
    chosen = bool(include_names or include_types or include_ids)
    filtered: list[BaseMessage] = []
    for message in messages:
        if (
            (exclude_names and message.name in exclude_names)
            or (exclude_types and is_of_type(message, exclude_types))
            or (exclude_ids and message.id in exclude_ids)
        ):
            continue
        if exclude_tool_calls:
            left = _without_calls(message, exclude_tool_calls)
            if left is None:
                continue
            message = left
        if (
            not chosen
            or (include_names and message.name in include_names)
            or (include_types and is_of_type(message, include_types))
            or (include_ids and message.id in include_ids)
        ):
            filtered.append(message)
    return filtered


# This maps the block types of tool calls to the key of the call's id: LangChain's and Anthropic's;
# OpenAI's Responses API.
_ID_OF_CALL = {
    "tool_call": "id",
    "tool_call_chunk": "id",
    "tool_use": "id",
    "function_call": "call_id",
    "custom_tool_call": "call_id",
}


def _without_calls(
    message: BaseMessage, excluded: Sequence[str] | Literal[True]
) -> BaseMessage | None:
    """Return the message without the excluded tool calls; None if it has only excluded calls, or the result of one."""
    if (result_of := getattr(message, "tool_call_id", None)) is not None:
        if excluded is True or result_of in excluded:
            return None
        return message
    if not isinstance(message, AIMessage) or not (message.tool_calls or message.invalid_tool_calls):
        return message
    ids: Sequence[Any] = () if excluded is True else excluded
    calls = [call for call in message.tool_calls if call["id"] not in ids]
    invalid = [call for call in message.invalid_tool_calls if call["id"] not in ids]
    if excluded is True or not (calls or invalid):
        return None
    update: Kwargs = {"tool_calls": calls, "invalid_tool_calls": invalid}
    if isinstance(message, AIMessageChunk):
        update["tool_call_chunks"] = [
            chunk for chunk in message.tool_call_chunks if chunk["id"] not in ids
        ]
    if isinstance(message.content, list):
        update["content"] = [
            block
            for block in message.content
            if isinstance(block, str)
            or block.get(_ID_OF_CALL.get(block.get("type", ""), "")) not in ids
        ]
    update = {name: value for name, value in update.items() if value != getattr(message, name)}
    if update:
        return message.model_copy(update=update)
    return message


@history_tool
def merge_message_runs(
    messages: list[BaseMessage], *, chunk_separator: str = "\n"
) -> list[BaseMessage]:
    """Return the messages with adjacent messages of one class joined into one.

    Texts are joined with `chunk_separator`, lists of blocks are concatenated.

    A joined message has the id and metadata of the first, the tool calls and usage of all. Results
    of tools, messages that remove others, and chat or function messages with different roles or
    names are not joined.
    """
    runs: list[list[BaseMessage]] = []
    for message in messages:
        whole = message_chunk_to_message(message)
        if runs and _joins(runs[-1][0], whole):
            runs[-1].append(whole)
        else:
            runs.append([whole])
    return [
        run[0].model_copy(deep=True) if len(run) == 1 else _joined(run, chunk_separator)
        for run in runs
    ]


def _joins(first: BaseMessage, message: BaseMessage) -> bool:
    if type(first) is not type(message) or first.type in ("tool", "remove"):
        return False
    if first.type == "function" and first.name != message.name:
        return False
    return getattr(first, "role", None) == getattr(message, "role", None)


def _joined(run: Sequence[BaseMessage], separator: str) -> BaseMessage:
    first = run[0]
    names = {message.name for message in run}
    update: Kwargs = {
        "content": _joined_contents([message.content for message in run], separator),
        "additional_kwargs": merge_dicts(*(message.additional_kwargs for message in run)),
        "name": first.name if len(names) == 1 else None,
    }
    answers = [message for message in run if isinstance(message, AIMessage)]
    if answers:
        update["tool_calls"] = [call for answer in answers for call in answer.tool_calls]
        update["invalid_tool_calls"] = [
            call for answer in answers for call in answer.invalid_tool_calls
        ]
        update["usage_metadata"] = None
        for answer in answers:
            if answer.usage_metadata is not None:
                update["usage_metadata"] = add_usage(
                    update["usage_metadata"], answer.usage_metadata
                )
    joined = first.model_copy(deep=True)
    return joined.model_copy(
        update={name: value for name, value in update.items() if value != getattr(first, name)}
    )


def _joined_contents(contents: Sequence[Content], separator: str) -> Content:
    if all(isinstance(content, str) for content in contents):
        return separator.join(
            content for content in contents if isinstance(content, str) and content
        )
    blocks: list[str | dict[Any, Any]] = []
    for content in contents:
        if not isinstance(content, str):
            blocks += content
        elif content:
            if blocks and isinstance(blocks[-1], str):
                content = f"{blocks.pop()}{separator}{content}"
            blocks.append(content)
    return blocks
