"""The tool loop: call the model, run the tools it calls, send it their results, until it calls no more tools.

`_Loop` makes every decision; the four functions differ in how they wait, and in what they yield meanwhile. This is not
an agent framework: for graphs and memory use LangGraph, whose nodes may call these functions.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from modelwire.aliases import JSON, Kwargs, StrPath, Values
from modelwire.errors import (
    BudgetExceeded,
    CallLater,
    InvalidArgument,
    InvalidType,
    StepLimitReached,
    did_you_mean,
    message_of,
)
from modelwire.langchain_bridge import is_langchain, own
from modelwire.messages import AIMessage, BaseMessage, ToolCall, ToolMessage
from modelwire.messages.base import merge_chunks
from modelwire.messages.block_translators.standard import without
from modelwire.messages.conversion import convert_to_messages, message_chunk_to_message
from modelwire.runnables.base import Runnable
from modelwire.runnables.binding import RunnableBinding
from modelwire.runnables.config import Config, RunnableConfig, in_batch, run_in_executor, settled
from modelwire.runnables.deadline import check
from modelwire.runnables.reading_context import abound_stream, bound_stream
from modelwire.tools.approval import (
    Approval,
    Approve,
    SuppliedResults,
    Task,
    Waiting,
    checked,
    decided,
    paused,
    with_changed_args,
)
from modelwire.tools.base import BaseTool
from modelwire.tools.calls import answered, error_message, open_calls, with_call_ids
from modelwire.tools.convert import tool as make_tool
from modelwire.tools.function_calling import is_own_kind
from modelwire.tools.journal import Journal, Restored

if TYPE_CHECKING:
    from modelwire.messages import AIMessageChunk
    from modelwire.messages.any_message import MessageLikeRepresentation

__all__ = ["ToolCallStarted", "arun_tools", "astream_tools", "run_tools", "stream_tools"]

# The loop stops after this many answers of the model. Other libraries stop at 10 to 25.
MAX_STEPS = 10

# These keys of a config identify a single run, so only the first run of the loop has them.
_OF_ONE_RUN = ("run_id", "run_name")

_log = logging.getLogger("modelwire.tools")


class ToolCallStarted(NamedTuple):
    """The event that a tool starts. `step` is the number of the answer that called it; 0 for a call of the history."""

    tool_call: ToolCall
    step: int


def run_tools(
    model: Any,
    messages: Any,
    tools: Sequence[Any],
    *,
    max_steps: int = MAX_STEPS,
    config: Config = None,
    approve: Approve | None = None,
    results: Values | None = None,
    journal: StrPath | None = None,
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

    `approve` is called with a `ToolRequest` (name, arguments, id, tool) for each call before any call of the answer
    runs, except for tools made with `approve=False`. It returns True; False or a reason (the model reads that the call
    was declined, and why); `Changed(args)`; or `Later`. A call for which it returns `Later`, or whose tool raises
    `CallLater`, stays open: the others run, then `ToolsPaused` is raised. Pass its `.messages` (JSON by
    `messages_to_dict`) to a later call, here or elsewhere, with `results={id: value}`; a value may be
    `Declined(reason)`. For an open call without a result, `approve` is called again.

    `journal` is the path of a file that makes the loop durable: if the process is killed, the same call with the same
    journal continues, and runs no tool twice. A call that was interrupted while its tool ran may have had its effect:
    it stays open, and `results={id: RunAgain}` runs it again.

    Calls at the end of the history without an answer are run first; earlier ones are answered with "not run".

    Raises `StepLimitReached` if the model still calls tools after `max_steps` answers, and `BudgetExceeded` if a
    `budget` stops the model. The `.messages` of these errors are the conversation so far, which may be passed in again.
    Raises `InvalidArgument`, before any request, if the history has a tool's answer without a call, if two tools have
    the same name, if a tool cannot be run, if a tool needs an `approve` and there is none, if `results` names a call
    that is not open, and for an async function in the sync loop. Raises `JobBusy` if another loop has the journal.
    Only the first run of the model has the config's `run_id` and `run_name`. A value that the model writes for an
    `InjectedToolArg` is dropped.
    """
    oversight = Oversight(approve, results, journal)
    with _Loop(model, messages, tools, max_steps, config, kwargs, oversight) as loop:
        while True:
            if tasks := loop.open_tasks():
                tasks = [loop.decide(task) for task in tasks]
                loop.add_results(loop.caller.batch(tasks, loop.config_for(tasks)))
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
    config: Config = None,
    approve: Approve | None = None,
    results: Values | None = None,
    journal: StrPath | None = None,
    **kwargs: Any,
) -> list[BaseMessage]:
    """Do what `run_tools` does, async."""
    oversight = Oversight(approve, results, journal, is_async=True)
    with _Loop(model, messages, tools, max_steps, config, kwargs, oversight) as loop:
        while True:
            if tasks := loop.open_tasks():
                tasks = [await loop.adecide(task) for task in tasks]
                loop.add_results(await loop.caller.abatch(tasks, loop.config_for(tasks)))
            if loop.is_done:
                return loop.messages
            with loop.keeping():
                answer = await loop.next_model().ainvoke(loop.messages, loop.config_for_model())
                loop.add_answer(answer)


