"""The base class of callback handlers, and the list of them that a run carries.

No event is delivered here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar, Union
from uuid import UUID

from modelwire.aliases import JSON
from modelwire.errors import InvalidType
from modelwire.langchain_bridge import is_langchain, own

if TYPE_CHECKING:
    from typing import Self

    from modelwire.messages import BaseMessage
    from modelwire.outputs import ChatGenerationChunk, GenerationChunk, LLMResult
    from modelwire.transport.observer import CallObserver

__all__ = ["AsyncCallbackHandler", "BaseCallbackHandler", "BaseCallbackManager", "Callbacks"]

Kind = TypeVar("Kind", bound="BaseCallbackManager")

EVENTS: dict[str, str | None] = {
    "on_llm_start": "ignore_llm",
    "on_chat_model_start": "ignore_chat_model",
    "on_llm_new_token": "ignore_llm",
    "on_stream_event": "ignore_llm",
    "on_llm_end": "ignore_llm",
    "on_llm_error": "ignore_llm",
    "on_chain_start": "ignore_chain",
    "on_chain_end": "ignore_chain",
    "on_chain_error": "ignore_chain",
    "on_tool_start": "ignore_agent",
    "on_tool_progress": "ignore_agent",
    "on_tool_request": "ignore_agent",
    "on_tool_end": "ignore_agent",
    "on_tool_error": "ignore_agent",
    "on_agent_action": "ignore_agent",
    "on_agent_finish": "ignore_agent",
    "on_retriever_start": "ignore_retriever",
    "on_retriever_end": "ignore_retriever",
    "on_retriever_error": "ignore_retriever",
    "on_text": None,
    "on_retry": "ignore_retry",
    "on_limit": "ignore_retry",
    "on_custom_event": "ignore_custom_event",
}
"""Every event, with the attribute by which a handler declines it."""


def _ignores(what: str) -> property:
    """Return the property by which a handler declines some events; a subclass overrides it."""
    return property(lambda _self: False, doc=f"True if the handler is not called for {what}.")


class BaseCallbackHandler:
    """Called for the events of runs; override the methods of interest.

    Every event also gets the keywords `run_id`, `parent_run_id` and `tags`, and starts get
    `metadata` and `name`. Take `**kwargs`, as later versions may add keywords. Errors of a handler
    are logged and swallowed unless `raise_error` is true. Under the async methods a handler runs in
    a thread, or with `run_inline` in the event loop before the others.
    """

    raise_error: bool = False
    run_inline: bool = False

    ignore_llm = _ignores("the events of text models, and the tokens, ends and errors of any model")
    ignore_chat_model = _ignores("the starts of chat models")
    ignore_chain = _ignores("the events of chains")
    ignore_agent = _ignores("the events of tools and agents")
    ignore_retriever = _ignores("the events of retrievers")
    ignore_retry = _ignores("retries, and changes of rate limits")
    ignore_custom_event = _ignores("the user's own events")

    def on_llm_start(self, serialized: JSON, prompts: list[str], **kwargs: Any) -> Any:
        """Called when a text model starts, and when a chat model starts unless `on_chat_model_start` is overridden."""

    def on_chat_model_start(
        self, serialized: JSON, messages: list[list[BaseMessage]], **kwargs: Any
    ) -> Any:
        """Called when a chat model starts.

        Keywords: `invocation_params`, `options`, `batch_size`.
        """
        raise NotImplementedError(
            f"`{type(self).__name__}` does not implement `on_chat_model_start`"
        )

    def on_llm_new_token(
        self,
        token: str,
        *,
        chunk: GenerationChunk | ChatGenerationChunk | None = None,
        **kwargs: Any,
    ) -> Any:
        """Called with a streamed chunk; `token` is its text."""

    def on_stream_event(self, event: Any, **kwargs: Any) -> Any:
        """Called with a raw stream event."""

    def on_llm_end(self, response: LLMResult, **kwargs: Any) -> Any:
        """Called with a model's answer."""

    def on_llm_error(self, error: BaseException, **kwargs: Any) -> Any:
        """Called when a model has failed.

        The keyword `response` is an `LLMResult` of the partial answer.
        """

    def on_chain_start(self, serialized: JSON, inputs: Any, **kwargs: Any) -> Any:
        """Called when a runnable starts.

        In a stream `inputs` is `{"input": ""}`; the keyword `inputs` of the end event has the actual input.
        """

    def on_chain_end(self, outputs: Any, **kwargs: Any) -> Any:
        """Called with a runnable's output."""

    def on_chain_error(self, error: BaseException, **kwargs: Any) -> Any:
        """Called when a runnable has failed, or was cancelled or interrupted."""

    def on_tool_start(self, serialized: JSON, input_str: str, **kwargs: Any) -> Any:
        """Called when a tool starts. The keyword `inputs` has its arguments."""

    def on_tool_progress(self, progress: float, **kwargs: Any) -> Any:
        """Called while a tool works. Keywords: `total`, at which it is done, and a `message`; both may be None."""

    def on_tool_request(self, facts: dict[str, str], **kwargs: Any) -> Any:
        """Called when the call of an MCP tool has ended.

        `facts` has `jsonrpc.request.id` and, in a session, `mcp.session.id`.
        """

    def on_tool_end(self, output: Any, **kwargs: Any) -> Any:
        """Called with a tool's output."""

    def on_tool_error(self, error: BaseException, **kwargs: Any) -> Any:
        """Called when a tool has failed."""

    def on_agent_action(self, action: Any, **kwargs: Any) -> Any:
        """Called with an agent's decision."""

    def on_agent_finish(self, finish: Any, **kwargs: Any) -> Any:
        """Called when an agent is done."""

    def on_retriever_start(self, serialized: JSON, query: str, **kwargs: Any) -> Any:
        """Called when a retriever starts."""

    def on_retriever_end(self, documents: Sequence[Any], **kwargs: Any) -> Any:
        """Called with a retriever's documents."""

    def on_retriever_error(self, error: BaseException, **kwargs: Any) -> Any:
        """Called when a retriever has failed."""

    def on_text(self, text: str, **kwargs: Any) -> Any:
        """Called with any text that a run wants to show."""

    def on_retry(self, retry_state: Any, **kwargs: Any) -> Any:
        """Called before a call is retried."""

    def on_limit(self, change: Any, **kwargs: Any) -> Any:
        """Called when a provider's rate limit was learned or hit: `change.kind`, `.key`,
        `.requests_per_s`, `.pause_s`.
        """

    def on_custom_event(self, name: str, data: Any, **kwargs: Any) -> Any:
        """Called with an event that the program has dispatched; `run_id` is that of the enclosing run."""

    def call_observer(self, run_id: UUID) -> CallObserver | None:
        """Return an observer to be called directly during the run `run_id`, which has started, or None.

        For the run of a model it observes attempts, waits and chunks; for any other run the chunks,
        if its `wants_tokens` is true. Chunks bypass all managers, because they must be fast.
        """
        return None


