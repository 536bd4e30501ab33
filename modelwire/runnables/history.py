"""`RunnableWithMessageHistory`: a runnable that remembers the conversation that its config names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from modelwire.aliases import AsyncChunks, Chunks, Fields, Kwargs
from modelwire.errors import InvalidArgument, InvalidType
from modelwire.langchain_bridge import is_langchain, own
from modelwire.messages import AIMessage, BaseMessage, HumanMessage, message_chunk_to_message
from modelwire.messages.conversion import own_message
from modelwire.runnables.addable import collected
from modelwire.runnables.base import Runnable, coerce_to_runnable
from modelwire.runnables.closing import aclose, close
from modelwire.runnables.config import Config, RunnableConfig
from modelwire.runnables.fields import ConfigurableFieldSpec, get_unique_config_specs
from modelwire.runnables.run import OptionalAsyncRun, OptionalRun
from modelwire.runnables.step import WholeStep

if TYPE_CHECKING:
    from modelwire.chat_history import BaseChatMessageHistory
    from modelwire.runnables.graph import Graph

__all__ = ["RunnableWithMessageHistory"]

SESSION = ConfigurableFieldSpec(
    id="session_id",
    annotation=str,
    name="Session ID",
    description="Names the conversation.",
    default="",
    is_shared=True,
)


class RunnableWithMessageHistory(WholeStep[Any, Any]):
    """Runs `runnable` on a conversation: earlier messages are added to its input, and new ones are
    stored after the answer.

    `get_session_history` returns the store of the conversation that
    `config["configurable"]["session_id"]` names, or that the keys in `history_factory_config` name.
    The earlier messages are put under `history_messages_key` of the input dict; without that key,
    before the new messages, which are the value under `input_messages_key` or the input itself. If
    the output is a dict, the answer is read from its `output_messages_key`. A failed call, or a
    stream that is closed early, stores nothing.
    """

    _parts = (
        "runnable",
        "get_session_history",
        "input_messages_key",
        "output_messages_key",
        "history_messages_key",
        "history_factory_config",
        "name",
    )

    def __init__(
        self,
        runnable: Any,
        get_session_history: Callable[..., BaseChatMessageHistory],
        *,
        input_messages_key: str | None = None,
        output_messages_key: str | None = None,
        history_messages_key: str | None = None,
        history_factory_config: Sequence[ConfigurableFieldSpec] | None = None,
        name: str | None = None,
    ) -> None:
        if not callable(get_session_history):
            raise InvalidType(
                "`get_session_history` must be a function that returns the store of a conversation."
            )
        self.runnable: Runnable = coerce_to_runnable(
            runnable, place="as `runnable` of a `RunnableWithMessageHistory`"
        )
        self.get_session_history = get_session_history
        self.input_messages_key = input_messages_key
        self.output_messages_key = output_messages_key
        self.history_messages_key = history_messages_key
        self.history_factory_config = list(history_factory_config or (SESSION,))
        self.name = name

    @property
    def InputType(self) -> Any:
        return self.runnable.InputType

    @property
    def OutputType(self) -> Any:
        return self.runnable.OutputType

    @property
    def config_specs(self) -> list[ConfigurableFieldSpec]:
        return get_unique_config_specs([*self.runnable.config_specs, *self.history_factory_config])

    def get_graph(self, config: Config = None) -> Graph:
        return self.runnable.get_graph(config)

    def _runnables_inside(self) -> Iterable[Runnable]:
        return (self.runnable,)

    def _loop_native(self) -> bool:
        # `get_session_history` and the store it returns are code of the user.
        return False

    def _may_block(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"RunnableWithMessageHistory({self.runnable!r})"

    def _history(self, config: RunnableConfig) -> BaseChatMessageHistory:
        """Return the store of the conversation that `config` names."""
        configured = config.get("configurable") or {}
        keys = [spec.id for spec in self.history_factory_config]
        missing = [key for key in keys if key not in configured]
        if missing:
            example = {"configurable": dict.fromkeys(keys, "...")}
            raise InvalidArgument(
                f"Missing keys {missing} in `config['configurable']`: they name the conversation. Call "
                f"`.invoke(input, {example})`."
            )
        values = {key: configured[key] for key in keys}
        factory = self.get_session_history
        if len(keys) == 1:
            history = factory(*values.values())
        else:
            history = factory(**values)
        if is_langchain(history):
            return cast("BaseChatMessageHistory", own("history", history))
        return history

    def _new_messages(self, input: Any) -> list[BaseMessage]:
        """Return the new messages in the input."""
        if isinstance(input, Mapping):
            input = _entry(input, self.input_messages_key, "input_messages_key", "input")
        return _messages(input, HumanMessage)

    def _answered(self, output: Any) -> list[BaseMessage]:
        """Return the new messages in the output."""
        if isinstance(output, Mapping):
            output = _entry(output, self.output_messages_key, "output_messages_key", "output")
        return _messages(output, AIMessage)

    def _exchange(self, questions: list[BaseMessage], chunks: list[Any]) -> list[BaseMessage]:
        """Return the new messages in the input and in the chunks of the output."""
        if not chunks:
            return questions
        return [*questions, *self._answered(collected(chunks))]

    def _joined(self, input: Any, earlier: list[BaseMessage]) -> Any:
        """Return the input with the earlier messages added."""
        if self.history_messages_key is not None:
            if not isinstance(input, Mapping):
                raise InvalidType(
                    f"With `history_messages_key` the input must be a dict, not a `{type(input).__name__}`: "
                    f"`{self.history_messages_key}` is added to it."
                )
            return {**input, self.history_messages_key: earlier}
        whole = [*earlier, *self._new_messages(input)]
        keyed = isinstance(input, Mapping) and self.input_messages_key is not None
        if keyed:
            return {**input, self.input_messages_key: whole}
        return whole

    def _value(self, input: Any, config: RunnableConfig, run: OptionalRun, kwargs: Kwargs) -> Any:
        history = self._history(config)
        questions = self._new_messages(input)
        output = self.runnable.invoke(self._joined(input, list(history.messages)), config, **kwargs)
        history.add_messages([*questions, *self._answered(output)])
        return output

    async def _avalue(
        self, input: Any, config: RunnableConfig, run: OptionalAsyncRun, kwargs: Kwargs
    ) -> Any:
        history = self._history(config)
        questions = self._new_messages(input)
        output = await self.runnable.ainvoke(
            self._joined(input, list(await history.aget_messages())), config, **kwargs
        )
        await history.aadd_messages([*questions, *self._answered(output)])
        return output

    def _opened(
        self, input: Any, config: RunnableConfig, run: OptionalRun, kwargs: Kwargs
    ) -> Chunks:
        history = self._history(config)
        questions = self._new_messages(input)
        chunks = []
        output = self.runnable.stream(self._joined(input, list(history.messages)), config, **kwargs)
        try:
            for chunk in output:
                chunks.append(chunk)
                yield chunk
            history.add_messages(self._exchange(questions, chunks))
        finally:
            close(output)

    async def _aopened(
        self, input: Any, config: RunnableConfig, run: OptionalAsyncRun, kwargs: Kwargs
    ) -> AsyncChunks:
        return self._arecorded(input, config, kwargs)

    async def _arecorded(self, input: Any, config: RunnableConfig, kwargs: Kwargs) -> AsyncChunks:
        history = self._history(config)
        questions = self._new_messages(input)
        chunks = []
        earlier = list(await history.aget_messages())
        output = self.runnable.astream(self._joined(input, earlier), config, **kwargs)
        try:
            async for chunk in output:
                chunks.append(chunk)
                yield chunk
            await history.aadd_messages(self._exchange(questions, chunks))
        finally:
            await aclose(output)


def _entry(value: Fields, key: str | None, parameter: str, usual: str) -> Any:
    """Return the value of a dict under `key`; without `key`, under its only key, or else under `usual`."""
    key = key or (next(iter(value)) if len(value) == 1 else usual)
    if key not in value:
        keys = ", ".join(f"`{each}`" for each in value)
        raise InvalidArgument(
            f"No messages under `{key}`: the keys are {keys}. Name one with `{parameter}`."
        )
    return value[key]


def _messages(value: Any, kind: type[BaseMessage]) -> list[BaseMessage]:
    """Return a list of messages, made of a message, a list of them, or a text, which becomes a message of `kind`."""
    if isinstance(value, str):
        return [kind(content=value)]
    if isinstance(value, BaseMessage):
        found = [value]
    elif isinstance(value, Sequence):
        found = list(value)
    else:
        found = [value]
    found = [own_message(message) or message for message in found]
    for message in found:
        if not isinstance(message, BaseMessage):
            raise InvalidType(
                f"Expected a text, a message or a list of messages, not a `{type(message).__name__}`."
            )
    return [message_chunk_to_message(cast("Any", message)) for message in found]
