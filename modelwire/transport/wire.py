"""The values that a codec and the transport exchange. No I/O here.

They are plain classes, because each dataclass would add a millisecond to the start of a script.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from modelwire.aliases import Fields, HeaderFields, Kwargs
from modelwire.records import NamedTuple


class ServerEvent(NamedTuple):
    """One server-sent event. `event` is "" if the wire names none; `data` is UTF-8, which is not checked."""

    event: str
    data: bytes


class WireRequest:
    """The encoded request of a call, which can be shown before it is sent."""

    __slots__ = ("body", "headers", "left_out", "model", "storable", "stream", "url")

    method: ClassVar = "POST"

    def __init__(
        self, url: str, headers: HeaderFields, body: Fields, *, stream: bool = False
    ) -> None:
        self.url = url
        self.headers = headers  # Their values may be secrets.
        self.body = body  # The JSON object before it is encoded.
        self.stream = stream
        # The chat model sets this if the URL contains the model's name, instead of the body.
        self.model: Any = body.get("model")
        # A sentence for each part of the messages that this wire cannot express.
        self.left_out: Sequence[str] = ()
        # The head of the prompt, if the provider can store it under a name.
        self.storable: Any = None

    def __repr__(self) -> str:
        url = shown_url(self.url)
        headers = shown_headers(self.headers)
        body = masked_fields(dict(self.body))
        return f"WireRequest({self.method} {url}, headers={headers}, body={body}, stream={self.stream})"


def shown_url(url: str) -> str:
    """Return a URL without user and password, and with only those query parameters that are known not to be secret."""
    base, _, query = url.partition("#")[0].partition("?")
    scheme, separator, rest = base.partition("://")
    authority, slash, path = rest.partition("/")
    shown = "&".join(
        part for part in query.split("&") if part.partition("=")[0] in SHOWN_PARAMETERS
    )
    return f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}" + (
        f"?{shown}" if shown else ""
    )


def shown_headers(headers: HeaderFields) -> dict[str, str]:
    """Return headers with masked values, except a few that are not secret."""
    return {
        name: value if name.lower() in _SHOWN_HEADERS else MASK for name, value in headers.items()
    }


class Headers(dict[str, str]):
    """Headers whose repr masks the values, and whose pickle does not contain them."""

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
    """Replaces headers with a key in a pickle. A call with them raises `MissingKey`."""

    __slots__ = ()

    def __reduce__(self) -> tuple[type[Headers], tuple[()]]:
        return LostHeaders, ()


def hide_headers(kwargs: Kwargs) -> None:
    """Wrap the headers among the keywords of a call, so that no traceback and no repr shows them."""
    if kwargs and isinstance(headers := kwargs.get("extra_headers"), dict):
        kwargs["extra_headers"] = Headers(headers)


_SHOWN_HEADERS = frozenset(
    {"accept", "anthropic-beta", "anthropic-version", "content-type", "user-agent"}
)


class Reply:
    """A complete answer: headers by lower-case name, and the body without its content encoding."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes = b"") -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def __repr__(self) -> str:
        return f"Reply({self.status}, {len(self.body)} bytes)"


MASK = "**********"
# These parameters of a URL's query are shown; any other may be a key.
SHOWN_PARAMETERS = frozenset({"api-version", "api_version"})
SECRET_HEADERS = frozenset(
    {"authorization", "x-api-key", "api-key", "proxy-authorization", "cookie", "x-goog-api-key"}
)

# Fields of bodies and headers with these names are secrets, in cassettes, logs, reprs, callbacks and errors. A name is
# compared in lower case, without hyphens and underscores.
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
# These tokens are not secret: they are parts of texts, or positions in a list or in an answer.
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


def masked_headers(headers: HeaderFields) -> dict[str, str]:
    """Return the headers of an answer; the values of those with the name of a secret are masked."""
    return {
        name: MASK if _names_a_secret(_plain(name)) else value for name, value in headers.items()
    }


def masked_fields(value: Any, found: list[str] | None = None) -> Any:
    """Return a JSON value in which texts under the name of a secret, and all values of headers, are masked.

    The texts are appended to `found`. The names of properties in a JSON schema are not taken for names of secrets.
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
    if not text.strip("*"):  # It is already masked.
        return text
    if found is not None:
        found += [text, text.partition(" ")[2]]  # The value may be `Bearer TOKEN`.
    return MASK
