"""Managers that start runs and report on them, sync and async.

They share every decision and differ in delivery only.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, cast
from uuid import UUID, uuid4

from modelwire.aliases import JSON, Kwargs
from modelwire.callbacks.base import EVENTS, BaseCallbackHandler, BaseCallbackManager, Callbacks
from modelwire.callbacks.custom import adispatch_custom_event, dispatch_custom_event
from modelwire.callbacks.delivery import adeliver, ahandle_event, deliver, handle_event
from modelwire.callbacks.hooks import hooked_handlers
from modelwire.errors import InvalidType
from modelwire.langchain_bridge import is_langchain, own

if TYPE_CHECKING:
    from typing import Self

    from modelwire.messages import BaseMessage
    from modelwire.outputs import ChatGenerationChunk, GenerationChunk, LLMResult

__all__ = [
    "AsyncCallbackManager",
    "AsyncCallbackManagerForChainRun",
    "AsyncCallbackManagerForLLMRun",
    "AsyncCallbackManagerForRetrieverRun",
    "AsyncCallbackManagerForToolRun",
    "AsyncParentRunManager",
    "AsyncRunManager",
    "BaseRunManager",
    "CallbackManager",
    "CallbackManagerForChainRun",
    "CallbackManagerForLLMRun",
    "CallbackManagerForRetrieverRun",
    "CallbackManagerForToolRun",
    "ParentRunManager",
    "RunManager",
    "adispatch_custom_event",
    "ahandle_event",
    "dispatch_custom_event",
    "handle_event",
]

# Reporting returns None in the sync classes, and a coroutine in the async ones.
Told = TypeVar("Told", covariant=True)
Run = TypeVar("Run", bound="BaseRunManager[Any]")
# The result of a method that reports an event when it is awaited.
Awaited: TypeAlias = Coroutine[Any, Any, None]
Manager = TypeVar("Manager", bound=BaseCallbackManager)
# Starting returns a run (for models, several), or a coroutine with it.
ModelRuns = TypeVar("ModelRuns", covariant=True)
ChainRun = TypeVar("ChainRun", covariant=True)
ToolRun = TypeVar("ToolRun", covariant=True)
RetrieverRun = TypeVar("RetrieverRun", covariant=True)


class BaseRunManager(Generic[Told]):
    """Reports the events of one run, which has started, to its handlers."""

    def __init__(
        self,
        *,
        run_id: UUID,
        handlers: list[BaseCallbackHandler],
        inheritable_handlers: list[BaseCallbackHandler],
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        inheritable_tags: list[str] | None = None,
        metadata: JSON | None = None,
        inheritable_metadata: JSON | None = None,
    ) -> None:
        self.run_id = run_id
        self.handlers = handlers
        self.inheritable_handlers = inheritable_handlers
        self.parent_run_id = parent_run_id
        self.tags = tags or []
        self.inheritable_tags = inheritable_tags or []
        self.metadata = metadata or {}
        self.inheritable_metadata = inheritable_metadata or {}

    @classmethod
    def get_noop_manager(cls) -> Self:
        """Return a manager without handlers."""
        return cls(run_id=uuid4(), handlers=[], inheritable_handlers=[])

    def _tell(self, event: str, *args: Any, **kwargs: Any) -> Told:
        # The sync and the async manager implement it.
        raise NotImplementedError

    def _about(self, kwargs: Kwargs) -> Kwargs:
        """Return `kwargs` with the keywords that every event has."""
        return {
            "run_id": self.run_id,
            "parent_run_id": self.parent_run_id,
            "tags": self.tags,
            **kwargs,
        }

    def _as(self, kind: type[Run]) -> Run:
        """Return the manager of another class for the same run."""
        return kind(**vars(self))

    def on_text(self, text: str, **kwargs: Any) -> Told:
        """Report any text."""
        return self._tell("on_text", text, **kwargs)

    def on_retry(self, retry_state: Any, **kwargs: Any) -> Told:
        """Report that the call is about to be retried."""
        return self._tell("on_retry", retry_state, **kwargs)

    def on_limit(self, change: Any, **kwargs: Any) -> Told:
        """Report a change of the provider's rate limits."""
        return self._tell("on_limit", change, **kwargs)


