"""Unpack what a server has compressed, piece by piece. No I/O here.

We ask for gzip and deflate (RFC 9110 8.4.1), which the standard library reads.
"""

from __future__ import annotations

from typing import Any

from modelwire.errors import ConnectionLost, MalformedResponse

__all__ = ["Unpacking", "unpacking"]


class Unpacking:
    """Unpacks one body. What is broken is a `ConnectionLost`: bytes went missing on their way."""

    def __init__(self, encoding: str) -> None:
        import zlib

        self._zlib = zlib
        self._encoding = encoding
        self._unpack: Any = zlib.decompressobj(zlib.MAX_WBITS | 16 if encoding == "gzip" else zlib.MAX_WBITS)
        self._begun = False

    def feed(self, data: bytes) -> bytes:
        """Return what `data` unpacks to, possibly nothing yet."""
        try:
            unpacked: bytes = self._unpack.decompress(data)
        except self._zlib.error as exc:
            if self._begun or self._encoding == "gzip":
                raise ConnectionLost(f"The answer's compression is broken ({exc}).") from exc
            # "deflate" ought to be wrapped in zlib's format; some servers send it bare.
            self._unpack = self._zlib.decompressobj(-self._zlib.MAX_WBITS)
            self._begun = True
            return self.feed(data)
        self._begun = self._begun or bool(data)
        return unpacked

    def check_end(self) -> None:
        """Raise where the body ended before its compression did."""
        if self._begun and not self._unpack.eof:
            raise ConnectionLost("The answer's compression is cut short.")


def unpacking(encoding: str | None) -> Unpacking | None:
    """Return what unpacks a body of this `Content-Encoding`, None where there is nothing to do."""
    name = (encoding or "identity").strip().lower()
    if name in ("identity", ""):
        return None
    if name in ("gzip", "x-gzip", "deflate"):
        return Unpacking(name.removeprefix("x-"))
    raise MalformedResponse(f"The answer is compressed as `{name[:40]}`, which was not asked for.")
