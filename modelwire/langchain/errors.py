"""Errors that cross the border: still ours, and besides of the class that LangChain's callers catch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any

from langchain_core import exceptions as theirs

from modelwire import errors as ours
from modelwire.aliases import Fields

# The first row that fits an error holds.
_ROWS: tuple[tuple[type[Exception], str], ...] = (
    (ours.ContextTooLong, "ContextOverflowError"),
    (ours.BadRequest, "ModelInvalidRequestError"),
    (ours.AuthenticationError, "ModelAuthenticationError"),
    (ours.PermissionDenied, "ModelPermissionDeniedError"),
    (ours.NotFound, "ModelNotFoundError"),
    (ours.RateLimited, "ModelRateLimitError"),
    (
        ours.QuotaExhausted,
        "ModelRateLimitError",
    ),  # the providers answer 429 here, too; it is not retryable
    (ours.Timeout, "ModelTimeoutError"),
    (ours.ConnectFailed, "ModelConnectionError"),
    (ours.ConnectionLost, "ModelConnectionError"),
    (ours.TLSFailed, "ModelConnectionError"),
    (ours.ProxyFailed, "ModelConnectionError"),
    (ours.Overloaded, "ModelAPIError"),
    (ours.ServerError, "ModelAPIError"),
    (ours.Conflict, "ModelAPIError"),
    (ours.ChatError, "ModelError"),
    (ours.OutputParserException, "OutputParserException"),
)


def as_theirs(error: ours.ModelwireError) -> ours.ModelwireError:
    """Make `error` an instance of LangChain's class too, where it has one; it stays the same object."""
    kind: Any = type(error)
    both = _class_of_both(kind)
    if both is not None:
        with suppress(TypeError):  # an error that is pydantic's as well has a layout of its own
            error.__class__ = both
    return error


@contextmanager
def errors_of_both() -> Iterator[None]:
    """Make each error that leaves this block an instance of LangChain's class too."""
    try:
        yield
    except ours.ModelwireError as error:
        raise as_theirs(error)  # noqa: B904 - the same error


@lru_cache(maxsize=256)
def _class_of_both(kind: Any) -> type[Any] | None:
    name = next((name for cls, name in _ROWS if issubclass(kind, cls)), None)
    other = getattr(theirs, name, None) if name else None
    if other is None or issubclass(kind, other):
        return None
    added = {
        "__reduce__": _reduce,
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
    }
    return type(kind.__name__, (kind, other), added)


def _reduce(error: Exception) -> tuple[Any, ...]:
    return _rebuild, (type(error).__mro__[1], error.args, error.__dict__)


def _rebuild(kind: type[Exception], args: tuple[Any, ...], state: Fields) -> Any:
    error: Any = kind(*args)
    error.__dict__.update(state)
    return as_theirs(error)
