"""The run of a model that somebody listens to: it starts, it may have tokens, and it ends exactly once.

Nobody listening (`heard` tells) means no run at all: the model goes straight to its work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelwire.callbacks.hooks import listening

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelwire.adapters.chat_model import BaseChatModel
    from modelwire.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
    from modelwire.messages import AIMessageChunk, BaseMessage
    from modelwire.outputs import ChatResult, LLMResult
    from modelwire.runnables import RunnableConfig

__all__ = ["AsyncModelRun", "ModelRun", "astart_model_run", "heard", "start_model_run"]


class ModelRun:
    """A sync run. Used as a context, it reports what leaves the block as an error, with what was received."""

    def __init__(self, manager: CallbackManagerForLLMRun) -> None:
        self.manager = manager
        self.received: list[AIMessageChunk] = []
        self._over = False

    def token(self, chunk: AIMessageChunk) -> None:
        """Report one chunk of the answer."""
        self.received.append(chunk)
        self.manager.on_llm_new_token(str(chunk.text), chunk=_generation_chunk(chunk))

    def end(self, result: ChatResult) -> None:
        """Report the answer."""
        self._over = True
        self.manager.on_llm_end(_llm_result(result))

    def __enter__(self) -> ModelRun:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._over:
            return
        if isinstance(error, GeneratorExit):  # the reader has left the stream: it ended there, it did not fail
            self.end(_result_of(self.received))
        elif error is not None:
            self._over = True
            self.manager.on_llm_error(error, response=_llm_result(_result_of(self.received)))


class AsyncModelRun:
    """An async run; the same as `ModelRun`, awaited."""

    def __init__(self, manager: AsyncCallbackManagerForLLMRun) -> None:
        self.manager = manager
        self.received: list[AIMessageChunk] = []
        self._over = False

    async def token(self, chunk: AIMessageChunk) -> None:
        """Report one chunk of the answer."""
        self.received.append(chunk)
        await self.manager.on_llm_new_token(str(chunk.text), chunk=_generation_chunk(chunk))

    async def end(self, result: ChatResult) -> None:
        """Report the answer."""
        self._over = True
        await self.manager.on_llm_end(_llm_result(result))

    async def __aenter__(self) -> AsyncModelRun:
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._over:
            return
        if isinstance(error, GeneratorExit):
            await self.end(_result_of(self.received))
        elif error is not None:
            self._over = True
            await self.manager.on_llm_error(error, response=_llm_result(_result_of(self.received)))


def start_model_run(
    model: BaseChatModel, messages: Sequence[BaseMessage], config: RunnableConfig, options: dict[str, Any]
) -> ModelRun:
    """Report that `model` starts under the settled `config`."""
    from modelwire.callbacks import CallbackManager

    manager = CallbackManager.configure(**_listeners(model, config, options))
    (run,) = manager.on_chat_model_start(_serialized(model), [list(messages)], **_opening(model, config, options))
    return ModelRun(run)


async def astart_model_run(
    model: BaseChatModel, messages: Sequence[BaseMessage], config: RunnableConfig, options: dict[str, Any]
) -> AsyncModelRun:
    """Report that `model` starts under the settled `config`."""
    from modelwire.callbacks import AsyncCallbackManager

    manager = AsyncCallbackManager.configure(**_listeners(model, config, options))
    (run,) = await manager.on_chat_model_start(_serialized(model), [list(messages)], **_opening(model, config, options))
    return AsyncModelRun(run)


def heard(model: BaseChatModel, config: RunnableConfig) -> bool:
    """Tell whether anybody listens to a call of `model` under `config`."""
    return listening(config) or bool(model.callbacks) or model.verbose


def _listeners(model: BaseChatModel, config: RunnableConfig, options: dict[str, Any]) -> dict[str, Any]:
    return {
        "inheritable_callbacks": config.get("callbacks"),
        "local_callbacks": model.callbacks,
        "verbose": model.verbose,
        "inheritable_tags": config.get("tags"),
        "local_tags": model.tags,
        "inheritable_metadata": {**(config.get("metadata") or {}), **model._get_ls_params(**options)},
        "local_metadata": model.metadata,
    }


def _opening(model: BaseChatModel, config: RunnableConfig, options: dict[str, Any]) -> dict[str, Any]:
    return {
        "run_id": config.get("run_id"),
        "name": config.get("run_name") or model.get_name(),
        "invocation_params": {**model._identifying_params, "_type": model._llm_type, **options},
        "options": options,
        "batch_size": 1,
    }


def _serialized(model: BaseChatModel) -> dict[str, Any]:
    cls = type(model)
    return {"lc": 1, "type": "not_implemented", "id": [*cls.__module__.split("."), cls.__name__], "name": cls.__name__}


def _generation_chunk(chunk: AIMessageChunk) -> Any:
    from modelwire.outputs import ChatGenerationChunk

    return ChatGenerationChunk(message=chunk)


def _llm_result(result: ChatResult) -> LLMResult:
    from modelwire.outputs import LLMResult

    return LLMResult(generations=[result.generations], llm_output=result.llm_output)


def _result_of(chunks: list[AIMessageChunk]) -> ChatResult:
    """What came of an answer that was not finished: the sum of its chunks, or nothing."""
    from modelwire.messages import merge_chunks
    from modelwire.outputs import ChatGenerationChunk, ChatResult

    return ChatResult(generations=[ChatGenerationChunk(message=merge_chunks(chunks))] if chunks else [])
