"""Decides which tool calls of a model run, by asking `approve`, and adds the results of calls that were left open."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from pydantic import ValidationError

from modelwire.aliases import JSON, Values
from modelwire.errors import InvalidArgument, InvalidType, ToolsPaused
from modelwire.messages import BaseMessage, ToolMessage
from modelwire.tools.calls import error_message
from modelwire.tools.output import format_output

if TYPE_CHECKING:
    from modelwire.tools.base import BaseTool

__all__ = [
    "Approve",
    "Changed",
    "Decision",
    "Declined",
    "Later",
    "RunAgain",
    "ToolRequest",
]


class ToolRequest(NamedTuple):
    """A call that waits for a decision: the name, arguments and id that the model wrote, and the tool."""

    name: str
    args: JSON
    id: str
    tool: BaseTool


class Changed(NamedTuple):
    """The decision to run a call with other arguments; the model reads that they were changed."""

    args: Values


class Declined(NamedTuple):
    """The decision to decline a call, or the result of an open call that was declined; the model reads the reason."""

    reason: str = ""


class Later:
    """The decision to leave a call open: the loop ends with `ToolsPaused` once the other calls have run."""


class RunAgain:
    """A value in the `results` of `run_tools`: run an interrupted call again. It may have had its effect already."""


Decision: TypeAlias = bool | str | Changed | Declined | Later | type[Later]
Approve: TypeAlias = Callable[[ToolRequest], Decision | Awaitable[Decision]]


class Waiting(NamedTuple):
    """The outcome of a call that stays open, with the reason."""

    call: Values
    why: str


class Task(NamedTuple):
    """A tool call of the model, and its outcome if that is known already. A call without an outcome is run."""

    call: JSON
    outcome: ToolMessage | Waiting | list[Any] | None = None
    has_changed_args: bool = False


class Approval:
    """Asks the user's function `approve` about calls. Without this function every call runs."""

    def __init__(
        self, approve: Approve | None, tools: Mapping[str, BaseTool], *, is_async: bool
    ) -> None:
        needy = [name for name, tool in tools.items() if tool.approve]
        if approve is None and needy:
            raise InvalidArgument(
                f"The tool `{needy[0]}` runs only if it is approved: pass `approve=`, a function of the call that "
                "returns True, False, a reason, `Changed(args)` or `Later`."
            )
        if approve is not None and not callable(approve):
            raise InvalidType(f"`approve` must be a function, not a `{type(approve).__name__}`.")
        if not is_async and _is_async(approve):
            raise InvalidArgument(
                "`approve` is an async function, and this loop is sync. Call `arun_tools` or `astream_tools`."
            )
        self.function = approve
        self.tools = tools

    def request(self, task: Task) -> ToolRequest | None:
        """Return the request about a call, to be passed to `approve`; None if the call needs no decision."""
        call = task.call
        if self.function is None or task.outcome is not None or "error" in call:
            return None
        tool = self.tools.get(call["name"])
        if tool is None or tool.approve is False:
            return None
        return ToolRequest(call["name"], dict(call["args"]), call["id"], tool)


def _is_async(function: Any) -> bool:
    return iscoroutinefunction(function) or iscoroutinefunction(type(function).__call__)


def decided(task: Task, request: ToolRequest, decision: Any) -> Task:
    """Return the task with the decision of `approve` applied.

    Raises: `InvalidType` for a value that is not a decision, `InvalidArgument` for arguments that the schema rejects.
    """
    call = task.call
    if decision is True:
        return task
    if decision is False:
        return task._replace(outcome=declined(call, ""))
    if isinstance(decision, str):
        return task._replace(outcome=declined(call, decision))
    if isinstance(decision, Declined):
        return task._replace(outcome=declined(call, decision.reason))
    if decision is Later or isinstance(decision, Later):
        return task._replace(outcome=Waiting(call, "it waits for a decision"))
    if isinstance(decision, Changed):
        args = dict(decision.args)
        _check_changed(request, args)
        return Task({**call, "args": args}, has_changed_args=True)
    raise InvalidType(
        f"`approve` must return True, False, a reason, `Changed(args)` or `Later`, not a `{type(decision).__name__}`."
    )


def _check_changed(request: ToolRequest, args: JSON) -> None:
    try:
        request.tool._parse_input(args, request.id)
    except ValidationError as exc:
        raise InvalidArgument(
            f"`approve` changed the arguments of `{request.name}` to values that its schema does not allow: {exc}"
        ) from exc


def declined(call: Values, reason: str) -> ToolMessage:
    """Return the `ToolMessage` that tells the model that the user declined the call."""
    return error_message(call, f"The user declined this call. {reason}".rstrip())


def with_changed_args(result: Any, call: Values) -> Any:
    """Return the result of a call whose arguments were changed, with a sentence that tells the model so."""
    if not isinstance(result, ToolMessage) or not isinstance(result.content, str):
        return result
    args = json.dumps(call["args"], ensure_ascii=False, default=str)
    text = f"The user changed the arguments of this call to {args}. Its result: {result.content}"
    return result.model_copy(update={"content": text})


class SuppliedResults:
    """The results that a caller passes in for open calls, by the ids of the calls."""

    def __init__(
        self,
        results: Values | None,
        open_calls: Sequence[Values],
        interrupted: frozenset[str],
    ) -> None:
        self.results = dict(results or {})
        self.interrupted = interrupted
        open_ids = [call["id"] for call in open_calls]
        for id_ in self.results:
            if id_ not in open_ids:
                known = ", ".join(f"`{one}`" for one in open_ids) or "none"
                raise InvalidArgument(
                    f"`results` has `{id_}`, which is not an open call of the conversation. Open calls: {known}."
                )

    def task(self, call: JSON) -> Task:
        """Return the task of a call, with the outcome that the caller has supplied, if any."""
        id_ = call["id"]
        if id_ not in self.results:
            if id_ in self.interrupted:
                why = "the program ended while it ran, so it may have had its effect"
                return Task(call, Waiting(call, why))
            return Task(call)
        value = self.results.pop(id_)
        if value is RunAgain or isinstance(value, RunAgain):
            self.interrupted -= {id_}
            return Task(call)
        if isinstance(value, Declined):
            return Task(call, declined(call, value.reason))
        return Task(call, checked(format_output(value, None, id_, call["name"], "success"), call))


def checked(result: Any, call: Values) -> Any:
    """Return `result` unchanged, after checking that it answers the call. Raises `InvalidType` if it does not."""
    messages = result if isinstance(result, list) else [result]
    ids = [message.tool_call_id for message in messages if isinstance(message, ToolMessage)]
    if call["id"] in ids and all(isinstance(message, BaseMessage) for message in messages):
        return result
    raise InvalidType(
        f"The tool returned a `{type(result).__name__}` that has no answer to its call."
    )


def paused(waiting: Sequence[Waiting], messages: Sequence[BaseMessage]) -> ToolsPaused:
    """Return the error that names the open calls."""
    reasons = "; ".join(f"`{one.call['name']}` ({one.call['id']}): {one.why}" for one in waiting)
    return ToolsPaused(
        f"{len(waiting)} tool calls are open. {reasons}. Pass `.messages` in again, with "
        "`results={id: value}` for those that have a result now.",
        messages=messages,
        calls=[dict(one.call) for one in waiting],
    )
