"""Parses base URLs, and caches the result. No I/O here.

A user and password in a URL become an `authorization` header, unless a key authenticates the call.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, cast
from urllib.parse import unquote_to_bytes, urlsplit

from modelwire.errors import InvalidArgument
from modelwire.records import NamedTuple
from modelwire.transport.wire import shown_url

__all__ = [
    "Address",
    "address_of",
    "hide_query",
    "is_loopback",
    "origin_of",
    "shown_url",
    "unlogged",
]


# A base URL with one of these is rejected: white space, control characters, which `urlsplit` drops, a backslash, which
# clients read in two ways, and `#`, because a path after it would be lost.
_UNUSABLE = re.compile(r"[\s\x00-\x1f\x7f\\#]")
# The longest label of a host name: RFC 1035, 2.3.4.
_MOST_OF_LABEL = 63


class Address(NamedTuple):
    """The parts of a URL. `basic` is a secret, and a query in `url` may be one."""

    url: str  # The URL without user and password.
    authority: str  # `host:port` as the URL has it.
    secure: bool
    is_loopback: bool  # True for this machine, which no proxy can reach.
    basic: str | None  # The `Authorization` header made of the user and password.


@lru_cache(maxsize=1000)
def address_of(url: str) -> Address:
    """Return the parts of `url`. Raises `InvalidArgument`, which shows no part of the URL, if it is invalid."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
        port = parts.port
    except ValueError:
        host = ""
        port = None
    labels = [""] if _UNUSABLE.search(url) else host.removesuffix(".").split(".")
    if not all(0 < len(label) <= _MOST_OF_LABEL or ":" in label for label in labels):
        host = ""
    if not host or parts.scheme not in ("http", "https") or port == 0:
        raise InvalidArgument(
            "`base_url` is not a URL: write `http://host:port/path` or `https://...`, without spaces and without `#`."
        )
    userinfo, _, authority = parts.netloc.rpartition("@")
    return Address(
        url=parts._replace(netloc=authority).geturl() if userinfo else url,
        authority=authority,
        secure=parts.scheme == "https",
        is_loopback=is_loopback(host),
        basic=_basic(userinfo) if userinfo else None,
    )


def origin_of(url: str) -> tuple[str, str | None, int | None] | None:
    """Return the scheme, host and port, which all URLs of one server share; None if `url` is not a URL."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        return None
    if parts.hostname:
        return (parts.scheme, parts.hostname, port)
    return None


def hide_query(request: Any) -> None:
    """Change the URL of a request so that logs of clients and records of tools omit its query, which may hold a key."""
    request.url = unlogged(request.url)


def unlogged(url: Any) -> Any:
    """Return the URL as an object whose text omits the query, which may be secret; it is still sent with the query."""
    if url.query:
        return _without_query(cast("Any", type(url)))(url)
    return url


@lru_cache(maxsize=256)
def _without_query(kind: Any) -> Any:
    def text(url: Any) -> str:
        return str(kind.__str__(url)).partition("?")[0]

    return type(
        kind.__name__, (kind,), {"__str__": text, "__repr__": lambda url: f"URL({text(url)!r})"}
    )


def is_loopback(host: str) -> bool:
    """Return whether `host`, a name or an address without brackets, is this machine."""
    if host in ("localhost", "::1"):
        return True
    numbers = host.split(".")
    return (
        len(numbers) == 4 and numbers[0] == "127" and all(number.isdecimal() for number in numbers)
    )


def _basic(userinfo: str) -> str:
    from base64 import b64encode

    return f"Basic {b64encode(unquote_to_bytes(userinfo)).decode('ascii')}"
