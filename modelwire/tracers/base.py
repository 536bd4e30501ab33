"""Tracers: handlers that record each run as a `Run` in its parent's `child_runs`. Subclasses process finished runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from modelwire.aliases import JSON, Function, Kwargs
from modelwire.callbacks.base import AsyncCallbackHandler, BaseCallbackHandler
from modelwire.runnables.listener import dict_from_result
from modelwire.tracers.schemas import Run, now

__all__ = ["AsyncBaseTracer", "BaseTracer"]

KINDS = ("llm", "chat_model", "chain", "tool", "retriever")
# With these formats, the runs of chat models have the type `chat_model` and their messages as input.
WITH_CHAT_MODELS = frozenset({"original+chat", "streaming_events"})
# The key of the input in `inputs`, if the input is not a dict.
_INPUT = {
    "llm": "prompts",
    "chat_model": "messages",
    "chain": "input",
    "tool": "input",
    "retriever": "query",
}


class _RunTree:
    """The runs in progress, by id. The end or error of an unknown run is ignored.

    With the `_schema_format` "original", the run of a chat model has the type `llm` and its input is a prompt, as in
    langchain-core: most tracers count `llm`. With "original+chat" it has the type `chat_model`, and messages.
    """

    _schema_format = "original"

    def __init__(self, *, _schema_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if _schema_format is not None:
            self._schema_format = _schema_format
        self.run_map: dict[str, Run] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__module__ != __name__ and "_on_llm_new_token" in vars(cls):
            # A model streams if a handler has this method, so only tracers that use tokens get it.
            setattr(cls, "on_llm_new_token", cls._hear_token)  # type: ignore[attr-defined]  # noqa: B010

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self  # A copied config must have the same handler.

    def __copy__(self) -> Any:
        return self

    def _begun(self, kind: str, serialized: JSON | None, input: Any, about: Kwargs) -> Run:
        if kind == "chat_model" and self._schema_format not in WITH_CHAT_MODELS:
            raise NotImplementedError  # The manager then calls `on_llm_start` with the prompt.
        metadata = about.pop("metadata", None) or {}
        parent_id: UUID | None = about.pop("parent_run_id", None)
        inputs = about.pop("inputs", None) or input
        run = Run(
            id=about.pop("run_id"),
            name=about.pop("name", None) or (serialized or {}).get("name") or kind,
            run_type=about.pop("run_type", None) or kind,
            inputs=inputs if isinstance(inputs, dict) else {_INPUT[kind]: inputs},
            start_time=now(),
            parent_run_id=parent_id,
            serialized=serialized,
            tags=[*(about.pop("tags", None) or ())],
            extra={**about, "metadata": {**metadata}},
            parent_run=self.run_map.get(str(parent_id)),
        )
        run.events.append({"name": "start", "time": run.start_time})
        if run.parent_run is not None:
            run.parent_run.child_runs.append(run)
        self.run_map[str(run.id)] = run
        return run

    def _over(self, run_id: UUID, about: Kwargs, what: str) -> Run | None:
        run = self.run_map.pop(str(run_id), None)
        if run is None:
            return None
        run.end_time = now()
        run.events.append({"name": what, "time": run.end_time})
        if about.get("inputs") is not None:
            inputs = about["inputs"]
            run.inputs = inputs if isinstance(inputs, dict) else {"input": inputs}
        return run

    def _ended(self, run_id: UUID, output: Any, about: Kwargs) -> Run | None:
        run = self._over(run_id, about, "end")
        if run is not None:
            run.outputs = _outputs(run.run_type, output)
        return run

    def _failed(self, run_id: UUID, error: BaseException, about: Kwargs) -> Run | None:
        from traceback import format_exception

        run = self._over(run_id, about, "error")
        if run is not None:
            run.error = f"{error!r}\n\n{''.join(format_exception(error))}"
            if about.get("response") is not None:
                run.outputs = dict_from_result(about["response"])
        return run

    def _noted(self, run_id: UUID, name: str, about: Kwargs) -> Run | None:
        run = self.run_map.get(str(run_id))
        if run is not None:
            run.events.append({"name": name, "time": now(), "kwargs": about})
        return run


def _outputs(run_type: str, output: Any) -> JSON:
    if run_type in ("llm", "chat_model"):
        return dict_from_result(output)
    if run_type == "retriever":
        return {"documents": output}
    if isinstance(output, dict):
        return output
    return {"output": output}


class BaseTracer(_RunTree, BaseCallbackHandler, ABC):
    """Builds trees of runs; `_persist_run` is called with each outermost run when it has ended.

    Hooks to override: `_on_run_create(run)`, `_on_run_update(run)`, and one for each event, such as
    `_on_chain_start(run)` or `_on_llm_error(run)`.
    """

    @abstractmethod
    def _persist_run(self, run: Run) -> None:
        """Called with each outermost run when it has ended."""

    def _start_trace(self, run: Run, hook: str) -> None:
        for name in ("_on_run_create", hook):
            getattr(self, name)(run)

    def _end_trace(self, run: Run | None, hook: str) -> None:
        if run is None:
            return
        if run.parent_run_id is None:
            self._persist_run(run)
        for name in ("_on_run_update", hook):
            getattr(self, name)(run)

    def _hear_token(self, token: str, *, run_id: UUID, chunk: Any = None, **about: Any) -> None:
        run = self._noted(run_id, "new_token", {"token": token, "chunk": chunk})
        if run is not None:
            self._on_llm_new_token(run, token, chunk)

    if not TYPE_CHECKING:  # Type checkers see the signature of the base class.

        def on_retry(self, retry_state, *, run_id, **about):
            self._noted(run_id, "retry", {"attempt": getattr(retry_state, "attempt_number", None)})

    def _on_llm_new_token(self, run: Run, token: str, chunk: Any) -> None:
        """Called with each token of a model's run."""