class RunManager(BaseRunManager[None]):
    """Reports the events of a sync run."""

    def _tell(self, event: str, *args: Any, **kwargs: Any) -> None:
        if self.handlers:
            deliver(self.handlers, event, EVENTS[event], args, self._about(kwargs))


class AsyncRunManager(BaseRunManager[Awaited]):
    """Reports the events of an async run; the methods return coroutines."""

    async def _tell(self, event: str, *args: Any, **kwargs: Any) -> None:
        if self.handlers:
            await adeliver(self.handlers, event, EVENTS[event], args, self._about(kwargs))

    def get_sync(self) -> RunManager:
        """Return the sync manager of the same run."""
        return self._as(RunManager)


class _ChainEvents(BaseRunManager[Told]):
    def on_chain_end(self, outputs: Any, **kwargs: Any) -> Told:
        """Report the run's output."""
        return self._tell("on_chain_end", outputs, **kwargs)

    def on_chain_error(self, error: BaseException, **kwargs: Any) -> Told:
        """Report that the run has failed."""
        return self._tell("on_chain_error", error, **kwargs)

    def on_agent_action(self, action: Any, **kwargs: Any) -> Told:
        """Report an agent's decision."""
        return self._tell("on_agent_action", action, **kwargs)

    def on_agent_finish(self, finish: Any, **kwargs: Any) -> Told:
        """Report that an agent is done."""
        return self._tell("on_agent_finish", finish, **kwargs)


class _LLMEvents(BaseRunManager[Told]):
    def on_llm_new_token(
        self,
        token: str,
        *,
        chunk: GenerationChunk | ChatGenerationChunk | None = None,
        **kwargs: Any,
    ) -> Told:
        """Report a streamed chunk; `token` is its text."""
        return self._tell("on_llm_new_token", token, chunk=chunk, **kwargs)

    def on_stream_event(self, event: Any, **kwargs: Any) -> Told:
        """Report a raw stream event."""
        return self._tell("on_stream_event", event, **kwargs)

    def on_llm_end(self, response: LLMResult, **kwargs: Any) -> Told:
        """Report the answer."""
        return self._tell("on_llm_end", response, **kwargs)

    def on_llm_error(self, error: BaseException, **kwargs: Any) -> Told:
        """Report that the call has failed; `response` may have the partial answer."""
        return self._tell("on_llm_error", error, **kwargs)


class _ToolEvents(BaseRunManager[Told]):
    def on_tool_progress(
        self,
        progress: float,
        *,
        total: float | None = None,
        message: str | None = None,
        **kwargs: Any,
    ) -> Told:
        """Report the progress of the tool: `progress` of `total`, if the total is known."""
        return self._tell("on_tool_progress", progress, total=total, message=message, **kwargs)

    def on_tool_request(self, facts: dict[str, str], **kwargs: Any) -> Told:
        """Report the ids of the request that the tool has sent to its server."""
        return self._tell("on_tool_request", facts, **kwargs)

    def on_tool_end(self, output: Any, **kwargs: Any) -> Told:
        """Report the tool's output."""
        return self._tell("on_tool_end", output, **kwargs)

    def on_tool_error(self, error: BaseException, **kwargs: Any) -> Told:
        """Report that the tool has failed."""
        return self._tell("on_tool_error", error, **kwargs)


class _RetrieverEvents(BaseRunManager[Told]):
    def on_retriever_end(self, documents: Sequence[Any], **kwargs: Any) -> Told:
        """Report the documents found."""
        return self._tell("on_retriever_end", documents, **kwargs)

    def on_retriever_error(self, error: BaseException, **kwargs: Any) -> Told:
        """Report that the retriever has failed."""
        return self._tell("on_retriever_error", error, **kwargs)


class ParentRunManager(RunManager):
    """Reports the events of a sync run that may have child runs."""

    def get_child(self, tag: str | None = None) -> CallbackManager:
        """Return the manager for a child run; `tag` is for the child only."""
        return _child(self, CallbackManager, tag)


