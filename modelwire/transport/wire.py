"""The plain values that cross between a codec and the transport. No I/O here.

Plain classes: making a dataclass takes a millisecond of a script's start, and there are a dozen on its way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

__all__ = [
    "MASK",
    "Headers",
    "LostHeaders",
    "Reply",
    "ServerEvent",
    "WireRequest",
    "hide_headers",
    "masked_fields",
    "masked_headers",
    "shown_headers",
    "shown_url",
]


class ServerEvent(NamedTuple):
    """One server-sent event. `event` is "" where the wire named none; `data` is UTF-8, unchecked."""

    event: str
    data: bytes


class WireRequest:
    """What will be sent: the whole of it, so that it can be shown before it goes."""

    __slots__ = ("body", "headers", "left_out", "model", "stream", "url")

    method: ClassVar = "POST"

    def __init__(
        self, url: str, headers: Mapping[str, str], body: Mapping[str, Any], *, stream: bool = False
    ) -> None:
        self.url = url
        self.headers = headers  # names as the provider writes them; may hold a secret
        self.body = body  # the JSON object, not yet bytes
        self.stream = stream
        self.model: Any = body.get("model")  # set by the model where it stands in the URL
        self.left_out: Sequence[
            str
        ] = ()  # what of the messages this wire cannot say: a sentence each

    def __repr__(self) -> str:
        url, headers = shown_url(self.url), shown_headers(self.headers)
        body = masked_fields(dict(self.body))
        return f"WireRequest({self.method} {url}, headers={headers}, body={body}, stream={self.stream})"


def shown_url(url: str) -> str:
    """Return what anybody may see of a URL: no user, no password, and of its query what is known to be no key."""
    base, _, query = url.partition("#")[0].partition("?")
    scheme, separator, rest = base.partition("://")
    authority, slash, path = rest.partition("/")
    shown = "&".join(
        part for part in query.split("&") if part.partition("=")[0] in SHOWN_PARAMETERS
    )
    return f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}" + (
        f"?{shown}" if shown else ""
    )


def shown_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers with the values masked that may be secret: all but a few."""
    return {
        name: value if name.lower() in _SHOWN_HEADERS else MASK for name, value in headers.items()
    }


class Headers(dict[str, str]):
    """Headers that do not show themselves, and stay behind when they are pickled."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(dict.fromkeys(self, MASK))

    def __deepcopy__(self, memo: object) -> Headers:
        return Headers(self)

    def __copy__(self) -> Headers:
        return Headers(self)

    def __reduce__(self) -> tuple[type[Headers], tuple[()]]:
        names_a_key = not SECRET_HEADERS.isdisjoint(map(str.lower, self))
        return LostHeaders if names_a_key else Headers, ()


class LostHeaders(Headers):
    """What is left of headers that named a key, after a pickle: a call with them has no credential of its own."""

    __slots__ = ()

    def __reduce__(self) -> tuple[type[Headers], tuple[()]]:
        return LostHeaders, ()


def hide_headers(kwargs: dict[str, Any]) -> None:
    """Keep the headers among the keywords of a call from showing in a traceback or a repr."""
    if kwargs and isinstance(headers := kwargs.get("extra_headers"), dict):
        kwargs["extra_headers"] = Headers(headers)


_SHOWN_HEADERS = frozenset(
    {"accept", "anthropic-beta", "anthropic-version", "content-type", "user-agent"}
)


class Reply:
    """A whole answer: headers by lower-case name, body decoded from its content-encoding."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes = b"") -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def __repr__(self) -> str:
        return f"Reply({self.status}, {len(self.body)} bytes)"


MASK = "**********"
# What may be seen of a URL's query; any other parameter may be a key.
SHOWN_PARAMETERS = frozenset({"api-version", "api_version"})
SECRET_HEADERS = frozenset(
    {"authorization", "x-api-key", "api-key", "proxy-authorization", "cookie", "x-goog-api-key"}
)

# The one list of names whose values are secrets, of fields in bodies and of headers: cassettes, logs, reprs, callbacks
# and errors all go by it. A name is looked at in small letters, without what stands between its words.
_SECRET_NAMES = (
    "authorization",
    "authenticationinfo",
    "auth",
    "cookie",
    "cookie2",
    "credential",
    "credentials",
    "passwd",
    "password",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "secretkey",
    "privatekey",
    "subscriptionkey",
    "masterkey",
    "encryptionkey",
)
# Tokens that open nothing: parts of texts, and places in a list or in an answer.
_PLAIN_TOKENS = (
    "continuationtoken",
    "nexttoken",
    "pagetoken",
    "eostoken",
    "bostoken",
    "padtoken",
    "stoptoken",
)
_NAMES_OF_HEADERS = ("headers", "defaultheaders", "extraheaders", "httpheaders")
_NAMES_OF_OTHERS = ("properties", "patternproperties", "$defs", "definitions")


def _plain(name: object) -> str:
    return str(name).replace("-", "").replace("_", "").lower()


def _names_a_secret(plain: str) -> bool:
    return plain.endswith(_SECRET_NAMES) and not plain.endswith(_PLAIN_TOKENS)


def masked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of an answer with the values masked of those that are named like a secret."""
    return {
        name: MASK if _names_a_secret(_plain(name)) else value for name, value in headers.items()
    }


def masked_fields(value: Any, found: list[str] | None = None) -> Any:
    """Return JSON with the texts masked that stand under the name of a secret, or among headers; `found` gets them.

    The names that a schema gives to the fields of something else are not looked at.
    """
    if isinstance(value, list):
        return [masked_fields(item, found) for item in value]
    if not isinstance(value, dict):
        return value
    masked: dict[str, Any] = {}
    for name, item in value.items():
        plain = _plain(name)
        if isinstance(item, str) and _names_a_secret(plain):
            masked[name] = _masked(item, found)
        elif isinstance(item, dict) and plain in _NAMES_OF_HEADERS:
            masked[name] = {
                key: _masked(text, found) if isinstance(text, str) else masked_fields(text, found)
                for key, text in item.items()
            }
        elif isinstance(item, dict) and plain in _NAMES_OF_OTHERS:
            masked[name] = {key: masked_fields(field, found) for key, field in item.items()}
        else:
            masked[name] = masked_fields(item, found)
    return masked


def _masked(text: str, found: list[str] | None) -> str:
    if not text.strip("*"):  # masked already
        return text
    if found is not None:
        found += [text, text.partition(" ")[2]]  # `Bearer TOKEN`
    return MASK
