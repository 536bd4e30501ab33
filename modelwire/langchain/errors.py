"""Makes errors of modelwire also instances of LangChain's error classes, so that LangChain's programs catch them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any

from langchain_core import exceptions as theirs

from modelwire import errors as ours
from modelwire.aliases import Args, Fields

# The first row that fits an error is used: a class of modelwire, and the name of LangChain's class.
_ROWS: tuple[tuple[type[Exception], str], ...] = (
    (ours.ContextTooLong, "ContextOverflowError"),
    (ours.BadRequest, "ModelInvalidRequestError"),
    (ours.AuthenticationError, "ModelAuthenticationError"),
    (ours.PermissionDenied, "ModelPermissionDeniedError"),
    (ours.NotFound, "ModelNotFoundError"),
    (ours.RateLimited, "ModelRateLimitError"),
    # The providers answer 429 here, too, but a retry does not help.
    (ours.QuotaExhausted, "ModelRateLimitError"),
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
    """Make `error` also an instance of LangChain's class for such errors, if there is one. It stays the same object."""
    kind: Any = type(error)
    both = _class_of_both(kind)
    if both is not None:
        with suppress(
            TypeError
        ):  # The class of an error that is also pydantic's cannot be changed.
            error.__class__ = both
    return error


@contextmanager
def errors_of_both() -> Iterator[None]:
    """Make each error of modelwire that leaves this block also an instance of LangChain's class."""
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


def _reduce(error: Exception) -> Args:
    return _rebuild, (type(error).__mro__[1], error.args, error.__dict__)


def _rebuild(kind: type[Exception], args: Args, state: Fields) -> Any:
    error: Any = kind(*args)
    error.__dict__.update(state)
    return as_theirs(error)