@bound_stream
def stream_tools(
    model: Any,
    messages: Any,
    tools: Sequence[Any],
    *,
    max_steps: int = MAX_STEPS,
    config: Config = None,
    approve: Approve | None = None,
    results: Values | None = None,
    journal: StrPath | None = None,
    **kwargs: Any,
) -> Iterator[BaseMessage | ToolCallStarted]:
    """Do what `run_tools` does, and yield events.

    The events are each `AIMessageChunk` of an answer and then the whole `AIMessage`, a `ToolCallStarted` for each call,
    and each `ToolMessage` when its tool has ended. A chunk is an `AIMessage` too, so test for `AIMessageChunk` first.
    The history and the whole messages together are the conversation; concurrent tools yield in the order they end.
    """
    oversight = Oversight(approve, results, journal)
    with _Loop(model, messages, tools, max_steps, config, kwargs, oversight) as loop:
        while True:
            if tasks := loop.open_tasks():
                tasks = [loop.decide(task) for task in tasks]
                yield from loop.events(tasks)
                done: dict[int, Any] = {}
                config = loop.config_for(tasks)
                for position, result in loop.caller.batch_as_completed(tasks, config):
                    done[position] = result
                    yield from _listed(result)
                loop.add_results([done[position] for position in range(len(tasks))])
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
    config: Config = None,
    approve: Approve | None = None,
    results: Values | None = None,
    journal: StrPath | None = None,
    **kwargs: Any,
) -> AsyncIterator[BaseMessage | ToolCallStarted]:
    """Do what `stream_tools` does, async."""
    oversight = Oversight(approve, results, journal, is_async=True)
    with _Loop(model, messages, tools, max_steps, config, kwargs, oversight) as loop:
        while True:
            if tasks := loop.open_tasks():
                tasks = [await loop.adecide(task) for task in tasks]
                for event in loop.events(tasks):
                    yield event
                done: dict[int, Any] = {}
                config = loop.config_for(tasks)
                async for position, result in loop.caller.abatch_as_completed(tasks, config):
                    done[position] = result
                    for message in _listed(result):
                        yield message
                loop.add_results([done[position] for position in range(len(tasks))])
            if loop.is_done:
                return
            chunks: list[AIMessageChunk] = []
            with loop.keeping():
                stream = loop.next_model().astream(loop.messages, loop.config_for_model())
                async for chunk in stream:
                    chunks.append(chunk)
                    yield chunk
            yield loop.add_answer(message_chunk_to_message(merge_chunks(chunks)))


class Oversight(NamedTuple):
    """The arguments of `run_tools` with these names, and whether the loop is async."""

    approve: Approve | None
    results: Values | None
    journal: StrPath | None
    is_async: bool = False


