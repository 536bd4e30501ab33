"""The tool loop: call the model, run the tools it calls, send it their results, until it calls no more tools.

`_Loop` makes every decision; the four functions differ in how they wait, and in what they yield meanwhile. This is no
agent framework: for graphs, memory and human approval use LangGraph, whose nodes may call these functions.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from uuid import uuid4

from modelwire.errors import (
    BudgetExceeded,
    InvalidArgument,
    InvalidType,
    StepLimitReached,
    did_you_mean,
    message_of,
)
from modelwire.langchain_bridge import is_langchain, own
from modelwire.messages import AIMessage, BaseMessage, ToolCall, ToolMessage
from modelwire.messages.base import merge_chunks
from modelwire.messages.conversion import convert_to_messages, message_chunk_to_message
from modelwire.runnables.base import Runnable
from modelwire.runnables.binding import RunnableBinding
from modelwire.runnables.config import RunnableConfig, in_batch, settled
from modelwire.runnables.deadline import check
from modelwire.runnables.reading_context import abound_stream, bound_stream
from modelwire.tools.base import BaseTool
from modelwire.tools.convert import tool as make_tool
from modelwire.tools.function_calling import is_own_kind

if TYPE_CHECKING:
    from modelwire.messages import AIMessageChunk
    from modelwire.messages.any_message import MessageLikeRepresentation

__all__ = ["ToolCallStarted", "arun_tools", "astream_tools", "run_tools", "stream_tools"]

# The loop stops after this many answers of the model. Other libraries stop at 10 to 25.
MAX_STEPS = 10
NOT_RUN = "This call was not run: the conversation went on without it."

# These keys of a config identify a single run, so only the first run of the loop has them.
_OF_ONE_RUN = ("run_id", "run_name")

_log = logging.getLogger("modelwire.tools")


class ToolCallStarted(NamedTuple):
    """A tool begins to run. `step` is the number of the answer that called it, or 0 for a call of the history."""

    tool_call: ToolCall
    step: int


def run_tools(
    model: Any,
    messages: Any,
    tools: Sequence[Any],
    *,
    max_steps: int = MAX_STEPS,
    config: RunnableConfig | None = None,
    **kwargs: Any,
) -> list[BaseMessage]:
    """Call `model` and the tools that it calls, until it calls no more; return the conversation with the final answer.

        messages = run_tools(model, "What is 3 times 4?", [multiply])
        print(messages[-1].text)

    `messages` is a text, or a history of at least one message; it is not changed. `tools` are functions, tools,
    runnables as tools, tools of an MCP server (`modelwire.tools.mcp`) or of LangChain, and a provider's own tools as
    dicts. The calls of one answer run concurrently, at most `config["max_concurrency"]` at a time. An error of a tool
    is sent to the model as the `ToolMessage` of its call, with `status="error"`, and logged as `modelwire.tools`. A
    tool with `return_direct=True` ends the loop with its output. `config["timeout"]` limits the whole loop. `kwargs`
    are passed to `bind_tools`; a `tool_choice` that forces a call applies to the first answer only.

    Calls at the end of the history without an answer are run first; earlier ones are answered with "not run".

    Raises `StepLimitReached` if the model still calls tools after `max_steps` answers, and `BudgetExceeded` if a
    `budget` stops the model. The `.messages` of both errors hold the conversation so far, which may be passed in again.
    Raises `InvalidArgument`, before any request, if the history has a tool's answer without a call, if two tools have
    the same name, if a tool cannot be run, and for an async function in the sync loop. Only the first run of the model
    has the config's `run_id` and `run_name`. A value that the model writes for an `InjectedToolArg` is dropped.
    """
    loop = _Loop(model, messages, tools, max_steps, config, kwargs, is_async=False)
    while True:
        if calls := loop.open_calls():
            loop.add_results(loop.caller.batch(calls, loop.config_for(calls)))
        if loop.is_done:
            return loop.messages
        with loop.keeping():
            loop.add_answer(loop.next_model().invoke(loop.messages, loop.config_for_model()))


async def arun_tools(
    model: Any,
    messages: Any,
    tools: Sequence[Any],
    *,
    max_steps: int = MAX_STEPS,
    config: RunnableConfig | None = None,
    **kwargs: Any,
) -> list[BaseMessage]:
    """Do what `run_tools` does, async."""
    loop = _Loop(model, messages, tools, max_steps, config, kwargs, is_async=True)
    while True:
        if calls := loop.open_calls():
            loop.add_results(await loop.caller.abatch(calls, loop.config_for(calls)))
        if loop.is_done:
            return loop.messages
        with loop.keeping():
            loop.add_answer(await loop.next_model().ainvoke(loop.messages, loop.config_for_model()))


@bound_stream
def stream_tools(
    model: Any,
    messages: Any,
    tools: Sequence[Any],
    *,
    max_steps: int = MAX_STEPS,
    config: RunnableConfig | None = None,
    **kwargs: Any,
) -> Iterator[BaseMessage | ToolCallStarted]:
    """Do what `run_tools` does, and yield events.

    The events are each `AIMessageChunk` of an answer and then the whole `AIMessage`, a `ToolCallStarted` for each call,
    and each `ToolMessage` when its tool has ended. A chunk is an `AIMessage` too, so test for `AIMessageChunk` first.
    The history and the whole messages together are the conversation; concurrent tools yield in the order they end.
    """
    loop = _Loop(model, messages, tools, max_steps, config, kwargs, is_async=False)
    while True:
        if calls := loop.open_calls():
            yield from loop.events(calls)
            results: dict[int, Any] = {}
            for position, result in loop.caller.batch_as_completed(calls, loop.config_for(calls)):
                results[position] = result
                yield from _listed(result)
            loop.add_results([results[position] for position in range(len(calls))])
        if loop.is_done:
            return
        chunks: list[AIMessageChunk] = []
        with loop.keeping():
            for chunk in loop.next_model().stream(loop.messages, loop.config_for_model()):
                chunks.append(chunk)
                yield chunk
        yield loop.add_answer(message_chunk_to_message(merge_chunks(chunks)))


@abound_stream
async def astream_tools(
    model: Any,
    messages: Any,
    tools: Sequence[Any],
    *,
    max_steps: int = MAX_STEPS,
    config: RunnableConfig | None = None,
    **kwargs: Any,
) -> AsyncIterator[BaseMessage | ToolCallStarted]:
    """Do what `stream_tools` does, async."""
    loop = _Loop(model, messages, tools, max_steps, config, kwargs, is_async=True)
    while True:
        if calls := loop.open_calls():
            for event in loop.events(calls):
                yield event
            results: dict[int, Any] = {}
            async for position, result in loop.caller.abatch_as_completed(
                calls, loop.config_for(calls)
            ):
                results[position] = result
                for message in _listed(result):
                    yield message
            loop.add_results([results[position] for position in range(len(calls))])
        if loop.is_done:
            return
        chunks: list[AIMessageChunk] = []
        with loop.keeping():
            async for chunk in loop.next_model().astream(loop.messages, loop.config_for_model()):
                chunks.append(chunk)
                yield chunk
        yield loop.add_answer(message_chunk_to_message(merge_chunks(chunks)))


class _Loop:
    """One conversation with its tools: what to do next, and what has been done."""

    def __init__(
        self,
        model: Any,
        messages: MessageLikeRepresentation | Sequence[MessageLikeRepresentation],
        tools: Sequence[Any],
        max_steps: Any,
        config: RunnableConfig | None,
        kwargs: dict[str, Any],
        *,
        is_async: bool,
    ) -> None:
        if isinstance(max_steps, bool) or not isinstance(max_steps, int) or max_steps < 1:
            raise InvalidArgument(
                f"`max_steps` must be a whole number of at least 1, not {max_steps!r}."
            )
        self._forced = _with_tools(model, tools, kwargs)
        self.config = settled(config)
        limit = self.config.get("max_concurrency")
        self.caller = _ToolCaller(tools, max_concurrency=limit, is_async=is_async)
        self.messages = answered(convert_to_messages(messages))
        self.step = 0
        self.max_steps = max_steps
        self.is_done = False
        is_forced = kwargs.get("tool_choice") not in (None, False, "auto", "none")
        later = {name: value for name, value in kwargs.items() if name != "tool_choice"}
        self._free = _with_tools(model, tools, later) if is_forced else self._forced

    def next_model(self) -> Any:
        """Return the model to ask now."""
        self.step += 1
        if self.step == 1:
            return self._forced
        return self._free

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Add the conversation so far to the error if a budget stops the model."""
        try:
            yield
        except BudgetExceeded as exc:
            exc.messages = self.messages
            raise

    def add_answer(self, answer: BaseMessage) -> BaseMessage:
        """Append an answer, with an id for each of its calls. Without a call the loop is done."""
        answer = _with_call_ids(answer)
        self.messages = [*self.messages, answer]
        self.is_done = not _open_calls(self.messages)
        return answer

    def open_calls(self) -> list[dict[str, Any]]:
        """Return the calls of the last answer that have no result yet, including those that cannot be read.

        Raises `StepLimitReached` after the last step, because no model would read the tools' results.
        """
        calls = _open_calls(self.messages)
        if calls and self.step == self.max_steps:
            raise StepLimitReached(
                f"The model still calls tools after {self.max_steps} answers (`max_steps`). What was done is in "
                "`.messages`; pass it in again to go on, or raise `max_steps`.",
                messages=self.messages,
            )
        return calls

    def events(self, calls: Sequence[Mapping[str, Any]]) -> list[ToolCallStarted]:
        return [
            ToolCallStarted(cast("ToolCall", call), self.step)
            for call in calls
            if "error" not in call
        ]

    def config_for(self, calls: Sequence[Any]) -> RunnableConfig:
        """Return the config under which these calls run: all at a time, unless it sets a bound."""
        bound = self.config.get("max_concurrency")
        config: Any = {**self.config, "max_concurrency": len(calls) if bound is None else bound}
        for name in _OF_ONE_RUN:
            config.pop(name, None)
        return cast("RunnableConfig", config)

    def config_for_model(self) -> RunnableConfig:
        """Return the config under which the model is asked: the first run alone has the config's id and name."""
        if self.step == 1:
            return self.config
        config: Any = {name: one for name, one in self.config.items() if name not in _OF_ONE_RUN}
        return cast("RunnableConfig", config)

    def add_results(self, results: Sequence[Any]) -> None:
        """Append the results of the tools in the order of the calls, or raise the error that must end the loop."""
        new = [message for result in results for message in _listed(result)]
        self.messages = [*self.messages, *new]
        with self.keeping():
            for stopped in filter(_stops_all, results):
                raise stopped
        direct = {name for name, tool in self.caller.tools.items() if tool.return_direct}
        self.is_done = any(
            isinstance(message, ToolMessage)
            and message.name in direct
            and message.status == "success"
            for message in new
        )