class AsyncParentRunManager(AsyncRunManager):
    """Reports the events of an async run that may have child runs."""

    def get_child(self, tag: str | None = None) -> AsyncCallbackManager:
        """Return the manager for a child run; `tag` is for the child only."""
        return _child(self, AsyncCallbackManager, tag)


class CallbackManagerForChainRun(ParentRunManager, _ChainEvents[None]):
    """Reports on a run of a runnable."""


class CallbackManagerForLLMRun(RunManager, _LLMEvents[None]):
    """Reports on a run of a model."""


class CallbackManagerForToolRun(ParentRunManager, _ToolEvents[None]):
    """Reports on a run of a tool."""


class CallbackManagerForRetrieverRun(ParentRunManager, _RetrieverEvents[None]):
    """Reports on a run of a retriever."""


class AsyncCallbackManagerForChainRun(AsyncParentRunManager, _ChainEvents[Awaited]):
    """Reports on an async run of a runnable."""

    def get_sync(self) -> CallbackManagerForChainRun:
        return self._as(CallbackManagerForChainRun)


class AsyncCallbackManagerForLLMRun(AsyncRunManager, _LLMEvents[Awaited]):
    """Reports on an async run of a model."""

    def get_sync(self) -> CallbackManagerForLLMRun:
        return self._as(CallbackManagerForLLMRun)


class AsyncCallbackManagerForToolRun(AsyncParentRunManager, _ToolEvents[Awaited]):
    """Reports on an async run of a tool."""

    def get_sync(self) -> CallbackManagerForToolRun:
        return self._as(CallbackManagerForToolRun)


class AsyncCallbackManagerForRetrieverRun(AsyncParentRunManager, _RetrieverEvents[Awaited]):
    """Reports on an async run of a retriever."""

    def get_sync(self) -> CallbackManagerForRetrieverRun:
        return self._as(CallbackManagerForRetrieverRun)


# For each start event: the classes of the run, sync and async, and the event that reports its end
# if a handler's error or a cancellation stops it at its start. Handlers that were called for the
# start are called for that end.
_STARTS: dict[str, tuple[type[BaseRunManager[Any]], type[BaseRunManager[Any]], str]] = {
    "on_llm_start": (CallbackManagerForLLMRun, AsyncCallbackManagerForLLMRun, "on_llm_error"),
    "on_chat_model_start": (
        CallbackManagerForLLMRun,
        AsyncCallbackManagerForLLMRun,
        "on_llm_error",
    ),
    "on_chain_start": (
        CallbackManagerForChainRun,
        AsyncCallbackManagerForChainRun,
        "on_chain_error",
    ),
    "on_tool_start": (CallbackManagerForToolRun, AsyncCallbackManagerForToolRun, "on_tool_error"),
    "on_retriever_start": (
        CallbackManagerForRetrieverRun,
        AsyncCallbackManagerForRetrieverRun,
        "on_retriever_error",
    ),
}


