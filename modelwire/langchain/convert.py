"""`as_langchain` wraps objects of modelwire for LangChain; the `own_...` functions wrap LangChain's for modelwire."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, cast

from langchain_core.chat_history import BaseChatMessageHistory as TheirHistory
from langchain_core.runnables import Runnable as TheirRunnable
from langchain_core.tools import BaseTool as TheirTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field

from modelwire.adapters import BaseChatModel
from modelwire.aliases import JSON
from modelwire.callbacks import BaseCallbackHandler
from modelwire.chat_history import BaseChatMessageHistory
from modelwire.embeddings import Embeddings
from modelwire.errors import InvalidType
from modelwire.langchain.callbacks import their_handler
from modelwire.langchain.chat_model import ModelwireChatModel
from modelwire.langchain.embeddings import ModelwireEmbeddings
from modelwire.langchain.errors import errors_of_both
from modelwire.langchain.runnables import Calls, LangChainStep, ModelwireRunnable, inward
from modelwire.langchain.values import from_langchain, to_langchain
from modelwire.langchain_bridge import is_langchain
from modelwire.messages import BaseMessage
from modelwire.runnables import Runnable, RunnableBinding, RunnableConfig
from modelwire.tools import BaseTool

__all__ = [
    "as_langchain",
    "own_callable_tool",
    "own_history",
    "own_runnable",
    "own_tool",
]


def as_langchain(thing: Any) -> Any:
    """Return LangChain's counterpart of an object of modelwire's; an object of LangChain's is returned unchanged.

    A chat model becomes a `langchain_core` `BaseChatModel`, also with tools bound to it; a tool a `BaseTool`; any other
    runnable a `Runnable`; a message, prompt or document (also in lists and dicts) the class of the same name; an
    embeddings model an `Embeddings`; a history and a callback handler objects that LangChain accepts as such.

    Raises:
        InvalidType: `thing` is not one of these.

    Example:
        agent = create_agent(as_langchain(ChatOpenAI(model="gpt-4o-mini")), tools=[search])
    """
    if is_langchain(thing):
        return thing
    for kind, convert in _CONVERTERS:
        if isinstance(thing, kind):
            return convert(thing)
    converted = to_langchain(thing)
    if converted is thing:
        raise InvalidType(
            f"`as_langchain` takes a model, a tool, a runnable, a message, a history or a handler of modelwire, not a "
            f"`{type(thing).__name__}`. Functions and dicts can be passed to LangChain unchanged."
        )
    return converted


def _binding(bound: RunnableBinding[Any, Any]) -> Any:
    if isinstance(bound.bound, BaseChatModel) and not bound.config and not bound.config_factories:
        return ModelwireChatModel(bound.bound).bind(**bound.kwargs)
    return ModelwireRunnable(bound)


class ModelwireTool(Calls, TheirTool):  # type: ignore[misc,unused-ignore]  # LangChain may not be installed
    """A tool of LangChain's that runs `wrapped`, a tool of modelwire's, which parses its arguments and reports its run.

    LangChain's and LangGraph's annotations of arguments (`InjectedState`, `ToolRuntime`, ...) work, and it may return
    a `Command`, a `ToolMessage` or a list of them, as LangChain's tools may.
    """

    wrapped: Any = Field(repr=True)

    @property
    def tool_call_schema(self) -> Any:
        """The schema of the arguments that a model sees, without injected ones."""
        return self.wrapped.tool_call_schema

    def run(
        self,
        tool_input: Any,
        verbose: bool | None = None,  # noqa: FBT001 - LangChain's place for it
        start_color: str | None = "green",
        color: str | None = "green",
        callbacks: Any = None,
        *,
        config: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Call the tool; the keywords are those of LangChain's `BaseTool.run`."""
        with errors_of_both():
            output = self.wrapped.run(
                self._inward(tool_input),
                verbose,
                start_color,
                color,
                config=_config_with(config, callbacks),
                **kwargs,
            )
        return to_langchain(output)

    async def arun(
        self,
        tool_input: Any,
        verbose: bool | None = None,  # noqa: FBT001
        start_color: str | None = "green",
        color: str | None = "green",
        callbacks: Any = None,
        *,
        config: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Call the tool asynchronously; the keywords are those of LangChain's `BaseTool.arun`."""
        with errors_of_both():
            output = await self.wrapped.arun(
                self._inward(tool_input),
                verbose,
                start_color,
                color,
                config=_config_with(config, callbacks),
                **kwargs,
            )
        return to_langchain(output)

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        return self.run(kwargs or args[0])

    def _inward(self, value: Any) -> Any:
        """Return the input with modelwire's values. Injected arguments are passed to the tool unchanged."""
        if not isinstance(value, dict):
            return from_langchain(value)
        if value.get("type") == "tool_call" and isinstance(value.get("args"), dict):
            return {**value, "args": self._inward(value["args"])}
        return {
            name: item if name in self._injected else from_langchain(item)
            for name, item in value.items()
        }

    @cached_property
    def _injected(self) -> frozenset[str]:
        tool: BaseTool = self.wrapped
        return tool._hidden_args


def _config_with(config: Any, callbacks: Any) -> Any:
    if callbacks is not None:
        config = {**(config or {}), "callbacks": callbacks}
    return inward(config)


def _tool(tool: BaseTool) -> ModelwireTool:
    schema = tool.args_schema
    if schema is None:
        schema = tool.get_input_schema()
    return ModelwireTool(
        name=tool.name,
        description=tool.description,
        args_schema=schema,
        return_direct=tool.return_direct,
        response_format=tool.response_format,
        wrapped=tool,
    )


class LangChainTool(BaseTool):
    """A tool of modelwire's that runs `wrapped`, a tool of LangChain's. LangChain reports the run."""

    wrapped: Any

    @property
    def tool_call_schema(self) -> Any:
        """The schema of the arguments that a model sees, without injected ones."""
        return self.wrapped.tool_call_schema

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        return LangChainStep(self.wrapped).invoke(input, config, **kwargs)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        return await LangChainStep(self.wrapped).ainvoke(input, config, **kwargs)

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        return self.invoke(kwargs or args[0])


class _TheirHistory(TheirHistory):  # type: ignore[misc,unused-ignore]  # LangChain may not be installed
    """A chat history of LangChain's that reads and writes `wrapped`, a history of modelwire's."""

    def __init__(self, wrapped: BaseChatMessageHistory) -> None:
        self.wrapped = wrapped

    @property
    def messages(self) -> list[Any]:
        """The messages, converted to LangChain's classes."""
        return [to_langchain(message) for message in self.wrapped.messages]

    def add_messages(self, messages: Sequence[Any]) -> None:
        self.wrapped.add_messages([from_langchain(message) for message in messages])

    def clear(self) -> None:
        self.wrapped.clear()


class _OwnHistory(BaseChatMessageHistory):
    """A chat history of modelwire's that reads and writes `wrapped`, a history of LangChain's."""

    def __init__(self, wrapped: Any) -> None:
        self.wrapped = wrapped

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]  # only read
        """The messages, converted to modelwire's classes."""
        return [from_langchain(message) for message in self.wrapped.messages]

    async def aget_messages(self) -> list[BaseMessage]:
        return [from_langchain(message) for message in await self.wrapped.aget_messages()]

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        self.wrapped.add_messages([to_langchain(message) for message in messages])

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        await self.wrapped.aadd_messages([to_langchain(message) for message in messages])

    def clear(self) -> None:
        self.wrapped.clear()