class _ToolCaller(Runnable[Any, Any]):
    """Runs one call of a model: the tool's `ToolMessage`, or the one that tells the model what was wrong."""

    def __init__(
        self, tools: Sequence[Any], *, max_concurrency: int | None, is_async: bool
    ) -> None:
        self.name = "tools"
        self.tools: dict[str, BaseTool] = {}
        self._max_concurrency = max_concurrency
        self._in_batch = in_batch.get()
        for one in tools:
            if is_own_kind(one):  # the provider runs it
                continue
            if is_langchain(one):
                one = own("callable_tool", one)
            if not callable(one) and not isinstance(one, BaseTool | Runnable):
                raise InvalidArgument(
                    f"A `{type(one).__name__}` describes a tool but cannot be run: pass the function, a tool made by "
                    "`@tool`, or the tools of an MCP server (`modelwire.tools.mcp.MCPTools`)."
                )
            ready = one if isinstance(one, BaseTool) else make_tool(one)
            if not is_async and _is_async_only(ready):
                raise InvalidArgument(
                    f"The tool `{ready.name}` is an async function, and this loop is sync. Call `arun_tools` (or "
                    "`astream_tools`), or give the tool a `func`, too."
                )
            if ready.name in self.tools:
                raise InvalidArgument(
                    f"Two tools are called `{ready.name}`. Rename one: `@tool('another_name')`."
                )
            self.tools[ready.name] = ready

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        if (tool := self._tool_for(input)) is None:
            return self._refusal(input)
        mark = in_batch.set(self._in_batch)  # Concurrent calls are not rows of a batch.
        try:
            return _checked(tool.invoke(_as_call(input, tool), self._config_of_tool(config)), input)
        except Exception as exc:  # noqa: BLE001 - the code of the tool
            if _stops_all(exc):
                return exc
            return _failure(exc, input, config, tool)
        finally:
            in_batch.reset(mark)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        if (tool := self._tool_for(input)) is None:
            return self._refusal(input)
        mark = in_batch.set(self._in_batch)
        try:
            return _checked(
                await tool.ainvoke(_as_call(input, tool), self._config_of_tool(config)), input
            )
        except Exception as exc:  # noqa: BLE001 - the code of the tool
            if _stops_all(exc):
                return exc
            return _failure(exc, input, config, tool)
        finally:
            in_batch.reset(mark)

    def _config_of_tool(self, config: RunnableConfig | None) -> RunnableConfig:
        """Return the config of one call: its own run, and the bound of the loop's config in place of the batch's."""
        own_config: Any = dict(config or {})
        for name in (*_OF_ONE_RUN, "max_concurrency"):
            own_config.pop(name, None)
        if self._max_concurrency is not None:
            own_config["max_concurrency"] = self._max_concurrency
        return cast("RunnableConfig", own_config)

    def _tool_for(self, call: Mapping[str, Any]) -> BaseTool | None:
        if "error" in call:
            return None
        return self.tools.get(call["name"])

    def _refusal(self, call: Mapping[str, Any]) -> ToolMessage:
        if "error" in call:
            return _error_message(
                call, "The arguments of this call are not valid JSON. Write the call again."
            )
        return _error_message(
            call, f"There is no tool `{call['name']}`. {did_you_mean(call['name'], [*self.tools])}"
        )


