"""`RunListener`: a handler that reduces the events of all kinds of runs to four: begun, chunk, ended, failed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from modelwire.aliases import JSON, Callback, Kwargs
from modelwire.callbacks.base import BaseCallbackHandler, BaseCallbackManager
from modelwire.runnables.config import RunnableConfig, ensure_config
from modelwire.runnables.run import UNKNOWN_INPUT
from modelwire.transport.observer import CallObserver

if TYPE_CHECKING:
    from modelwire.outputs import LLMResult

# A listener gets this value as the input of a run whose input is unknown.
ABSENT: Any = object()
# `RunFilter` selects runs by these properties.
_WHAT = ("names", "types", "tags")
# The types by which a kind of run can be selected, if it has more than one.
_TYPES = {"chat_model": ("chat_model", "llm")}


class RunFilter:
    """Selects the runs that match an include, or all runs without includes, unless they match an
    exclude.
    """

    def __init__(self, kwargs: Kwargs) -> None:
        """Read `include_names`, `exclude_tags` and similar, each a list or None, and remove them from `kwargs`."""
        self._included: list[set[str] | None] = []
        self._excluded: list[set[str]] = []
        for what in _WHAT:
            included = kwargs.pop(f"include_{what}", None)
            excluded = kwargs.pop(f"exclude_{what}", None)
            self._included.append(None if included is None else {*included})
            self._excluded.append({*(excluded or ())})
        self._all = self._included == [None] * len(_WHAT)

    def wants(self, name: str, kind: str, tags: Iterable[str]) -> bool:
        """Return whether a run with this name, kind and tags is selected."""
        facts = ((name,), _TYPES.get(kind, (kind,)), tuple(tags))
        is_included = self._all
        for own, included, excluded in zip(facts, self._included, self._excluded, strict=True):
            if not excluded.isdisjoint(own):
                return False
            if included is not None and not included.isdisjoint(own):
                is_included = True
        return is_included


class _Chunks(CallObserver):
    """Observes the chunks of one run."""

    __slots__ = ("chunk",)
    wants_tokens = True
    chunk: Callback  # type: ignore[assignment]  # an attribute, not a method: called for each chunk

    def __init__(self, chunk: Callback) -> None:
        self.chunk = chunk


class RunListener(BaseCallbackHandler):
    """A handler of all kinds of runs: override `begun`, `ended` and `failed`, and `listen` for the chunks."""

    raise_error = False
    run_inline = True

    def listen(self, run_id: UUID) -> Callback | None:
        """Return a function for the chunks of a run that has started, or None if they are not needed."""
        raise NotImplementedError

    def call_observer(self, run_id: UUID) -> CallObserver | None:
        hear = self.listen(run_id)
        return None if hear is None else _Chunks(hear)

    def begun(self, kind: str, name: str, input: Any, run_id: UUID, about: Kwargs) -> None:
        """Called when a run starts; `about` has `parent_run_id`, `tags` and `metadata`.

        `input` may be `ABSENT`.
        """

    def ended(self, run_id: UUID, output: Any, input: Any = ABSENT) -> None:
        """Called when a run has ended."""

    def failed(self, run_id: UUID, error: BaseException, input: Any = ABSENT) -> None:
        """Called when a run has failed."""

    if not TYPE_CHECKING:
        # Type checkers see the signatures of the base class.

        def on_chat_model_start(self, serialized, messages, *, run_id, name=None, **about):
            self.begun("chat_model", name or "ChatModel", {"messages": messages}, run_id, about)

        def on_llm_start(self, serialized, prompts, *, run_id, name=None, **about):
            self.begun("llm", name or "LLM", {"prompts": prompts}, run_id, about)

        def on_llm_new_token(self, token, *, run_id, chunk=None, **about):
            # Only tokens that a model reports itself, from inside its `_generate`, arrive here;
            # streams bypass this and use `listen`.
            from modelwire.messages import AIMessageChunk

            hear = self.listen(run_id)
            if hear is None:
                return
            if chunk is None:
                hear(AIMessageChunk(content=token))
            else:
                hear(getattr(chunk, "message", chunk))

        def on_chain_start(self, serialized, inputs, *, run_id, name=None, run_type=None, **about):
            input = ABSENT if inputs is UNKNOWN_INPUT else inputs
            self.begun(run_type or "chain", name or "Chain", input, run_id, about)

        def on_tool_start(self, serialized, input_str, *, run_id, name=None, inputs=None, **about):
            named = name or (serialized or {}).get("name") or "Tool"
            if inputs is None:
                inputs = input_str
            self.begun("tool", named, inputs, run_id, about)

        def on_retriever_start(self, serialized, query, *, run_id, name=None, **about):
            self.begun("retriever", name or "Retriever", {"query": query}, run_id, about)

        def on_chain_end(self, output, *, run_id, inputs=None, **about):
            self.ended(run_id, output, ABSENT if inputs is None else inputs)

        def on_chain_error(self, error, *, run_id, inputs=None, **about):
            self.failed(run_id, error, ABSENT if inputs is None else inputs)

        on_llm_end = on_tool_end = on_retriever_end = on_chain_end
        on_llm_error = on_tool_error = on_retriever_error = on_chain_error


def attach(
    config: RunnableConfig | None, make: Callable[[UUID], RunListener]
) -> tuple[RunnableConfig, RunListener]:
    """Return (config, listener): `config` with a `run_id` for the root run, and with the listener `make(run_id)`."""
    ready = ensure_config(config)
    root_id = ready.get("run_id") or uuid4()
    ready["run_id"] = root_id
    listener = make(root_id)
    callbacks = ready.get("callbacks")
    if isinstance(callbacks, BaseCallbackManager):
        callbacks = callbacks.copy()
        callbacks.add_handler(listener, True)
        ready["callbacks"] = callbacks
    else:
        ready["callbacks"] = [*(callbacks or ()), listener]
    return ready, listener


def dict_from_result(result: LLMResult) -> JSON:
    """Return a model's result as a dict whose messages stay messages."""
    rows = [[dict(generation.__dict__) for generation in row] for row in result.generations]
    return {"generations": rows, "llm_output": result.llm_output, "run": None, "type": "LLMResult"}


def message_of(result: LLMResult) -> Any:
    """Return the message of a chat model's first answer, or None."""
    return next((getattr(one, "message", None) for row in result.generations for one in row), None)
