"""Chooses the one credential of a call, as both SDKs do. The only I/O here is reading the environment.

A credential that the code sets replaces all credentials in the environment, so that a key for one host is never sent to
another. Only a model without one reads the environment, and uses the first one it finds. Source: openai 3.54
(`lib/azure.py`, `_client.py`) and anthropic 2.12 (`_client.py`), read 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from modelwire.adapters.environment import from_environment, name_that_is_set
from modelwire.adapters.model.secret import LostSecret, Secret, reveal
from modelwire.aliases import HeaderFields, Values
from modelwire.errors import InvalidArgument
from modelwire.records import NamedTuple
from modelwire.runnables.config import run_in_executor
from modelwire.runnables.deadline import covered

if TYPE_CHECKING:
    from modelwire.adapters.model.settings import WireSettings

# An error shows the last characters of a key that was refused, if the key is long enough to keep the rest a secret.
_SHOWN_CHARS = 4
_SHOWN_FROM_CHARS = 16
# A request with one of these headers already has a credential, and gets none from the environment.
KEY_HEADERS = frozenset({"authorization", "x-api-key", "api-key", "x-goog-api-key"})


def one_credential(cls: type[WireSettings], values: Values) -> None:
    """Raise `InvalidArgument` if the values set more than one credential, as the SDKs do."""
    names = [f"`{name}`" for name in cls.SECRETS if values.get(name) is not None]
    if len(names) > 1:
        raise InvalidArgument(
            f"`{cls.__name__}` was given {' and '.join(names)}: a call is made with one of them. Leave out the others."
        )


def has_sdk_client(values: Values) -> bool:
    """Return whether the calls of a model with these values go through a client of the provider's SDK."""
    return values.get("client") is not None or values.get("async_client") is not None


def credential_of_environment(
    cls: type[WireSettings], values: Values, variables: Mapping[str, Sequence[str]]
) -> dict[str, Secret]:
    """Return the credential that the environment has for a model with these values, as `{field: secret}`.

    The result is empty if the values already authenticate calls, or the environment has no credential.
    """
    if any(values.get(name) is not None for name in cls.SECRETS) or is_said_elsewhere(values):
        return {}
    for name in cls.SECRETS:
        if (found := from_environment(variables.get(name, ()))) is not None:
            variable = name_that_is_set(variables[name])
            return {name: Secret(found, ambient=True, variable=variable)}
    return {}


def is_said_elsewhere(values: Values) -> bool:
    """Return whether the user's HTTP client, or the user and password of the address, already authenticates."""
    if any(
        _says_who(getattr(values.get(name), "headers", None))
        for name in ("http_client", "http_async_client")
    ):
        return True
    return "@" in (values.get("base_url") or "").partition("?")[0]


def is_set_in_code(model: WireSettings) -> bool:
    """Return whether the code authenticates calls: by a credential, a header, the address or the HTTP client."""
    for name in model.SECRETS:
        secret = getattr(model, name)
        if secret.__class__ is LostSecret:
            return True
        if secret is not None and not _is_of_environment(secret):
            return True
    headers = (model.default_headers, model.extra_headers)
    return any(map(_says_who, headers)) or is_said_elsewhere(model.__dict__)


def _is_of_environment(secret: Any) -> bool:
    return getattr(secret, "ambient", False) or getattr(secret, "is_found", False)


def credential_of(model: WireSettings, headers: HeaderFields | None) -> str | None:
    """Return the name of the field with a call's credential; None if its headers authenticate it, or none is set."""
    ambient = None
    for name in model.SECRETS:
        secret = getattr(model, name)
        if secret is None:
            continue
        if not getattr(secret, "ambient", False):
            return name
        ambient = ambient or name
    if ambient is None or _says_who(headers) or _says_who(model.default_headers):
        return None
    return ambient


def refused_credential(model: WireSettings, headers: HeaderFields) -> str:
    """Return a sentence for an error, which names the source and the last characters of the key in these headers.

    The sentence is empty if the key is not a field of the model, comes from a function, or is too short to show a part.
    """
    for name in model.SECRETS:
        secret = getattr(model, name)
        value = secret.get_secret_value() if isinstance(secret, Secret) else ""
        is_sent = any(value in header for header in headers.values())
        if len(value) >= _SHOWN_FROM_CHARS and is_sent:
            source = secret.variable or name
            return f"The key of `{source}` was sent, which ends in `{value[-_SHOWN_CHARS:]}`."
    return ""


def _says_who(headers: HeaderFields | None) -> bool:
    return bool(headers) and not KEY_HEADERS.isdisjoint(map(str.lower, headers or ()))


async def ask_for_key(secret: Any) -> Secret:
    """Return the key that the user's function `secret` returns, as a `Secret`, which no traceback shows.

    An async function is awaited; a sync one runs in a thread, because it may do I/O.
    """
    from inspect import isawaitable, iscoroutinefunction

    while callable(secret):
        call = getattr(secret, "__call__", None)  # noqa: B004 - an object whose method is async
        is_async = iscoroutinefunction(secret) or iscoroutinefunction(call)
        secret = secret() if is_async else await run_in_executor(None, secret)
        if isawaitable(secret):
            secret = await secret
    if isinstance(secret, Secret):
        return secret
    return Secret(reveal(secret) or "")


class Credentials(NamedTuple):
    """Gets the key of a model from the user's function: for each call, and again when the provider has refused it."""

    model: WireSettings

    def are_from_function(self) -> bool:
        """Return whether the key comes from a function of the user, and not from a client of an SDK."""
        return self.model._asks_for_key() and not has_sdk_client(self.model.__dict__)

    async def key(self, kwargs: Values, deadline: float | None) -> Secret | None:
        """Return the API key for an async call from the user's function; None if the key is not set by a function."""
        model = self.model
        if not self.are_from_function():
            return None
        named = {**(model.extra_headers or {}), **(kwargs.get("extra_headers") or {})}
        field = credential_of(model, named)
        if field is None:
            return None
        return await covered(ask_for_key(getattr(model, field)), deadline, model)

    def expire(self) -> None:
        """Clear the cached token of a function that caches it, because the provider has refused the token."""
        for name in self.model.SECRETS:
            if (expire := getattr(getattr(self.model, name), "expire", None)) is not None:
                expire()
