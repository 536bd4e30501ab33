"""`StructuredTool`: a function, a coroutine function or both, as a tool of any number of arguments."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import Parameter, cleandoc, iscoroutinefunction
from typing import Annotated, Any, Literal

from pydantic import SkipValidation

from modelwire import callbacks as managers
from modelwire.aliases import Args, Function, Kwargs
from modelwire.errors import InvalidArgument
from modelwire.runnables.config import ensure_config
from modelwire.tools.args_schema import ArgsSchema, create_schema_from_function, docstring_of
from modelwire.tools.base import BaseTool, DumpedAsJson
from modelwire.tools.injected import positional, signature_of

__all__ = ["StructuredTool"]


class FunctionTool(BaseTool):
    """The base class of tools that are made from functions."""

    func: Annotated[Function | None, SkipValidation, DumpedAsJson] = None
    coroutine: Annotated[Callable[..., Awaitable[Any]] | None, SkipValidation, DumpedAsJson] = None

    def _functions(self) -> list[Function]:
        return [
            func for func in (self.func, self.coroutine) if func is not None
        ] or super()._functions()

    def _run(self, *args: Any, run_manager: Any = None, **kwargs: Any) -> Any:
        if self.func is None:
            raise NotImplementedError(f"`{self.name}` has a coroutine only: call it by `ainvoke`.")
        args, kwargs = _arguments(self.func, args, kwargs, run_manager)
        return self.func(*args, **kwargs)

    async def _arun(self, *args: Any, run_manager: Any = None, **kwargs: Any) -> Any:
        if self.coroutine is not None:
            args, kwargs = _arguments(self.coroutine, args, kwargs, run_manager)
            return await self.coroutine(*args, **kwargs)
        takes_config = signature_of(self._run).config_name  # A subclass may define `_run`.
        if takes_config is not None:
            kwargs[takes_config] = ensure_config()
        return await super()._arun(*args, run_manager=run_manager, **kwargs)


def _arguments(func: Function, args: Args, kwargs: Kwargs, run_manager: Any) -> tuple[Args, Kwargs]:
    """Return the arguments of `func`, with the config and the run manager, if it has parameters for them.

    The config is that of the context. If no argument of the tool is named `config`, a `config` that a subclass passes
    to `_run` is used instead. Without handlers the run manager does nothing.
    """
    signature = signature_of(func)
    takes_any = any(
        parameter.kind is Parameter.VAR_KEYWORD for parameter in signature.parameters.values()
    )
    is_own = (takes_any or "config" in signature.parameters) and signature.config_name != "config"
    config = None if is_own else kwargs.pop("config", None)
    extra: Kwargs = {}
    if signature.config_name is not None:
        extra[signature.config_name] = ensure_config() if config is None else config
    wanted = [name for name in ("callbacks", "run_manager") if name in signature.parameters]
    if wanted and run_manager is None:
        name = f"{'Async' if iscoroutinefunction(func) else ''}CallbackManagerForToolRun"
        run_manager = getattr(managers, name).get_noop_manager()
    for name in wanted:
        extra[name] = run_manager.get_child() if name == "callbacks" else run_manager
    return positional(func, args, {**kwargs, **extra})


class StructuredTool(FunctionTool):
    """A function of any number of arguments as a tool; `StructuredTool.from_function(f)` reads its description."""

    description: str = ""

    @classmethod
    def from_function(
        cls,
        func: Function | None = None,
        coroutine: Callable[..., Awaitable[Any]] | None = None,
        name: str | None = None,
        description: str | None = None,
        return_direct: bool = False,  # noqa: FBT001, FBT002 - LangChain scripts pass it by position
        args_schema: ArgsSchema | None = None,
        infer_schema: bool = True,  # noqa: FBT001, FBT002
        *,
        response_format: Literal["content", "content_and_artifact"] = "content",
        parse_docstring: bool = False,
        error_on_invalid_docstring: bool = False,
        **kwargs: Any,
    ) -> StructuredTool:
        """Return a tool made from a function, a coroutine function, or both.

        Name, description and schema are the function's own unless you pass them; with `parse_docstring` the
        descriptions of its arguments come from its Google style docstring.

        Raises: `InvalidArgument` without either, or without a description.
        """
        source = func if func is not None else coroutine
        if source is None:
            raise InvalidArgument("A tool needs a `func` or a `coroutine`.")
        name = str(name or getattr(source, "__name__", type(source).__name__))
        parsed = None
        if args_schema is None and infer_schema:
            args_schema = create_schema_from_function(
                name,
                source,
                parse_docstring=parse_docstring,
                error_on_invalid_docstring=error_on_invalid_docstring,
            )
            parsed = args_schema.__doc__ if parse_docstring else None
        return cls(
            name=name,
            func=func,
            coroutine=coroutine,
            args_schema=args_schema,
            description=_description(name, description or parsed, source, args_schema),
            return_direct=return_direct,
            response_format=response_format,
            **kwargs,
        )


def _description(name: str, explicit: str | None, source: Any, schema: Any) -> str:
    """Return the description of the tool: `explicit`, else the function's docstring, else the schema's."""
    text = explicit or docstring_of(source)
    if text is None and isinstance(schema, dict):
        text = schema.get("description")
    elif text is None and schema is not None:
        text = docstring_of(schema) or ("" if isinstance(source, type) else None)
    if text is None:
        raise InvalidArgument(
            f"Function must have a docstring if description not provided: the model learns from it what `{name}` does."
        )
    return cleandoc(text).strip()
