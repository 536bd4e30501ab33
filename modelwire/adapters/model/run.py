"""Reports the run of a model to its observers: its start, its tokens if it streams, and exactly one end or error.

Each observer is a `CallObserver`; all callback handlers together are one of them. Without observers (`is_observed`)
there is no run, and the model is called directly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from modelwire import lazy
from modelwire.adapters.model.arguments import without_headers
from modelwire.adapters.model.results import result_of, result_of_chunks, result_of_stream, signed
from modelwire.aliases import JSON, Fields, Values
from modelwire.callbacks.hooks import listening_to_models
from modelwire.errors import IncompleteAnswer, Refused
from modelwire.records import NamedTuple
from modelwire.runnables.closing import aclose, close
from modelwire.runnables.config import changed, settled
from modelwire.transport.listeners import observers_of
from modelwire.transport.observer import CallObserver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence

    from modelwire.adapters.model import handlers
    from modelwire.adapters.model.arguments import Arguments
    from modelwire.adapters.model.base import BaseChatModel
    from modelwire.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
    from modelwire.messages import AIMessageChunk, BaseMessage
    from modelwire.outputs import ChatResult
    from modelwire.runnables import RunnableConfig
else:
    handlers = lazy.module("modelwire.adapters.model.handlers")


class StartedCall(NamedTuple):
    """The start of a model's call, as observers receive it. Values that take time to compute are methods."""

    model: BaseChatModel
    messages: Sequence[BaseMessage]
    options: Values
    """The arguments of the call beside the messages, without secret headers."""
    config: RunnableConfig

    @property
    def metadata(self) -> Fields:
        """The metadata of the model, of the config, and of the runs around the call."""
        above = getattr(self.config.get("callbacks"), "metadata", None)
        known = [one for one in (above, self.config.get("metadata"), self.model.metadata) if one]
        if len(known) == 1:
            return known[0]
        return {name: value for one in known for name, value in one.items()}

    @property
    def parent_run_id(self) -> UUID | None:
        """The id of the run around the call, if that has callback handlers."""
        return getattr(self.config.get("callbacks"), "parent_run_id", None)

    def described(self) -> JSON:
        """Return the kind, provider and name of the model, under the keys that tracers know (`ls_...`)."""
        return self.model._get_ls_params(**self.options)

    def parameters(self) -> JSON:
        """Return the parameters of the call, by the names that the model has for them."""
        return self.model._get_invocation_params(**self.options)


class _RunState:
    """The state of a sync or async run: its observers, the chunks received, and whether its end was reported.

    `config` is passed to the steps of the run; `manager` is that of the callback handlers, None without handlers.
    """

    def __init__(
        self,
        model: BaseChatModel,
        manager: Any,
        observers: list[CallObserver],
        config: RunnableConfig,
    ) -> None:
        self.signs_answers = model.SIGNS_ANSWERS
        self.manager = manager
        self._run_id: UUID | None = config.get("run_id") if manager is None else manager.run_id
        self.received: list[AIMessageChunk] = []
        self._over = False
        self.observers = observers
        self.config = changed(config, observers=tuple(observers))
        self._hearing = [
            one.chunk for one in observers if type(one).chunk is not CallObserver.chunk
        ]

    @property
    def run_id(self) -> UUID:
        """The id of the run; without handlers it is created when it is first read."""
        if self._run_id is None:
            self._run_id = uuid4()
        return self._run_id

    def signed(self, result: ChatResult) -> ChatResult:
        """Set the id of an answer that has none to that of the run, if handlers or the model want one."""
        if self.manager is None and not self.signs_answers:
            return result
        return signed(result, f"lc_run--{self.run_id}")

    def part(self, error: BaseException) -> ChatResult:
        """Return the partial result of a failed call, from the answer in the error or from the chunks received."""
        partial = getattr(error, "partial", None)
        if partial is not None and isinstance(error, Refused | IncompleteAnswer):
            return result_of_chunks([partial])
        return result_of_chunks(self.received)

    @property
    def wants_tokens(self) -> bool:
        """Whether an observer wants single tokens, so that the answer is read from a stream even for `invoke`."""
        return any(observer.wants_tokens for observer in self.observers)