class _Loop:
    """The state of one conversation with its tools, and every decision about its next step."""

    def __init__(
        self,
        model: Any,
        messages: MessageLikeRepresentation | Sequence[MessageLikeRepresentation],
        tools: Sequence[Any],
        max_steps: Any,
        config: Config,
        kwargs: Kwargs,
        oversight: Oversight,
    ) -> None:
        if isinstance(max_steps, bool) or not isinstance(max_steps, int) or max_steps < 1:
            raise InvalidArgument(
                f"`max_steps` must be a whole number of at least 1, not {max_steps!r}."
            )
        self._forced = _with_tools(model, tools, kwargs)
        self.config = settled(config)
        limit = self.config.get("max_concurrency")
        is_async = oversight.is_async
        self.caller = _ToolCaller(tools, max_concurrency=limit, is_async=is_async)
        self.approval = Approval(oversight.approve, self.caller.tools, is_async=is_async)
        self.max_steps = max_steps
        is_forced = kwargs.get("tool_choice") not in (None, False, "auto", "none")
        later = without(kwargs, "tool_choice")
        self._free = _with_tools(model, tools, later) if is_forced else self._forced
        self._begin(answered(convert_to_messages(messages)), oversight)

    def _begin(self, history: list[BaseMessage], oversight: Oversight) -> None:
        """Set the conversation to the history, or to the one that the journal has stored."""
        restored = Restored(history, 0, frozenset())
        self.journal: Journal | None = None
        if oversight.journal is not None:
            self.journal = Journal(oversight.journal)
            self.caller.journal = self.journal
        try:
            if self.journal is not None:
                restored = self.journal.restore(history)
            self.messages = restored.messages
            self.step = restored.answers
            still_open = open_calls(self.messages)
            self.supplied = SuppliedResults(oversight.results, still_open, restored.interrupted)
            self.is_done = self.step > 0 and not still_open and self._is_final(self.messages)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> _Loop:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the journal."""
        if self.journal is not None:
            self.journal.close()

    def next_model(self) -> Any:
        """Count the next step, and return the model to call in it."""
        self.step += 1
        if self.step == 1:
            return self._forced
        return self._free

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Add the conversation so far to a `BudgetExceeded` that the model raises inside the block."""
        try:
            yield
        except BudgetExceeded as exc:
            exc.messages = self.messages
            raise

    def add_answer(self, answer: BaseMessage) -> BaseMessage:
        """Append an answer, with an id for each of its calls, and return it. Without a call the loop is done."""
        answer = with_call_ids(answer)
        if self.journal is not None:
            self.journal.answer(answer)
        self.messages = [*self.messages, answer]
        self.is_done = not open_calls(self.messages)
        return answer

    def open_tasks(self) -> list[Task]:
        """Return the calls of the last answer that have no result yet, including those that cannot be read.

        Raises `StepLimitReached` after the last step, because no model would read the tools' results.
        """
        calls = open_calls(self.messages)
        if calls and self.step >= self.max_steps:
            raise StepLimitReached(
                f"The model still calls tools after {self.max_steps} answers (`max_steps`). The conversation so far "
                "is in `.messages`; pass it in again to continue, or raise `max_steps`.",
                messages=self.messages,
            )
        return [self.supplied.task(call) for call in calls]

    def decide(self, task: Task) -> Task:
        """Return a task with the decision of `approve` about it."""
        request = self.approval.request(task)
        if request is None:
            return task
        function: Any = self.approval.function
        return decided(task, request, function(request))

    async def adecide(self, task: Task) -> Task:
        """Do what `decide` does, async. A sync `approve` runs in a thread, since it may wait for a person."""
        request = self.approval.request(task)
        if request is None:
            return task
        function: Any = self.approval.function
        decision = await run_in_executor(None, function, request)
        if isawaitable(decision):
            decision = await decision
        return decided(task, request, decision)

    def events(self, tasks: Sequence[Task]) -> list[ToolCallStarted]:
        return [
            ToolCallStarted(cast("ToolCall", task.call), self.step)
            for task in tasks
            if "error" not in task.call and task.outcome is None
        ]

    def config_for(self, calls: Sequence[Any]) -> RunnableConfig:
        """Return the config for these calls: without `max_concurrency` in the loop's config, all run at a time."""
        bound = self.config.get("max_concurrency")
        config: Any = {**self.config, "max_concurrency": len(calls) if bound is None else bound}
        for name in _OF_ONE_RUN:
            config.pop(name, None)
        return cast("RunnableConfig", config)

    def config_for_model(self) -> RunnableConfig:
        """Return the config for a call of the model: only the first call has the config's `run_id` and `run_name`."""
        if self.step == 1:
            return self.config
        return cast("RunnableConfig", without(self.config, *_OF_ONE_RUN))

    def add_results(self, results: Sequence[Any]) -> None:
        """Append the results of the tools in the order of the calls, or raise the error that must end the loop."""
        new = [message for result in results for message in _listed(result)]
        self.messages = [*self.messages, *new]
        with self.keeping():
            for stopped in filter(_stops_all, results):
                raise stopped
        waiting = [result for result in results if isinstance(result, Waiting)]
        if waiting:
            raise paused(waiting, self.messages)
        self.is_done = self._is_final(new)

    def _is_final(self, messages: Sequence[BaseMessage]) -> bool:
        """Return whether these messages end with a final answer: of the model, or of a tool with `return_direct`."""
        if isinstance(messages[-1], AIMessage):
            return True
        direct = {name for name, tool in self.caller.tools.items() if tool.return_direct}
        for message in reversed(messages):
            if not isinstance(message, ToolMessage):
                return False
            if message.name in direct and message.status == "success":
                return True
        return False