own_history = _OwnHistory


def own_runnable(thing: Any) -> Runnable[Any, Any]:
    """Return a step that runs a runnable of LangChain's. Raises `InvalidType` for an object that is no runnable."""
    if isinstance(thing, ModelwireChatModel | ModelwireRunnable | ModelwireTool):
        return cast("Runnable[Any, Any]", thing.wrapped)
    if isinstance(thing, TheirRunnable):
        return LangChainStep(thing)
    hint = ""
    if hasattr(thing, "as_retriever"):
        hint = " `.as_retriever()` makes one of it."
    raise InvalidType(
        f"`{type(thing).__module__}.{type(thing).__name__}` is not a runnable: it cannot be a step of a chain.{hint}"
    )


def own_tool(tool: Any) -> JSON:
    """Return OpenAI's description of a tool of LangChain's, as a dict. Raises `InvalidType` for any other object."""
    return cast("dict[str, Any]", convert_to_openai_tool(_checked_tool(tool))["function"])


def own_callable_tool(tool: Any) -> BaseTool:
    """Return a tool of modelwire's that runs LangChain's `tool`. Raises `InvalidType` for any other object."""
    tool = _checked_tool(tool)
    if isinstance(tool, ModelwireTool):
        return cast("BaseTool", tool.wrapped)
    return LangChainTool(
        name=tool.name,
        description=tool.description,
        args_schema=tool.args_schema,
        return_direct=tool.return_direct,
        response_format=tool.response_format,
        wrapped=tool,
    )


def _checked_tool(tool: Any) -> Any:
    if not isinstance(tool, TheirTool):
        raise InvalidType(
            f"`{type(tool).__name__}` is not a tool. `.as_tool()` of LangChain's runnables makes one."
        )
    return tool


_CONVERTERS: tuple[tuple[type, Any], ...] = (
    (BaseChatModel, ModelwireChatModel),
    (BaseTool, _tool),
    (RunnableBinding, _binding),
    (Runnable, ModelwireRunnable),
    (BaseChatMessageHistory, _TheirHistory),
    (BaseCallbackHandler, their_handler),
    (Embeddings, ModelwireEmbeddings),
)
