"""Calls all callback handlers of a model's run, as one observer of its call. The first run with handlers loads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from modelwire.adapters.model.arguments import without_headers
from modelwire.aliases import JSON, Kwargs
from modelwire.callbacks import AsyncCallbackManager, CallbackManager
from modelwire.callbacks.base import call_observers
from modelwire.callbacks.delivery import adeliver, deliver, wanting
from modelwire.outputs import ChatGenerationChunk, LLMResult
from modelwire.transport.observer import CallObserver
from modelwire.transport.steps import Sleep
from modelwire.transport.wire import masked_fields

if TYPE_CHECKING:
    from asyncio import Task
    from collections.abc import Sequence

    from modelwire.adapters.model.arguments import Arguments
    from modelwire.adapters.model.base import BaseChatModel
    from modelwire.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
    from modelwire.errors import Attempt, ChatError
    from modelwire.messages import AIMessageChunk, BaseMessage
    from modelwire.outputs import ChatResult
    from modelwire.runnables import RunnableConfig
    from modelwire.transport.ratelimit.limits import Change
    from modelwire.transport.steps import Wait


class RetryState:
    """The argument of `on_retry` handlers: an attempt has failed and another one will follow. Names are tenacity's."""

    def __init__(self, sleep: Sleep) -> None:
        # The number of attempts that have failed.
        self.attempt_number = sleep.attempt
        # The error has `.retry_class`, `.status`, `.code`, `.request_id`, `.attempts`.
        self.error = sleep.error
        # The expected seconds until the next attempt.
        self.upcoming_sleep = sleep.expected_s

    @property
    def outcome(self) -> RetryState:
        return self

    @property
    def failed(self) -> bool:
        return True

    def exception(self) -> ChatError:
        return self.error


# The tasks that call handlers now. An event loop alone has only weak references to them.
_telling: set[Task[None]] = set()


class _Handlers(CallObserver):
    """All callback handlers of a run, as one observer of its call. In an async run the results are awaited."""

    def __init__(self, manager: Any, token_handlers: Sequence[Any]) -> None:
        self.manager = manager
        self.hears_retries = bool(wanting(manager.handlers, "on_retry"))
        self.hears_limits = bool(wanting(manager.handlers, "on_limit"))
        self.token_handlers = token_handlers
        self.wants_tokens = bool(token_handlers)

    def failed(self, error: BaseException, attempt: Attempt | None, partial: Any = None) -> Any:
        if attempt is None:
            return self.manager.on_llm_error(error, response=_llm_result(partial))
        return None

    def waiting(self, step: Sleep | Wait | None) -> Any:
        if self.hears_retries and type(step) is Sleep:
            return self.manager.on_retry(RetryState(step))
        return None

    def limit_changed(self, change: Change) -> None:
        if self.hears_limits:
            self.manager.on_limit(change)

    def chunk(self, chunk: AIMessageChunk) -> Any:
        if self.token_handlers:
            deliver(
                self.token_handlers,
                "on_llm_new_token",
                "ignore_llm",
                (str(chunk.text),),
                self._about(chunk),
            )

    def answered(self, result: ChatResult) -> Any:
        return self.manager.on_llm_end(_llm_result(result))

    def _about(self, chunk: AIMessageChunk) -> Kwargs:
        return cast(
            "dict[str, Any]", self.manager._about({"chunk": ChatGenerationChunk(message=chunk)})
        )


class _AsyncHandlers(_Handlers):
    """All callback handlers of an async run, as one observer of its call."""

    def waiting(self, step: Sleep | Wait | None) -> Any:
        if self.hears_retries and type(step) is Sleep:
            manager = self.manager if _has_loop() else self.manager.get_sync()
            return manager.on_retry(RetryState(step))
        return None

    def limit_changed(self, change: Change) -> None:
        """Report the change in a task, so that a slow handler delays neither the answer nor waiting calls."""
        if not self.hears_limits:
            return
        if not _has_loop():
            self.manager.get_sync().on_limit(change)
            return
        from asyncio import create_task

        telling = create_task(self.manager.on_limit(change))
        _telling.add(telling)
        telling.add_done_callback(_telling.discard)

    def chunk(self, chunk: AIMessageChunk) -> Any:
        if self.token_handlers:
            about = self._about(chunk)
            return adeliver(
                self.token_handlers, "on_llm_new_token", "ignore_llm", (str(chunk.text),), about
            )
        return None


def _has_loop() -> bool:
    """Return whether an event loop runs in this thread; none does where an SDK's sync client is called."""
    from asyncio import get_running_loop

    try:
        get_running_loop()
    except RuntimeError:
        return False
    return True


def _llm_result(result: ChatResult) -> LLMResult:
    return LLMResult(generations=[result.generations], llm_output=result.llm_output)


def start(
    model: BaseChatModel,
    messages: Sequence[BaseMessage],
    config: RunnableConfig,
    options: Arguments,
) -> tuple[CallbackManagerForLLMRun, list[CallObserver]]:
    """Report to the handlers that `model` starts; return their manager, and the observers of the call."""
    manager = CallbackManager.configure(**_listeners(model, config, options))
    (run,) = manager.on_chat_model_start(
        _serialized(model), [list(messages)], **_opening(model, config, options)
    )
    return run, _observers_of(run, _Handlers)


async def astart(
    model: BaseChatModel,
    messages: Sequence[BaseMessage],
    config: RunnableConfig,
    options: Arguments,
) -> tuple[AsyncCallbackManagerForLLMRun, list[CallObserver]]:
    """Report to the handlers that `model` starts; return their manager, and the observers of the call."""
    manager = AsyncCallbackManager.configure(**_listeners(model, config, options))
    about = _serialized(model)
    (run,) = await manager.on_chat_model_start(
        about, [list(messages)], **_opening(model, config, options)
    )
    return run, _observers_of(run, _AsyncHandlers)


def _observers_of(manager: Any, kind: type[_Handlers]) -> list[CallObserver]:
    own = call_observers(manager.handlers, manager.run_id)
    others = [one for one in manager.handlers if not (id(one) in own and own[id(one)].wants_tokens)]
    # The handlers come last, because they may raise.
    return [*own.values(), kind(manager, wanting(others, "on_llm_new_token"))]


def _listeners(model: BaseChatModel, config: RunnableConfig, options: Arguments) -> dict[str, Any]:
    return {
        "inheritable_callbacks": config.get("callbacks"),
        "local_callbacks": model.callbacks,
        "verbose": model.verbose,
        "inheritable_tags": config.get("tags"),
        "local_tags": model.tags,
        "inheritable_metadata": {
            **(config.get("metadata") or {}),
            **model._get_ls_params(**options),
        },
        "local_metadata": model.metadata,
    }


def _opening(model: BaseChatModel, config: RunnableConfig, options: Arguments) -> Kwargs:
    options = without_headers(options)
    # A user's model class may mask more secrets in `_get_invocation_params`.
    params = masked_fields(model._get_invocation_params(**options))
    return {
        "run_id": config.get("run_id"),
        "name": config.get("run_name") or model.get_name(),
        "invocation_params": params,
        "options": {name: params.get(name, value) for name, value in options.items()},
        "batch_size": 1,
    }


def _serialized(model: BaseChatModel) -> JSON:
    cls = type(model)
    return {
        "lc": 1,
        "type": "not_implemented",
        "id": [*cls.__module__.split("."), cls.__name__],
        "name": cls.__name__,
    }