class _ToolCaller(Runnable[Any, Any]):
    """Runs the tool of one call, and returns the call's `ToolMessage`: the output of the tool, or its error."""

    def __init__(
        self, tools: Sequence[Any], *, max_concurrency: int | None, is_async: bool
    ) -> None:
        self.name = "tools"
        self.journal: Journal | None = None
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

    def invoke(self, input: Task, config: Config = None, **kwargs: Any) -> Any:
        call = input.call
        tool = self._tool_to_run(input)
        if tool is None:
            return self._noted(call, self._without_run(input))
        mark = in_batch.set(self._in_batch)  # Concurrent calls are not rows of a batch.
        self._note_begin(call)
        try:
            result = tool.invoke(_as_call(call, tool), self._config_of_tool(config))
            return self._noted(call, _answer(result, input, tool))
        except Exception as exc:  # noqa: BLE001 - the code of the tool
            return self._noted(call, self._outcome_of_failure(exc, call, config, tool))
        finally:
            in_batch.reset(mark)

    async def ainvoke(self, input: Task, config: Config = None, **kwargs: Any) -> Any:
        call = input.call
        tool = self._tool_to_run(input)
        if tool is None:
            return self._noted(call, self._without_run(input))
        mark = in_batch.set(self._in_batch)
        self._note_begin(call)
        try:
            result = await tool.ainvoke(_as_call(call, tool), self._config_of_tool(config))
            return self._noted(call, _answer(result, input, tool))
        except Exception as exc:  # noqa: BLE001 - the code of the tool
            return self._noted(call, self._outcome_of_failure(exc, call, config, tool))
        finally:
            in_batch.reset(mark)

    def _note_begin(self, call: Values) -> None:
        if self.journal is not None:
            self.journal.begin(call)

    def _noted(self, call: Values, outcome: Any) -> Any:
        """Return the outcome of a call, after storing its result in the journal."""
        messages = _listed(outcome)
        if self.journal is not None and messages:
            self.journal.result(call, messages)
        return outcome

    def _config_of_tool(self, config: Config) -> RunnableConfig:
        """Return the config of one call: without a run's id and name, and with the loop's own `max_concurrency`."""
        own_config: Any = without(config or {}, *_OF_ONE_RUN, "max_concurrency")
        if self._max_concurrency is not None:
            own_config["max_concurrency"] = self._max_concurrency
        return cast("RunnableConfig", own_config)

    def _outcome_of_failure(
        self,
        exc: Exception,
        call: Values,
        config: Config,
        tool: BaseTool,
    ) -> Any:
        """Return the outcome of a call whose tool raised an error."""
        is_left_open = _stops_all(exc) or isinstance(exc, CallLater)
        if is_left_open and self.journal is not None:
            self.journal.leave_open(call)
        if isinstance(exc, CallLater):
            return Waiting(call, message_of(exc) or "its result comes later")
        if is_left_open:
            return exc
        return _failure(exc, call, config, tool)

    def _tool_to_run(self, task: Task) -> BaseTool | None:
        """Return the tool to run; None if it is unknown, or the call has an outcome already."""
        if task.outcome is not None or "error" in task.call:
            return None
        return self.tools.get(task.call["name"])

    def _without_run(self, task: Task) -> Any:
        """Return the outcome of a call that has no tool to run: the one it already has, or an error message."""
        if task.outcome is not None:
            return task.outcome
        return self._refusal(task.call)

    def _refusal(self, call: Values) -> ToolMessage:
        if "error" in call:
            return error_message(
                call, "The arguments of this call are not valid JSON. Write the call again."
            )
        return error_message(
            call, f"There is no tool `{call['name']}`. {did_you_mean(call['name'], [*self.tools])}"
        )