def _with_call_ids(answer: BaseMessage) -> BaseMessage:
    """Return the answer with an id of its own for each call, those too that cannot be read.

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


def _is_async_only(tool: BaseTool) -> bool:
    has_function = getattr(tool, "func", tool) is not None
    return not has_function and getattr(tool, "coroutine", None) is not None


def _as_call(call: Mapping[str, Any], tool: BaseTool) -> dict[str, Any]:
    """Return the call without what the model wrote for arguments that only the program may pass."""
    hidden = tool._hidden_args
    args = {name: value for name, value in call["args"].items() if name not in hidden}
    return {**call, "args": args, "type": "tool_call"}


def _checked(result: Any, call: Mapping[str, Any]) -> Any:
    """Return what a tool gave when it answers the call. Raises `InvalidType` when it does not."""
    ids = [message.tool_call_id for message in _listed(result) if isinstance(message, ToolMessage)]
    if call["id"] in ids and all(isinstance(message, BaseMessage) for message in _listed(result)):
        return result
    raise InvalidType(
        f"The tool returned a `{type(result).__name__}` that holds no answer to its call."
    )


def _failure(
    exc: Exception, call: Mapping[str, Any], config: RunnableConfig | None, tool: BaseTool
) -> ToolMessage:
    check(
        (config or {}).get("deadline"), tool
    )  # The time of the whole loop is over, so its answer is not needed.
    _log.info("The tool `%s` failed: %s", tool.name, type(exc).__name__, exc_info=exc)
    return _error_message(call, f"{type(exc).__name__}: {message_of(exc)}")


def _error_message(call: Mapping[str, Any], text: str) -> ToolMessage:
    return ToolMessage(text, tool_call_id=call["id"], name=call.get("name"), status="error")


def _stops_all(result: Any) -> bool:
    """Return whether a budget around the whole loop has stopped a tool, not a budget inside of the tool."""
    return (
        isinstance(result, BudgetExceeded)
        and result.budget is not None
        and result.budget.is_entered
    )


def _listed(result: Any) -> list[Any]:
    if isinstance(result, list):
        return result
    if _stops_all(result):
        return []
    return [result]


def _with_tools(model: Any, tools: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Bind the tools to the model inside of bindings, so that what these add stays."""
    if isinstance(model, RunnableBinding):
        others = {
            name: value
            for name, value in model.kwargs.items()
            if name not in ("tools", "tool_choice")
        }
        return model._with(bound=_with_tools(model.bound, tools, kwargs), kwargs=others)
    if not hasattr(model, "bind_tools"):
        hint = "Put the prompt into `messages` instead: `prompt.invoke(...)` may be passed there."
        if isinstance(model, str):
            hint = f"`init_chat_model({model!r})` makes one."
        raise InvalidType(f"`model` must be a chat model, not a `{type(model).__name__}`. {hint}")
    if tools or kwargs:
        return model.bind_tools(tools, **kwargs)
    return model


