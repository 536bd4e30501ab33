"""`Tool`: a tool of one argument, usually a text."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from modelwire.aliases import JSON, Args, Function, Kwargs
from modelwire.errors import InvalidArgument
from modelwire.runnables.config import Config
from modelwire.tools.args_schema import ArgsSchema
from modelwire.tools.base import ToolException
from modelwire.tools.structured import FunctionTool

__all__ = ["Tool"]


class Tool(FunctionTool):
    """A function of one argument as a tool: `Tool("search", search, "Searches the web.")`."""

    description: str = ""

    def __init__(
        self, name: str, func: Function | None, description: str = "", **kwargs: Any
    ) -> None:
        super().__init__(name=name, func=func, description=description, **kwargs)

    @property
    def args(self) -> JSON:
        """The arguments the model may pass, by name; without an `args_schema`, one text."""
        if self.args_schema is not None:
            return super().args
        return {"tool_input": {"type": "string"}}

    @property
    def tool_call_schema(self) -> ArgsSchema:
        """The schema that the model sees; without an `args_schema`, that of one text."""
        if self.args_schema is not None:
            return super().tool_call_schema
        return {
            "title": self.name,
            "description": self.description,
            "type": "object",
            "properties": {"__arg1": {"type": "string"}},
            "required": ["__arg1"],
        }

    def get_input_schema(self, config: Config = None) -> Any:
        if self.args_schema is not None:
            return super().get_input_schema(config)
        from pydantic import create_model

        return create_model(f"{self.name}Input", tool_input=(str, ...))

    def _to_args_and_kwargs(
        self, tool_input: str | JSON, tool_call_id: str | None
    ) -> tuple[Args, Kwargs]:
        args, kwargs = super()._to_args_and_kwargs(tool_input, tool_call_id)
        values = [*args, *kwargs.values()]
        if len(values) != 1:
            raise ToolException(
                f"`{self.name}` takes one argument and got {len(values)}. For more, use `StructuredTool`."
            )
        return tuple(values), {}

    @classmethod
    def from_function(
        cls,
        func: Function | None,
        name: str,
        description: str,
        return_direct: bool = False,  # noqa: FBT001, FBT002 - LangChain scripts pass it by position
        args_schema: ArgsSchema | None = None,
        coroutine: Callable[..., Awaitable[Any]] | None = None,
        **kwargs: Any,
    ) -> Tool:
        """Return a tool made from a function of one argument, a coroutine function, or both.

        Raises: `InvalidArgument` without either.
        """
        if func is None and coroutine is None:
            raise InvalidArgument("A tool needs a `func` or a `coroutine`.")
        return cls(
            name=name,
            func=func,
            coroutine=coroutine,
            description=description,
            return_direct=return_direct,
            args_schema=args_schema,
            **kwargs,
        )
