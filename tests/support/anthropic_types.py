"""Whether a request body is of the official SDK's parameter types, with no key they do not name."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

from anthropic.types import message_create_params
from anthropic.types.beta import message_create_params as beta_params
from pydantic import BaseModel, ConfigDict, TypeAdapter

STRICT = ConfigDict(
    extra="forbid"
)  # a TypedDict lets keys pass that it does not name, unless told otherwise
NOT_IN_TYPES = (
    "temperature",
    "top_k",
    "top_p",
)  # not in the version of the API the SDK speaks; ours has them


def check_type(body: dict[str, Any], *, beta: bool) -> None:
    """Raise `ValidationError` or `AssertionError` where the body is none of `MessageCreateParams`."""
    said = {name: value for name, value in body.items() if name not in NOT_IN_TYPES}
    exhaust(sdk_type(beta=beta).validate_python(said))


@cache
def sdk_type(*, beta: bool) -> TypeAdapter[Any]:
    params: Any = beta_params if beta else message_create_params
    with warnings.catch_warnings(action="ignore"):  # a few say themselves that they take more
        return TypeAdapter(params.MessageCreateParams, config=STRICT)


def exhaust(value: Any) -> None:
    """Look at all of it: pydantic validates an `Iterable` while it is read."""
    assert not isinstance(value, BaseModel), f"taken for a block of an answer: {value!r}"
    if isinstance(value, dict):
        for item in value.values():
            exhaust(item)
    elif not isinstance(value, str | int | float | None):
        for item in value:
            exhaust(item)
