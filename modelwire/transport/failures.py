"""What an exception of the HTTP client means, as an error of ours. No I/O here.

The client may be httpx2, httpx or aiohttp, and none of them is imported: exceptions are told by class name.
"""

from __future__ import annotations

from collections.abc import Iterator

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

__all__ = ["error_of"]

# The first name found along the exception's bases decides. Names: httpx2/_exceptions.py, the same in httpx 0.28.
_BY_NAME: dict[str, tuple[type[WireError], str]] = {
    "ConnectTimeout": (Timeout, "No connection was made in time"),
    "PoolTimeout": (Timeout, "The HTTP client had no free connection in time; give it larger `limits`"),
    "ReadTimeout": (Timeout, "Nothing was received in time"),
    "WriteTimeout": (Timeout, "The request could not be sent in time"),
    "TimeoutException": (Timeout, "A time limit ran out"),
    "ProxyError": (ProxyFailed, "The proxy did not let the request through"),
    "ConnectError": (ConnectFailed, "No connection could be made"),
    "RemoteProtocolError": (ConnectionLost, "The connection broke before the answer was complete"),
    "NetworkError": (ConnectionLost, "The connection broke before the answer was complete"),
    "DecodingError": (ConnectionLost, "The answer's compression is broken"),
    "OSError": (ConnectionLost, "The connection broke before the answer was complete"),
}
_CALLERS_FAULT = frozenset({"LocalProtocolError", "UnsupportedProtocol", "InvalidURL", "CookieConflict"})
# httpcore's words for a kept-alive connection that the server had already closed: no byte of an answer came.
_STALE = "without sending a response"


def error_of(exc: Exception, *, origin: str) -> ModelwireError | None:
    """Return the error `exc` is, to be raised from it, or None for an exception that is not the HTTP client's.

    `origin` is `host:port`, the only part of the URL an error shows.
    """
    names = [cls.__name__ for cls in type(exc).__mro__]
    if any(name in _CALLERS_FAULT for name in names):
        return InvalidArgument(
            f"The request to {origin} cannot be sent: the HTTP client refuses it ({type(exc).__name__}). "
            "Check `base_url` and the headers; a header value must be printable ASCII on one line."
        )
    if _is_certificate_problem(exc):
        return TLSFailed(
            f"The certificate of {origin} was not accepted: {exc}. Set `SSL_CERT_FILE` to trust another one."
        )
    for name in names:
        if name in _BY_NAME:
            cls, sentence = _BY_NAME[name]
            said = f" ({exc})" if str(exc) else ""
            error = cls(f"{sentence}: {origin}{said}.")
            if _STALE in str(exc):
                error.code = "stale_connection"
            return error
    return None


def timed_out(what: str, limit_s: float) -> Timeout:
    """Make the error of a call whose own time ran out; another attempt has no time either."""
    return Timeout(f"{what} took longer than its `timeout` of {limit_s:g} s.", retry_class=RetryClass.FATAL)


def _is_certificate_problem(exc: BaseException) -> bool:
    return any(type(cause).__name__ in ("SSLCertVerificationError", "CertificateError") for cause in _causes(exc))


def _causes(exc: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = exc
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__