def _open_calls(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """Return the calls of the last answer without a `ToolMessage`, if only such messages follow it."""
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
    """Return whether one of the answers in `done` is for this id, and take it out."""
    if done[id_] == 0:
        return False
    done[id_] -= 1
    return True


def _calls_of(message: BaseMessage) -> list[dict[str, Any]]:
    """Return the calls of an answer; those whose arguments are not JSON have an `error`."""
    calls = [dict(call) for call in getattr(message, "tool_calls", ())]
    unread = [
        {**call, "error": True}
        for call in getattr(message, "invalid_tool_calls", ())
        if call.get("id")
    ]
    return [*calls, *unread]


def answered(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return the history with an answer for each call that was passed over; those at its end stay open.

    Raises `InvalidArgument` for an answer to no call, naming its place.
    """
    whole: list[BaseMessage] = []
    waiting: list[dict[str, Any]] = []
    for position, message in enumerate(messages):
        if isinstance(message, ToolMessage):
            call = next((one for one in waiting if one["id"] == message.tool_call_id), None)
            if call is None:
                raise InvalidArgument(
                    f"Message {position} answers the tool call `{message.tool_call_id}`, which the answer before it "
                    "does not make, or which is answered already. Leave it out, or put the call before it."
                )
            waiting.remove(call)
        else:
            whole += [_error_message(call, NOT_RUN) for call in waiting]
            waiting = _calls_of(message)
        whole.append(message)
    return whole