class AsyncBaseTracer(_RunTree, AsyncCallbackHandler, ABC):
    """Does what `BaseTracer` does, with hooks that are coroutines."""

    @abstractmethod
    async def _persist_run(self, run: Run) -> None:
        """Called with each outermost run when it has ended."""

    async def _start_trace(self, run: Run, hook: str) -> None:
        for name in ("_on_run_create", hook):
            await getattr(self, name)(run)

    async def _end_trace(self, run: Run | None, hook: str) -> None:
        if run is None:
            return
        if run.parent_run_id is None:
            await self._persist_run(run)
        for name in ("_on_run_update", hook):
            await getattr(self, name)(run)

    async def _hear_token(
        self, token: str, *, run_id: UUID, chunk: Any = None, **about: Any
    ) -> None:
        run = self._noted(run_id, "new_token", {"token": token, "chunk": chunk})
        if run is not None:
            await self._on_llm_new_token(run, token, chunk)

    if not TYPE_CHECKING:

        async def on_retry(self, retry_state, *, run_id, **about):
            self._noted(run_id, "retry", {"attempt": getattr(retry_state, "attempt_number", None)})

    async def _on_llm_new_token(self, run: Run, token: str, chunk: Any) -> None:
        """Called with each token of a model's run."""


def _starting(kind: str) -> tuple[Function, Function]:
    hook = f"_on_{kind}_start"

    def start(self: BaseTracer, serialized: Any, input: Any, **about: Any) -> None:
        self._start_trace(self._begun(kind, serialized, input, about), hook)

    async def astart(self: AsyncBaseTracer, serialized: Any, input: Any, **about: Any) -> None:
        await self._start_trace(self._begun(kind, serialized, input, about), hook)

    return start, astart


def _ending(kind: str, step: str) -> tuple[Function, Function]:
    hook = f"_on_{kind}_{step}"
    close: Callable[..., Run | None] = _RunTree._ended if step == "end" else _RunTree._failed

    def end(self: BaseTracer, result: Any, *, run_id: UUID, **about: Any) -> None:
        self._end_trace(close(self, run_id, result, about), hook)

    async def aend(self: AsyncBaseTracer, result: Any, *, run_id: UUID, **about: Any) -> None:
        await self._end_trace(close(self, run_id, result, about), hook)

    return end, aend


def _define() -> None:
    """Define the events and the hooks of both classes, which are the same for every kind of run."""

    def hook(self: Any, run: Run) -> None:
        """Called with a run; the default does nothing."""

    async def ahook(self: Any, run: Run) -> None:
        """Called with a run; the default does nothing."""

    both = {"_on_run_create": (hook, ahook), "_on_run_update": (hook, ahook)}
    for kind in KINDS:
        both[f"_on_{kind}_start"] = hook, ahook
        both[f"on_{kind}_start"] = _starting(kind)
        if kind == "chat_model":  # The run of a chat model ends with the events of `llm`.
            continue
        for step in ("end", "error"):
            both[f"_on_{kind}_{step}"] = hook, ahook
            both[f"on_{kind}_{step}"] = _ending(kind, step)
    for name, (method, coroutine) in both.items():
        setattr(BaseTracer, name, method)
        setattr(AsyncBaseTracer, name, coroutine)


_define()
