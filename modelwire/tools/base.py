"""`BaseTool`: a Runnable that a language model may call. Sync and async share every decision."""

# pyright: reportIncompatibleVariableOverride=false
# A tool always has a name; other runnables may have one.
from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from inspect import get_annotations
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypeAlias
from uuid import UUID

from pydantic import Field, PlainSerializer, SkipValidation, ValidationError

from modelwire import callbacks as managers
from modelwire.aliases import JSON, Args, Function, Kwargs
from modelwire.callbacks.hooks import listening
from modelwire.errors import InvalidArgument, InvalidType, ModelwireError
from modelwire.messages import ToolCall
from modelwire.runnables.config import (
    Config,
    RunnableConfig,
    below,
    changed,
    run_in_executor,
    settled,
)
from modelwire.runnables.deadline import check, covered
from modelwire.runnables.invoke_function import await_with_deadline, context_with
from modelwire.runnables.serializable import RunnableSerializable
from modelwire.tools.args_schema import (
    ArgsSchema,
    call_id_argument,
    checked_args,
    create_schema_from_function,
    field_names,
    get_all_basemodel_annotations,
    injected_fields,
    is_v1_model,
    json_schema_of,
    tool_call_schema,
)
from modelwire.tools.injected import (
    FILTERED_ARGS,
    InjectedToolArg,
    InjectedToolCallId,
    _DirectlyInjectedToolArg,
    is_injected,
    positional,
    signature_of,
)
from modelwire.tools.output import TOOL_MESSAGE_BLOCK_TYPES, failure_text, format_output

if TYPE_CHECKING:
    from modelwire.callbacks import Callbacks

__all__ = [
    "FILTERED_ARGS",
    "TOOL_MESSAGE_BLOCK_TYPES",
    "ArgsSchema",
    "BaseTool",
    "InjectedToolArg",
    "InjectedToolCallId",
    "SchemaAnnotationError",
    "ToolException",
    "_DirectlyInjectedToolArg",
    "create_schema_from_function",
    "get_all_basemodel_annotations",
]


class ToolException(ModelwireError):
    """The tool failed; `handle_tool_error` may turn this into an answer for the model."""


class SchemaAnnotationError(InvalidType):
    """The field `args_schema` of a tool class is annotated as a model, but holds a model's class."""


def as_json(value: Any) -> Any:
    """Return the JSON form of a field: a JSON value unchanged, a schema class's schema, or the repr of a function."""
    if isinstance(value, Mapping | bool | str):
        return value
    if isinstance(value, type):
        try:
            return json_schema_of(value)
        except InvalidArgument:
            pass
    return repr(value)


DumpedAsJson = PlainSerializer(as_json, when_used="json-unless-none")
Handler: TypeAlias = bool | str | Callable[[Any], Any] | None