SILENT = frozenset(
    method
    for event, method in vars(BaseCallbackHandler).items()
    if event in EVENTS and event != "on_chat_model_start"
)
"""The methods that a handler has not overridden: delivery skips them."""


class AsyncCallbackHandler(BaseCallbackHandler):
    """A handler with coroutines: override the methods of `BaseCallbackHandler` with `async def`."""

    if not TYPE_CHECKING:
        # Type checkers see the signatures of the base class, whose `Any` may be awaited.

        async def on_chat_model_start(self, serialized, messages, **kwargs):
            raise NotImplementedError(
                f"`{type(self).__name__}` does not implement `on_chat_model_start`"
            )


async def _hear_nothing(self: AsyncCallbackHandler, *args: Any, **kwargs: Any) -> None:
    """Do nothing: the event is not overridden."""


SILENT |= {_hear_nothing}
for _event in EVENTS.keys() - {"on_chat_model_start"}:
    setattr(AsyncCallbackHandler, _event, _hear_nothing)


class BaseCallbackManager:
    """Carries the handlers, tags and metadata of a run to be started, each split by whether child runs inherit it."""

    handlers: list[BaseCallbackHandler]
    inheritable_handlers: list[BaseCallbackHandler]

    def __init__(
        self,
        handlers: list[BaseCallbackHandler],
        inheritable_handlers: list[BaseCallbackHandler] | None = None,
        parent_run_id: UUID | None = None,
        *,
        tags: list[str] | None = None,
        inheritable_tags: list[str] | None = None,
        metadata: JSON | None = None,
        inheritable_metadata: JSON | None = None,
    ) -> None:
        self.handlers = handlers
        self.inheritable_handlers = inheritable_handlers or []
        self.parent_run_id = parent_run_id
        self.tags = tags or []
        self.inheritable_tags = inheritable_tags or []
        self.metadata = metadata or {}
        self.inheritable_metadata = inheritable_metadata or {}

    @property
    def is_async(self) -> bool:
        """True if the methods of the manager return coroutines, which must be awaited."""
        return False

    def copy(self) -> Self:
        """Return a copy of the manager; its lists are copied, too."""
        return self.copied_as(type(self))

    def copied_as(self, kind: type[Kind]) -> Kind:
        """Return a copy of the manager as an object of another class; its lists are copied, too."""
        return kind(
            handlers=[*self.handlers],
            inheritable_handlers=[*self.inheritable_handlers],
            parent_run_id=self.parent_run_id,
            tags=[*self.tags],
            inheritable_tags=[*self.inheritable_tags],
            metadata={**self.metadata},
            inheritable_metadata={**self.inheritable_metadata},
        )

    def merge(self, other: BaseCallbackManager) -> Self:
        """Return a manager of this class with the content of both.

        For metadata, `other` takes precedence.
        """
        return type(self)(
            handlers=_union(self.handlers, other.handlers),
            inheritable_handlers=_union(self.inheritable_handlers, other.inheritable_handlers),
            parent_run_id=self.parent_run_id or other.parent_run_id,
            tags=_union(self.tags, other.tags),
            inheritable_tags=_union(self.inheritable_tags, other.inheritable_tags),
            metadata={**self.metadata, **other.metadata},
            inheritable_metadata={**self.inheritable_metadata, **other.inheritable_metadata},
        )

    def add_handler(self, handler: BaseCallbackHandler, inherit: bool = True) -> None:  # noqa: FBT001, FBT002
        """Add `handler` unless it was added before; with `inherit`, for child runs too.

        Raises: `InvalidType` for a value that is not a handler.
        """
        if isinstance(handler, (type, str)) or not hasattr(handler, "raise_error"):
            raise InvalidType(
                f"A callback handler must be an instance of `BaseCallbackHandler`, not {_shown(handler)}."
            )
        if is_langchain(handler):
            handler = own("handler", handler)
        for handlers in (self.handlers, self.inheritable_handlers) if inherit else (self.handlers,):
            if handler not in handlers:
                handlers.append(handler)

    def remove_handler(self, handler: BaseCallbackHandler) -> None:
        """Remove `handler` from both lists."""
        for handlers in (self.handlers, self.inheritable_handlers):
            if handler in handlers:
                handlers.remove(handler)

    def set_handlers(self, handlers: Sequence[BaseCallbackHandler], inherit: bool = True) -> None:  # noqa: FBT001, FBT002
        """Set exactly these handlers; with `inherit`, for child runs too."""
        self.handlers = []
        self.inheritable_handlers = []
        for handler in handlers:
            self.add_handler(handler, inherit)

    def set_handler(self, handler: BaseCallbackHandler, inherit: bool = True) -> None:  # noqa: FBT001, FBT002
        """Set `handler` as the only one."""
        self.set_handlers([handler], inherit)

    def add_tags(self, tags: Sequence[str], inherit: bool = True) -> None:  # noqa: FBT001, FBT002
        """Add `tags`; one that is there already moves to the end."""
        self.remove_tags(tags)
        self.tags.extend(tags)
        if inherit:
            self.inheritable_tags.extend(tags)

    def remove_tags(self, tags: Sequence[str]) -> None:
        """Remove `tags` from both lists."""
        gone = set(tags)
        self.tags = [tag for tag in self.tags if tag not in gone]
        self.inheritable_tags = [tag for tag in self.inheritable_tags if tag not in gone]

    def add_metadata(self, metadata: JSON, inherit: bool = True) -> None:  # noqa: FBT001, FBT002
        """Add `metadata`, overriding equal keys; with `inherit`, for child runs too."""
        self.metadata.update(metadata)
        if inherit:
            self.inheritable_metadata.update(metadata)

    def remove_metadata(self, keys: Sequence[str]) -> None:
        """Remove the metadata under `keys`."""
        for key in keys:
            self.metadata.pop(key, None)
            self.inheritable_metadata.pop(key, None)


def call_observers(handlers: Sequence[Any], run_id: UUID) -> dict[int, CallObserver]:
    """Return the observers of a run that handlers provide, by the `id` of the handler."""
    found: dict[int, CallObserver] = {}
    for handler in handlers:
        if isinstance(handler, BaseCallbackHandler):
            observer = handler.call_observer(run_id)
        else:
            observer = None
        if observer is not None:
            found[id(handler)] = observer
    return found


Callbacks = Union[list[BaseCallbackHandler], BaseCallbackManager, None]
"""The values that `config["callbacks"]` may have."""


def _union(left: list[Any], right: list[Any]) -> list[Any]:
    return [*left, *(item for item in right if item not in left)]


def _shown(value: object) -> str:
    if isinstance(value, type):
        return f"the class `{value.__name__}`"
    return f"a `{type(value).__name__}`"
