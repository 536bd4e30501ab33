"""`@tool` for functions and runnables."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    Literal,
    ParamSpec,
    Protocol,
    TypedDict,
    TypeVar,
    Unpack,
    cast,
    overload,
)

from pydantic import ConfigDict

from modelwire.aliases import JSON, Function, Kwargs, Values
from modelwire.errors import InvalidArgument, InvalidType
from modelwire.runnables.annotations import is_typed_dict, is_v1_model
from modelwire.runnables.base import Runnable
from modelwire.tools.args_schema import (
    ArgsSchema,
    docstring_of,
    is_v2_model,
    made_model,
    model_from_typed_dict,
)
from modelwire.tools.base import BaseTool
from modelwire.tools.simple import Tool
from modelwire.tools.structured import StructuredTool

__all__ = ["convert_runnable_to_tool", "tool"]

Args = ParamSpec("Args")
Result = TypeVar("Result")


class ToolOptions(TypedDict, total=False):
    """The options of a tool besides its name and function."""

    description: str | None
    return_direct: bool
    args_schema: ArgsSchema | None
    infer_schema: bool
    response_format: Literal["content", "content_and_artifact"]
    parse_docstring: bool
    error_on_invalid_docstring: bool
    extras: JSON | None
    approve: bool | None


if TYPE_CHECKING:

    class FunctionAsTool(BaseTool, Generic[Args, Result]):
        """The type of a tool made from a function: `func` has the function's signature."""

        func: Callable[Args, Result]

    class CoroutineAsTool(BaseTool, Generic[Args, Result]):
        """The type of a tool made from a coroutine function: `coroutine` has the function's signature."""

        coroutine: Callable[Args, Coroutine[Any, Any, Result]]

    class ToolDecorator(Protocol):
        """The type of `tool("name")`: a function from a function or runnable to its tool."""

        @overload
        def __call__(self, source: Runnable, /) -> BaseTool: ...
        @overload
        def __call__(  # type: ignore[overload-overlap]  # A coroutine is a result, too.
            self, source: Callable[Args, Coroutine[Any, Any, Result]], /
        ) -> CoroutineAsTool[Args, Result]: ...
        @overload
        def __call__(self, source: Callable[Args, Result], /) -> FunctionAsTool[Args, Result]: ...


@overload
def tool(  # type: ignore[overload-overlap]  # A coroutine is a result, too.
    name_or_callable: Callable[Args, Coroutine[Any, Any, Result]], **options: Unpack[ToolOptions]
) -> CoroutineAsTool[Args, Result]: ...
@overload
def tool(
    name_or_callable: Callable[Args, Result], **options: Unpack[ToolOptions]
) -> FunctionAsTool[Args, Result]: ...
@overload
def tool(name_or_callable: str, runnable: Runnable, **options: Unpack[ToolOptions]) -> BaseTool: ...
@overload
def tool(name_or_callable: str | None = None, **options: Unpack[ToolOptions]) -> ToolDecorator: ...
def tool(
    name_or_callable: str | Function | None = None,
    runnable: Runnable | None = None,
    *,
    description: str | None = None,
    return_direct: bool = False,
    args_schema: ArgsSchema | None = None,
    infer_schema: bool = True,
    response_format: Literal["content", "content_and_artifact"] = "content",
    parse_docstring: bool = False,
    error_on_invalid_docstring: bool = True,
    extras: JSON | None = None,
    approve: bool | None = None,
) -> Any:
    """Return a tool made from a function, a coroutine function or a runnable.

    `@tool`, `@tool("name")`, `@tool(parse_docstring=True)` and `tool("name", runnable)` are its forms. The docstring
    becomes the description, the annotated parameters the schema. `infer_schema=False` makes a `Tool` of one argument.
    With `approve=True`, `run_tools` runs the tool only if its own `approve` function agrees; with `approve=False` it
    never asks about it. For type checkers the tool's `func` (or `coroutine`) keeps the signature of the function.

        @tool
        def add(a: int, b: int) -> int:
            "Add two numbers."
            return a + b

    Raises: `InvalidArgument` for a function without name or description, `InvalidType` for another kind of value.
    """
    options: Kwargs = {
        "description": description,
        "return_direct": return_direct,
        "args_schema": args_schema,
        "response_format": response_format,
        "extras": extras,
        "approve": approve,
    }
    reading: Kwargs = {
        "infer_schema": infer_schema,
        "parse_docstring": parse_docstring,
        "error_on_invalid_docstring": error_on_invalid_docstring,
    }

    def made(source: Any) -> BaseTool:
        own_name = name_or_callable if isinstance(name_or_callable, str) else _name_of(source)
        return _made(own_name, source, options, reading)

    if isinstance(name_or_callable, str):
        return made if runnable is None else made(runnable)
    if runnable is not None:
        raise InvalidArgument("A runnable as a tool needs a name: `tool('name', runnable)`.")
    if name_or_callable is None:
        return made
    if not callable(name_or_callable):
        raise InvalidType(
            f"`tool` takes a function or a name, not a `{type(name_or_callable).__name__}`."
        )
    return made(name_or_callable)


