"""Structured answers whose form is not an object: `list[City]`, `City | Bird`, `Literal[...]`, `int`.

Providers accept only an object at the root of a schema. So the provider gets the schema of an object with one field of
that form, and the answer is the value of the field.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, model_validator

from modelwire.messages import AIMessage
from modelwire.runnables import AddableDict, RunnableGenerator

if TYPE_CHECKING:
    from modelwire.runnables import Runnable


class ValueForm(BaseModel):
    """The base of classes whose only field, `value`, has the form of the answer."""

    @model_validator(mode="before")
    @classmethod
    def _wrap_bare_value(cls, data: Any) -> Any:
        """Accept the value without its object, too: models that are not held to a schema often send it alone."""
        is_object = isinstance(data, Mapping) and "value" in data
        return data if is_object else {"value": data}


def value_reader(*, include_raw: bool) -> Runnable[Any, Any]:
    """Return the step of a chain that replaces a `ValueForm` by its `value`. A stream yields it once, when complete."""

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
    if isinstance(answer, AIMessage):  # The model refused.
        return answer
    form = None if answer is None else answer.get("parsed")
    if form is None:
        return answer
    return AddableDict({**answer, "parsed": _value_in(form)})
