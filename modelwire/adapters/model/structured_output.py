"""`with_structured_output`: asks for answers that follow a schema, by a method of the wire, and parses them.

Loaded when it is first used. No I/O here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, get_origin

from pydantic import AfterValidator, WithJsonSchema, create_model

from modelwire.adapters.model.arguments import service_for
from modelwire.adapters.model.tools import is_ready, response_format
from modelwire.adapters.model.value_forms import ValueForm, value_reader
from modelwire.adapters.providers.model_families import family_of, refuses
from modelwire.adapters.providers.parameters import fit_parameters
from modelwire.adapters.structured_retry import StructuredRetry
from modelwire.aliases import JSON, Fields, Kwargs, Values
from modelwire.errors import InvalidArgument, InvalidType, ModelwireError, did_you_mean
from modelwire.output_parsers.pydantic import model_name
from modelwire.output_parsers.structured import StructuredOutputParser
from modelwire.runnables import AddableDict, RunnableGenerator, RunnableSequence
from modelwire.runnables.annotations import is_typed_dict
from modelwire.tools.function_calling import convert_to_openai_function
from modelwire.tools.json_schema import inlined, recursive_references
from modelwire.tools.schema_check import JsonSchemaCheck, TypedDictCheck

if TYPE_CHECKING:
    from modelwire.adapters.model.arguments import Arguments
    from modelwire.adapters.model.base import BaseChatModel
    from modelwire.adapters.model.http import HTTPChatModel
    from modelwire.runnables import Runnable

_METHODS = ("json_schema", "function_calling", "json_mode")
# The call returns a refusal as a message; then the parser raises `ModelRefusalError`, or returns it (`include_raw`).
_AS_MESSAGE = {"on_refusal": "message"}


_SCALARS = (str, int, float, bool, list, set, tuple)
# A JSON schema with one of these types at its top describes a value that is not an object.
_VALUE_TYPES = ("array", "string", "number", "integer", "boolean", "null")


def structured_answer(
    model: BaseChatModel, schema: Any, *, include_raw: bool, retries: int, **kwargs: Any
) -> Runnable[Any, Any]:
    """Return the runnable for `with_structured_output` of a model.

    With `on_refusal="message"` an answer in which the model refuses is returned as an `AIMessage`. With `include_raw`
    the result has the message anyway, and the refusal as its `parsing_error`.
    """
    on_refusal = kwargs.pop("on_refusal", "raise")
    if on_refusal not in ("raise", "message"):
        raise InvalidArgument(f'`on_refusal` must be "raise" or "message", not {on_refusal!r}.')
    form = _object_form(schema)
    if isinstance(schema, Mapping) and "properties" in schema:
        schema = {"title": "Answer", **schema}  # A method that uses a tool needs a name for it.
    asking = model._structured(form or schema, include_raw=include_raw, **kwargs)
    if on_refusal == "message":
        asking = _returning_refusals(asking)
    if retries:
        asking = StructuredRetry(asking, retries=retries, include_raw=include_raw)
    if form is None:
        return asking
    return asking | value_reader(include_raw=include_raw)


def _returning_refusals(asking: Runnable[Any, Any]) -> Runnable[Any, Any]:
    parser = getattr(asking, "last", None)
    if not isinstance(asking, RunnableSequence) or not isinstance(parser, StructuredOutputParser):
        return asking
    patient = parser.model_copy(update={"on_refusal": "message"})
    return RunnableSequence(*asking.steps[:-1], patient, name=asking.name)


def _object_form(schema: Any) -> type[ValueForm] | None:
    """Return a class whose field `value` has the form `schema`; None if `schema` is the form of an object.

    Raises: `InvalidType` for a type that pydantic has no schema for.
    """
    if isinstance(schema, Mapping):
        return _json_form(schema)
    is_value = get_origin(schema) is not None
    if isinstance(schema, type) and not is_value:
        is_value = schema in _SCALARS or issubclass(schema, Enum)
    if not is_value:
        return None
    try:
        return create_model("Answer", __base__=ValueForm, value=(schema, ...))
    except (TypeError, ValueError, RuntimeError) as exc:  # pydantic cannot make a schema of it.
        raise InvalidType(f"`{schema}` cannot be the form of an answer: {exc}") from exc


def _json_form(schema: Fields) -> type[ValueForm] | None:
    """Return the class for a JSON schema of a value; None for the schema of an object, or a provider's own form.

    Raises: `InvalidArgument` for a schema that refers to itself, because it becomes a part of another schema here.
    """
    if schema.get("type") not in _VALUE_TYPES:
        return None
    check = JsonSchemaCheck(schema)
    if recursive_references(schema):
        raise InvalidArgument(
            "A JSON schema of a list or a single value cannot contain itself here. Describe an object that has the "
            "value as a property."
        )

    def checked(value: Any) -> Any:
        check(value)
        return value

    value_type = Annotated[Any, WithJsonSchema(inlined(schema)), AfterValidator(checked)]
    title = str(schema.get("title") or "Answer")
    return create_model(title, __base__=ValueForm, value=(value_type, ...))


def structured_by_tools(
    model: BaseChatModel, schema: Any, *, include_raw: bool, tool_choice: Any = "any", **kwargs: Any
) -> Runnable[Any, Any]:
    """Return a runnable that binds `schema` as the only tool, and parses the arguments of the tool call."""
    _check(schema)
    if schema is None:
        raise InvalidArgument("`with_structured_output` needs a `schema`: the form of the answer.")
    parser = _parser(schema, key_name=convert_to_openai_function(schema)["name"])
    return _read(
        model.bind_tools([schema], tool_choice=tool_choice, **kwargs),
        parser,
        include_raw=include_raw,
    )


def structured_by_either(
    model: BaseChatModel,
    schema: Any,
    *,
    include_raw: bool,
    method: str | None = None,
    **kwargs: Any,
) -> Runnable[Any, Any]:
    """Return a runnable that parses a call of the tool `schema`, or JSON text, for a model without a wire."""
    _check(schema)
    if method is not None:
        _check_method(method)
    if method == "function_calling" or (schema is None and method != "json_mode"):
        return structured_by_tools(model, schema, include_raw=include_raw, **kwargs)
    if method is not None:
        return _read(model.bind(**kwargs), _parser(schema), include_raw=include_raw)
    parser = _parser(schema, key_name=convert_to_openai_function(schema)["name"], text_too=True)
    return _read(model.bind_tools([schema], **kwargs), parser, include_raw=include_raw)


def structured_by_members(
    asking: Runnable[Any, Any], schema: Any, *, include_raw: bool
) -> Runnable[Any, Any]:
    """Return a runnable that parses the answers of a pool, whose deployments send tool calls or JSON text."""
    key_name = None
    if schema is not None:
        key_name = convert_to_openai_function(schema)["name"]
    parser = _parser(schema, key_name=key_name, text_too=True)
    return _read(asking, parser, include_raw=include_raw)


def structured_by_wire(
    model: HTTPChatModel,
    schema: Any,
    *,
    method: str | None,
    include_raw: bool,
    strict: bool | None,
    **kwargs: Any,
) -> Runnable[Any, Any]:
    """Return a runnable that asks for an answer of the form `schema` by a method of the wire, and parses it."""
    wire = model._wire()
    _check(schema)
    method = method or _default_method(model, kwargs)
    _check_method(method)
    if method == "json_mode" and method not in wire.structured.methods and schema is not None:
        method = "json_schema"  # This wire has no JSON mode without a schema.
    if method == "json_mode":
        _check_json_mode(wire, strict=strict)
        form: JSON = {"type": "json_object"}
    elif schema is None:
        raise InvalidArgument(
            f"`with_structured_output(method='{method}')` needs a `schema`: the form of the answer."
        )
    elif method == "json_schema":
        form = response_format(model, schema, strict=strict)
    else:
        bound_with = _tool_options(model, {"strict": strict, **kwargs})
        return structured_by_tools(model, schema, include_raw=include_raw, **bound_with)
    bound = model.bind(response_format=form, **_AS_MESSAGE, **kwargs)
    return _read(bound, _parser(schema), include_raw=include_raw)


def _tool_options(model: HTTPChatModel, kwargs: Arguments) -> Kwargs:
    """Return the keywords that make a model call one tool, without those that the model does not accept."""
    wire = model._wire()
    provider = getattr(model, "provider", wire.owner)
    if wire.structured.one_tool_call and not refuses(
        provider, wire.name, model.model, "parallel_tool_calls"
    ):
        kwargs.setdefault("parallel_tool_calls", False)
    options = {"tool_choice": True, **_AS_MESSAGE, **kwargs}
    disabled = getattr(model, "disabled_params", None) or {}
    for name in [name for name in disabled if name in options]:
        values = disabled[name]
        if values is None or options[name] in values:
            options[name] = None
    return options


def _check_json_mode(wire: Any, *, strict: bool | None) -> None:
    """Raise `InvalidArgument` if the wire has no JSON mode, or if `strict` is set, which needs a schema."""
    if strict is not None:
        raise InvalidArgument(
            "`strict` says how to keep to a schema; `method='json_mode'` sends none."
        )
    if "json_mode" not in wire.structured.methods:
        raise InvalidArgument(
            f"{wire.title[0].upper()}{wire.title[1:]} has no JSON mode: give a `schema`."
        )


def _check_method(method: str) -> None:
    if method not in _METHODS:
        raise InvalidArgument(f"`method` is `{method}`. {did_you_mean(str(method), _METHODS)}")


def _check(schema: Any) -> None:
    if schema is not None and not isinstance(schema, type | Mapping):
        raise InvalidType(
            f"`schema` is a pydantic class, a TypedDict class, a type such as `list[City]`, or a JSON schema as a "
            f"dict, not a `{type(schema).__name__}`."
        )


def _default_method(model: HTTPChatModel, kwargs: Values) -> str:
    """Return the method that suits the model best, with the parameters that the call will send."""
    wire = model._wire()
    name = str(model.model)

    def sent() -> Fields:
        params = {**model._params(), **kwargs}
        return fit_parameters(params, provider=wire.owner, model=name, wire=wire.name)[0]

    service = service_for(type(model), model.__dict__)
    family = family_of(wire.owner, wire.name, name)
    return wire.structured.default(family, sent, None if service is None else service.structured_by)


def _is_model(schema: Any) -> bool:
    return isinstance(schema, type) and (
        hasattr(schema, "model_validate") or hasattr(schema, "parse_obj")
    )


def _parser(schema: Any, *, key_name: str | None = None, text_too: bool = False) -> Any:
    """Return the parser of answers of the form `schema`.

    It reads the arguments of the tool `key_name`, a text if that is None, and either with `text_too`.
    """
    if _is_model(schema):
        form: JSON = {
            "title": model_name(schema),
            "pydantic_object": schema,
            "answer_columns": _columns_of(schema),
        }
    elif is_typed_dict(schema):
        form = {
            "title": schema.__name__,
            "check": TypedDictCheck(schema),
            "answer_columns": list(schema.__annotations__),
        }
    elif isinstance(schema, Mapping):
        title, plain = _plain_schema(schema)
        is_open = plain.get("additionalProperties", False) is not False
        columns = None if is_open else list(plain.get("properties", ())) or None
        form = {"title": title, "check": JsonSchemaCheck(plain), "answer_columns": columns}
    else:
        form = {}
    return StructuredOutputParser(key_name=key_name, text_too=text_too, **form)


def _columns_of(model: Any) -> list[str] | None:
    """Return the keys that objects of a pydantic class have in JSON; None if they may have others."""
    fields = getattr(model, "model_fields", None)
    if (
        fields is None
        or issubclass(model, ValueForm)
        or "root" in fields
        or model.model_config.get("extra") == "allow"
    ):
        return None
    shown = [
        field.serialization_alias or field.alias or name
        for name, field in fields.items()
        if not field.exclude
    ]
    computed = model.model_computed_fields.items()
    return [*shown, *(field.alias or name for name, field in computed)]


def _plain_schema(schema: Fields) -> tuple[str, JSON]:
    """Return the name and the JSON schema of a dict, which is a JSON schema or a provider's form with one inside."""
    if is_ready(schema):
        inner = schema.get("json_schema", schema)
        return str(inner.get("name", "the answer")), dict(inner.get("schema") or {})
    function = convert_to_openai_function(schema)
    return str(function["name"]), function.get("parameters") or {"type": "object"}