class _RunStarter(BaseCallbackManager, Generic[Told, ModelRuns, ChainRun, ToolRun, RetrieverRun]):
    """The base class of the sync and the async callback manager.

    A start returns the manager of the new run, in the async class a coroutine with it.
    """

    _handle: Callable[..., Told]
    # It takes an iterator, which starts a run for each item that is read from it.
    _gathered: Callable[..., ModelRuns]

    @classmethod
    def configure(
        cls,
        inheritable_callbacks: Callbacks = None,
        local_callbacks: Callbacks = None,
        verbose: bool = False,  # noqa: FBT001, FBT002
        inheritable_tags: list[str] | None = None,
        local_tags: list[str] | None = None,
        inheritable_metadata: JSON | None = None,
        local_metadata: JSON | None = None,
    ) -> Self:
        """Return the manager for a new run, from inherited values and from those of the run itself.

        The inherited callbacks may be a manager that `get_child` of the parent run has returned.
        """
        inheritable_callbacks, local_callbacks = _own(inheritable_callbacks), _own(local_callbacks)
        if isinstance(inheritable_callbacks, BaseCallbackManager):
            manager = inheritable_callbacks.copied_as(cls)
        else:
            manager = cls(handlers=[])
            manager.set_handlers(_listed(inheritable_callbacks))
        if isinstance(local_callbacks, BaseCallbackManager):
            own: Sequence[BaseCallbackHandler] = local_callbacks.handlers
        else:
            own = _listed(local_callbacks)
        for handler in own:
            manager.add_handler(handler, False)
        for tags, inherit in ((inheritable_tags, True), (local_tags, False)):
            if tags:
                manager.add_tags(tags, inherit)
        for metadata, inherit in ((inheritable_metadata, True), (local_metadata, False)):
            if metadata:
                manager.add_metadata(metadata, inherit)
        for handler, inherit in hooked_handlers():
            manager.add_handler(handler, inherit)
        if verbose:
            from modelwire.callbacks.printing import StdOutCallbackHandler

            if not any(isinstance(handler, StdOutCallbackHandler) for handler in manager.handlers):
                manager.add_handler(StdOutCallbackHandler(), False)
        return manager

    def _start(self, event: str, run_id: UUID | None, *args: Any, **kwargs: Any) -> Any:
        # The sync and the async manager implement it.
        raise NotImplementedError

    def _start_each(
        self,
        event: str,
        run_id: UUID | None,
        serialized: Any,
        rows: Iterable[Any],
        kwargs: Kwargs,
    ) -> ModelRuns:
        """Start one run for each row; `run_id` is the id of the first run."""
        ids = chain((run_id,), repeat(None))
        return self._gathered(
            self._start(event, id, serialized, [row], **kwargs)
            for id, row in zip(ids, rows, strict=False)
        )

    def _opened(self, event: str, run_id: UUID | None) -> BaseRunManager[Any]:
        """Return the run manager of a run about to start."""
        run, async_run, _ = _STARTS[event]
        return (async_run if self.is_async else run)(
            run_id=run_id if run_id is not None else uuid4(),
            handlers=self.handlers,
            inheritable_handlers=self.inheritable_handlers,
            parent_run_id=self.parent_run_id,
            tags=self.tags,
            inheritable_tags=self.inheritable_tags,
            metadata=self.metadata,
            inheritable_metadata=self.inheritable_metadata,
        )

    def on_llm_start(
        self,
        serialized: JSON,
        prompts: list[str],
        run_id: UUID | None = None,
        **kwargs: Any,
    ) -> ModelRuns:
        """Start one run for each prompt; `run_id` is the id of the first run."""
        return self._start_each("on_llm_start", run_id, serialized, prompts, kwargs)

    def on_chat_model_start(
        self,
        serialized: JSON,
        messages: list[list[BaseMessage]],
        run_id: UUID | None = None,
        **kwargs: Any,
    ) -> ModelRuns:
        """Start one run for each list of messages; `run_id` is the id of the first run."""
        return self._start_each("on_chat_model_start", run_id, serialized, messages, kwargs)

    def on_chain_start(
        self,
        serialized: JSON | None,
        inputs: Any,
        run_id: UUID | None = None,
        **kwargs: Any,
    ) -> ChainRun:
        """Start the run of a runnable. Keywords: `name`, `run_type`."""
        return cast("ChainRun", self._start("on_chain_start", run_id, serialized, inputs, **kwargs))

    def on_tool_start(
        self,
        serialized: JSON | None,
        input_str: str,
        run_id: UUID | None = None,
        parent_run_id: UUID | None = None,
        inputs: JSON | None = None,
        **kwargs: Any,
    ) -> ToolRun:
        """Start the run of a tool."""
        return cast(
            "ToolRun",
            self._start("on_tool_start", run_id, serialized, input_str, inputs=inputs, **kwargs),
        )

    def on_retriever_start(
        self,
        serialized: JSON | None,
        query: str,
        run_id: UUID | None = None,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> RetrieverRun:
        """Start the run of a retriever."""
        return cast(
            "RetrieverRun", self._start("on_retriever_start", run_id, serialized, query, **kwargs)
        )

    def on_custom_event(
        self, name: str, data: Any, run_id: UUID | None = None, **kwargs: Any
    ) -> Told:
        """Report a custom event within the run `run_id`.

        Raises: `InvalidType` for other keywords.
        """
        if kwargs:
            raise InvalidType(
                f"A custom event takes `name`, `data` and `run_id`, not {sorted(kwargs)}."
            )
        about = {"run_id": run_id or uuid4(), "tags": self.tags, "metadata": self.metadata}
        return self._handle(
            self.handlers, "on_custom_event", EVENTS["on_custom_event"], name, data, **about
        )


class CallbackManager(
    _RunStarter[
        None,
        list[CallbackManagerForLLMRun],
        CallbackManagerForChainRun,
        CallbackManagerForToolRun,
        CallbackManagerForRetrieverRun,
    ]
):
    """Starts sync runs and reports their starts to handlers."""

    _handle = staticmethod(handle_event)
    _gathered = staticmethod(list[CallbackManagerForLLMRun])

    def _start(self, event: str, run_id: UUID | None, *args: Any, **kwargs: Any) -> Any:
        started = self._opened(event, run_id)
        if self.handlers:
            hearers: list[BaseCallbackHandler] = []
            try:
                deliver(
                    self.handlers, event, EVENTS[event], args, _opening(started, kwargs), hearers
                )
            except BaseException as error:
                failure = _STARTS[event][2]
                with suppress(Exception):
                    # Errors of the handlers are logged here, because the error of the start is
                    # raised.
                    deliver(hearers, failure, EVENTS[failure], (error,), started._about({}))
                raise
        return started


class AsyncCallbackManager(
    _RunStarter[
        Awaited,
        Coroutine[Any, Any, list[AsyncCallbackManagerForLLMRun]],
        Coroutine[Any, Any, AsyncCallbackManagerForChainRun],
        Coroutine[Any, Any, AsyncCallbackManagerForToolRun],
        Coroutine[Any, Any, AsyncCallbackManagerForRetrieverRun],
    ]
):
    """Starts async runs and reports their starts to handlers; the methods return coroutines."""

    _handle = staticmethod(ahandle_event)

    @property
    def is_async(self) -> bool:
        return True

    async def _start(self, event: str, run_id: UUID | None, *args: Any, **kwargs: Any) -> Any:
        started = self._opened(event, run_id)
        if self.handlers:
            hearers: list[BaseCallbackHandler] = []
            try:
                await adeliver(
                    self.handlers, event, EVENTS[event], args, _opening(started, kwargs), hearers
                )
            except BaseException as error:
                failure = _STARTS[event][2]
                with suppress(Exception):
                    await adeliver(hearers, failure, EVENTS[failure], (error,), started._about({}))
                raise
        return started

    @staticmethod
    async def _gathered(starts: Iterable[Any]) -> list[Any]:
        return [await start for start in starts]


def _child(run: BaseRunManager[Any], kind: type[Manager], tag: str | None) -> Manager:
    child = kind(
        handlers=[*run.inheritable_handlers],
        inheritable_handlers=[*run.inheritable_handlers],
        parent_run_id=run.run_id,
        tags=[*run.inheritable_tags],
        inheritable_tags=[*run.inheritable_tags],
        metadata={**run.inheritable_metadata},
        inheritable_metadata={**run.inheritable_metadata},
    )
    if tag is not None:
        child.add_tags([tag], False)
    return child


def _opening(run: BaseRunManager[Any], kwargs: Kwargs) -> Kwargs:
    """Return `kwargs` with the keywords that every start event has."""
    return run._about({"metadata": run.metadata, **kwargs})


def _own(callbacks: Any) -> Any:
    """Return callbacks unchanged, or LangChain's callback manager as one of modelwire's."""
    if hasattr(callbacks, "handlers") and is_langchain(callbacks):
        return own("manager", callbacks)
    return callbacks


def _listed(callbacks: Any) -> Sequence[BaseCallbackHandler]:
    if callbacks is None:
        return ()
    if not isinstance(callbacks, (list, tuple)):
        if hasattr(callbacks, "raise_error"):
            hint = f" Did you mean `[{type(callbacks).__name__}(...)]`?"
        else:
            hint = ""
        raise InvalidType(
            f"`callbacks` must be a list of handlers or a callback manager, not a `{type(callbacks).__name__}`.{hint}"
        )
    return callbacks
