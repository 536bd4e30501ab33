"""Converts exceptions of the HTTP client to errors of modelwire. No I/O here.

The client may be httpx2, httpx or aiohttp. None of them is imported: an exception is identified by its class name.
"""

from __future__ import annotations

from collections.abc import Iterator
from errno import ETIMEDOUT
from functools import cache
from importlib import import_module

from modelwire.errors import (
    ConnectFailed,
    ConnectionLost,
    InvalidArgument,
    ModelwireError,
    ProxyFailed,
    RetryClass,
    Timeout,
    TLSFailed,
    WireError,
)

# These modules are imported early, because a process without free file descriptors cannot import.
_ERROR_PATH = ("modelwire.transport.logs", "modelwire.transport.redaction")


@cache
def load_error_path() -> None:
    """Import the modules that the error of a call needs, before the first call is made."""
    for name in _ERROR_PATH:
        import_module(name)


# The errors and their sentences, each with the names of the exceptions that it stands for. The names are those of
# httpx2/_exceptions.py, the same in httpx 0.28, and of aiohttp/client_exceptions.py 3.14.
_KINDS: dict[tuple[type[WireError], str], tuple[str, ...]] = {
    (Timeout, "No connection was made in time"): ("ConnectTimeout", "ConnectionTimeoutError"),
    (Timeout, "Nothing was received in time"): (
        "ReadTimeout",
        "SocketTimeoutError",
        "TimeoutError",
    ),
    (Timeout, "The HTTP client had no free connection in time; give it larger `limits`"): (
        "PoolTimeout",
    ),
    (Timeout, "The request could not be sent in time"): ("WriteTimeout",),
    (Timeout, "A time limit ran out"): ("TimeoutException",),
    (ProxyFailed, "The proxy did not let the request through"): (
        "ProxyError",
        "ClientHttpProxyError",
    ),
    (ConnectFailed, "No connection could be made"): (
        "ConnectError",
        "ClientConnectorError",
        "OverflowError",  # of a socket: a port above 65535, which only a proxy's address can have
    ),
    (ConnectionLost, "The connection broke before the answer was complete"): (
        "RemoteProtocolError",
        "NetworkError",
        "OSError",
        "ClientPayloadError",
        "ClientConnectionError",
    ),
    (ConnectionLost, "The answer is not valid HTTP"): (
        "ClientResponseError",
        "HttpProcessingError",
    ),
    (ConnectionLost, "The answer's compression is broken"): ("DecodingError",),
}
# The first of an exception's bases that is in this table decides.
_BY_NAME = {name: kind for kind, names in _KINDS.items() for name in names}
# These timeouts happen before the whole request is sent, so the attempt costs nothing.
_NOT_SENT = {
    "ConnectTimeout": "connect_timeout",
    "ConnectionTimeoutError": "connect_timeout",
    "PoolTimeout": "pool_timeout",
    "WriteTimeout": "write_timeout",
}
_HINTS: dict[type[WireError], str] = {
    ConnectFailed: " Is it up, and is `base_url` right?",
    Timeout: " The limit of silence is the model's `timeout`.",
}
_CALLERS_FAULT = frozenset(
    {"LocalProtocolError", "UnsupportedProtocol", "InvalidURL", "CookieConflict"}
)
# OpenSSL's error has this text if the server does not answer by TLS, such as a server of plain HTTP.
_IS_NO_TLS = "WRONG_VERSION_NUMBER"
# The errors of httpx2 and httpx, and of aiohttp, have these texts if the server had already closed a kept-alive
# connection, so that no byte of an answer arrived.
_STALE = ("without sending a response", "Server disconnected")


def error_of(exc: Exception, *, origin: str) -> ModelwireError | None:
    """Return the error to be raised from `exc`, or None if `exc` is not an exception of the HTTP client.

    `origin` is `host:port`, the only part of the URL that an error shows.
    """
    names = [cls.__name__ for cls in type(exc).__mro__]
    if any(name in _CALLERS_FAULT for name in names):
        return unsendable(exc, origin=origin)
    if any(
        type(cause).__name__ in ("SSLCertVerificationError", "CertificateError")
        for cause in _causes(exc)
    ):
        return TLSFailed(
            f"The certificate of {origin} was not accepted: {exc}. Set `SSL_CERT_FILE` to trust another one."
        )
    for name in names:
        if name in _BY_NAME:
            cls, sentence = _BY_NAME[name]
            # The kernel's keepalive probes were not answered; see `connections.keepalive`.
            if name not in _NOT_SENT and any(
                isinstance(cause, OSError) and cause.errno == ETIMEDOUT for cause in _causes(exc)
            ):
                cls = ConnectionLost
                sentence = "The server no longer answers"
            detail = f" ({exc})" if str(exc) else ""
            hint = _HINTS.get(cls, "")
            if _IS_NO_TLS in str(exc):
                hint = " The server does not speak TLS at this port: write `http://` in `base_url`."
            error = cls(f"{sentence}: {origin}{detail}.{hint}", code=_NOT_SENT.get(name))
            if name == "OverflowError" or _is_no_such_host(exc):
                error.retry_class = RetryClass.FATAL
            if str(exc).endswith(_STALE) or _STALE[0] in str(exc):
                error.code = "stale_connection"
            return error
    return None


def unsendable(exc: Exception, *, origin: str) -> InvalidArgument:
    """Return the error of a request that the HTTP client refuses to send.

    The client's text may contain a header, so it is not shown.
    """
    return InvalidArgument(
        f"The request to {origin} cannot be sent: the HTTP client refuses it ({type(exc).__name__}). "
        "Check `base_url` and the headers; a header value must be printable ASCII on one line."
    )


def _is_no_such_host(exc: BaseException) -> bool:
    """Return whether a name server has answered that the host does not exist."""
    from socket import EAI_NONAME, gaierror

    return any(isinstance(cause, gaierror) and cause.errno == EAI_NONAME for cause in _causes(exc))


def _causes(exc: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = exc
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__