def _read(
    asking: Runnable[Any, Any], parser: Runnable[Any, Any], *, include_raw: bool
) -> Runnable[Any, Any]:
    """Return a chain that parses the answers of `asking`; with `include_raw` it returns message, value and error."""
    if not include_raw:
        return asking | parser

    reader = _RawReader(parser)
    return asking | RunnableGenerator(reader.read, reader.aread, name="read_structured_output")


class _RawReader:
    """Yields the chunks of an answer as `raw`, and at the end the result of `parser`."""

    def __init__(self, parser: Runnable[Any, Any]) -> None:
        self.parser = parser

    def read(self, answers: Iterator[Any]) -> Iterator[JSON]:
        whole = None
        for answer in answers:
            yield AddableDict(raw=answer)
            whole = answer if whole is None else whole + answer
        yield AddableDict(_outcome(self.parser, whole))

    async def aread(self, answers: AsyncIterator[Any]) -> AsyncIterator[JSON]:
        whole = None
        async for answer in answers:
            yield AddableDict(raw=answer)
            whole = answer if whole is None else whole + answer
        yield AddableDict(_outcome(self.parser, whole))


def _outcome(parser: Any, answer: Any) -> JSON:
    try:
        return {"parsed": parser.invoke(answer), "parsing_error": None}
    except (ModelwireError, ValueError) as error:  # pydantic's own is a ValueError
        return {"parsed": None, "parsing_error": error}