class BaseTool(RunnableSerializable[str | dict[str, Any] | ToolCall, Any]):
    """A tool a language model may call. Subclass it with a `name`, a `description` and `_run` (and `_arun`).

    `args_schema` (a pydantic model class or a JSON schema) describes the arguments to the model; without it the
    parameters of `_run` do. `invoke` takes the arguments, or a whole tool call, which it answers with a `ToolMessage`.
    `response_format="content_and_artifact"` means that `_run` returns two values: the content for the model and
    an artifact for the program. `extras` are options of one provider.
    """

    name: str  # pyright: ignore[reportGeneralTypeIssues] - here it is required
    description: str
    # This is an `ArgsSchema` or None. Its type is `Any`, so that a subclass may narrow it.
    args_schema: Annotated[Any, DumpedAsJson] = None
    return_direct: bool = False  # If True, an agent returns the output as its answer.
    verbose: bool = False
    callbacks: Any = Field(default=None, exclude=True)
    tags: list[str] | None = None
    metadata: dict[str, Any] | None = None
    handle_tool_error: Annotated[Handler, SkipValidation, DumpedAsJson] = False
    handle_validation_error: Annotated[Handler, SkipValidation, DumpedAsJson] = False
    response_format: Literal["content", "content_and_artifact"] = "content"
    extras: dict[str, Any] | None = None
    # When `run_tools` calls `approve` before it runs the tool: always (True), never (False), or if it has one (None).
    approve: bool | None = None

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        from pydantic import BaseModel

        annotation = get_annotations(cls).get("args_schema")
        if annotation is BaseModel or annotation == "BaseModel":
            raise SchemaAnnotationError(
                f"`{cls.__name__}.args_schema` holds a class: annotate it as `args_schema: type[BaseModel] = ...`."
            )

    @property
    def is_single_input(self) -> bool:
        """Whether the tool takes exactly one argument."""
        return len([name for name in self.args if name != "kwargs"]) <= 1

    @property
    def args(self) -> JSON:
        """The arguments the model may pass, by name: the properties of the JSON schema."""
        schema = self.tool_call_schema
        json_schema = schema if isinstance(schema, dict) else json_schema_of(schema)
        properties: JSON = json_schema.get("properties", {})
        return properties

    @property
    def tool_call_schema(self) -> ArgsSchema:
        """The schema that the model sees: it has the tool's name, and no arguments that the program supplies."""
        schema = self.args_schema if self.args_schema is not None else self.get_input_schema()
        return tool_call_schema(schema, self.name, self.description, self._injected_args_keys)

    def get_input_schema(self, config: Config = None) -> Any:
        if self.args_schema is None:
            return create_schema_from_function(self.name, self._functions()[0])
        if isinstance(self.args_schema, dict):
            return super().get_input_schema(config)
        return self.args_schema

    def get_input_jsonschema(self, config: Config = None) -> JSON:
        return json_schema_of(self.get_input_schema(config))

    def _functions(self) -> list[Function]:
        """Return the functions that the tool calls. Their signatures show which arguments are injected."""
        cls = type(self)
        own = [cls._run is not BaseTool._run, cls._arun is not BaseTool._arun]
        return [
            func for func, is_own in zip((self._run, self._arun), own, strict=True) if is_own
        ] or [self._run]

    @property
    def _hidden_args(self) -> frozenset[str]:
        """The names of the arguments that the program passes and the model never sees."""
        schema = self.args_schema
        of_schema = frozenset() if schema is None else injected_fields(schema)
        return self._injected_args_keys | of_schema | frozenset(FILTERED_ARGS)

    @property
    def _injected_args_keys(self) -> frozenset[str]:
        return frozenset().union(*(signature_of(func).injected for func in self._functions()))

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        """Run the tool. Parameters named `run_manager`, or annotated as `RunnableConfig`, are filled in."""
        raise NotImplementedError(
            f"`{type(self).__name__}` has no `_run`: it cannot be called in sync code."
        )

    async def _arun(self, *args: Any, **kwargs: Any) -> Any:
        """Run the tool. The default runs `_run` in a thread."""
        if (manager := kwargs.get("run_manager")) is not None and hasattr(manager, "get_sync"):
            kwargs["run_manager"] = manager.get_sync()
        return await run_in_executor(None, self._run, *args, **kwargs)

    def _parse_input(self, tool_input: str | JSON, tool_call_id: str | None) -> str | JSON:
        """Return the validated input. Raises pydantic's `ValidationError` if it does not match the schema."""
        if isinstance(tool_input, str):
            return self._parsed_text(tool_input)
        schema = {} if self.args_schema is None else self.args_schema
        args = dict(tool_input)
        known = injected_fields(schema, InjectedToolCallId)
        for name in self._injected_by_call_id():
            if name not in known:
                args |= call_id_argument(name, args, tool_call_id)
        return checked_args(schema, args, self._injected_args_keys, tool_call_id)

    def _parsed_text(self, text: str) -> str:
        schema = self.args_schema
        if isinstance(schema, dict):
            raise InvalidArgument(
                f"`{self.name}` has a JSON schema as `args_schema`: it takes a dict of its arguments, not a text."
            )
        if schema is not None:
            fields = field_names(schema)
            if fields and fields[0] not in injected_fields(schema):
                (schema.parse_obj if is_v1_model(schema) else schema.model_validate)(
                    {fields[0]: text}
                )
        return text

    def _injected_by_call_id(self) -> list[str]:
        return [
            name
            for signature in map(signature_of, self._functions())
            for name in signature.injected
            if is_injected(signature.hints[name], InjectedToolCallId)
        ]

    def _to_args_and_kwargs(
        self, tool_input: str | JSON, tool_call_id: str | None
    ) -> tuple[Args, Kwargs]:
        """Return the validated input as positional and keyword arguments of `_run`."""
        parsed = self._parse_input(tool_input, tool_call_id)
        if not isinstance(parsed, str):
            return (), parsed
        schema = self.args_schema
        takes_nothing = schema is not None and not self.args and not self._injected_args_keys
        if takes_nothing and not parsed:
            return ((), {})
        return ((parsed,), {})

    def invoke(self, input: Any, config: Config = None, **kwargs: Any) -> Any:
        """Call the tool with its arguments, or with a whole tool call, and return its output."""
        tool_input, kwargs = _prepared(input, config, kwargs)
        return self.run(tool_input, **kwargs)

    async def ainvoke(self, input: Any, config: Config = None, **kwargs: Any) -> Any:
        tool_input, kwargs = _prepared(input, config, kwargs)
        return await self.arun(tool_input, **kwargs)

    def run(
        self,
        tool_input: str | JSON,
        verbose: bool | None = None,  # noqa: FBT001 - LangChain scripts pass it by position
        start_color: str | None = "green",
        color: str | None = "green",
        callbacks: Callbacks = None,
        *,
        tags: list[str] | None = None,
        metadata: JSON | None = None,
        run_name: str | None = None,
        run_id: UUID | None = None,
        config: Config = None,
        tool_call_id: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Call the tool and return its output, or with a `tool_call_id` the `ToolMessage` that answers that call.

        The keywords are entries of a config.
        """
        run = _Run(
            self,
            tool_input,
            settled(config),
            callbacks,
            tool_call_id,
            bool(verbose) or self.verbose,
        )
        manager = None
        if run.has_listeners:
            configured = managers.CallbackManager.configure(**run.listeners(tags, metadata))
            manager = configured.on_tool_start(**run.opening(run_name, run_id, start_color, kwargs))
        inner = run.below(manager)
        try:
            outcome = self._outcome(run, inner, manager)
            output = format_output(*outcome[:2], tool_call_id, self.name, outcome.status)
        except BaseException as exc:
            if manager is not None:
                manager.on_tool_error(exc, tool_call_id=tool_call_id)
            raise
        if manager is not None:
            manager.on_tool_end(output, color=color, name=self.name, **kwargs)
        return output

    def _outcome(self, run: _Run, inner: RunnableConfig, manager: Any) -> Outcome:
        try:
            check(inner.get("deadline"), self)
            call_args, call_kwargs = run.arguments(self._run, inner, manager)
            returned = context_with(inner).run(self._run, *call_args, **call_kwargs)
            check(inner.get("deadline"), self)
            return run.outcome(returned)
        except Exception as exc:  # noqa: BLE001 - the code of the tool
            return run.handled(exc)

    async def arun(
        self,
        tool_input: str | JSON,
        verbose: bool | None = None,  # noqa: FBT001
        start_color: str | None = "green",
        color: str | None = "green",
        callbacks: Callbacks = None,
        *,
        tags: list[str] | None = None,
        metadata: JSON | None = None,
        run_name: str | None = None,
        run_id: UUID | None = None,
        config: Config = None,
        tool_call_id: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Do what `run` does, async."""
        run = _Run(
            self,
            tool_input,
            settled(config),
            callbacks,
            tool_call_id,
            bool(verbose) or self.verbose,
        )
        manager = None
        if run.has_listeners:
            configured = managers.AsyncCallbackManager.configure(**run.listeners(tags, metadata))
            manager = await configured.on_tool_start(
                **run.opening(run_name, run_id, start_color, kwargs)
            )
        inner = run.below(manager)
        try:
            outcome = await self._aoutcome(run, inner, manager)
            output = format_output(*outcome[:2], tool_call_id, self.name, outcome.status)
        except BaseException as exc:
            if manager is not None:
                await manager.on_tool_error(exc, tool_call_id=tool_call_id)
            raise
        if manager is not None:
            await manager.on_tool_end(output, color=color, name=self.name, **kwargs)
        return output

    async def _aoutcome(self, run: _Run, inner: RunnableConfig, manager: Any) -> Outcome:
        try:
            has_own = type(self)._arun is not BaseTool._arun
            func = self._arun if has_own else self._run
            call_args, call_kwargs = run.arguments(func, inner, manager)
            call = await_with_deadline(self._arun(*call_args, **call_kwargs), inner)
            return run.outcome(await covered(call, inner.get("deadline"), self))
        except Exception as exc:  # noqa: BLE001 - the code of the tool
            return run.handled(exc)


class Outcome(NamedTuple):
    """The outcome of a tool's run: content for the model, artifact for the program, and whether it succeeded."""

    content: Any
    artifact: Any = None
    status: Literal["success", "error"] = "success"


class _Run(NamedTuple):
    """One call of a tool: the decisions that sync and async share."""

    tool: BaseTool
    tool_input: Any
    config: RunnableConfig
    own_callbacks: Any
    tool_call_id: str | None
    verbose: bool

    @property
    def callbacks(self) -> Any:
        if self.own_callbacks is None:
            return self.config.get("callbacks")
        return self.own_callbacks

    @property
    def has_listeners(self) -> bool:
        if self.tool.callbacks or self.verbose:
            return True
        return listening({"callbacks": self.callbacks})

    def listeners(self, tags: list[str] | None, metadata: JSON | None) -> Kwargs:
        """Return the keywords of `CallbackManager.configure` for the run: its handlers, tags and metadata."""
        return {
            "inheritable_callbacks": self.callbacks,
            "local_callbacks": self.tool.callbacks,
            "verbose": self.verbose,
            "inheritable_tags": tags or self.config.get("tags"),
            "local_tags": self.tool.tags,
            "inheritable_metadata": metadata or self.config.get("metadata"),
            "local_metadata": self.tool.metadata,
        }

    def opening(
        self, run_name: str | None, run_id: UUID | None, color: str | None, kwargs: Kwargs
    ) -> Kwargs:
        """Return the keywords of `on_tool_start` for the run, without injected arguments."""
        shown = self.tool_input
        tool = self.tool
        if isinstance(shown, dict):
            hidden = tool._hidden_args
            shown = {key: value for key, value in shown.items() if key not in hidden}
        return {
            "serialized": {"name": tool.name, "description": tool.description},
            "input_str": str(shown),
            "inputs": shown if isinstance(shown, dict) else None,
            "name": run_name or self.config.get("run_name") or tool.get_name(),
            "run_id": run_id or self.config.get("run_id"),
            "tool_call_id": self.tool_call_id,
            "color": color,
            **kwargs,
        }

    def below(self, manager: Any) -> RunnableConfig:
        """Return the config of calls that the tool makes."""
        if manager is None:
            return below(self.config)
        return changed(self.config, callbacks=manager.get_child())

    def arguments(self, func: Function, inner: RunnableConfig, manager: Any) -> tuple[Args, Kwargs]:
        """Return the arguments for `_run`, with the config and the run manager if it takes them."""
        args, kwargs = self.tool._to_args_and_kwargs(self.tool_input, self.tool_call_id)
        signature = signature_of(func)
        if signature.config_name is not None:
            kwargs = {**kwargs, signature.config_name: inner}
        if "run_manager" in signature.parameters:
            kwargs = {**kwargs, "run_manager": manager}
        return positional(func, args, kwargs)

    def outcome(self, returned: Any) -> Outcome:
        """Return the outcome for the value that the tool has returned."""
        if self.tool.response_format == "content":
            return Outcome(returned)
        if not isinstance(returned, tuple) or len(returned) != 2:
            raise InvalidArgument(
                f"`{self.tool.name}` has `response_format='content_and_artifact'`, so it must return a tuple of two: "
                f"content and artifact. It returned a `{type(returned).__name__}`."
            )
        return Outcome(*returned)

    def handled(self, error: Exception) -> Outcome:
        """Return the outcome that the tool's `handle_...` settings give for an error; raise the error without one."""
        tool = self.tool
        if isinstance(error, ToolException):
            default = str(error.args[0]) if error.args else "Tool execution error"
            text = failure_text(tool.handle_tool_error, error, default)
        elif _is_validation_error(error):
            text = failure_text(tool.handle_validation_error, error, "Tool input validation error")
        else:
            raise error
        if text is None:
            raise error
        return Outcome(text, status="error")


def _is_validation_error(error: BaseException) -> bool:
    old = getattr(sys.modules.get("pydantic.v1"), "ValidationError", ValidationError)
    return isinstance(error, (ValidationError, old))


def _prepared(input: Any, config: Config, kwargs: Kwargs) -> tuple[Any, Kwargs]:
    """Return the input and the keywords for `run`. A dict of arguments is copied; the caller's dict never changes."""
    tool_call_id = kwargs.pop("tool_call_id", None)
    tool_input = input
    if isinstance(input, dict) and input.get("type") == "tool_call":
        tool_call_id = input["id"]
        tool_input = input["args"]
    if isinstance(tool_input, dict):
        tool_input = dict(tool_input)
    return tool_input, {"config": settled(config), "tool_call_id": tool_call_id, **kwargs}