def _is_async_only(tool: BaseTool) -> bool:
    has_function = getattr(tool, "func", tool) is not None
    return not has_function and getattr(tool, "coroutine", None) is not None


def _as_call(call: Values, tool: BaseTool) -> JSON:
    """Return the call without values that the model wrote for arguments that only the program may pass."""
    args = without(call["args"], *tool._hidden_args)
    return {**call, "args": args, "type": "tool_call"}


def _answer(result: Any, task: Task, tool: BaseTool) -> Any:
    """Return the output of a tool, which must answer its call. Raises `InvalidType` if it does not."""
    answer = checked(result, task.call)
    if task.has_changed_args and not tool.return_direct:
        return with_changed_args(answer, task.call)
    return answer


def _failure(exc: Exception, call: Values, config: Config, tool: BaseTool) -> ToolMessage:
    # After the deadline of the whole loop `Timeout` is raised, since no model would read the error.
    check((config or {}).get("deadline"), tool)
    _log.info("The tool `%s` failed: %s", tool.name, type(exc).__name__, exc_info=exc)
    return error_message(call, f"{type(exc).__name__}: {message_of(exc)}")


def _stops_all(result: Any) -> bool:
    """Return whether `result` is the error of a budget around the whole loop, not of a budget inside a tool."""
    return (
        isinstance(result, BudgetExceeded)
        and result.budget is not None
        and result.budget.is_entered
    )


def _listed(result: Any) -> list[Any]:
    if isinstance(result, list):
        return result
    if _stops_all(result) or isinstance(result, Waiting):
        return []
    return [result]


def _with_tools(model: Any, tools: Sequence[Any], kwargs: Values) -> Any:
    """Return the model with the tools bound to it; of a binding, to the model inside, so that the binding stays."""
    if isinstance(model, RunnableBinding):
        others = without(model.kwargs, "tools", "tool_choice")
        return model._with(bound=_with_tools(model.bound, tools, kwargs), kwargs=others)
    if not hasattr(model, "bind_tools"):
        hint = "Put the prompt into `messages` instead: `prompt.invoke(...)` may be passed there."
        if isinstance(model, str):
            hint = f"`init_chat_model({model!r})` makes one."
        raise InvalidType(f"`model` must be a chat model, not a `{type(model).__name__}`. {hint}")
    if tools or kwargs:
        return model.bind_tools(tools, **kwargs)
    return model