def _made(name: str, source: Any, options: Kwargs, reading: Kwargs) -> BaseTool:
    """Return a tool with these options; `reading` has the options for reading the function's schema and docstring."""
    if isinstance(source, Runnable):
        return _of_runnable(name, source, options)
    function, coroutine = source, None
    if inspect.iscoroutinefunction(source):
        function, coroutine = None, source
    if reading["infer_schema"] or options["args_schema"] is not None:
        return StructuredTool.from_function(function, coroutine, name=name, **reading, **options)
    description = options["description"] or docstring_of(source)
    if description is None:
        raise InvalidArgument(
            f"Function must have either a docstring or description: the model learns from it what `{name}` does."
        )
    options = {**options, "description": description}
    return Tool(name=name, func=function, coroutine=coroutine, **options)


def _name_of(source: Any) -> str:
    if isinstance(source, Runnable):
        return str(source.get_name())
    name = getattr(source, "__name__", None)
    if not isinstance(name, str):
        raise InvalidArgument(
            f"A `{type(source).__name__}` has no name of its own: write `@tool('name')`."
        )
    return name


def convert_runnable_to_tool(
    runnable: Runnable,
    args_schema: ArgsSchema | None = None,
    *,
    name: str | None = None,
    description: str | None = None,
    arg_types: Values | None = None,
) -> BaseTool:
    """Return a tool made from a runnable that takes a text, or a dict whose keys are known.

    The keys are read from its input type. If it does not list them, give an `args_schema`, or `arg_types` by name.
    """
    name = name or runnable.get_name()
    if args_schema is None and arg_types is not None:
        args_schema = made_model(
            name, {key: (kind, ...) for key, kind in arg_types.items()}, "", ConfigDict()
        )
    return _of_runnable(name, runnable, {"description": description, "args_schema": args_schema})


def _of_runnable(name: str, runnable: Runnable, options: Kwargs) -> BaseTool:
    description = options["description"] or f"Takes {_takes(runnable)}. {runnable!r}"
    schema = options["args_schema"]
    if schema is None:
        schema = _input_schema(name, runnable)
    options = {**options, "name": name, "description": description, "args_schema": schema}
    if schema is None:
        return Tool(func=runnable.invoke, coroutine=runnable.ainvoke, **options)

    def call(**kwargs: Any) -> Any:
        return runnable.invoke(kwargs)

    async def acall(**kwargs: Any) -> Any:
        return await runnable.ainvoke(kwargs)

    return StructuredTool.from_function(call, acall, **options)


def _input_type(runnable: Runnable) -> Any:
    try:
        return runnable.InputType
    except TypeError:
        return None


def _takes(runnable: Runnable) -> str:
    kind = _input_type(runnable)
    if isinstance(kind, type):
        return f"a `{kind.__name__}`"
    return "the input of a chain"


def _input_schema(name: str, runnable: Runnable) -> ArgsSchema | None:
    """Return the schema of the runnable's input, or None if the input is a text."""
    kind = _input_type(runnable)
    if kind is str:
        return None
    if is_typed_dict(kind):
        return model_from_typed_dict(kind, name=name)
    model = runnable.get_input_schema()
    if is_v1_model(model) or (
        is_v2_model(model) and model.model_fields and "root" not in model.model_fields
    ):
        return cast("ArgsSchema", model)
    schema = runnable.get_input_jsonschema()
    if schema.get("type") == "string":
        return None
    if schema.get("properties"):
        return cast("ArgsSchema", schema)
    raise InvalidArgument(
        f"The keys that `{name}` takes cannot be read from its input type. Give `arg_types={{'key': type}}`, an "
        "`args_schema`, or annotate the function's parameter with a TypedDict."
    )
