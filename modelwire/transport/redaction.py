"""Masks the secrets of a call in its error. No I/O here; the first failure loads this module.

A provider, a proxy or a client may repeat a key in the text of its error. The format of keys is unknown, but the texts
that this call has sent are known exactly, so these are searched for.
"""

from __future__ import annotations

import os
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from pydantic_core import from_json, to_json

from modelwire.aliases import Fields
from modelwire.errors import ChatError, ModelwireError
from modelwire.transport.wire import (
    MASK,
    SHOWN_PARAMETERS,
    masked_fields,
    masked_headers,
    shown_headers,
)

if TYPE_CHECKING:
    from modelwire.transport.steps import AnyExchange

E = TypeVar("E", bound=ModelwireError)

_PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy")
# Shorter secrets are not masked, because they occur in any text by chance.
_MIN_CHARS = 6
# The values of these headers are not secret; those of all others may be.
_PUBLIC = frozenset(
    {
        "accept",
        "accept-encoding",
        "anthropic-beta",
        "anthropic-version",
        "content-length",
        "content-type",
        "host",
        "openai-beta",
        "openai-organization",
        "openai-project",
        "user-agent",
        "x-amz-date",
    }
)


def shown_body(content: bytes) -> str:
    """Return the text of a body with its secret fields masked."""
    try:
        body = from_json(content)
    except ValueError:
        return content.decode(errors="replace")
    found: list[str] = []
    shown = masked_fields(body, found)
    return (to_json(shown) if found else content).decode(errors="replace")


def _of_body(content: bytes) -> list[str]:
    """Return the secrets among the fields of a body."""
    found: list[str] = []
    if re.search(_MAY_HOLD_SECRETS, content):
        with suppress(ValueError):
            masked_fields(from_json(content), found)
    return found


_MAY_HOLD_SECRETS = rb"(?i)auth|cookie|credential|headers|key|pass|secret|token"


def conceal(error: E, exchange: AnyExchange) -> E:
    """Mask the secrets of a call in its error and its causes, and escape the control sequences of terminals.

    The traceback is removed, because its frames hold headers, which debuggers and `rich` would show. A cause that shows
    a secret is replaced by its masked text.
    """
    secrets = secrets_of(exchange)
    mask = masker(secrets)
    error.__traceback__ = None
    error.args = tuple(mask(value) for value in error.args)
    if isinstance(error, ChatError):
        error.message = mask(error.message)
        error.code = mask(error.code)
        error.type = mask(error.type)
        error.request_id = mask(error.request_id)
        error.body = mask(error.body)
    if hasattr(error, "__notes__"):
        error.__notes__ = [mask(note) for note in error.__notes__]
    _conceal_causes(error, secrets, mask)
    return error


def secrets_of(exchange: AnyExchange) -> list[str]:
    """Return the secret texts of a call, in every form in which an error may repeat them, longest first."""
    found = [*_of_headers(exchange.headers), *_of_url(exchange.url)]
    found += _of_body(getattr(exchange, "content", b""))
    client, proxy = exchange.client
    proxies = _environments_proxies() if proxy is None else [proxy]
    for address in proxies:
        if "://" not in address:
            address = f"http://{address}"
        found += _of_url(address)
    # The user's client is one of httpx or of an SDK; the latter has its key as an attribute.
    if client is not None:
        found += _of_headers(getattr(client, "headers", {}))
        auth = getattr(client, "auth", None)
        found += _of_headers({"authorization": getattr(auth, "_auth_header", "")})
        found.append(str(getattr(client, "api_key", "")))
    texts = {text for text in found if len(text) >= _MIN_CHARS}
    return sorted(texts | {quote(text, safe="") for text in texts}, key=len, reverse=True)


def _of_headers(headers: Fields) -> Iterator[str]:
    for name, value in headers.items():
        if name.lower() in _PUBLIC or not isinstance(value, str):
            continue
        scheme, _, token = value.partition(" ")
        yield from (value, token)
        if scheme.lower() == "basic":
            yield from _of_basic(token)