class ModelRun(_RunState):
    """A sync run. As a context manager it reports an error that leaves the block, with the chunks received."""

    manager: CallbackManagerForLLMRun | None

    def token(self, chunk: AIMessageChunk) -> None:
        """Report one chunk of the answer."""
        self.received.append(chunk)
        for hear in self._hearing:
            hear(chunk)

    def collect(self, chunks: Iterator[AIMessageChunk]) -> ChatResult:
        """Read a whole stream, report each chunk, and return the sum."""
        try:
            for chunk in chunks:
                self.token(chunk)
        finally:
            close(chunks)
        return result_of_stream(self.received)

    def end(self, result: ChatResult) -> None:
        """Report the answer."""
        self._over = True
        for observer in self.observers:
            observer.answered(result)

    def __enter__(self) -> ModelRun:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._over:
            return
        if isinstance(error, GeneratorExit):
            # The reader has left the stream, which is an end and not a failure.
            self.end(result_of_chunks(self.received))
        elif error is not None:
            self._over = True
            partial = self.part(error)
            for observer in self.observers:
                observer.failed(error, None, partial)


class AsyncModelRun(_RunState):
    """An async run; see `ModelRun`. It awaits what the observers return."""

    manager: AsyncCallbackManagerForLLMRun | None

    async def token(self, chunk: AIMessageChunk) -> None:
        """Report one chunk of the answer."""
        self.received.append(chunk)
        for hear in self._hearing:
            if (telling := hear(chunk)) is not None:
                await telling

    async def collect(self, chunks: AsyncIterator[AIMessageChunk]) -> ChatResult:
        """Read a whole stream, report each chunk, and return the sum."""
        try:
            async for chunk in chunks:
                await self.token(chunk)
        finally:
            await aclose(chunks)
        return result_of_stream(self.received)

    async def end(self, result: ChatResult) -> None:
        """Report the answer."""
        self._over = True
        for observer in self.observers:
            if (telling := observer.answered(result)) is not None:
                await telling

    async def __aenter__(self) -> AsyncModelRun:
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._over:
            return
        if isinstance(error, GeneratorExit):
            await self.end(result_of_chunks(self.received))
        elif error is not None:
            self._over = True
            partial = self.part(error)
            for observer in self.observers:
                if (telling := observer.failed(error, None, partial)) is not None:
                    await telling


def start_model_run(
    model: BaseChatModel,
    messages: Sequence[BaseMessage],
    config: RunnableConfig,
    options: Arguments,
) -> ModelRun:
    """Report that a call of `model` starts, and return its run; `config` must be a settled one."""
    # An observer may raise to reject the call, so handlers are called after the observers.
    observers = _observers(model, messages, config, options)
    manager = None
    own = list[CallObserver]()
    if _handled(model, config):
        manager, own = handlers.start(model, messages, config, options)
    return ModelRun(model, manager, [*observers, *own], config)


async def astart_model_run(
    model: BaseChatModel,
    messages: Sequence[BaseMessage],
    config: RunnableConfig,
    options: Arguments,
) -> AsyncModelRun:
    """Report that a call of `model` starts, and return its run; `config` must be a settled one."""
    observers = _observers(model, messages, config, options)
    manager = None
    own = list[CallObserver]()
    if _handled(model, config):
        manager, own = await handlers.astart(model, messages, config, options)
    return AsyncModelRun(model, manager, [*observers, *own], config)


def report_call(
    model: BaseChatModel,
    messages: Callable[[], Sequence[BaseMessage]],
    outcome: BaseMessage | BaseException,
    *,
    config: RunnableConfig,
    metadata: Mapping[str, Any],
    options: Mapping[str, Any],
) -> None:
    """Report a call that was made elsewhere, such as in a batch, to the handlers and observers of `config`.

    They receive its start and its end, or its error, as if `model` had been called. `messages` is called only if
    the call is observed. Raises: The error of a handler, such as that of a budget.
    """
    ready = settled(config)
    if not is_observed(model, ready):
        return
    ready = changed(ready, metadata={**(ready.get("metadata") or {}), **metadata})
    try:
        with start_model_run(model, messages(), ready, dict(options)) as run:
            if isinstance(outcome, BaseException):
                raise outcome
            run.end(result_of(outcome))
    except Exception as exc:
        if exc is not outcome:
            raise


def is_observed(model: BaseChatModel, config: RunnableConfig) -> bool:
    """Return whether a call of `model` under `config` has an observer or a handler."""
    return (
        bool(observers_of(config))
        or listening_to_models(config)
        or bool(model.callbacks)
        or model.verbose
    )


def _handled(model: BaseChatModel, config: RunnableConfig) -> bool:
    return listening_to_models(config) or bool(model.callbacks) or model.verbose


def _observers(
    model: BaseChatModel,
    messages: Sequence[BaseMessage],
    config: RunnableConfig,
    options: Arguments,
) -> list[CallObserver]:
    """Report to the observers of the config that a call starts; return the observers for the rest of the call."""
    call = StartedCall(model, messages, without_headers(options), config)
    started = [observer.call_started(call) for observer in observers_of(config)]
    return [observer for observer in started if observer is not None]
