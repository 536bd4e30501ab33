"""Forms of answers that are no objects: `list[City]`, `City | Bird`, `Literal[...]`, `int`.

Providers take an object as the root of a schema and nothing else. So such a form is the one field of an object on the
wire, and the value of that field is the answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, get_origin

from pydantic import BaseModel, create_model, model_validator

from modelwire.adapters.structured_retry import StructuredRetry
from modelwire.errors import InvalidType
from modelwire.runnables import AddableDict, RunnableGenerator

if TYPE_CHECKING:
    from modelwire.adapters.model.base import BaseChatModel
    from modelwire.runnables import Runnable

__all__ = ["ValueForm", "object_form", "structured_answer", "value_reader"]

_SCALARS = (str, int, float, bool, list, set, tuple)


class ValueForm(BaseModel):
    """The base of the objects that carry a value in their field `value`."""

    @model_validator(mode="before")
    @classmethod
    def _wrap_bare_value(cls, data: Any) -> Any:
        """Accept the value alone, too: models without a schema to keep to often leave the object out."""
        is_object = isinstance(data, Mapping) and "value" in data
        return data if is_object else {"value": data}


def structured_answer(
    model: BaseChatModel, schema: Any, *, include_raw: bool, retries: int, **kwargs: Any
) -> Runnable[Any, Any]:
    """Return what `with_structured_output` of a model returns."""
    form = object_form(schema)
    if isinstance(schema, Mapping) and "properties" in schema:
        schema = {"title": "Answer", **schema}  # the name of a tool, where a tool is the way
    asking = model._structured(form or schema, include_raw=include_raw, **kwargs)
    if retries:
        asking = StructuredRetry(asking, retries=retries, include_raw=include_raw)
    if form is None:
        return asking
    return asking | value_reader(include_raw=include_raw)


def object_form(schema: Any) -> type[ValueForm] | None:
    """Return the class of an object that carries a value of the form `schema`; None for what is an object itself.

    Raises: `InvalidType` for a type that pydantic has no schema for.
    """
    is_value = get_origin(schema) is not None
    if isinstance(schema, type) and not is_value:
        is_value = schema in _SCALARS or issubclass(schema, Enum)
    if not is_value:
        return None
    try:
        return create_model("Answer", __base__=ValueForm, value=(schema, ...))
    except (
        TypeError,
        ValueError,
        RuntimeError,
    ) as exc:  # what pydantic raises for a form it cannot read
        raise InvalidType(f"`{schema}` cannot be the form of an answer: {exc}") from exc


def value_reader(*, include_raw: bool) -> Runnable[Any, Any]:
    """Return the step that takes the value out of its object. A stream gives the value once, when it is whole."""

    def whole(answers: Iterator[Any]) -> Iterator[Any]:
        last = None
        for answer in answers:
            if include_raw and "parsed" not in answer:
                yield answer
            else:
                last = answer
        yield _value_in(last)

    async def awhole(answers: AsyncIterator[Any]) -> AsyncIterator[Any]:
        last = None
        async for answer in answers:
            if include_raw and "parsed" not in answer:
                yield answer
            else:
                last = answer
        yield _value_in(last)

    return RunnableGenerator(whole, awhole, name="value_of_answer")


def _value_in(answer: Any) -> Any:
    if isinstance(answer, ValueForm):
        return getattr(answer, "value")  # noqa: B009 - the field is made with the class
    form = None if answer is None else answer.get("parsed")
    if form is None:
        return answer
    return AddableDict({**answer, "parsed": _value_in(form)})