def _of_basic(token: str) -> Iterable[str]:
    try:
        pair = b64decode(token, validate=True).decode()
    except ValueError:
        return ()
    return pair, *pair.split(":", 1)


def _of_url(url: str) -> Iterator[str]:
    parts = urlsplit(url)
    for text in filter(None, (parts.username, parts.password)):
        yield from (text, unquote(text))
    # The basic authentication header has this form.
    if parts.username is not None:
        yield b64encode(unquote(parts.netloc.rpartition("@")[0]).encode()).decode()
    for name, value in parse_qsl(parts.query):
        if name not in SHOWN_PARAMETERS:
            yield value


def _environments_proxies() -> Iterator[str]:
    """Return the proxies in the environment. A client may have used one, and its error may show the password."""
    return (value for name, value in os.environ.items() if name.lower() in _PROXY_VARIABLES)


def masker(secrets: list[str], *, printable: bool = True) -> Callable[[Any], Any]:
    """Return a function that masks `secrets` in texts and JSON, and with `printable` escapes control characters."""

    def mask(value: Any) -> Any:
        if isinstance(value, str):
            for secret in secrets:
                value = value.replace(secret, MASK)
            if not printable or value.isprintable():
                return value
            return "".join(map(_escaped, value))
        if isinstance(value, dict):
            return {mask(name): mask(item) for name, item in value.items()}
        if isinstance(value, list):
            return [mask(item) for item in value]
        return value

    return mask


# A header's value that is at least this long is masked wherever it occurs, whatever the header's name.
_LONG_VALUE_CHARS = 16
_SUSPECT_NAME = "(?i)auth|cookie|credential|key|pass|secret|session|sign|token"


class Redactor:
    """Masks the secrets of one call in records of it, such as a cassette.

    A short value of a header that is not named like a secret, such as `x-title: assistant`, may be
    a common word, so it is masked in headers only.
    """

    def __init__(self, exchange: AnyExchange) -> None:
        words = {
            value
            for name, value in exchange.headers.items()
            if len(value) < _LONG_VALUE_CHARS and not re.search(_SUSPECT_NAME, name)
        }
        self.secrets = [text for text in secrets_of(exchange) if text not in words]
        self._mask = masker(self.secrets, printable=False)

    def value(self, value: Any) -> Any:
        """Return a text or JSON with the secrets masked."""
        return self._mask(value)

    def body(self, value: Any) -> Any:
        """Return the JSON of a body with the secrets masked, and all fields that are named like secrets."""
        return self._mask(masked_fields(value))

    def request_headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Return the headers of a request by lower-case name, masked but for those that are known to be public."""
        return {name.lower(): value for name, value in shown_headers(headers).items()}

    def answer_headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Return the headers of an answer, masked where they are named like secrets or hold one."""
        masked: dict[str, str] = self._mask(masked_headers(headers))
        return masked


def _escaped(char: str) -> str:
    if char.isprintable() or char in "\n\t":
        return char
    return char.encode("unicode_escape").decode("ascii")


def _conceal_causes(error: BaseException, secrets: list[str], mask: Callable[[Any], Any]) -> None:
    seen = {id(error)}
    while True:
        # A suppressed context is not shown, but its frames and texts may hold secrets.
        if error.__suppress_context__:
            error.__context__ = None
        cause = error.__cause__ or error.__context__
        if cause is None or id(cause) in seen:
            return
        shown = f"{cause} {cause!r} {getattr(cause, '__notes__', '')}"
        if any(secret in shown for secret in secrets):
            error.__cause__ = ModelwireError(f"{type(cause).__name__}: {mask(str(cause))}")
            error.__context__ = None
            return
        cause.__traceback__ = None
        seen.add(id(cause))
        error = cause
